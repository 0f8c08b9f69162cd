"""A file that its writer never closed is called that, and what to do stands beside it."""

import shutil

import h5py
import numpy as np
import pytest

from raki.errors import DamagedScan
from raki.formats import read_scan
from raki.phantom import simulate_scan
from raki.phantom.simulation import complex_noise


def ismrmrd(path, folder):
    simulate_scan(folder / "simulated.h5", n_slices=1, n_coils=2, matrix=32, acceleration=1, n_acs_lines=8)
    file = h5py.File(path, "w", libver="latest")
    with h5py.File(folder / "simulated.h5") as simulated:
        simulated.copy("dataset", file)
    return file


def fastmri(path, folder):
    file = h5py.File(path, "w", libver="latest")
    file["kspace"] = complex_noise(np.random.default_rng(0), (1, 4, 32, 24))
    return file


@pytest.mark.parametrize("write", [ismrmrd, fastmri])
@pytest.mark.parametrize("is_read_meanwhile", [False, True])
def test_a_file_that_its_writer_never_closed_is_called_that(write, is_read_meanwhile, tmp_path):
    growing, copied = tmp_path / "growing.h5", tmp_path / "copied.h5"
    file = write(growing, tmp_path)
    file.flush()
    if is_read_meanwhile:
        file.swmr_mode = True
    shutil.copy(growing, copied)
    file.close()
    with pytest.raises(DamagedScan, match=r"marked as open for writing: .* copy it again once it is closed"):
        read_scan(copied)
    assert read_scan(growing).n_slices == 1
