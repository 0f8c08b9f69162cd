"""What a report says about the choice between candidates, and when it warns."""

import pytest
import torch

from raki.kspace.filling import UNTRIED, HeldOutErrors, Judgement
from raki.kspace.sampling import find_sampling
from raki.kspace.verdict import FEW_ACS_LINES, HIGH_ACCELERATION, verdict_of


def judgement(chosen="raki", grappa=0.4, linear=0.2, network=0.1, *, judged=True):
    errors = HeldOutErrors(grappa=grappa, linear=linear, network=network) if judged else None
    return Judgement(chosen=chosen, errors=errors, trial=UNTRIED)


def verdict(*judgements, acceleration=3, n_coils=8, n_acs_lines=24, noise_measured=True, sigmas=None):
    return verdict_of(
        judgements or [judgement()],
        sigmas or [1.0] * max(1, len(judgements)),
        find_sampling(torch.arange(40) % acceleration == 0),
        n_coils=n_coils,
        n_acs_lines=n_acs_lines,
        noise_measured=noise_measured,
    )


def test_a_good_scan_has_no_warnings():
    assert verdict().warnings == ()
    assert verdict(n_acs_lines=FEW_ACS_LINES, acceleration=HIGH_ACCELERATION).warnings == ()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"n_acs_lines": FEW_ACS_LINES - 1}, "ACS has only 15 lines for R=3"),
        ({"n_coils": 2}, "R=3 with 2 coils"),
        ({"acceleration": HIGH_ACCELERATION + 1}, "R=7 is high"),
        ({"noise_measured": False}, "no noise samples"),
    ],
)
def test_each_weakness_has_its_own_warning(change, named):
    (warning,) = verdict(**change).warnings
    assert named in warning


def test_slices_that_fell_back_are_counted_in_a_warning():
    (warning,) = verdict(judgement("grappa"), judgement(), judgement("grappa")).warnings
    assert "In 2 slices" in warning


def test_errors_are_means_over_judged_slices_of_what_filled_each():
    found = verdict(
        judgement("raki", 0.5, 0.1, 0.9),
        judgement("raki with branch", 0.4, 0.9, 0.3),
        judgement("grappa", 0.6, 0.9, 0.9),
        judgement(judged=False),
    )
    assert found.held_out_error == pytest.approx((0.1 + 0.3 + 0.6) / 3)
    assert found.grappa_held_out_error == pytest.approx((0.5 + 0.4 + 0.6) / 3)
    assert found.n_slices_by_choice == {"raki": 2, "raki with branch": 1, "grappa": 1}
    assert "0.333 (GRAPPA: 0.500)" in found.notes()[1]


def test_without_lines_to_judge_by_no_error_is_named():
    found = verdict(judgement(judged=False))
    assert (found.held_out_error, found.grappa_held_out_error) == (None, None)
    assert len(found.notes()) == 1


def test_the_note_counts_slices_that_kept_the_branch():
    assert "kept in no slice" in verdict(judgement()).notes()[0]
    assert "kept in 1 of 2 slices" in verdict(judgement("raki with branch"), judgement()).notes()[0]


def test_one_slice_without_signal_does_not_set_the_noise_level():
    assert verdict(judgement(), judgement(), judgement(), sigmas=[0.0, 2.0, 3.0]).noise_sigma == 2.0
