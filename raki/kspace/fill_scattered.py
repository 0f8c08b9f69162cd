"""Planes whose points lie on no lattice, filled by SPIRiT, and by joint sparsity of all coils on top of it.

The choice is the plane's own. One in twelve of the acquired points outside the calibration block is withheld; ridge and
steps of SPIRiT, and the threshold of the joint sparsity, are those that predict these best. A threshold is only taken
where points put into the plane stay as visible as SPIRiT alone shows them, and nothing is filled where zeros predict
the withheld points no worse.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex64
from torch import Tensor

from raki.coils import svd_compression
from raki.kspace.explanation import explain
from raki.kspace.image_prior import CoilModel, SparseFilling, coil_model
from raki.kspace.measured import Filling, LinearlyFilling, MeasuredSlice, measured_slice, unit_scale
from raki.kspace.method import FillSettings, SliceReport
from raki.kspace.mistakes import LEAST_PROBE, white_noise
from raki.kspace.probes import Probes, put_probes
from raki.kspace.raki import STRENGTHS, survives
from raki.kspace.scattered import SPIRIT, SPIRIT_SPARSE, ZEROS, ScatteredFill
from raki.kspace.spirit import SpiritKernel, kernel_side, most_coils, solved, solved_after
from raki.kspace.uncertainty import UncertaintyMaps, assess, survival_of
from raki.planning import AnySampling, ScatteredSampling
from raki.scan.fourier import SliceAcs, SliceKSpace

# A matrix of all coils for each pixel: more coils than these, or than the block is large enough for, are compressed.
MOST_COILS = 16
# Exact data choose the least ridge and many steps; noise the largest, and few: what the coils don't tell is told last.
RIDGES = (1e-4, 1e-2)
STEPS = (8, 16, 30)
USUAL_RIDGE, USUAL_STEPS = 1e-2, 16
# One in so many of the points outside the block is withheld, of so many at least.
WITHHELD, LEAST_OUTSIDE = 12, 60
# Where R is high SPIRiT's filling is worth less than GRAPPA's on a lattice: it is held on to less, and left more steps.
TRUST, N_STEPS = 0.005, 40
# Of STRENGTHS, the one that is tried first.
FIRST_TRIED = 2


@dataclass(frozen=True, kw_only=True)
class SpiritFilling:
    """A kernel as it acts on images, and how long it is iterated."""

    consistency: Complex64[Tensor, "pixel coil source_coil"]
    n_steps: int

    def fill(self, kspace: SliceKSpace, sampling: AnySampling) -> SliceKSpace:
        """What lies among the acquired points of a zero-filled plane filled; they come back as they are."""
        known, meant = (
            torch.from_numpy(mask).to(kspace.device) for mask in (sampling.known_points(), sampling.meant_points())
        )
        return torch.where(meant, solved(kspace, known, self.consistency, n_steps=self.n_steps), 0)

    def filled(self, measured: MeasuredSlice) -> SliceKSpace:
        """The plane with its gaps filled, acquired points as they came."""
        return measured.keeping_known(self.fill(measured.kspace, measured.sampling))


@dataclass(frozen=True, kw_only=True)
class LeftZero:
    """Fills nothing."""

    def fill(self, kspace: SliceKSpace, sampling: AnySampling) -> SliceKSpace:
        """The acquired points, and zeros."""
        return torch.where(torch.from_numpy(sampling.known_points()).to(kspace.device), kspace, 0)

    def filled(self, measured: MeasuredSlice) -> SliceKSpace:
        """The plane as it was acquired."""
        return torch.where(measured.known, measured.kspace, 0)


@dataclass(frozen=True, kw_only=True)
class Withheld:
    """A plane without some of its acquired points, which are known all the same."""

    points: Bool[Tensor, "pe pe2"]
    fewer: MeasuredSlice
    true: Complex64[Tensor, "coil point"]

    @classmethod
    def from_plane(cls, measured: MeasuredSlice, sampling: ScatteredSampling, seed: int) -> "Withheld | None":
        """Some of the points outside the block; None where there are too few, or no signal is in them."""
        outside = torch.from_numpy(sampling.points_outside_acs())
        chance = torch.rand(outside.shape, generator=torch.Generator().manual_seed(seed))
        points = outside & (chance < 1 / WITHHELD)
        fewer = sampling.without(points.numpy())
        points = points.to(measured.kspace.device)
        true = measured.kspace[:, points]
        if int(outside.sum()) < LEAST_OUTSIDE or not bool(true.any()):
            return None
        known = measured.known & ~points
        plane = torch.where(known, measured.kspace, 0)
        return cls(points=points, fewer=replace(measured, kspace=plane, known=known, sampling=fewer), true=true)

    def error(self, filled: SliceKSpace) -> float:
        """Energy of the error in the withheld points, over theirs."""
        return _energy(filled[:, self.points] - self.true) / _energy(self.true)


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A plane, and what filled it."""

    way: str
    filling: Filling
    linear: LinearlyFilling
    """What it begins with; itself, if it is linear."""
    kspace: SliceKSpace
    errors: dict[str, float]
    sigma: float
    """Noise that explains the mistakes in withheld points."""
    withheld_energy: float = 0.0
    n_withheld: int = 0
    """Samples of all coils."""
    probes: Probes | None = None
    kept: Tensor | None = None
    """The part of each probe that is shown."""
    kept_by_linear: Tensor | None = None


