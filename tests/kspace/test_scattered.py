"""Points on no lattice: where they were meant to be, which planes are told, and what is filled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.coils import root_sum_of_squares
from raki.errors import NoCalibration, UnsupportedScan
from raki.images.metrics import object_mask
from raki.kspace.completion import complete_slices
from raki.kspace.fill_scattered import MOST_COILS
from raki.phantom import phantom_kspace
from raki.phantom.volume import sampled_points, scattered_points
from raki.planning import (
    PointSampling,
    ScatteredSampling,
    find_plane_sampling,
    find_scattered_sampling,
    plans_of_planes,
    shared_block,
)
from raki.scan.fourier import to_image
from tests.kspace.simulated_slices import complex_noise

SHAPE = (44, 40)


def points(rate=4.0, n_acs=16, *, shape=SHAPE, seed=0, **others):
    return scattered_points(shape, rate, n_acs, seed=seed, **others)[0]


@pytest.fixture(scope="module")
def plane():
    kspace = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=8, matrix=44)[0])
    kspace = kspace[:, :, 2:42]
    return kspace + 0.002 * complex_noise(tuple(kspace.shape))


def filled(plane, acquired, method="raki", **others):
    result = {}
    report = complete_slices(
        1,
        lambda _: torch.where(torch.from_numpy(acquired), plane, torch.nan),
        result.__setitem__,
        method,
        plans=plans_of_planes(acquired, 1),
        device="cpu",
        **others,
    )
    return result[0], report


def error(found, plane):
    return float((found - plane).abs().square().sum() / plane.abs().square().sum())


@settings(max_examples=8, deadline=None)
@given(rate=st.floats(2, 6), elliptical=st.booleans(), seed=st.integers(0, 50))
def test_random_points_keep_the_rate_and_the_block_and_their_own_distance(rate, elliptical, seed):
    acquired = points(rate, 12, elliptical=elliptical, seed=seed)
    rows, columns = np.ogrid[:44, :40]
    area = np.hypot((rows - 22) / 22, (columns - 20) / 20) <= 1 if elliptical else np.ones(SHAPE, bool)
    assert acquired[16:28, 14:26].all()
    assert area.sum() / acquired.sum() == pytest.approx(rate, rel=0.15)
    outside = acquired.copy()
    outside[16:28, 14:26] = False
    assert not (outside & ~area).any()


def test_all_points_among_acquired_ones_were_meant_and_corners_were_not():
    acquired = points(4, elliptical=True)
    found = find_plane_sampling(acquired)
    assert isinstance(found, ScatteredSampling)
    assert (acquired <= found.meant).all()
    assert not found.meant[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert 0.75 < found.meant.mean() < 0.92
    assert find_plane_sampling(points(4)).meant.all()


def test_a_side_that_nobody_acquired_was_not_meant():
    acquired = points(4)
    acquired[:11] = False
    found = find_scattered_sampling(acquired)
    assert not found.meant[:8].any()
    assert found.meant[12:].all()
    assert found.block == (14, 30, 12, 28)


def test_a_lattice_stays_one_and_a_lost_point_makes_it_none():
    lattice, _ = sampled_points(SHAPE, (2, 2), 1, 16)
    assert isinstance(find_plane_sampling(lattice), PointSampling)
    lattice[4, 5 if lattice[4, 5] else np.flatnonzero(lattice[4])[3]] = False
    found = find_plane_sampling(lattice)
    assert isinstance(found, ScatteredSampling)
    assert found.meant.all()


def test_frames_are_lattices_only_where_each_is_one_of_the_same_cell():
    block = np.zeros(SHAPE, bool)
    block[14:30, 12:28] = True
    first, second = (block | (np.add.outer(np.arange(44) % 2 == turn, np.zeros(40, bool))) for turn in (0, 1))
    kinds = [type(plan.sampling) for plan in plans_of_planes(np.stack([first, second]), 6)]
    assert kinds == [PointSampling] * 6
    mixed = plans_of_planes(np.stack([first, points()]), 2)
    assert [type(plan.sampling) for plan in mixed] == [ScatteredSampling] * 2
    assert [plan.acquired.sum() for plan in mixed] == [first.sum(), points().sum()]


def test_too_few_points_are_refused_with_their_numbers_and_their_frame():
    few = np.zeros(SHAPE, bool)
    few[18:26, 16:24] = few[0, 0] = few[43, 39] = few[0, 39] = few[43, 0] = True
    few[3, 7] = few[30, 2] = few[11, 33] = True
    with pytest.raises(UnsupportedScan, match=r"71 of 1760 points of frame 1 were acquired, .* R=24.8; .* up to R=12"):
        plans_of_planes(np.stack([points(), few]), 2)
    with pytest.raises(UnsupportedScan, match=r"71 of 1760 points were acquired"):
        plans_of_planes(few, 1)


def test_frames_share_a_block_only_where_one_lacks_its_own():
    own = np.stack([points(seed=1), points(seed=2)])
    assert shared_block(own) is None
    halves = own.copy()
    halves[0, ::2] = halves[1, 1::2] = False
    assert shared_block(halves) == (14, 30, 12, 28)


def test_acquired_points_come_back_bit_for_bit_and_the_others_near(plane):
    acquired = points()
    zeros, _ = filled(plane, acquired, "zero_filled")
    spirit, by_spirit = filled(plane, acquired, "grappa")
    sparse, report = filled(plane, acquired, with_maps=True)
    known = torch.from_numpy(acquired)
    for found in (zeros, spirit, sparse):
        assert torch.equal(found[:, known], plane[:, known])
    assert error(spirit, plane) < 0.2 * error(zeros, plane)
    assert error(sparse, plane) < 1.02 * error(spirit, plane)
    assert report.scattered.held_out_error <= by_spirit.scattered.held_out_error < 1
    assert report.scattered.linear_held_out_error == by_spirit.scattered.held_out_error
    images, reference = (root_sum_of_squares(to_image(each)) for each in (sparse, plane))
    inside = object_mask(reference)
    off = (images - reference)[inside].abs() / report.maps[0].standard_error[inside]
    assert float((off < 1.96).float().mean()) > 0.85
    assert "lie on no lattice" in " ".join(report.notes)
    assert filled(plane, acquired, "raki_linear")[0].equal(spirit)


def test_beyond_the_outermost_points_zeros_stay(plane):
    acquired = points(elliptical=True)
    found, report = filled(plane, acquired, "grappa")
    beyond = torch.from_numpy(~find_plane_sampling(acquired).meant)
    assert not found[:, beyond].any()
    assert report.scattered.area == pytest.approx(1 - float(beyond.float().mean()))


def test_more_coils_are_compressed_and_what_was_acquired_is_not(plane):
    mixing = torch.linalg.qr(complex_noise((20, 20)))[0][:, :8]
    many = torch.einsum("mc,cpr->mpr", mixing, plane)
    acquired = points()
    found, report = filled(many, acquired, "grappa")
    known = torch.from_numpy(acquired)
    assert torch.equal(found[:, known], many[:, known])
    assert report.scattered.n_coils == MOST_COILS
    few, _ = filled(plane, acquired, "grappa")
    assert error(found, many) < 1.5 * error(few, plane)


def test_noise_alone_is_left_as_it_is():
    noise, acquired = complex_noise((4, *SHAPE)), points()
    found, report = filled(noise, acquired, with_maps=True)
    assert torch.equal(found, torch.where(torch.from_numpy(acquired), noise, 0))
    assert report.scattered.n_by_filling == {"zeros": 1}
    assert len(report.maps) == 1


def test_the_same_seed_gives_the_same_bits(plane):
    one, other = (filled(plane, points(), seed=4)[0] for _ in range(2))
    assert torch.equal(one, other)


def test_a_small_block_is_refused_with_its_size_and_one_apart_will_do(plane):
    acquired = points(n_acs=6, seed=3)
    with pytest.raises(NoCalibration, match=r"at least 8 x 8 points .* there are [67] x \d"):
        filled(plane, acquired)
    found, _ = filled(plane, acquired, "grappa", load_acs=lambda _: plane[:, 14:30, 12:28].contiguous())
    assert error(found, plane) < 0.2 * error(torch.where(torch.from_numpy(acquired), plane, 0), plane)


@pytest.mark.parametrize("method", ["raki2019", "rraki", "iraki"])
def test_methods_of_lattices_are_refused_by_name(plane, method):
    with pytest.raises(UnsupportedScan, match=f"{method} fills regular undersampling.*grappa, raki_linear, raki"):
        filled(plane, points(), method)
