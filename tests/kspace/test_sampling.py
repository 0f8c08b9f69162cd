"""The pattern is found from the mask, or the mask is refused."""

import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.errors import UnsupportedScan
from raki.kspace.sampling import find_sampling, lines_by_slice


def mask(n_pe, lines):
    sampled = torch.zeros(n_pe, dtype=torch.bool)
    sampled[list(lines)] = True
    return sampled


@seed(0)
@settings(max_examples=200, deadline=None)
@given(st.integers(2, 8), st.integers(0, 20), st.integers(8, 20), st.integers(0, 9), st.data())
def test_any_regular_pattern_with_a_block_is_found(acceleration, first, n_lattice, edge, data):
    lattice = range(first, first + n_lattice * acceleration, acceleration)
    # At least three lattice lines are left outside on either side, so that R shows.
    start = data.draw(st.integers(lattice[3], lattice[4]))
    stop = data.draw(st.integers(start + 2, lattice[-3]))
    found = find_sampling(mask(lattice[-1] + 1 + edge, {*lattice, *range(start, stop)}))
    assert found.acceleration == acceleration
    assert found.offset == first % acceleration
    assert found.lattice_lines() == list(lattice)
    assert found.acquired_range == (first, lattice[-1] + 1)
    assert found.acs_lines is not None
    assert found.acs_lines[0] <= start
    assert found.acs_lines[1] >= stop
    assert found.n_acs_lines <= stop - start + 2


def test_never_acquired_edges_as_on_a_siemens_bssfp_scan():
    found = find_sampling(mask(144, {*range(18, 124, 3), *range(48, 96)}))
    assert (found.acceleration, found.offset, found.acquired_range) == (3, 0, (18, 124))
    assert found.acs_lines == (48, 97), "line 96 is of the lattice and continues the block"
    assert found.net_acceleration == pytest.approx(106 / 68)


def test_a_scan_with_separate_calibration_has_no_block():
    found = find_sampling(mask(64, range(1, 62, 2)))
    assert (found.acceleration, found.offset, found.acs_lines) == (2, 1, None)


@given(st.integers(2, 8), st.integers(0, 20), st.integers(3, 9), st.integers(0, 20))
def test_gaps_are_what_is_missing_between_and_within_reach_of_the_border(acceleration, first, n_lattice, edge):
    lattice = range(first, first + n_lattice * acceleration, acceleration)
    sampling = find_sampling(mask(lattice[-1] + 1 + edge, lattice))
    in_gaps = {line + step for line in sampling.gaps() for step in range(1, acceleration)} & set(range(sampling.n_pe))
    low = 0 if first < acceleration else first
    high = sampling.n_pe if edge < acceleration else lattice[-1] + 1
    assert in_gaps == set(range(low, high)) - set(lattice)
    assert sampling.filled_lines() == (low, high)


def test_a_border_out_of_reach_is_no_gap():
    sampling = find_sampling(mask(48, range(10, 40, 3)))
    assert sampling.gaps() == list(range(10, 37, 3))
    assert sampling.filled_lines() == (10, 38)


@pytest.mark.parametrize("lines", [range(64), range(10, 50), [7]])
def test_neighbouring_lines_alone_are_fully_sampled(lines):
    assert find_sampling(mask(64, lines)).acceleration == 1


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ({0, 1, 3, 7, 12, 20, 31}, "not every 11th line"),
        ({*range(0, 64, 4), *range(20, 30), 50}, "line 50"),
        (set(range(0, 64, 4)) - {20}, "missing"),
        (set(), "no phase-encode line"),
    ],
)
def test_irregular_sampling_is_refused_by_name(lines, named):
    with pytest.raises(UnsupportedScan, match=named):
        find_sampling(mask(64, lines))


def test_a_line_counts_as_acquired_if_any_coil_of_any_slice_holds_a_number():
    kspace = torch.zeros(2, 3, 8, 4, dtype=torch.complex64)
    kspace[1, 2, 5, 0] = 1j
    kspace[0, 0, 2] = torch.nan
    assert lines_by_slice(kspace).any(dim=0).nonzero().flatten().tolist() == [5]
