"""Fill a slice by weights of an earlier scan: what spares a later one its calibration lines, at the same position.

A kernel says how the coils see the object in one place. Carried to the next slice it is worse than what eight lines of
the scan itself teach; at the same place, with another contrast, it is about as good, and where a scan has no
calibration lines it is all there is (benchmarks/README.md). So nothing is taken on trust: the weights predict acquired
lines of the scan as they did those of their own, or they don't fill it; and where the scan can be calibrated too, they
fill it only where they predict its acquired lines better than what was fitted to those does.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from raki.errors import NoCalibration
from raki.kspace.explanation import explain
from raki.kspace.linear_fit import KernelWeights, LinearFilling
from raki.kspace.measured import MeasuredSlice, measured_slice, unit_scale
from raki.kspace.method import FillSettings, SliceReport, StoredUse
from raki.kspace.mistakes import lattice_error, lattice_noise, relative_mistakes
from raki.kspace.raki import LINEAR, PLAIN_GRAPPA, maps_of, mean_kept, rung_of
from raki.planning import PointSampling, Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

# Of the error of predicting acquired lines, less what noise makes of it, over that in the scan of the weights. Of a
# phantom of 8 coils and heads of 16, R of 2 to 4: in the same place, with another contrast and up to three times the
# noise, all 36 cases pass, at 0.25 to 0.83 of what is let pass; of other slices one in 15 does (0.92; others up to 29).
MOST_GROWTH = 1.5
# Less than this of the lines' energy is no error to tell places by.
LEAST_ERROR = 0.004

StoredWeights = Callable[[int], KernelWeights | None]
"""The weights for an image by its number; None where there are none for it."""
Own = Callable[[FillSettings], tuple[SliceKSpace, SliceReport]]
"""Fills the slice by what it teaches itself."""


def fill_by_stored(
    weights: KernelWeights,
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling | PointSampling,
    settings: FillSettings,
    own: Own | None,
    *,
    is_judged: bool = True,
) -> tuple[SliceKSpace, SliceReport]:
    """The slice filled by stored weights, as they filled their own scan; or by its own, where these are better.

    Args:
        acs: empty where there is none.
        own: None where the slice can't be calibrated.
        is_judged: whether the slice is calibrated too where it can be, and the better kernel taken; else stored weights
            that hold fill it, in a fraction of the time.

    Raises:
        NoCalibration: the weights don't hold here, and there is nothing else.
    """
    if weights.gap != sampling.gap:
        if own is None:
            raise NoCalibration(f"{_of_another_gap(weights, sampling)}, and there are no lines to calibrate on")
        return own(settings)
    scale = unit_scale(acs, kspace)
    sigma = None if settings.sigma is None else settings.sigma / scale
    measured = measured_slice(kspace / scale, acs / scale, sampling, sigma=sigma, device=settings.device)
    linear = weights.filling(settings.device)
    use = StoredUse(
        is_used=True,
        error=lattice_error(measured, linear),
        error_then=weights.lattice_error,
        noise=lattice_noise(measured, linear, settings.seed),
    )
    if own is None and not holds(use):
        raise NoCalibration(f"{_misfit(use)}, and the scan has too few lines to calibrate on by itself")
    if own is None or (holds(use) and not is_judged):
        return _filled(weights, linear, measured, scale, settings, use)
    filled, report = own(replace(settings, with_weights=True))
    use = replace(
        use,
        judged=relative_mistakes(linear.filled(measured), sampling, linear),
        own_judged=_own_error(report, measured),
    )
    if holds(use) and _is_better(use):
        return _filled(weights, linear, measured, scale, settings, use)
    kept = report.weights if settings.with_weights else None
    return filled, replace(report, weights=kept, stored=replace(use, is_used=False))


def holds(use: StoredUse) -> bool:
    """Whether the weights predict the acquired lines of the scan about as well as those of their own."""
    if use.error is None or use.error_then is None:
        return False
    return use.error <= _most(use.error_then, use.noise)


def _most(error_then: float, noise: float | None) -> float:
    """The largest error that is let pass."""
    return max(MOST_GROWTH * error_then, LEAST_ERROR) + (noise or 0.0)


def about_stored(reports: Sequence[SliceReport]) -> Iterator[str]:
    """Sentences on how many images were filled by stored weights, and by what numbers."""
    uses = [report.stored for report in reports if report.stored is not None]
    taken, left = [use for use in uses if use.is_used], [use for use in uses if not use.is_used]
    if taken:
        yield (
            f"{len(taken)} of {len(reports)} images were filled by stored weights. {_growth(taken)}"
            + ("" if all(use.own_judged is None for use in taken) else _beside_own(taken))
        )
    if left:
        yield (
            f"{len(left)} of {len(reports)} images, for which there are stored weights, were calibrated on their own. "
            f"{_growth(left)}{_beside_own(left)}"
        )
    n_without = len(reports) - len(uses)
    if n_without:
        yield f"For {n_without} of {len(reports)} images there are no stored weights that fit; they were calibrated."


def _filled(
    weights: KernelWeights,
    linear: LinearFilling,
    measured: MeasuredSlice,
    scale: float,
    settings: FillSettings,
    use: StoredUse,
) -> tuple[SliceKSpace, SliceReport]:
    rung = rung_of(measured, linear, weights.filled_by, weights.strength, seed=settings.seed)
    error = use.judged
    if error is None:
        error = relative_mistakes(linear.filled(measured), measured.lattice, linear)
    estimated = measured.noise_level.scaled(scale) if measured.noise_level else None
    name = PLAIN_GRAPPA if weights.filled_by == PLAIN_GRAPPA else LINEAR
    return rung.filled.cpu() * scale, SliceReport(
        chosen=weights.filled_by,
        held_out_errors={} if error is None else {name: error},
        structure_kept=mean_kept(rung.kept),
        sigma=measured.sigma * scale,
        noise_level=estimated,
        maps=maps_of(rung, measured, scale, settings.seed) if settings.with_maps else None,
        explanation=explain(rung.filled, measured, linear).scaled(scale) if settings.with_explanation else None,
        weights=replace(weights, lattice_error=use.error) if settings.with_weights else None,
        stored=use,
    )


def _own_error(report: SliceReport, measured: MeasuredSlice) -> float | None:
    """Of the slice's own kernel, in predicting the same lines."""
    if report.weights is None:
        return None
    linear = report.weights.filling(measured.kspace.device)
    return relative_mistakes(linear.filled(measured), measured.lattice, linear)