def fill_by_spirit(
    kspace: SliceKSpace, acs: SliceAcs, sampling: ScatteredSampling, settings: FillSettings
) -> tuple[SliceKSpace, SliceReport]:
    """SPIRiT alone; returns the filled k-space on the CPU.

    Lustig and Pauly 2010, Magn Reson Med 64:457-471, doi:10.1002/mrm.22428.
    """
    return _fill(kspace, acs, sampling, settings, ())


def fill_by_spirit_sparse(
    kspace: SliceKSpace, acs: SliceAcs, sampling: ScatteredSampling, settings: FillSettings
) -> tuple[SliceKSpace, SliceReport]:
    """SPIRiT, and joint sparsity where that predicts withheld points better; returns the filled k-space on the CPU."""
    return _fill(kspace, acs, sampling, settings, STRENGTHS)


def _fill(
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: ScatteredSampling,
    settings: FillSettings,
    strengths: tuple[float, ...],
) -> tuple[SliceKSpace, SliceReport]:
    scale = unit_scale(acs, kspace)
    n_coils = min(MOST_COILS, len(acs), most_coils(*acs.shape[1:]))
    compression = svd_compression(acs / scale, n_coils=n_coils)
    is_compressed = compression.n_coils_out < len(acs)
    plane, block = kspace / scale, acs / scale
    if is_compressed:
        plane, block = compression.apply(plane), compression.apply(block)
    side = kernel_side(*block.shape)
    sigma = None if settings.sigma is None else settings.sigma / scale
    measured = measured_slice(plane, block, sampling, sigma=sigma, device=settings.device)
    found = filled_plane(
        measured, sampling, side, seed=settings.seed, strengths=strengths, with_probes=settings.with_maps
    )
    made = found.kspace.cpu()
    if is_compressed:
        made = torch.einsum("vc,vpr->cpr", compression.matrix.conj(), made)
    report = SliceReport(
        sigma=measured.sigma * scale,
        scattered=ScatteredFill(
            filled_by=found.way,
            held_out_errors=found.errors,
            withheld_energy=found.withheld_energy * scale**2,
            withheld_noise=found.n_withheld * (measured.sigma * scale) ** 2,
            kernel_side=side,
            n_coils=len(block),
            lost_energy=compression.loss if is_compressed else 0.0,
            structure_kept=_share(found.kept, found.kept_by_linear),
        ),
    )
    if settings.with_maps:
        report = replace(report, maps=_maps(found, measured, scale, settings.seed))
    if settings.with_explanation:
        report = replace(report, explanation=explain(found.kspace, measured, found.linear).scaled(scale))
    return made * scale, report


def filled_plane(
    measured: MeasuredSlice,
    sampling: ScatteredSampling,
    side: int,
    *,
    seed: int,
    strengths: tuple[float, ...] = STRENGTHS,
    with_probes: bool = True,
) -> Filled:
    """The way that predicts withheld points best and keeps small structures; all in the units of the plane."""
    withheld = Withheld.from_plane(measured, sampling, seed)
    linear, error = _linear(measured, withheld, side)
    if withheld is None or error is None:
        plain = _filled_by(SPIRIT, linear, measured, {}, measured.sigma)
        model = coil_model(measured, plain.kspace, linear, seed, sigma=plain.sigma) if with_probes else None
        return _probed(plain, model, measured, seed)
    way, filling = (ZEROS, LeftZero()) if error >= 1 else (SPIRIT, linear)
    fewer = filling.filled(withheld.fewer)
    sigma = _noise_to_explain(withheld, filling, fewer, measured.sigma, seed)
    plain = _filled_by(way, filling, measured, {SPIRIT: error}, sigma)
    plain = replace(plain, withheld_energy=_energy(withheld.true), n_withheld=withheld.true.numel())
    if not with_probes and (not strengths or way == ZEROS):
        return plain
    # Of what isn't withheld: nothing that judges knows the points that it is judged by.
    model = coil_model(withheld.fewer, fewer, filling, seed, sigma=sigma)
    plain = _probed(plain, model, measured, seed)
    return _with_sparsity(measured, withheld, fewer, model, plain, strengths) if way == SPIRIT and strengths else plain


def _filled_by(
    way: str, linear: LinearlyFilling, measured: MeasuredSlice, errors: dict[str, float], sigma: float
) -> Filled:
    return Filled(way=way, filling=linear, linear=linear, kspace=linear.filled(measured), errors=errors, sigma=sigma)


def _probed(plain: Filled, model: CoilModel | None, measured: MeasuredSlice, seed: int) -> Filled:
    """With points put into the plane, and what is shown of them."""
    if model is None:
        return plain
    probes = put_probes(plain.kspace, model, measured.sampling, seed=seed)
    kept = probes.kept(plain.linear.filled(probes.put_into(measured)), plain.kspace)
    return replace(plain, probes=probes, kept=kept, kept_by_linear=kept)


