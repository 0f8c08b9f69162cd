"""What held-out lines say of a filled scan: which candidates were chosen, how far they erred, and warnings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from raki.kspace.method import SliceReport
from raki.kspace.raki import PLAIN_GRAPPA, WITH_BRANCH
from raki.kspace.sampling import Sampling

# Where warnings begin: beyond these nothing was measured (benchmarks/README.md has R of 2 to 6, 16 ACS lines and more).
FEW_ACS_LINES = 16
HIGH_ACCELERATION = 6


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """The choice between candidates over all slices; errors are relative energies, means over the slices judged."""

    n_slices_by_choice: Mapping[str, int]
    """"raki", "raki with branch" or "grappa" -> slices filled by it."""
    held_out_error: float | None
    """Of what filled the slices, on ACS lines held out; None where the ACS has none to spare."""
    grappa_held_out_error: float | None
    noise_measured: bool
    """Whether the noise level comes from a noise scan; else it was estimated from the ACS."""
    noise_sigma: float
    """Standard deviation of a complex sample's noise, in units of the k-space; median over the slices."""
    warnings: tuple[str, ...]
    """Sentences for the report."""

    def notes(self) -> tuple[str, ...]:
        """The same as sentences."""
        n_slices = sum(self.n_slices_by_choice.values())
        n_branch = self.n_slices_by_choice.get(WITH_BRANCH, 0)
        kept = f"in {n_branch} of {n_slices} slices" if n_branch else "in no slice"
        branch = (
            f"The network's nonlinear branch was kept {kept}; where it doesn't predict held-out ACS lines better, the "
            f"self-calibrated linear part stands alone."
        )
        if self.held_out_error is None or self.grappa_held_out_error is None:
            return (branch,)
        return (
            branch,
            f"Error energy on ACS lines held out, of their own: {self.held_out_error:.3f} (GRAPPA: "
            f"{self.grappa_held_out_error:.3f}). They lie next to the bright centre, where GRAPPA does best.",
        )


def cross_validation_of(slices: Sequence[SliceReport], sampling: Sampling, *, noise_measured: bool) -> CrossValidation:
    """That of a scan from the reports on its slices, each of which has chosen a candidate."""
    judged = [(report.held_out_errors, str(report.chosen)) for report in slices if report.held_out_errors]
    choices = Counter(str(report.chosen) for report in slices)
    return CrossValidation(
        n_slices_by_choice=dict(choices),
        held_out_error=mean(errors[chosen] for errors, chosen in judged) if judged else None,
        grappa_held_out_error=mean(errors[PLAIN_GRAPPA] for errors, _ in judged) if judged else None,
        noise_measured=noise_measured,
        noise_sigma=median(report.sigma for report in slices),
        warnings=tuple(_warnings(choices, sampling, slices[0].n_coils, slices[0].n_acs_lines, noise_measured)),
    )


def _warnings(
    choices: Mapping[str, int], sampling: Sampling, n_coils: int, n_acs_lines: int, noise_measured: bool
) -> list[str]:
    acceleration = sampling.acceleration
    found = []
    if n_acs_lines < FEW_ACS_LINES:
        found.append(
            f"The ACS has only {n_acs_lines} lines for R={acceleration}; calibration is better with {FEW_ACS_LINES} "
            f"or more."
        )
    if acceleration > n_coils:
        found.append(f"R={acceleration} with {n_coils} coils: more lines are missing than the coils can tell apart.")
    elif acceleration > HIGH_ACCELERATION:
        found.append(f"R={acceleration} is high: look for residual folding and noise in the middle of the object.")
    if not noise_measured:
        found.append("The scan has no noise samples; the noise level was estimated from the ACS.")
    if PLAIN_GRAPPA in choices:
        found.append(
            f"In {choices[PLAIN_GRAPPA]} slices held-out ACS lines spoke against the network; plain GRAPPA filled them."
        )
    return found
