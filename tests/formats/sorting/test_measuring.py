"""One rule, whatever the format, for what was acquired: what is stored as zeros wasn't."""

import numpy as np
import pytest

from raki.errors import DamagedScan, NotAScan
from tests.formats.sorting.recordings import N, phantom, read, recorded


def test_lines_stored_as_zeros_were_not_acquired():
    kspace = phantom(2)
    kspace[:, :, 1::2] = 0
    scan = read(recorded(kspace))
    np.testing.assert_array_equal(np.flatnonzero(scan.sampled), range(0, N, 2))
    assert scan.remarks == ("32 of 64 lines are stored as zeros: they were not acquired.",)


@pytest.mark.parametrize("n_slices", [1, 2])
def test_nothing_but_zeros_is_no_scan(n_slices):
    with pytest.raises(NotAScan, match=r"samples of the .* lines are zero"):
        read(recorded(0 * phantom(n_slices)))


def test_a_slice_of_zeros_is_named():
    kspace = phantom(3)
    kspace[1] = 0
    with pytest.raises(DamagedScan, match="slice 1 holds nothing but zeros"):
        read(recorded(kspace))


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_spike_is_no_scan(noise):
    kspace = noise * phantom(2)
    kspace[:, :, 9, 40] = 5
    with pytest.raises(NotAScan, match="a spike"):
        read(recorded(kspace))
