"""What a scan says of how it was filled: which rungs were chosen, how far they erred, what survives, and warnings."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, median_low

from raki.coils import NoiseLevel
from raki.kspace.method import SliceReport
from raki.kspace.raki import LINEAR, PLAIN_GRAPPA, SPARSE
from raki.planning import HIGH_ACCELERATION, AnySampling, Sampling, off_centre_warning

# Where warnings begin: beyond these nothing was measured (benchmarks/README.md has R of 2 to 6, 16 ACS lines and more).
FEW_ACS_LINES = 16
UNMEASURED_NOISE = "The scan has no noise samples; the noise level was estimated from outer k-space and the ACS."
# Energy of the error in predicting acquired lines over their own.
NO_BETTER_THAN_ZEROS = 1.0
# Less than this of a small structure, and a reader has to know.
LITTLE_KEPT = 0.8


@dataclass(frozen=True, kw_only=True)
class SliceChoice:
    """What was chosen for one image, and why; None where it wasn't measured."""

    filled_by: str
    held_out_error: float | None
    grappa_held_out_error: float | None
    structure_kept: float | None
    grappa_structure_kept: float | None


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """The choice between rungs over all slices; errors are relative energies, means over the slices judged."""

    n_slices_by_choice: Mapping[str, int]
    """"raki", "raki_linear" or "grappa" -> slices filled by it."""
    held_out_error: float | None
    """Of the linear filling that each slice was filled by, or began with, in predicting acquired lines from filled
    ones; None where none could be."""
    grappa_held_out_error: float | None
    structure_kept: float | None
    """Mean part of a small structure that survives; None where no point could be put into the slices."""
    grappa_structure_kept: float | None
    noise_measured: bool
    """Whether the noise level comes from a noise scan; else it was estimated from outer k-space and the ACS."""
    noise_sigma: float
    """Standard deviation of a complex sample's noise, in units of the k-space; median over the slices."""
    warnings: tuple[str, ...]
    """Sentences for the report."""
    by_slice: tuple[SliceChoice, ...] = ()
    """The same of each slice that was judged, in their order; of a 3-D scan, of each plane."""

    def notes(self) -> tuple[str, ...]:
        """The same as sentences."""
        found = []
        if self.structure_kept is not None and self.grappa_structure_kept is not None:
            found.append(
                f"Of a structure of one pixel {self.structure_kept:.0%} survives in the mean (GRAPPA: "
                f"{self.grappa_structure_kept:.0%}); measured by points put into the slices."
            )
        if self.held_out_error is not None and self.grappa_held_out_error is not None:
            found.append(
                f"Error energy in predicting acquired lines from filled ones, of their own: {self.held_out_error:.3f} "
                f"(GRAPPA: {self.grappa_held_out_error:.3f})."
            )
        return tuple(found)


def cross_validation_of(
    slices: Sequence[SliceReport], sampling: AnySampling, *, noise_measured: bool
) -> CrossValidation:
    """That of a scan from the reports on its slices, each of which has chosen a rung."""
    choices = Counter(str(report.chosen) for report in slices)
    chosen_errors = [_linear_error(report) for report in slices if report.held_out_errors]
    grappa_errors = [
        report.held_out_errors[PLAIN_GRAPPA] for report in slices if PLAIN_GRAPPA in report.held_out_errors
    ]
    kept = _mean(report.structure_kept for report in slices)
    # Of slices that stored weights filled, nothing was chosen here, nor calibrated.
    own = [report for report in slices if report.stored is None or not report.stored.is_used]
    return CrossValidation(
        n_slices_by_choice=dict(choices),
        held_out_error=_mean(chosen_errors),
        grappa_held_out_error=_mean(grappa_errors),
        structure_kept=kept,
        grappa_structure_kept=_mean(report.structure_kept_by_grappa for report in slices),
        noise_measured=noise_measured,
        noise_sigma=median(report.sigma for report in slices),
        warnings=(
            *_warnings_of_sampling(sampling, slices[0].n_coils, own[0].n_acs_lines if own else None),
            *(() if noise_measured else (UNMEASURED_NOISE,)),
            *_about_centre([report.brightest_line for report in slices if report.brightest_line is not None], sampling),
            *_about_uncertain_noise([report.noise_level for report in slices if report.noise_level]),
            *about_no_better_than_zeros(chosen_errors),
            *_warnings_of_choice(Counter(str(report.chosen) for report in own), kept),
        ),
        by_slice=tuple(_choice_of(report) for report in slices),
    )


