"""What a report says about the choice between candidates, and when it warns."""

from dataclasses import replace

import pytest
import torch

from raki.coils import NoiseLevel
from raki.kspace.cross_validation import FEW_ACS_LINES, HIGH_ACCELERATION, cross_validation_of
from raki.kspace.method import SliceReport
from raki.kspace.sampling import find_sampling


def slice_report(chosen="raki", grappa=0.4, linear=0.2, network=0.1, *, judged=True):
    errors = {"grappa": grappa, "raki": linear, "raki with branch": network} if judged else {}
    return SliceReport(chosen=chosen, held_out_errors=errors, sigma=1.0)


def cross_validation(*reports, acceleration=3, n_coils=8, n_acs_lines=24, noise_measured=True):
    return cross_validation_of(
        [replace(each, n_coils=n_coils, n_acs_lines=n_acs_lines) for each in reports or [slice_report()]],
        find_sampling(torch.arange(40) % acceleration == 0),
        noise_measured=noise_measured,
    )


def test_a_good_scan_has_no_warnings():
    assert cross_validation().warnings == ()
    assert cross_validation(n_acs_lines=FEW_ACS_LINES, acceleration=HIGH_ACCELERATION).warnings == ()


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
    (warning,) = cross_validation(**change).warnings
    assert named in warning


def test_slices_that_fell_back_are_counted_in_a_warning():
    (warning,) = cross_validation(slice_report("grappa"), slice_report(), slice_report("grappa")).warnings
    assert "In 2 slices" in warning


def test_errors_are_means_over_judged_slices_of_what_filled_each():
    found = cross_validation(
        slice_report("raki", 0.5, 0.1, 0.9),
        slice_report("raki with branch", 0.4, 0.9, 0.3),
        slice_report("grappa", 0.6, 0.9, 0.9),
        slice_report(judged=False),
    )
    assert found.held_out_error == pytest.approx((0.1 + 0.3 + 0.6) / 3)
    assert found.grappa_held_out_error == pytest.approx((0.5 + 0.4 + 0.6) / 3)
    assert found.n_slices_by_choice == {"raki": 2, "raki with branch": 1, "grappa": 1}
    assert "0.333 (GRAPPA: 0.500)" in found.notes()[1]


def test_without_lines_to_judge_by_no_error_is_named():
    found = cross_validation(slice_report(judged=False))
    assert (found.held_out_error, found.grappa_held_out_error) == (None, None)
    assert len(found.notes()) == 1


def test_the_note_counts_slices_that_kept_the_branch():
    assert "kept in no slice" in cross_validation(slice_report()).notes()[0]
    assert "kept in 1 of 2 slices" in cross_validation(slice_report("raki with branch"), slice_report()).notes()[0]


def test_one_slice_without_signal_does_not_set_the_noise_level():
    assert cross_validation(*(replace(slice_report(), sigma=sigma) for sigma in (0.0, 2.0, 3.0))).noise_sigma == 2.0


def test_an_uncertain_noise_level_is_one_sentence_for_the_scan():
    """With what either estimate says, over the slices where they disagree."""
    agreed = NoiseLevel(sigma=1.0, by_patches=0.9, by_outer_kspace=1.0)
    uncertain = NoiseLevel(sigma=2.0, by_patches=0.5, by_outer_kspace=2.0)
    sure, doubtful = (replace(slice_report(), noise_level=level) for level in (agreed, uncertain))
    assert cross_validation(sure, sure).warnings == ()
    (warning,) = cross_validation(sure, doubtful, doubtful).warnings
    assert "uncertain in 2 of 3 slices: 2 by outer k-space, 0.5 by patches of the ACS; 2 was used" in warning
