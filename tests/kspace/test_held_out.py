"""Held-out lines are never seen by what they judge, and judge rightly."""

from dataclasses import replace

import pytest
import torch

from raki.kspace.completion import complete
from raki.kspace.held_out import hold_out
from raki.kspace.self_calibration import first_fit, self_calibrated
from tests.kspace.test_self_calibration import ACCELERATION, measured_slice, phantom


@pytest.fixture(scope="module")
def scan():
    return measured_slice(phantom(), sigma=0.002, n_acs_lines=21)


def held_out(measured):
    return measured.known & ~hold_out(measured).measured.known


def test_outer_acs_lines_are_held_out_but_never_the_lattice(scan):
    _, measured = scan
    lines = held_out(measured).nonzero().flatten().tolist()
    first, stop = measured.sampling.acs_lines
    assert lines
    assert all(line % ACCELERATION for line in lines)
    assert all(first <= line < first + 3 or stop - 3 <= line < stop for line in lines)
    kept = hold_out(measured).measured.acs
    assert kept.shape[1] < measured.acs.shape[1]


def test_what_held_out_lines_hold_changes_no_fit(scan):
    _, measured = scan
    out = held_out(measured)
    poisoned = measured.kspace.clone()
    poisoned[:, out] = torch.nan
    first, stop = measured.sampling.acs_lines
    fills = []
    for kspace in (measured.kspace, poisoned):
        kept_back = hold_out(replace(measured, kspace=kspace, acs=kspace[:, first:stop])).measured
        fits = self_calibrated(kept_back, first_fit(kept_back), n_rounds=2, seed=0)
        fills += [[kept_back.filled_by(fit.predict) for fit in fits]]
    for clean, blind in zip(*fills, strict=True):
        assert torch.equal(clean, blind)
        assert torch.isfinite(blind).all()


def test_a_perfect_prediction_has_no_error_and_none_at_all_has_its_whole_energy(scan):
    _, measured = scan
    kept_back = hold_out(measured)
    truth = kept_back.truth.flatten(2)
    assert kept_back.error(lambda _: truth) == 0
    assert kept_back.error(lambda _: torch.zeros_like(truth)) == pytest.approx(1)
    assert kept_back.error(lambda _: 1.5 * truth) == pytest.approx(0.25)


def test_the_error_is_that_of_the_filled_held_out_lines(scan):
    full, measured = scan
    kept_back, out = hold_out(measured), held_out(measured)
    fit = first_fit(kept_back.measured)
    wrong = (kept_back.measured.filled_by(fit.predict) - full)[:, out].norm() ** 2
    assert kept_back.error(fit.predict) == pytest.approx(float(wrong / full[:, out].norm() ** 2), rel=1e-4)
    assert float(kept_back.errors(fit.predict).sum()) == pytest.approx(float(wrong), rel=1e-4)


def test_lines_that_were_not_held_out_are_not_judged(scan):
    _, measured = scan
    kept_back = hold_out(measured)
    truth = kept_back.truth.clone()
    truth.movedim(1, -1).movedim(1, -1)[~kept_back.judged] += 100
    assert kept_back.error(lambda _: truth.flatten(2)) == 0


@pytest.mark.parametrize("n_acs_lines", [4, 5])
def test_a_short_acs_can_spare_no_line(n_acs_lines):
    assert hold_out(measured_slice(phantom(), n_acs_lines=n_acs_lines)[1]) is None


def test_an_acs_that_begins_and_ends_on_the_lattice_can_be_kept_back_or_not_but_breaks_nothing():
    _, measured = measured_slice(phantom(), n_acs_lines=13)
    assert {line % ACCELERATION for line in (measured.sampling.acs_lines[0], measured.sampling.acs_lines[1] - 1)} == {0}
    kept_back = hold_out(measured)
    assert kept_back is None or kept_back.judged.any()


def test_a_separate_acs_is_no_part_of_what_is_filled():
    assert hold_out(measured_slice(phantom(), n_acs_lines=21, separate=True)[1]) is None


def test_an_acs_at_the_end_of_what_was_acquired_spares_only_lines_that_have_a_gap():
    """Beyond the last lattice line nothing is filled, so nothing there can be judged."""
    sampled = torch.arange(64) % 4 == 0
    sampled[24:47] = True
    sampled[47:] = False
    noise = torch.randn(3, 64, 40, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    filled, report = complete(torch.where(sampled[:, None], noise, 0))
    assert not filled[:, 47:].any()
    assert report.cross_validation.held_out_error is not None