def _linear(measured: MeasuredSlice, withheld: Withheld | None, side: int) -> tuple[SpiritFilling, float | None]:
    """Ridge and steps that predict withheld points best, and with what error; usual ones where none are withheld."""
    n_pe, n_pe2 = measured.kspace.shape[1:]
    if withheld is None:
        usual = SpiritKernel.of(measured.acs, side, USUAL_RIDGE).consistency(n_pe, n_pe2)
        return SpiritFilling(consistency=usual, n_steps=USUAL_STEPS), None
    plane, known = withheld.fewer.kspace, withheld.fewer.known
    found: list[tuple[float, SpiritFilling]] = []
    for ridge in RIDGES:
        consistency = SpiritKernel.of(measured.acs, side, ridge).consistency(n_pe, n_pe2)
        for n_steps, filled in zip(STEPS, solved_after(plane, known, consistency, STEPS), strict=True):
            found.append((withheld.error(filled), SpiritFilling(consistency=consistency, n_steps=n_steps)))
    error, best = min(found, key=lambda each: each[0])
    return best, error


def _noise_to_explain(
    withheld: Withheld, linear: LinearlyFilling, fewer: SliceKSpace, sigma: float, seed: int
) -> float:
    """The standard deviation of noise on a complex sample that would cause errors of the energy that is found."""
    plane = withheld.fewer
    level = max(sigma, LEAST_PROBE * float(fewer.abs().square().mean().sqrt()))
    whole = replace(plane, known=plane.known | withheld.points)
    noise = white_noise(whole, level, torch.Generator().manual_seed(seed))
    passed_on = linear.filled(replace(plane, kspace=torch.where(plane.known, noise, 0)))
    by_noise = _energy((passed_on - noise)[:, withheld.points])
    return level * (_energy(fewer[:, withheld.points] - withheld.true) / by_noise) ** 0.5 if by_noise > 0 else sigma


def _with_sparsity(
    measured: MeasuredSlice,
    withheld: Withheld,
    fewer: SliceKSpace,
    model: CoilModel,
    plain: Filled,
    strengths: tuple[float, ...],
) -> Filled:
    """The strength that predicts withheld points best, or the next milder one that small structures survive."""
    assert plain.probes is not None
    assert plain.kept is not None
    probes, by_linear = plain.probes, plain.kept
    probed = probes.put_into(measured)
    probed_linearly = plain.linear.filled(probed)

    def error_of(strength: float) -> float:
        return withheld.error(_sparse(model, strength).refined(withheld.fewer, fewer))

    errors = _lowest(error_of, strengths)
    best = min(errors, key=errors.__getitem__)
    plain.errors[SPIRIT_SPARSE] = errors[best]
    for strength in strengths[strengths.index(best) :]:
        if errors.setdefault(strength, error_of(strength)) >= plain.errors[SPIRIT]:
            break
        filling = _sparse(model, strength)
        made = filling.refined(measured, plain.kspace)
        kept = probes.kept(filling.refined(probed, probed_linearly), made)
        if survives(kept, by_linear):
            plain.errors[SPIRIT_SPARSE] = errors[strength]
            return replace(plain, way=SPIRIT_SPARSE, filling=filling, kspace=made, kept=kept)
    return plain


def _sparse(model: CoilModel, strength: float) -> SparseFilling:
    return SparseFilling(model=model, strength=strength, trust=TRUST, n_steps=N_STEPS)


def _lowest(error_of: Callable[[float], float], strengths: tuple[float, ...]) -> dict[float, float]:
    """Errors on the way downhill from the first that is tried to the least: there is one valley."""
    at = min(FIRST_TRIED, len(strengths) - 1)
    found = {strengths[at]: error_of(strengths[at])}
    for step in (-1, 1):
        here = at
        while 0 <= here + step < len(strengths):
            beside = strengths[here + step]
            if beside not in found:
                found[beside] = error_of(beside)
            if found[beside] >= found[strengths[here]]:
                break
            here += step
        if here != at:
            break
    return found


def _share(kept: Tensor | None, by_linear: Tensor | None) -> float | None:
    if kept is None or by_linear is None or not len(kept):
        return None
    of_linear = float(by_linear.clamp(min=0, max=1).mean())
    return min(1.0, float(kept.clamp(min=0, max=1).mean()) / of_linear) if of_linear > 0 else None


def _maps(found: Filled, measured: MeasuredSlice, scale: float, seed: int) -> UncertaintyMaps:
    assert found.probes is not None
    assert found.kept is not None
    n_pe, n_pe2 = measured.kspace.shape[1:]
    survival = survival_of(found.probes, found.kept, (n_pe, n_pe2))
    maps = assess(found.kspace, measured, found.filling, found.linear, survival, sigma=found.sigma, seed=seed)
    return UncertaintyMaps(
        g_factor=maps.g_factor.cpu(),
        standard_error=maps.standard_error.cpu() * scale,
        structure_kept=maps.structure_kept.cpu(),
    )


def _energy(kspace: Complex64[Tensor, "coil ..."]) -> float:
    return float(torch.view_as_real(kspace).square().sum())