def _is_better(use: StoredUse) -> bool:
    """The slice's own kernel was fitted to these very lines: to be better all the same says something."""
    return use.judged is not None and use.own_judged is not None and use.judged < use.own_judged


def _of_another_gap(weights: KernelWeights, sampling: Sampling | PointSampling) -> str:
    return f"the weights are for a lattice of {weights.gap} and the scan has one of {sampling.gap}"


def _misfit(use: StoredUse) -> str:
    if use.error is None or use.error_then is None:
        return "nothing tells whether the stored weights hold here: they predict no acquired line"
    return (
        f"the stored weights don't hold here: their error in predicting acquired lines is {use.error:.2g} of these "
        f"lines' energy, and was {use.error_then:.2g} in their own scan (with the noise of this one at most "
        f"{_most(use.error_then, use.noise):.2g} is let pass)"
    )


def _growth(uses: Sequence[StoredUse]) -> str:
    told = [(use.error, use.error_then) for use in uses if use.error is not None and use.error_then is not None]
    if not told:
        return "Nothing tells how well they predict its acquired lines."
    here, then = (sum(values) / len(told) for values in zip(*told, strict=True))
    return f"They predict its acquired lines with an error of {here:.2g} of the energy ({then:.2g} in their own scan)."


def _beside_own(uses: Sequence[StoredUse]) -> str:
    told = [(use.judged, use.own_judged) for use in uses if use.judged is not None and use.own_judged is not None]
    if not told:
        return ""
    stored, own = (sum(values) / len(told) for values in zip(*told, strict=True))
    return f" Outside the ACS: {stored:.2g}, and {own:.2g} by what the images teach themselves."
