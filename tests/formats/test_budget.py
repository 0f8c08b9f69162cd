"""However a file multiplies what it holds, reading it costs no more than a file of its size may."""

import zlib

import h5py
import numpy as np
import pytest
from ismrmrd.hdf5 import acquisition_dtype

from raki.errors import DamagedScan
from raki.formats.arrays.fastmri import FASTMRI
from raki.formats.arrays.numpy_files import NUMPY_NPZ
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5
from raki.phantom.simulation import simulate_scan
from raki.scan.budget import growth_allowed


@pytest.fixture
def scan(tmp_path):
    simulate_scan(tmp_path / "scan.h5", n_slices=1, n_coils=2, matrix=16, acceleration=1, n_acs_lines=8)
    return tmp_path / "scan.h5"


def test_acquisitions_that_share_their_samples_are_damage(scan):
    with h5py.File(scan, "r+") as file:
        del file["dataset/data"]
        table = file.create_dataset("dataset/data", (1,), acquisition_dtype, chunks=(64,), maxshape=(None,))
        one = np.zeros(1, acquisition_dtype)
        one["data"][0], one["traj"][0] = np.ones(4096, np.float32), np.zeros(0, np.float32)
        table[:] = one
    with h5py.File(scan, "r+") as file:
        table = file["dataset/data"]
        _, chunk = table.id.read_direct_chunk((0,))
        row = chunk[: len(chunk) // 64]
        table.resize(64, axis=0)
        table.id.write_direct_chunk((0,), row * 64)
    with pytest.raises(DamagedScan, match=r"the lists in the HDF5 file take 1048576 bytes, and the file has"):
        ISMRMRD_HDF5.open(scan).__enter__()


def test_a_table_that_unpacks_to_far_more_than_its_file_is_damage(scan):
    with h5py.File(scan, "r+") as file:
        del file["dataset/data"]
        n_rows = 2 * growth_allowed(scan.stat().st_size) // acquisition_dtype.itemsize
        table = file.create_dataset("dataset/data", (n_rows,), acquisition_dtype, chunks=(n_rows,), compression=1)
        table.id.write_direct_chunk((0,), zlib.compress(bytes(n_rows * table.id.get_type().get_size()), 1))
    with pytest.raises(DamagedScan, match="the table 'data' takes"):
        ISMRMRD_HDF5.open(scan).__enter__()


def test_an_array_in_many_chunks_that_unpack_to_far_more_than_their_file_is_damage(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        kspace = file.create_dataset("kspace", (64, 4, 512, 512), np.complex64, chunks=(1, 4, 512, 512), compression=1)
        packed = zlib.compress(bytes(8 << 20), 1)
        for index in range(64):
            kspace.id.write_direct_chunk((index, 0, 0, 0), packed)
    with pytest.raises(DamagedScan, match="the dataset 'kspace' takes 536870912 bytes"):
        FASTMRI.open(tmp_path / "scan.h5").__enter__()


def test_an_archive_of_arrays_that_unpack_to_far_more_than_their_file_is_damage(tmp_path):
    arrays = {f"x{number}": np.zeros(1 << 20, np.complex64) for number in range(9)}
    arrays |= {"kspace": np.zeros((1, 2, 8, 8), np.complex64), "axes": np.array("slice coil pe ro")}
    np.savez_compressed(tmp_path / "scan.npz", **arrays)
    with pytest.raises(DamagedScan, match="raw data never packs so well"):
        NUMPY_NPZ.open(tmp_path / "scan.npz").__enter__()
