"""What the one writer of ISMRMRD files writes is read back as it was given."""

import numpy as np
import pytest

from raki.formats.acquisitions import HEAD
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5
from raki.formats.ismrmrd.hdf5_writer import CHUNK, counted, in_batches, write_hdf5

N_COILS, N_RO = 3, 8


def lines(n_lines, seed=0):
    heads = np.zeros(n_lines, HEAD)
    heads["active_channels"], heads["number_of_samples"] = N_COILS, N_RO
    samples = np.random.default_rng(seed).standard_normal((n_lines, N_COILS, 2 * N_RO), np.float32)
    return heads, samples.view(np.complex64)


def test_what_is_written_in_batches_is_read_as_a_whole(tmp_path):
    path = tmp_path / "scan.h5"
    heads, samples = lines(2 * CHUNK + 1)
    write_hdf5("<ismrmrdHeader/>", counted(in_batches(heads, samples)), path)
    with ISMRMRD_HDF5.open(path) as found:
        assert found.header_xml == "<ismrmrdHeader/>"
        assert found.heads["scan_counter"].tolist() == list(range(len(heads)))
        np.testing.assert_array_equal(np.stack(list(found.samples(np.arange(len(heads))))), samples)


def test_batches_of_long_lines_are_small():
    heads, samples = lines(CHUNK)
    heads["number_of_samples"], heads["active_channels"] = 1 << 14, 32
    sizes = [len(some) for some, _ in in_batches(heads, samples)]
    assert (sum(sizes), max(sizes)) == (CHUNK, 4)


def test_samples_that_are_missing_leave_no_file(tmp_path):
    heads, samples = lines(5)
    with pytest.raises(ValueError, match="shorter"):
        write_hdf5("<ismrmrdHeader/>", in_batches(heads, samples[:4]), tmp_path / "scan.h5")
    assert list(tmp_path.iterdir()) == []
