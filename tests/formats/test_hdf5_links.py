"""A link in an HDF5 file leads nowhere but into that file: not to another scan, and not to a pipe."""

import os
import shutil

import h5py
import numpy as np
import pytest

from raki.errors import PermanentError
from raki.formats import read_scan
from raki.formats.arrays.fastmri import FASTMRI
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5
from raki.phantom.simulation import simulate_scan
from raki.prepare import preprocess
from raki.scan.prepared import open_prepared, write_prepared
from tests.formats.arrays.array_files import kspace

WAYS = {
    "ISMRMRD, its group": (ISMRMRD_HDF5.open, "/", "dataset"),
    "ISMRMRD, its table": (ISMRMRD_HDF5.open, "dataset", "data"),
    "ISMRMRD, its header": (ISMRMRD_HDF5.open, "dataset", "xml"),
    "fastMRI, its k-space": (FASTMRI.open, "/", "kspace"),
    "prepared, its k-space": (open_prepared, "/", "kspace"),
    "prepared, its noise": (open_prepared, "/", "noise"),
}


@pytest.fixture(params=WAYS)
def way(request, tmp_path):
    """How a file is read, the file, the place of one of its parts, and another file that has the same part."""
    read, group, name = WAYS[request.param]
    other = tmp_path / "other.h5"
    if "ISMRMRD" in request.param:
        simulate_scan(other, n_slices=1, n_coils=2, matrix=16, acceleration=1, n_acs_lines=8)
    elif "fastMRI" in request.param:
        with h5py.File(other, "w") as file:
            file["kspace"] = kspace(2, 3, 64, 37)
    else:
        simulate_scan(tmp_path / "raw.h5", n_slices=1, n_coils=2, matrix=16, acceleration=1, n_acs_lines=8)
        write_prepared(preprocess(read_scan(tmp_path / "raw.h5")), other)
    shutil.copy(other, tmp_path / "scan.h5")
    return read, tmp_path / "scan.h5", group, name, other


def replace_by(path, group, name, link):
    with h5py.File(path, "r+") as file:
        del file[group][name]
        file[group][name] = link


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["another file", "by a soft link", "pipe", "device"])
def test_a_link_out_of_the_file_is_not_followed(way, kind, tmp_path):
    read, path, group, name, other = way
    os.mkfifo(tmp_path / "pipe")
    target = {"pipe": tmp_path / "pipe", "device": "/dev/zero"}.get(kind, other)
    link = h5py.ExternalLink(str(target), f"{group}/{name}")
    if kind == "by a soft link":
        replace_by(path, group, name, h5py.SoftLink("/elsewhere"))
        with h5py.File(path, "r+") as file:
            file["elsewhere"] = link
    else:
        replace_by(path, group, name, link)
    with pytest.raises(PermanentError), read(path):
        pass


@pytest.mark.timeout(60)
def test_a_table_that_is_pieced_together_from_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    simulate_scan(tmp_path / "scan.h5", n_slices=1, n_coils=2, matrix=16, acceleration=1, n_acs_lines=8)
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        kind = file["dataset/data"].dtype
        del file["dataset/data"]
        layout = h5py.VirtualLayout((8,), kind, maxshape=(None,))
        source = h5py.VirtualSource(str(tmp_path / "pipe"), "data", (8,), kind, maxshape=(None,))
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        file.create_virtual_dataset("dataset/data", layout)
    with pytest.raises(PermanentError, match="kept in other files"), ISMRMRD_HDF5.open(tmp_path / "scan.h5"):
        pass


def test_links_beside_a_scan_are_left_alone(tmp_path):
    path = tmp_path / "scan.h5"
    simulate_scan(path, n_slices=1, n_coils=2, matrix=16, acceleration=1, n_acs_lines=8)
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(path, "r+") as file:
        file["a"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/dataset")
        file["b"] = h5py.SoftLink("/nowhere")
    with ISMRMRD_HDF5.open(path) as acquisitions:
        assert len(acquisitions.heads) > 0
        assert np.isfinite(next(iter(acquisitions.samples(np.array([0]))))).all()
