"""The ladder: no rung is taken that the slice doesn't approve of, and what is taken is no worse than GRAPPA."""

from dataclasses import replace

import pytest
import torch

from raki.kspace import raki
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.image_prior import SparseFilling
from raki.kspace.linear_fit import LinearFilling
from raki.kspace.raki import LINEAR, PLAIN_GRAPPA, SPARSE, climbed, survives
from tests.kspace.simulated_slices import complex_noise, full_slice, image_error, undersampled

ABSURD = (1e3, 3e2)


@pytest.fixture(scope="module")
def full():
    return full_slice("vessels", n_coils=8, snr=30)


@pytest.fixture(scope="module")
def measured(full):
    return undersampled(full, 3)


@pytest.fixture(scope="module")
def highest(measured):
    return climbed(measured, seed=0)


def grappa_of(measured):
    return calibrated_grappa(measured.acs, measured.sampling.gap)


def fading(filling, part):
    """A filling that shows `part` of what it fills."""
    return replace(filling, fit=replace(filling.fit, weights=part * filling.fit.weights))


def over_grappa(full, measured, **settings):
    """Error of the rung climbed over that of GRAPPA."""
    rung, _ = climbed(measured, seed=0, **settings)
    return image_error(rung.filled, full) / image_error(grappa_of(measured).filled(measured), full)


def test_each_rung_is_better_than_the_one_below_where_nothing_speaks_against_it(full, measured, highest):
    rung, report = highest
    assert rung.name == report.chosen == SPARSE
    assert isinstance(rung.filling, SparseFilling)
    grappa, linear, sparse = (
        image_error(filled, full)
        for filled in (grappa_of(measured).filled(measured), rung.linear.filled(measured), rung.filled)
    )
    assert sparse < 0.8 * linear < linear < grappa


def test_the_rung_tells_what_it_did(measured, highest):
    rung, report = highest
    assert torch.equal(rung.filled, rung.filling.filled(measured))
    assert torch.equal(rung.kept, rung.probes.kept(rung.filling.filled(rung.probes.put_into(measured)), rung.filled))
    assert report.structure_kept == pytest.approx(float(rung.kept.clamp(max=1).mean()))
    assert report.structure_kept_by_grappa > 0.5
    assert report.held_out_errors[LINEAR] < report.held_out_errors[PLAIN_GRAPPA] < 1


@pytest.mark.parametrize("strengths", [raki.STRENGTHS, (), ABSURD])
def test_acquired_lines_come_back_bit_for_bit_whichever_rung(full, measured, strengths):
    rung, _ = climbed(measured, seed=0, strengths=strengths)
    assert torch.equal(rung.filled[:, measured.known[:, 0]], full[:, measured.known[:, 0]])


def test_strengths_under_which_structures_fade_are_refused(measured, highest):
    """And the linear filling taken, as if there were none at all."""
    rung, report = climbed(measured, seed=0, strengths=ABSURD)
    without, _ = climbed(measured, seed=0, strengths=())
    assert rung.name == report.chosen == LINEAR
    assert torch.equal(rung.filled, without.filled)
    absurd = SparseFilling(model=highest[0].filling.model, strength=ABSURD[-1])
    probes = highest[0].probes
    kept = probes.kept(absurd.filled(probes.put_into(measured)), absurd.filled(measured))
    assert float(kept.mean()) < 0.8


def test_the_strongest_that_structures_survive_is_taken(measured, highest):
    """Every one of them tried, where the ladder tries half of them."""
    rung, _ = highest
    probed, grappa = rung.probes.put_into(measured), grappa_of(measured)
    by_grappa = rung.probes.kept(grappa.filled(probed), grappa.filled(measured))
    approved = []
    for strength in (*ABSURD, *raki.STRENGTHS):
        filling = SparseFilling(model=rung.filling.model, strength=strength)
        if survives(rung.probes.kept(filling.filled(probed), filling.filled(measured)), by_grappa):
            approved.append(strength)
    assert climbed(measured, seed=0, strengths=(*ABSURD, *raki.STRENGTHS))[0].filling.strength == max(approved)


def test_a_linear_filling_under_which_structures_fade_is_left_for_grappa(monkeypatch, measured):
    """Though it were to predict acquired lines better."""
    made = fading(grappa_of(measured), 0.3)
    monkeypatch.setattr(raki, "self_calibrated", lambda _measured, _start, _kernel, **_: made)
    monkeypatch.setattr(raki, "relative_mistakes", lambda _filled, _sampling, filling: 0.1 if filling is made else 0.2)
    rung, report = climbed(measured, seed=0, strengths=())
    assert rung.name == report.chosen == PLAIN_GRAPPA
    assert rung.linear is rung.filling
    assert torch.equal(rung.filled, grappa_of(measured).filled(measured))


