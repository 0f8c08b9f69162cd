"""Linear interpolation: what it reads, where it writes, and that it finds a linear relation that exists."""

import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.coils.noise_level import estimate_sigma
from raki.errors import NoCalibration
from raki.kspace.linear_fit import LinearFilling, NormalEquations, calibrate
from raki.kspace.patches import Examples, Kernel, acs_examples, examples_at, interpolate, sources_at
from raki.kspace.sampling import find_sampling
from tests.kspace.simulated_slices import complex_noise, few_waves, undersampled

KERNEL = Kernel(n_pe=2, n_ro=5)


@seed(0)
@settings(max_examples=20, deadline=None)
@given(st.integers(2, 5), st.integers(1, 6), st.integers(0, 100))
def test_point_objects_are_recovered_whatever_the_acceleration_and_offset(acceleration, n_coils, number):
    full = few_waves(n_coils, 40, 24, number=number)
    sampled = torch.zeros(40, dtype=torch.bool)
    sampled[number % acceleration :: acceleration] = True
    sampled[14:28] = True
    sampling = find_sampling(sampled)
    first, stop = sampling.acs_lines
    fit = calibrate(acs_examples(full[:, first:stop], KERNEL, acceleration), ridge=1e-6)
    filled = interpolate(torch.where(sampled[:, None], full, 0), sampling, KERNEL, fit.predict)
    between = slice(*sampling.acquired_range)
    inner = slice(KERNEL.n_ro // 2, -(KERNEL.n_ro // 2))  # at the ends of the readout a neighbour is missing
    error = (filled - full)[:, between, inner].norm() / full[:, between, inner].norm()
    assert error < 0.02


@pytest.mark.parametrize("kernel", [KERNEL, Kernel(n_pe=4, n_ro=3)])
def test_sources_are_the_neighbours_that_the_kernel_names(kernel):
    kspace = complex_noise((3, 20, 9))
    sources = sources_at(kspace, [3, 6], kernel, 3)
    assert sources.shape == (2, 9, 3 * kernel.n_pe * kernel.n_ro)
    half = kernel.n_ro // 2
    lines = [6 + 3 * tap for tap in range(kernel.first_tap(), kernel.first_tap() + kernel.n_pe)]
    torch.testing.assert_close(sources[1, 4], kspace[:, lines, 4 - half : 5 + half].flatten())


def test_sources_beyond_the_edge_are_zero():
    sources = sources_at(torch.ones(1, 4, 5, dtype=torch.complex64), [3], KERNEL, 2)
    assert sources[0, 2].tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert sources[0, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]


def test_only_gaps_change():
    sampled = torch.zeros(30, dtype=torch.bool)
    sampled[5:24:4] = True
    kspace = torch.where(sampled[:, None], complex_noise((2, 30, 12)), 0)
    filled = interpolate(kspace, find_sampling(sampled), KERNEL, lambda rows: torch.ones(*rows.shape[:2], 6) + 0j)
    assert torch.equal(filled[:, sampled], kspace[:, sampled])
    assert not filled[:, :5].any()
    assert not filled[:, 22:].any(), "line 21 is the last of the lattice, farther than R from the border"
    assert (filled[:, 5:22][:, ~sampled[5:22]] == 1).all()


def test_the_gaps_at_the_borders_get_the_targets_that_belong_there():
    sampled = torch.zeros(12, dtype=torch.bool)
    sampled[2::4] = True
    kspace = torch.where(sampled[:, None], torch.ones(1, 12, 5), 0) + 0j
    filled = interpolate(
        kspace, find_sampling(sampled), KERNEL, lambda rows: torch.tensor([2.0, 3, 4]).expand(*rows.shape[:2], 3) + 0j
    )
    assert filled[0, :, 0].real.tolist() == [3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2]


def test_no_rows_have_no_targets_and_rows_without_signal_targets_without_signal():
    fit = calibrate(acs_examples(complex_noise((2, 12, 30)), KERNEL, 2), ridge=1e-3)
    assert fit.predict(torch.zeros(0, 20, dtype=torch.complex64)).shape == (0, 2)
    assert fit.predict(torch.zeros(0, 7, 20, dtype=torch.complex64)).shape == (0, 7, 2)
    assert not fit.predict(torch.zeros(3, 20, dtype=torch.complex64)).any()


@pytest.mark.parametrize("ridge", [1e-4, 1e-2, 1.0])
def test_the_fit_is_the_ridge_regression_of_the_examples(ridge):
    """By another road: as many rows more, of the root of the ridge times the mean energy, that want zero."""
    examples = acs_examples(complex_noise((2, 12, 30)), KERNEL, 2).flat()
    n_features = examples.sources.shape[-1]
    damping = (ridge * float(examples.sources.abs().square().sum()) / n_features) ** 0.5
    rows = torch.cat([examples.sources, damping * torch.eye(n_features)])
    wanted = torch.cat([examples.targets, torch.zeros(n_features, examples.targets.shape[-1])])
    expected = torch.linalg.lstsq(rows, wanted).solution
    torch.testing.assert_close(calibrate(examples, ridge=ridge).coefficients, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(
        calibrate(examples, ridge=1e-3).with_ridge(ridge).coefficients, expected, rtol=1e-3, atol=1e-5
    )


def test_with_a_floor_rows_count_by_their_relative_error():
    """A row a thousand times as bright that wants something else changes next to nothing; without it, all."""
    faint = Examples(sources=complex_noise((200, 4), 1), targets=complex_noise((200, 4), 1) @ complex_noise((4, 2), 2))
    bright = 1000 * complex_noise((1, 4), 3)
    both = Examples(
        sources=torch.cat([faint.sources, bright]),
        targets=torch.cat([faint.targets, bright @ complex_noise((4, 2), 4)]),
    )
    wanted = calibrate(faint, ridge=1e-6).coefficients
    plain, floored = (calibrate(both, ridge=1e-6, row_floor=floor).coefficients for floor in (None, 1e-3))
    assert float((floored - wanted).norm()) < 0.1 * float(wanted.norm()) < float((plain - wanted).norm())


def test_a_filling_keeps_what_was_acquired_inside_a_gap():
    full = few_waves(4, 40, 24)
    measured = undersampled(full / full.abs().max(), 4, 12, sigma=0.0)
    filling = LinearFilling(kernel=KERNEL, fit=calibrate(acs_examples(measured.acs, KERNEL, 4), ridge=1e-3))
    filled = filling.fill(measured.kspace, measured.sampling)
    assert not torch.equal(filled[:, measured.known[:, 0]], measured.kspace[:, measured.known[:, 0]])
    kept = filling.filled(measured)
    assert torch.equal(kept, torch.where(measured.known, measured.kspace, filled))


@pytest.mark.parametrize("row_floor", [None, 0.3])
def test_sums_of_two_sets_are_those_of_both_together(row_floor):
    one, other = (Examples(sources=complex_noise((n, 6), n), targets=complex_noise((n, 4), n + 1)) for n in (30, 50))
    together = Examples(
        sources=torch.cat([one.sources, other.sources]), targets=torch.cat([one.targets, other.targets])
    )
    added = NormalEquations.of(one, row_floor).plus(NormalEquations.of(other, row_floor))
    wanted = NormalEquations.of(together, row_floor)
    torch.testing.assert_close(added.covariance, wanted.covariance)
    torch.testing.assert_close(added.correlation, wanted.correlation)


@pytest.mark.parametrize("kernel", [KERNEL, Kernel(n_pe=4, n_ro=3)])
def test_examples_at_every_place_of_a_block_are_those_of_the_block(kernel):
    block = complex_noise((3, 14, 11))
    wanted = acs_examples(block, kernel, 3)
    n_lines, n_samples = wanted.sources.shape[:2]
    places = torch.arange(n_lines * n_samples)
    first_line, first_sample = -kernel.first_tap() * 3, kernel.n_ro // 2
    found = examples_at(block, first_line + places // n_samples, first_sample + places % n_samples, kernel, 3)
    torch.testing.assert_close(found.sources, wanted.flat().sources)
    torch.testing.assert_close(found.targets, wanted.flat().targets)


def test_too_short_an_acs_names_the_lines_needed():
    with pytest.raises(NoCalibration, match=r"ACS has 4 lines .* at least 5 lines"):
        acs_examples(complex_noise((2, 4, 20)), KERNEL, 4)


@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_noise_level_is_found_beside_the_signal(sigma):
    acs = few_waves(8, 24, 64) + sigma * complex_noise((8, 24, 64), 1)
    assert estimate_sigma(acs) == pytest.approx(sigma, rel=0.15)


def test_components_keep_their_phase_when_coils_change_places():
    """An eigenvector is found up to a phase, and the routine that finds it chooses one by the order of the coils."""
    examples = acs_examples(complex_noise((3, 12, 30)), KERNEL, 2)
    order = torch.randperm(examples.sources.shape[-1], generator=torch.Generator().manual_seed(0))
    fit = calibrate(examples, ridge=1e-3)
    reordered = calibrate(Examples(sources=examples.sources[..., order], targets=examples.targets), ridge=1e-3)
    torch.testing.assert_close(reordered.basis, fit.basis[order], rtol=0, atol=1e-3)
    torch.testing.assert_close(reordered.weights, fit.weights, rtol=0, atol=1e-3 * float(fit.weights.abs().max()))
