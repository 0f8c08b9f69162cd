"""Lattices of points in two phase-encode directions: found from what was acquired, and filled."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raki.errors import NoCalibration, UnsupportedScan
from raki.kspace.completion import complete_slices
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.measured import measured_slice
from raki.kspace.opposite import missing_side
from raki.kspace.points import acs_point_examples, fill_points, gathered, point_examples_at
from raki.phantom import phantom_kspace
from raki.phantom.volume import sampled_points
from raki.planning import Cell, Kernel, find_point_sampling, plans_of_planes
from raki.planning.points import on_lattice
from raki.scan.fourier import to_image, to_kspace
from tests.kspace.simulated_slices import complex_noise

CPU = torch.device("cpu")
SHAPE = (40, 44)
CELLS = [Cell(n_pe=2, n_pe2=2), Cell(n_pe=2, n_pe2=2, shift=1), Cell(n_pe=3, n_pe2=2, shift=1), Cell(n_pe=1, n_pe2=3)]


def sampled(cell, *, n_acs=12, **others):
    return sampled_points(SHAPE, (cell.n_pe, cell.n_pe2), cell.shift, n_acs, **others)[0]


@pytest.fixture(scope="module")
def plane():
    """A slice of the head, whose readout stands for the second phase-encode direction."""
    kspace = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=8, matrix=44)[0])
    return kspace[:, 2:42] + 0.002 * complex_noise((8, *SHAPE))


def filled(plane, acquired, method="grappa", **others):
    result = {}
    report = complete_slices(
        1,
        lambda _: torch.where(torch.from_numpy(acquired), plane, torch.nan),
        result.__setitem__,
        method,
        plans=plans_of_planes(acquired, 1),
        **others,
    )
    return result[0], report


def error(found, plane):
    return float((found - plane).abs().square().sum() / plane.abs().square().sum())


@given(
    n_pe=st.integers(1, 4),
    n_pe2=st.integers(1, 4),
    shift=st.integers(0, 3),
    n_acs=st.sampled_from([0, 8, 16, 40]),
    elliptical=st.booleans(),
)
def test_every_lattice_is_found_and_every_skipped_point_has_one_gap(n_pe, n_pe2, shift, n_acs, elliptical):
    shift %= n_pe2
    acquired, _ = sampled_points(SHAPE, (n_pe, n_pe2), shift, n_acs, elliptical=elliptical)
    if n_acs == 40:
        acquired, n_pe, n_pe2 = np.ones(SHAPE, bool), 1, 1
    found = find_point_sampling(acquired)
    # A displacement may make the same lattice as finer lines do: R tells it, however it is named.
    assert found.acceleration == n_pe * n_pe2
    lattice = on_lattice(SHAPE, found.cell, found.offset)
    assert not (found.meant & lattice & ~acquired).any()
    assert (acquired <= found.meant).all()
    places = found.gaps.targets[:, 2]
    assert len(np.unique(places)) == len(places)
    np.testing.assert_array_equal(np.sort(places), np.flatnonzero(found.meant & ~lattice))


def test_corners_that_nobody_acquired_are_no_gap():
    found = find_point_sampling(sampled(CELLS[1], elliptical=True))
    assert not found.meant[0, 0]
    assert not found.meant[-1, -1]
    assert 0.7 < found.meant.mean() < 0.85


def test_points_at_random_are_refused():
    acquired = np.random.default_rng(0).random(SHAPE) < 0.3
    acquired[12:28, 12:32] = True
    with pytest.raises(UnsupportedScan, match="744 of 1760 points"):
        find_point_sampling(acquired)


def test_a_lost_point_is_no_regular_sampling():
    acquired = sampled(CELLS[0])
    acquired[4, 4] = False
    with pytest.raises(UnsupportedScan, match="one lattice"):
        find_point_sampling(acquired)


def test_nothing_acquired_is_refused():
    with pytest.raises(UnsupportedScan, match="every sample is zero"):
        find_point_sampling(np.zeros(SHAPE, bool))


@pytest.mark.parametrize("cell", CELLS)
def test_points_that_a_kernel_predicts_are_filled_exactly(cell):
    """Where every target is a sum of its sources, least squares finds the weights and the gaps."""
    kernel = Kernel(n_pe=2, n_ro=2)
    acquired = find_point_sampling(sampled(cell))
    coils = complex_noise((3, *SHAPE))
    weights = complex_noise((3 * 4, 3 * (cell.acceleration - 1)))
    truth = fill_points(torch.where(torch.from_numpy(on_lattice(SHAPE, cell, acquired.offset)), coils, 0), acquired,
                        kernel, weights)  # fmt: skip
    places = torch.from_numpy(acquired.fitting(np.concatenate([cell.taps(kernel), cell.targets()])))
    on = torch.from_numpy(on_lattice(SHAPE, cell, acquired.offset))[places[:, 0], places[:, 1]]
    examples = point_examples_at(truth, places[on], kernel, cell)
    torch.testing.assert_close(examples.sources @ weights, examples.targets, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("method", ["grappa", "raki_linear", "raki"])
def test_the_head_is_recovered_and_acquired_points_come_back_bit_for_bit(plane, cell, method):
    acquired = sampled(cell)
    found, report = filled(plane, acquired, method, noise=0.002 * complex_noise((8, 400)))
    mask = torch.from_numpy(acquired)
    assert torch.equal(found[:, mask], plane[:, mask])
    missing = error(torch.where(mask, plane, 0), plane)
    assert error(found, plane) < 0.25 * missing
    assert report.sampling.acceleration == cell.acceleration


def test_the_default_method_errs_less_than_grappa(plane):
    acquired = sampled(CELLS[1])
    by_grappa, _ = filled(plane, acquired)
    by_raki, report = filled(plane, acquired, "raki", with_maps=True)
    assert error(by_raki, plane) < error(by_grappa, plane)
    assert report.cross_validation.n_slices_by_choice
    (maps,) = report.maps
    assert maps.g_factor.shape == SHAPE
    assert torch.isfinite(maps.standard_error).all()


def test_a_displaced_lattice_of_the_same_r_is_told_apart_from_the_plain_one(plane):
    """Filled as if it were the plain one, the image is wrong."""
    acquired = sampled(CELLS[1])
    sampling = find_point_sampling(acquired)
    assert sampling.cell.shift == 1
    taps = sampling.cell.taps(Kernel(n_pe=2, n_ro=3))
    lattice = on_lattice(SHAPE, sampling.cell, sampling.offset)
    inner = np.argwhere(lattice[8:-8, 8:-8]) + 8
    for place in inner[:: len(inner) // 20]:
        assert all(lattice[tuple(place + tap)] for tap in taps)


@pytest.mark.parametrize("cell", [*CELLS, Cell(n_pe=3, n_pe2=3, shift=2)])
def test_points_fold_where_it_is_said_that_they_do(cell):
    shape = (36, 36)
    image = torch.zeros((1, *shape), dtype=torch.complex64)
    image[0, 5, 7] = 1.0
    lattice = torch.from_numpy(on_lattice(shape, cell, (18, 18)))
    folded = to_image(torch.where(lattice, to_kspace(image), 0))[0].abs() > 0.5 / cell.acceleration
    sampling = find_point_sampling(lattice.numpy())
    said = [[sampling.fold_distance(row - 5, column - 7) for column in range(36)] for row in range(36)]
    assert int(folded.sum()) == cell.acceleration
    assert torch.equal(torch.tensor(said) < 0.01, folded)


@pytest.mark.parametrize("cell", [*CELLS, Cell(n_pe=3, n_pe2=1)])
def test_from_half_a_cell_farther_the_acquired_points_are_what_is_missing(cell):
    sampling = find_point_sampling(sampled(cell))
    farther = sampling.farther()
    apart = np.array(farther.offset) - sampling.offset
    assert tuple(apart) == (cell.n_pe // 2, cell.n_pe2 // 2)
    targets = np.zeros(SHAPE, bool)
    targets.flat[farther.gaps.targets[:, 2]] = True
    assert targets[sampling.judged_points()].all()


def test_beyond_the_plane_there_is_nothing():
    ones = torch.ones((2, 4, 5), dtype=torch.complex64)
    offsets = np.array([(0, 0), (-1, 0), (0, 1), (40, 40)])
    seen = gathered(ones, torch.tensor([(0, 4), (1, 1)]), offsets)
    assert seen[0].real.tolist() == [[1, 0, 0, 0]] * 2
    assert seen[1].real.tolist() == [[1, 1, 1, 0]] * 2


def test_points_beyond_the_area_stay_zero(plane):
    acquired = sampled(CELLS[0], elliptical=True)
    found, _ = filled(plane, acquired, "raki")
    beyond = torch.from_numpy(~find_point_sampling(acquired).meant)
    assert not found[:, beyond].any()


def test_partial_fourier_in_both_directions_is_filled_where_something_lies_opposite(plane):
    acquired = sampled(CELLS[1], partial_fourier=(0.75, 0.875))
    found, report = filled(plane, acquired)
    assert report.sampling.acceleration == 4
    meant = find_point_sampling(acquired).meant
    missing = missing_side(meant)
    assert not found[:, torch.from_numpy(~meant & ~missing)].any()
    zeros = torch.where(torch.from_numpy(missing), 0, found)
    assert error(found, plane) < 0.7 * error(zeros, plane)


def test_a_separate_calibration_block_serves_as_well(plane):
    acquired = sampled(CELLS[0], n_acs=0)
    inside, _ = filled(plane, sampled(CELLS[0], n_acs=16))
    apart, _ = filled(plane, acquired, load_acs=lambda _: plane[:, 12:28, 14:30])
    assert error(apart, plane) < 2 * error(inside, plane)


def test_without_a_calibration_block_points_cant_be_filled(plane):
    with pytest.raises(NoCalibration, match="at least 3 x 3 points at R=2 x 2"):
        filled(plane, sampled(CELLS[0], n_acs=0))


def test_a_block_that_is_too_small_for_a_kernel_says_what_it_needs():
    with pytest.raises(NoCalibration, match="2 x 12 points"):
        acs_point_examples(complex_noise((2, 2, 12)), Kernel(n_pe=2, n_ro=2), Cell(n_pe=2, n_pe2=2))


def test_published_networks_say_that_they_fill_lines(plane):
    with pytest.raises(UnsupportedScan, match="raki2019 fills lines"):
        filled(plane, sampled(CELLS[0]), "raki2019")


def test_nothing_is_filled_where_no_point_is_missing(plane):
    acquired = np.ones(SHAPE, bool)
    found, report = filled(plane, acquired, "raki")
    assert torch.equal(found, plane)
    assert report.sampling.acceleration == 1
    assert "nothing was filled" in report.notes[0]


def test_lines_as_points_are_filled_as_lines_are(plane):
    """R along one direction alone: the kernels of points come as near as those of lines."""
    acquired = sampled(Cell(n_pe=2, n_pe2=1), n_acs=0)
    acquired[12:28] = True
    sampling = find_point_sampling(acquired)
    assert sampling.cell == Cell(n_pe=2, n_pe2=1)
    measured = measured_slice(
        torch.where(torch.from_numpy(acquired), plane, 0), plane[:, 12:28], sampling,
        sigma=None, device=torch.device("cpu")
    )  # fmt: skip
    grappa = calibrated_grappa(measured.acs, sampling.gap)
    assert error(grappa.filled(measured), plane) < 0.01
