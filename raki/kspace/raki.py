"""RAKI as this project makes it: a ladder of fillings, each kept only where the slice itself approves of it.

From GRAPPA to the self-calibrated kernel, where that predicts acquired lines better; from there to joint sparsity of
all coils, as strong as small structures survive it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from jaxtyping import Float32
from torch import Tensor

from raki.kspace.explanation import explain
from raki.kspace.frames import FrameCalibration
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.image_prior import CoilModel, SparseFilling, coil_model
from raki.kspace.linear_fit import KernelWeights, LinearFilling
from raki.kspace.measured import Filling, MeasuredSlice, measured_slice, unit_scale
from raki.kspace.method import FillSettings, SliceReport
from raki.kspace.mistakes import lattice_error, relative_mistakes
from raki.kspace.probes import Probes, put_probes
from raki.kspace.self_calibration import self_calibrated, self_calibrating_kernel
from raki.kspace.uncertainty import UncertaintyMaps, assess, survival_of
from raki.planning import PointSampling, Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace

PLAIN_GRAPPA, LINEAR, SPARSE = "grappa", "raki_linear", "raki"
"""The rungs that may fill a slice."""

# Thresholds of the joint sparsity, in units of the noise: the strongest that small structures survive is taken.
STRENGTHS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15)
# What survives of a point, relative to what GRAPPA shows of it: in the mean, and of nine in ten.
LEAST_KEPT, LEAST_KEPT_OF_MOST, MOST = 0.95, 0.85, 0.9
# GRAPPA that predicts acquired lines worse than zeros do shows structures of its own: the self-calibrated kernel has to
# be the measure.
USELESS = 1.0
# A point that GRAPPA all but loses is no measure, nor is one to which it adds its own noise.
SHOWN_BY_GRAPPA = (0.3, 1.0)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One filling and what it makes of a slice."""

    name: str
    filling: Filling
    linear: LinearFilling
    """What it begins with; itself, if it is linear."""
    filled: SliceKSpace
    sigma: float
    """Noise that explains the mistakes of the linear filling."""
    probes: Probes
    kept: Float32[Tensor, " probe"]
    """The part of each probe that it shows."""


def fill_by_raki(
    kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling | PointSampling, settings: FillSettings
) -> tuple[SliceKSpace, SliceReport]:
    """The best rung of the ladder: joint sparsity where it is approved of; returns the filled k-space on the CPU.

    Without a noise level in the settings it is estimated from outer k-space and the ACS.
    """
    return _fill(kspace, acs, sampling, settings, STRENGTHS)


def fill_by_raki_linear(
    kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling | PointSampling, settings: FillSettings
) -> tuple[SliceKSpace, SliceReport]:
    """The ladder without its last rung: linear in the acquired samples; returns the filled k-space on the CPU."""
    return _fill(kspace, acs, sampling, settings, ())


def _fill(
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling | PointSampling,
    settings: FillSettings,
    strengths: tuple[float, ...],
) -> tuple[SliceKSpace, SliceReport]:
    scale = unit_scale(acs, kspace)
    sigma = None if settings.sigma is None else settings.sigma / scale
    measured = measured_slice(kspace / scale, acs / scale, sampling, sigma=sigma, device=settings.device)
    rung, report = climbed(measured, seed=settings.seed, strengths=strengths)
    if settings.with_maps:
        report = replace(report, maps=maps_of(rung, measured, scale, settings.seed))
    if settings.with_explanation:
        explanation = explain(rung.filled, measured, rung.linear).scaled(scale)
        report = replace(report, explanation=explanation)
    if settings.with_weights:
        report = replace(report, weights=_weights(rung, measured))
    estimated = measured.noise_level.scaled(scale) if measured.noise_level else None
    report = replace(report, sigma=measured.sigma * scale, noise_level=estimated)
    if settings.with_calibration:
        kept = FrameCalibration.of(rung.filling, rung.linear, measured, scale, report)
        report = replace(report, calibration=kept)
    return rung.filled.cpu() * scale, report


def climbed(
    measured: MeasuredSlice, *, seed: int, strengths: tuple[float, ...] = STRENGTHS
) -> tuple[Rung, SliceReport]:
    """The highest rung that the slice approves of, and why; everything in the units of the slice."""
    grappa = calibrated_grappa(measured.acs, measured.lattice.gap)
    filled_by_grappa = grappa.filled(measured)
    linear, filled, errors = _better_linear(measured, grappa, filled_by_grappa, seed)
    model = coil_model(measured, filled, linear, seed)
    probes = put_probes(filled, model, measured.sampling, seed=seed)
    probed = probes.put_into(measured)
    linear_rung = partial(_linear_rung, probes=probes, probed=probed, sigma=model.sigma)
    second = linear_rung(LINEAR, linear, filled)
    lowest = linear_rung(PLAIN_GRAPPA, grappa, filled_by_grappa)
    useless = errors.get(PLAIN_GRAPPA, 0.0) >= USELESS
    by_grappa = second.kept if useless else lowest.kept
    highest = _strongest(partial(_sparse_rung, second, model, measured, probed), strengths, by_grappa)
    if highest is None and strengths and linear is not grappa and not useless:
        # What fades in the self-calibrated kernel can't come back; GRAPPA is as good a start, if a noisier one.
        other = coil_model(measured, filled_by_grappa, grappa, seed)
        highest = _strongest(partial(_sparse_rung, lowest, other, measured, probed), strengths, by_grappa)
    approved = linear is not grappa and (useless or survives(second.kept, lowest.kept))
    chosen = highest or (second if approved else lowest)
    return chosen, SliceReport(
        chosen=chosen.name,
        held_out_errors=errors,
        structure_kept=mean_kept(chosen.kept),
        structure_kept_by_grappa=mean_kept(lowest.kept),
    )