def _choice_of(report: SliceReport) -> SliceChoice:
    return SliceChoice(
        filled_by=str(report.chosen),
        held_out_error=_linear_error(report) if report.held_out_errors else None,
        grappa_held_out_error=report.held_out_errors.get(PLAIN_GRAPPA),
        structure_kept=report.structure_kept,
        grappa_structure_kept=report.structure_kept_by_grappa,
    )


def _linear_error(report: SliceReport) -> float:
    """A slice that was left for GRAPPA may have had a better kernel, under which small structures faded."""
    errors = report.held_out_errors
    return errors[PLAIN_GRAPPA] if report.chosen == PLAIN_GRAPPA else min(errors.values())


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def _warnings_of_sampling(sampling: AnySampling, n_coils: int, n_acs_lines: int | None) -> list[str]:
    acceleration = sampling.acceleration
    found = []
    if n_acs_lines is not None and n_acs_lines < FEW_ACS_LINES:
        found.append(
            f"The ACS has only {n_acs_lines} lines for R={acceleration}; calibration is better with {FEW_ACS_LINES} "
            f"or more."
        )
    if acceleration > n_coils:
        found.append(f"R={acceleration} with {n_coils} coils: more lines are missing than the coils can tell apart.")
    elif acceleration > HIGH_ACCELERATION:
        found.append(f"R={acceleration} is high: look for residual folding and noise in the middle of the object.")
    return found


def about_no_better_than_zeros(errors: Sequence[float]) -> Iterator[str]:
    """A sentence where acquired lines are predicted as badly as that in any of the slices judged.

    That they are predicted better proves little: a kernel that shrinks noise errs by less than all of its energy.
    """
    bad = [error for error in errors if error >= NO_BETTER_THAN_ZEROS]
    if bad:
        yield (
            f"In {len(bad)} of {len(errors)} slices what was filled in predicts acquired lines no better than zeros do "
            f"(error {mean(bad):.2g} times their energy): these may be wrong throughout. Look at the zero-filled image "
            "beside them before anything is concluded."
        )


def _warnings_of_choice(choices: Mapping[str, int], kept: float | None) -> list[str]:
    found = []
    if PLAIN_GRAPPA in choices:
        found.append(
            f"In {choices[PLAIN_GRAPPA]} slices GRAPPA predicts acquired lines better than the self-calibrated kernel "
            f"does, or shows more of small structures; it filled them."
        )
    if LINEAR in choices and SPARSE in choices:
        found.append(
            f"In {choices[LINEAR]} slices noise could not be taken away without small structures; they were filled "
            f"linearly."
        )
    if kept is not None and kept < LITTLE_KEPT:
        found.append(
            f"Only {kept:.0%} of a structure of one pixel survives in the mean: small structures may be missed."
        )
    return found


def _about_centre(brightest_lines: Sequence[int], sampling: AnySampling) -> Iterator[str]:
    if brightest_lines and isinstance(sampling, Sampling):
        yield from off_centre_warning(sampling, median_low(brightest_lines))


def _about_uncertain_noise(levels: Sequence[NoiseLevel]) -> Iterator[str]:
    """One sentence for the scan where the estimates disagree in any slice; numbers are medians over these slices."""
    uncertain = [level for level in levels if not level.agreed]
    if uncertain:
        outer = median(level.by_outer_kspace for level in uncertain)
        patches = median(level.by_patches for level in uncertain)
        used = median(level.sigma for level in uncertain)
        yield (
            f"The noise level is uncertain in {len(uncertain)} of {len(levels)} slices: {outer:.2g} by outer k-space, "
            f"{patches:.2g} by patches of the ACS; {used:.2g} was used."
        )
