"""What a report says about the choice between rungs, and when it warns."""

from dataclasses import replace

import pytest
import torch

from raki.formats import read_scan
from raki.images import reconstruct
from raki.kspace import complete
from raki.kspace.cross_validation import FEW_ACS_LINES, LITTLE_KEPT, cross_validation_of
from raki.kspace.method import SliceReport
from raki.kspace.sampling import find_sampling
from raki.phantom import simulate_volume
from raki.planning import HIGH_ACCELERATION
from raki.prepare import preprocess
from tests.kspace.simulated_slices import acquired, full_slice


def slice_report(chosen="raki", grappa=0.4, linear=0.2, *, judged=True, kept=0.95, kept_by_grappa=0.97):
    errors = {"grappa": grappa, "raki_linear": linear} if judged else {}
    return SliceReport(
        chosen=chosen,
        held_out_errors=errors,
        structure_kept=kept,
        structure_kept_by_grappa=kept_by_grappa,
        sigma=1.0,
    )


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
    assert warning.startswith("In 2 slices GRAPPA ")


def test_slices_that_kept_their_noise_are_counted_where_others_lost_it():
    (warning,) = cross_validation(slice_report("raki_linear"), slice_report()).warnings
    assert warning.startswith("In 1 slices noise could not be taken away")
    assert cross_validation(slice_report("raki_linear")).warnings == (), "nobody asked for more than that"


@pytest.mark.parametrize(("errors", "warned"), [((0.99, 0.99), False), ((0.2, 0.1, 1.1), True), ((), False)])
def test_it_warns_where_zeros_would_have_predicted_as_well(errors, warned):
    reports = [slice_report(grappa=2.0, linear=error) for error in errors] or [slice_report(judged=False)]
    warnings = cross_validation(*reports).warnings
    assert [each.startswith("In 1 of 3 slices what was filled in predicts") for each in warnings] == [True] * warned


@pytest.mark.parametrize("method", ["grappa", "raki"])
def test_a_slab_of_too_few_partitions_to_skip_some_is_named(tmp_path, method):
    """Six of them, every second skipped: what is filled in is worse than nothing."""
    simulate_volume(tmp_path / "v.h5", n_partitions=6, n_coils=6, matrix=32, acceleration=(2, 2), n_acs=12)
    scan = preprocess(read_scan(tmp_path / "v.h5"))
    named = reconstruct(scan, method=method, with_maps=False, device="cpu").notes
    assert any("no better than zeros" in note for note in named)
    _, report = complete(full_slice(matrix=48) * acquired(48, 3, 16)[:, None], method, device="cpu")
    assert not any("no better than zeros" in note for note in report.notes)


@pytest.mark.parametrize(("kept", "warned"), [(LITTLE_KEPT, False), (LITTLE_KEPT - 0.01, True), (None, False)])
def test_a_reader_has_to_know_that_small_structures_fade(kept, warned):
    warnings = cross_validation(slice_report(kept=kept)).warnings
    assert [f"Only {LITTLE_KEPT - 0.01:.0%} of a structure" in each for each in warnings] == [True] * warned


def test_errors_are_means_over_judged_slices_of_what_each_was_filled_by_or_began_with():
    found = cross_validation(
        slice_report("raki", 0.5, 0.1),
        slice_report("raki", 0.3, 0.9),  # the sparse filling began with GRAPPA
        slice_report("grappa", 0.4, 0.2),  # the better kernel was left, since structures faded under it
        slice_report(judged=False),
    )
    assert found.held_out_error == pytest.approx((0.1 + 0.3 + 0.4) / 3)
    assert found.grappa_held_out_error == pytest.approx((0.5 + 0.3 + 0.4) / 3)
    assert found.n_slices_by_choice == {"raki": 3, "grappa": 1}
    assert "0.267 (GRAPPA: 0.400)" in found.notes()[1]


def test_what_is_kept_is_the_mean_over_the_slices_that_points_told_of():
    found = cross_validation(
        slice_report(kept=0.9, kept_by_grappa=0.95),
        slice_report(kept=0.96, kept_by_grappa=0.97),
        slice_report(kept=None, kept_by_grappa=None),
    )
    assert (found.structure_kept, found.grappa_structure_kept) == (pytest.approx(0.93), pytest.approx(0.96))
    assert "93% survives in the mean (GRAPPA: 96%)" in found.notes()[0]


def test_what_was_not_measured_is_not_named():
    found = cross_validation(slice_report(judged=False, kept=None, kept_by_grappa=None))
    assert (found.held_out_error, found.grappa_held_out_error, found.structure_kept) == (None, None, None)
    assert found.notes() == ()


def test_one_slice_without_signal_does_not_set_the_noise_level():
    assert cross_validation(*(replace(slice_report(), sigma=sigma) for sigma in (0.0, 2.0, 3.0))).noise_sigma == 2.0