def rung_of(measured: MeasuredSlice, linear: LinearFilling, name: str, strength: float | None, *, seed: int) -> Rung:
    """The rung that a linear filling, and joint sparsity of a given strength upon it, make: nothing is chosen."""
    filled = linear.filled(measured)
    model = coil_model(measured, filled, linear, seed)
    probes = put_probes(filled, model, measured.sampling, seed=seed)
    probed = probes.put_into(measured)
    rung = _linear_rung(name, linear, filled, probes=probes, probed=probed, sigma=model.sigma)
    return rung if strength is None else _sparse_rung(rung, model, measured, probed, strength)


def _linear_rung(
    name: str, linear: LinearFilling, filled: SliceKSpace, *, probes: Probes, probed: MeasuredSlice, sigma: float
) -> Rung:
    kept = probes.kept(linear.filled(probed), filled)
    return Rung(name=name, filling=linear, linear=linear, filled=filled, sigma=sigma, probes=probes, kept=kept)


def _sparse_rung(
    below: Rung, model: CoilModel, measured: MeasuredSlice, probed: MeasuredSlice, strength: float
) -> Rung:
    """Joint sparsity of some strength on top of a linear rung."""
    filling = SparseFilling(model=model, strength=strength)
    filled = filling.refined(measured, below.filled)
    kept = below.probes.kept(filling.refined(probed, model.linear.filled(probed)), filled)
    return replace(below, name=SPARSE, filling=filling, filled=filled, sigma=model.sigma, kept=kept)


def _strongest(
    sparse: Callable[[float], Rung], strengths: Sequence[float], by_grappa: Float32[Tensor, " probe"]
) -> Rung | None:
    """The strongest that small structures survive, by bisection: what survives a strength survives all milder ones."""
    found, first, stop = None, 0, len(strengths)
    while first < stop:
        middle = (first + stop) // 2
        rung = sparse(strengths[middle])
        if survives(rung.kept, by_grappa):
            found, stop = rung, middle
        else:
            first = middle + 1
    return found


def survives(kept: Float32[Tensor, " probe"], by_grappa: Float32[Tensor, " probe"]) -> bool:
    """Whether small structures stay as visible as GRAPPA shows them; not, where no probe tells."""
    if not len(kept):
        return False
    ratio = kept.clamp(max=1) / by_grappa.clamp(*SHOWN_BY_GRAPPA)
    return float(ratio.mean()) >= LEAST_KEPT and float(ratio.quantile(1 - MOST)) >= LEAST_KEPT_OF_MOST


def _better_linear(
    measured: MeasuredSlice, grappa: LinearFilling, filled_by_grappa: SliceKSpace, seed: int
) -> tuple[LinearFilling, SliceKSpace, dict[str, float]]:
    """The linear filling that predicts acquired lines all over k-space better, the slice by it, and how well each did.

    Where no line can be predicted, the self-calibrated one, and no errors.
    """
    self_made = self_calibrated(measured, grappa, self_calibrating_kernel(measured), seed=seed)
    filled = self_made.filled(measured)
    found = {
        PLAIN_GRAPPA: relative_mistakes(filled_by_grappa, measured.lattice, grappa),
        LINEAR: relative_mistakes(filled, measured.lattice, self_made),
    }
    errors = {name: error for name, error in found.items() if error is not None}
    if errors and errors[PLAIN_GRAPPA] < errors[LINEAR]:
        return grappa, filled_by_grappa, errors
    return self_made, filled, errors


def mean_kept(kept: Float32[Tensor, " probe"]) -> float | None:
    """The mean part of a small structure that is shown, 0 to 1; None where no probe tells."""
    return float(kept.clamp(min=0, max=1).mean()) if len(kept) else None


def _weights(rung: Rung, measured: MeasuredSlice) -> KernelWeights:
    strength = rung.filling.strength if isinstance(rung.filling, SparseFilling) else None
    error = lattice_error(measured, rung.linear)
    return KernelWeights.of(rung.linear, measured.lattice.gap, rung.name, strength=strength, lattice_error=error)


def maps_of(rung: Rung, measured: MeasuredSlice, scale: float, seed: int) -> UncertaintyMaps:
    """Of the noise and errors of a rung, in units of the k-space; the slice is in units of `scale`."""
    # In the units of the fit, where no square leaves the range of float32.
    n_pe, n_ro = measured.kspace.shape[1:]
    survival = survival_of(rung.probes, rung.kept, (n_pe, n_ro))
    maps = assess(rung.filled, measured, rung.filling, rung.linear, survival, sigma=rung.sigma, seed=seed)
    return UncertaintyMaps(
        g_factor=maps.g_factor.cpu(),
        standard_error=maps.standard_error.cpu() * scale,
        structure_kept=maps.structure_kept.cpu(),
    )
