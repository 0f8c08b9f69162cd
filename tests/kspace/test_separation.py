"""Slices excited at once come apart, and what is said about it is true."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.errors import NoCalibration, UnsupportedScan
from raki.kspace import separation
from raki.kspace.caipi import collapsed, demodulated, modulated
from raki.kspace.separation import SEPARATIONS, SLICE_RAKI, Tried, agreement, calibrate_separation, residual
from raki.kspace.slice_grappa import LinearSeparation, band_examples, slice_equations, split_equations
from raki.kspace.slice_raki import trained
from raki.planning import Kernel
from raki.scan.fourier import to_image
from tests.kspace.simultaneous import simulated_group

# Measured on this phantom, plus a third: energy of the error over that of the slices, by slices at once and R.
PASS_MARK = {(2, 1): 0.010, (3, 1): 0.021, (2, 2): 0.030}
KERNEL = Kernel(n_pe=3, n_ro=5)


@functools.cache
def group_and_calibration(n_bands=2, step=1):
    group = simulated_group(n_bands=n_bands, shift=n_bands, step=step)
    return group, calibrate_separation(group.reference, group.turns, step)


@pytest.mark.parametrize(("n_bands", "step"), PASS_MARK)
def test_the_slices_come_out_of_their_sum(n_bands, step):
    group, calibrated = group_and_calibration(n_bands, step)
    assert group.error(calibrated.separate(group.measured)) < PASS_MARK[n_bands, step]


@settings(max_examples=20)
@given(st.integers(2, 4), st.integers(8, 15), st.floats(-1, 1), st.integers(0, 9))
def test_modulation_keeps_the_energy_and_is_undone(n_bands, n_pe, turn, seed):
    generator = torch.Generator().manual_seed(seed)
    slices = torch.randn((n_bands, 2, n_pe, 4), generator=generator, dtype=torch.complex64)
    turns = tuple(turn * band for band in range(n_bands))
    torch.testing.assert_close(demodulated(modulated(slices, turns), turns), slices)
    torch.testing.assert_close(modulated(slices, turns).abs(), slices.abs())
    torch.testing.assert_close(modulated(slices, turns)[:, :, n_pe // 2], slices[:, :, n_pe // 2])


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(0, 9))
def test_a_turn_of_one_nth_shifts_by_one_nth_of_the_field_of_view(nth, seed):
    slices = torch.randn((2, 2, 12, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.complex64)
    shifted = to_image(modulated(slices, (0.0, 1 / nth)))
    torch.testing.assert_close(shifted[1], to_image(slices)[1].roll(-12 // nth, dims=-2), atol=1e-5, rtol=1e-4)


def test_turns_of_another_number_of_slices_are_refused():
    with pytest.raises(ValueError, match="turns of 1 slices were given, and k-space of 2"):
        collapsed(torch.ones((2, 1, 4, 4), dtype=torch.complex64), (0.0,))


def test_the_slices_summed_again_lack_what_the_residual_says():
    group, calibrated = group_and_calibration()
    apart = calibrated.separate(group.measured)
    again = collapsed(apart, group.turns)
    lacking = float((again - group.measured).abs().square().sum() / group.measured.abs().square().sum())
    assert residual(group.measured, apart, group.turns) == pytest.approx(lacking, rel=1e-3)
    assert lacking < 0.005


def test_lines_that_were_not_acquired_stay_empty():
    group, calibrated = group_and_calibration(step=2)
    apart = calibrated.separate(group.measured)
    empty = torch.ones(apart.shape[2], dtype=torch.bool)
    empty[group.lines] = False
    assert not apart[:, :, empty].any()
    assert apart[:, :, group.lines].any()


def test_separation_reads_acquired_lines_only_and_refuses_others():
    group, calibrated = group_and_calibration(step=2)
    measured = group.measured.clone()
    measured[:, 1] = 1
    with pytest.raises(UnsupportedScan, match="not every 2th and none between"):
        calibrated.separate(measured)


@pytest.mark.parametrize("n_bands", [2, 4])
def test_without_shift_and_with_coils_that_see_alike_nothing_tells_slices_apart(n_bands):
    group = simulated_group(n_bands=n_bands)
    # One profile for all coils and slices, but of another strength in each coil.
    one_coil = group.reference[:, :1] * torch.arange(1, 7)[:, None, None]
    noise = 0.02 * torch.randn(one_coil.shape, generator=torch.Generator().manual_seed(1), dtype=torch.complex64)
    with pytest.raises(UnsupportedScan, match="nothing tells them apart"):
        calibrate_separation(one_coil + noise, (0.0,) * n_bands, 1)


def test_a_slice_of_air_keeps_nothing_from_being_told_apart():
    """At the top of a head there is nothing but noise, and noise leaks as it likes."""
    group = simulated_group(n_bands=2, shift=2)
    noise = torch.randn(group.reference[1].shape, generator=torch.Generator().manual_seed(1), dtype=torch.complex64)
    reference = torch.stack([group.reference[0], group.sigma * noise])
    calibrated = calibrate_separation(reference, group.turns, 1)
    assert calibrated.leakage[0, 1] == 0
    measured = collapsed(torch.stack([group.truth[0], torch.zeros_like(group.truth[0])]), group.turns)
    agreed = agreement(calibrated.separate(measured), reference)
    assert agreed[1] == 1.0
    assert agreed[0] > 0.9


def test_a_shift_tells_apart_what_coils_tell_less_well():
    errors = {}
    for shift in (1, 2):
        group = simulated_group(shift=shift, places_mm=(10, 22))
        errors[shift] = Tried.on(group.reference, group.turns, 1).errors
    assert errors[2]["split_slice_grappa"] < 0.6 * errors[1]["split_slice_grappa"]


def test_a_reference_that_is_too_short_is_refused_with_the_lines_needed():
    group = simulated_group(n_acs=4)
    with pytest.raises(NoCalibration, match=r"has 4 lines of 32 samples; .* at R=2 at least 5 lines"):
        calibrate_separation(group.reference, (0.0, 0.25), 2)


def test_the_split_kernel_leaks_less_than_the_slice_kernel():
    group = simulated_group(n_bands=3, shift=3)
    examples = band_examples(modulated(group.reference, group.turns), KERNEL, 1)
    leaked = {}
    for equations in (slice_equations, split_equations):
        separation = LinearSeparation(kernel=KERNEL, fit=equations(examples, None).solved(ridge=1e-4), n_bands=3)
        alone = torch.zeros_like(group.truth)
        alone[1] = group.truth[1]
        apart = separation.separated(collapsed(alone, group.turns))
        leaked[equations] = float(apart[[0, 2]].abs().square().sum())
    assert leaked[split_equations] < 0.9 * leaked[slice_equations]


def test_leakage_is_no_less_than_what_leaks_of_slices_without_noise():
    group, calibrated = group_and_calibration(n_bands=3)
    for source in range(3):
        alone = torch.zeros_like(group.truth)
        alone[source] = group.truth[source]
        apart = calibrated.separate(collapsed(alone, group.turns))
        shown = (apart.abs().square().sum(dim=(1, 2, 3)) / group.truth[source].abs().square().sum()).sqrt()
        shown[source] = 0
        assert (shown < 1.2 * calibrated.leakage[:, source] + 1e-6).all()
        assert (shown > 0.1 * calibrated.leakage[:, source] - 1e-6).all()
    assert not calibrated.leakage.diagonal().any()


def test_gaussian_noise_grows_as_the_kernels_say():
    group = simulated_group()
    examples = band_examples(modulated(group.reference, group.turns), KERNEL, 1)
    linear = LinearSeparation(kernel=KERNEL, fit=split_equations(examples, None).solved(ridge=1e-3), n_bands=2)
    calibrated = separation.Calibrated(
        separation=linear,
        chosen="split_slice_grappa",
        held_out_errors={},
        leakage=torch.zeros(2, 2),
        turns=group.turns,
        step=1,
    )
    norm = float((linear.fit.coefficients.abs().square().sum() / (2 * 6)).sqrt())
    gains = [calibrated.noise_gain(group.measured, sigma) for sigma in (0.02, 2.0)]
    assert gains == pytest.approx([norm, norm], rel=0.05)


def test_each_candidate_is_judged_and_the_least_error_is_chosen(monkeypatch):
    group, calibrated = group_and_calibration()
    assert set(calibrated.held_out_errors) == set(SEPARATIONS)
    linear = {name: error for name, error in calibrated.held_out_errors.items() if name != SLICE_RAKI}
    if calibrated.chosen != SLICE_RAKI:
        assert calibrated.chosen == min(linear, key=linear.__getitem__)
    monkeypatch.setattr(separation, "LEAST_GAIN", 1e9)
    assert calibrate_separation(group.reference, group.turns, 1).chosen == SLICE_RAKI


def test_the_network_learns_what_a_linear_kernel_leaves_and_scales_with_the_scan():
    group = simulated_group(sigma=0)
    examples = band_examples(modulated(group.reference, group.turns), KERNEL, 1)
    linear = LinearSeparation(kernel=KERNEL, fit=split_equations(examples, None).solved(ridge=1e-2), n_bands=2)
    network = trained(linear, examples, seed=0)
    rows = examples.of_sum
    errors = [float((way.predict(rows.sources) - rows.targets).abs().square().sum()) for way in (linear, network)]
    assert errors[1] < 0.9 * errors[0]
    torch.testing.assert_close(network.separated(4 * group.measured), 4 * network.separated(group.measured))
    again = trained(linear, examples, seed=0)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(network.layers, again.layers, strict=True))


def test_the_scale_of_a_scan_changes_nothing():
    scale = 3.7e-6
    group, calibrated = group_and_calibration()
    scaled = calibrate_separation(group.reference * scale, group.turns, 1)
    assert scaled.chosen == calibrated.chosen
    torch.testing.assert_close(
        scaled.separate(group.measured * scale) / scale, calibrated.separate(group.measured), atol=1e-3, rtol=1e-2
    )
