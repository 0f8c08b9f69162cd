"""Slices that don't sample the same lines: each by its own plan, and what was acquired comes back."""

import numpy as np
import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.errors import NoCalibration, UnsupportedScan
from raki.kspace import complete, complete_kspace
from raki.planning import plans_of
from raki.scan.pattern import find_pattern, without_losses
from tests.kspace.simulated_slices import acquired, full_slice, image_error

N_PE = 48


def two_slices(*masks):
    full = torch.stack([full_slice(matrix=N_PE)] * len(masks))
    sampled = torch.stack([torch.as_tensor(mask) for mask in masks])
    return full, sampled, torch.where(sampled[:, None, :, None], full, 0)


def lacking(mask, *lost):
    return torch.as_tensor(mask) & ~torch.isin(torch.arange(N_PE), torch.tensor(lost))


def test_lines_of_each_slice_are_told_by_their_samples():
    """Where the slices' lattices are shifted against each other, no line is empty in all."""
    full, _, kspace = two_slices(acquired(N_PE, 2), acquired(N_PE, 2, offset=1))
    filled = complete_kspace(kspace.numpy(), "grappa")
    for before, after, truth in zip(kspace.numpy(), filled, full, strict=True):
        np.testing.assert_array_equal(after[before != 0], before[before != 0])
        assert image_error(torch.from_numpy(after), truth) < 0.01


@pytest.mark.parametrize("method", ["grappa", "raki"])
@pytest.mark.parametrize("lost", [8, 35, 40])
def test_a_lost_line_costs_little(method, lost):
    whole, spoilt = acquired(N_PE, 2), lacking(acquired(N_PE, 2), lost)
    full, sampled, kspace = two_slices(whole, spoilt)
    filled, _ = complete(kspace, method, sampled=sampled)
    assert torch.equal(filled[1][:, spoilt], kspace[1][:, spoilt])
    sound, other = (image_error(filled[n], full[n]) for n in (0, 1))
    assert other < 2 * sound + 0.02
    alone, _ = complete(kspace[:1], method, sampled=whole)
    assert torch.equal(alone[0], filled[0])


def test_lines_are_not_thinned_to_where_too_few_calibrate():
    lost = lacking(acquired(N_PE, 3, 4), 6)
    with pytest.raises(NoCalibration, match="1 lines are missing in the pattern of every 3th"):
        complete(full_slice(matrix=N_PE), "grappa", sampled=lost)


def test_a_line_lost_of_a_coarse_lattice_is_not_filled_from_one_twice_as_coarse():
    with pytest.raises(UnsupportedScan, match="only regular undersampling"):
        plans_of(lacking(acquired(N_PE, 4), 8).numpy(), 1)


@pytest.mark.parametrize("accelerations", [(1, 2), (2, 4), (1, 4)])
def test_denser_slices_are_planned_as_the_others_and_keep_their_lines(accelerations):
    masks = [torch.as_tensor(acquired(N_PE, acceleration)) for acceleration in accelerations]
    plans = plans_of(torch.stack(masks).numpy(), 2)
    assert [plan.sampling.acceleration for plan in plans] == [max(accelerations)] * 2
    assert np.array_equal(plans[0].acquired, masks[0])
    full, sampled, kspace = two_slices(*masks)
    filled, _ = complete(kspace, "grappa", sampled=sampled)
    assert torch.equal(filled[0][:, masks[0]], full[0][:, masks[0]])


def test_accelerations_that_do_not_fit_are_refused():
    masks = torch.stack([torch.as_tensor(acquired(N_PE, acceleration)) for acceleration in (2, 3)])
    with pytest.raises(UnsupportedScan, match="R=2 and R=3"):
        plans_of(masks.numpy(), 2)


@seed(1)
@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 20), st.data())
def test_a_pattern_is_found_whichever_line_is_lost(acceleration, offset, n_acs_lines, data):
    mask = np.asarray(acquired(N_PE, acceleration, n_acs_lines, offset=offset % acceleration))
    inner = np.flatnonzero(mask)[1:-1]
    lost = data.draw(st.sampled_from(inner.tolist()))
    spoilt = mask & (np.arange(N_PE) != lost)
    found = find_pattern(spoilt)
    assert found.lost.sum() <= 1
    if found.has_losses:
        np.testing.assert_array_equal(found.lines & ~found.lost, spoilt)
        fewer = without_losses(found)
        assert fewer is None or not (fewer & ~spoilt).any()


@seed(2)
@settings(max_examples=60)
@given(st.sets(st.integers(0, N_PE - 1), min_size=12, max_size=30))
def test_lines_at_random_have_no_pattern_or_lack_hardly_one(lines):
    found = find_pattern(np.isin(np.arange(N_PE), list(lines)))
    assert found is None or found.lost.sum() <= max(1, 0.03 * found.lines.sum())