def test_a_linear_filling_that_predicts_acquired_lines_worse_is_left_for_grappa(monkeypatch, measured):
    monkeypatch.setattr(raki, "self_calibrated", lambda _measured, start, _kernel, **_: fading(start, 0.6))
    rung, report = climbed(measured, seed=0, strengths=())
    assert rung.name == report.chosen == PLAIN_GRAPPA
    assert report.held_out_errors[PLAIN_GRAPPA] < report.held_out_errors[LINEAR]
    assert torch.equal(rung.filled, grappa_of(measured).filled(measured))


def test_grappa_that_predicts_worse_than_zeros_is_no_measure_and_no_way_back(monkeypatch, measured):
    """What it shows of points is its own mistakes; though less of them is left than counts of any GRAPPA."""
    made = fading(grappa_of(measured), -1.0)
    monkeypatch.setattr(raki, "self_calibrated", lambda _measured, _start, _kernel, **_: made)
    monkeypatch.setattr(raki, "relative_mistakes", lambda _filled, _sampling, filling: 0.9 if filling is made else 1.1)
    rung, report = climbed(measured, seed=0, strengths=())
    assert float(rung.kept.mean()) < 0.3
    assert rung.name == report.chosen == LINEAR


def test_where_no_line_can_be_predicted_the_self_calibrated_kernel_is_taken_and_no_error_named():
    """Outside the ACS there is line 0 alone."""
    measured = undersampled(full_slice(matrix=32), 2, 28)
    rung, report = climbed(measured, seed=0, strengths=())
    assert not report.held_out_errors
    assert rung.name in (LINEAR, PLAIN_GRAPPA)
    assert isinstance(rung.filling, LinearFilling)


@pytest.mark.parametrize("believed", [0.5, 2.0])
def test_a_noise_level_that_is_wrong_changes_little(full, measured, highest, believed):
    rung, _ = climbed(replace(measured, sigma=believed * measured.sigma), seed=0)
    right = image_error(highest[0].filled, full)
    assert image_error(rung.filled, full) == pytest.approx(right, rel=0.1)
    assert rung.sigma == pytest.approx(highest[0].sigma, rel=0.05)


def test_line_pairs_at_the_resolution_of_the_scan_are_no_worse_than_grappas():
    """Bars of two pixels through four coils: two lines of a kernel don't know, and a threshold could take them."""
    full = full_slice("line_pairs", n_coils=4, matrix=64, snr=60)
    assert over_grappa(full, undersampled(full, 2, 20)) < 0.8


@pytest.mark.parametrize("n_coils", [2, 4])
@pytest.mark.parametrize("name", ["head", "disks", "vessels"])
def test_few_coils_are_no_worse_off_than_with_grappa(name, n_coils):
    full = full_slice(name, n_coils=n_coils, snr=60)
    measured = undersampled(full, 2)
    assert over_grappa(full, measured) <= 1
    assert over_grappa(full, measured, strengths=()) <= 1


@pytest.mark.parametrize(("name", "matrix", "acceleration"), [("head", 96, 2), ("disks", 96, 3)])
def test_a_folded_object_is_no_worse_off_than_with_grappa(name, matrix, acceleration):
    """Every second line of a wider scan: the field of view is too small, and each pixel shows two places."""
    full = full_slice(name, n_coils=8, matrix=matrix, snr=60)[:, ::2]
    assert over_grappa(full, undersampled(full, acceleration)) <= 1


@pytest.mark.parametrize("strengths", [raki.STRENGTHS, ()])
def test_same_seed_same_bits_and_another_seed_about_the_same(full, measured, strengths):
    first, again, other = (climbed(measured, seed=seed, strengths=strengths)[0] for seed in (0, 0, 1))
    assert torch.equal(first.filled, again.filled)
    assert torch.equal(first.kept, again.kept)
    assert not torch.equal(first.filled, other.filled)
    assert image_error(other.filled, full) == pytest.approx(image_error(first.filled, full), rel=0.1)


def test_noise_alone_is_filled_with_numbers():
    rung, report = climbed(undersampled(complex_noise((3, 40, 24)), 2), seed=0)
    assert torch.isfinite(rung.filled).all()
    assert report.structure_kept is None or 0 <= report.structure_kept <= 1
