"""Partial Fourier: where k-space was measured on one side of its centre only, the other is told by symmetry, if at all.

The k-space of a real object is conjugate symmetric; that of an image with a phase, but for the phase. Its phase is
smooth at best, and where it isn't, filling in by symmetry is worse than leaving zeros. So the acquired samples decide:
those next to the missing side are withheld, each candidate predicts them from the opposite side, and the best fills
what is missing, scaled by less than was found to be true. Where none predicts them, zeros stay.

Candidates are POCS, which takes the phase from the centre (Haacke et al. 1991, J Magn Reson 92:126-145,
doi:10.1016/0022-2364(91)90253-P), and kernels over virtual conjugate coils, which learn it as they learn sensitivities
(Blaimer et al. 2009, Magn Reson Med 61:93-102, doi:10.1002/mrm.21652).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.kspace.linear_fit import NormalEquations
from raki.kspace.measured import unit_scale
from raki.kspace.patches import Examples, magnitude
from raki.kspace.points import GAPS_AT_ONCE, gathered
from raki.planning import fitting
from raki.scan.arrays import PointMask
from raki.scan.fourier import SliceKSpace, to_image, to_kspace

# Chosen on three scans (a head, two phantoms; 7/8, 6/8 and 5/8), and measured on four others: benchmarks/README.md.
KERNEL = (7, 5)
RIDGES = (1e-3, 1e-2, 1e-1, 3e-1)
N_VIRTUAL_COILS = 8
MOST_EXAMPLES = 4000
POCS_STEPS = 8
# Predicting withheld samples to this part of their energy is no better than chance has been.
LARGEST_ERROR = 0.9
# A side that is shorter by less is no partial Fourier; the centre needs so many lines on either side.
LEAST_MISSING, LEAST_REACH = 1 / 32, 4

Side = tuple[int, slice]
"""An axis, and the lines along it next to the missing ones."""


@dataclass(frozen=True, kw_only=True)
class OppositeSide:
    """How the side of a slice's k-space that wasn't measured was filled."""

    n_missing: int
    """Samples that weren't measured, nor filled between measured ones, though those opposite to them were."""
    n_samples: int
    """Of the whole k-space."""
    filled_by: str | None
    """"pocs" or "virtual_coils"; None where neither predicts what was measured, and zeros stayed."""
    held_out_error: float | None
    """Energy of the error in predicting withheld acquired samples, over theirs; None where none could be withheld."""
    scale: float = 0.0
    """The part of the prediction that was put in."""
    noise: float = 1.0
    """By what the noise of the image grew: what is put in repeats the noise of what lies opposite, in phase."""


@dataclass(frozen=True, kw_only=True)
class OppositeSides:
    """The same of all slices of a scan."""

    missing_part: float
    """Of the samples of k-space; mean over the slices."""
    n_slices_by_filling: Mapping[str, int]
    """"pocs", "virtual_coils" or "zeros" -> slices."""
    held_out_error: float | None
    """Mean over the slices that were filled, of the error in predicting withheld samples; None where none was."""
    n_slices: int
    n_untold: int = 0
    """Of those with zeros, the slices of which nothing could be withheld to judge by."""

    @classmethod
    def of(cls, slices: Sequence[OppositeSide]) -> "OppositeSides":
        """Those of one slice at least."""
        errors = [each.held_out_error for each in slices if each.filled_by and each.held_out_error is not None]
        return cls(
            missing_part=mean(each.n_missing / each.n_samples for each in slices),
            n_slices_by_filling=Counter(each.filled_by or "zeros" for each in slices),
            held_out_error=mean(errors) if errors else None,
            n_slices=len(slices),
            n_untold=sum(each.held_out_error is None for each in slices),
        )

    def notes(self) -> Iterator[str]:
        """The same as sentences."""
        n_slices, n_zeros = self.n_slices, self.n_slices_by_filling.get("zeros", 0)
        if self.held_out_error is not None:
            ways = {"virtual_coils": "kernels over virtual conjugate coils", "pocs": "POCS"}
            said = " and ".join(
                f"{name} in {self.n_slices_by_filling[way]}"
                for way, name in ways.items()
                if way in self.n_slices_by_filling
            )
            yield (
                f"Partial Fourier: {self.missing_part:.0%} of k-space, on one side, were not measured; they were "
                f"inferred from the other, by {said} of {n_slices} slices. Measured samples are predicted so with an "
                f"error of {self.held_out_error:.0%} of their energy."
            )
        if self.n_untold:
            yield (
                f"Partial Fourier: in {self.n_untold} of {n_slices} slices {self.missing_part:.0%} of k-space stay "
                "zero, as too little of its centre was measured to tell whether what lies opposite could stand for it."
            )
        if n_zeros := n_zeros - self.n_untold:
            yield (
                f"Partial Fourier: in {n_zeros} of {n_slices} slices {self.missing_part:.0%} of k-space "
                "stay zero: what lies opposite does not tell them, as samples that were measured and withheld show."
            )


def missing_side(known: PointMask) -> PointMask:
    """Points that are not known though those opposite to them are: none, where no side is shorter than the other."""
    if not _short_sides(known):
        return np.zeros_like(known)
    return ~known & opposite(known)


def opposite(mask: PointMask) -> PointMask:
    """Whether the point on the other side of the centre is in the mask; of an even axis, the first has no other."""
    turned = mask[::-1, ::-1].copy()
    for axis, size in enumerate(mask.shape):
        if size % 2 == 0:
            turned = np.roll(turned, 1, axis)
            turned[(slice(None),) * axis + (0,)] = False
    return turned


def fill_opposite(
    kspace: SliceKSpace, known: PointMask, acquired: PointMask
) -> tuple[SliceKSpace, OppositeSide | None]:
    """One slice with its missing side filled by what predicts its acquired samples best, or left as it was.

    Where no side is missing there is nothing to tell either.

    Args:
        kspace: DC at `n // 2`; what isn't known isn't read. What comes back lies on the same device.
        known: points `pe ro` that were acquired, or filled before.
        acquired: those of them that were measured: only they are learnt from and judged by.

    Raises nothing: where too little of the centre is there to learn from, zeros stay.
    """
    sides = _short_sides(known)
    targets = missing_side(known)
    if not targets.any():
        return kspace, None
    # In units of the peak, so that no square leaves the range of float32.
    unit = unit_scale(kspace)
    clean = _where(known, kspace / unit)
    sizes = {"n_missing": int(targets.sum()), "n_samples": known.size}
    withheld = np.zeros_like(known)
    for axis, lines in sides:
        withheld[(slice(None),) * axis + (lines,)] = True
    fewer = known & ~withheld
    judged = acquired & withheld & opposite(fewer)
    if not judged.any():
        return kspace, OppositeSide(**sizes, filled_by=None, held_out_error=None)
    best = _judge(_where(fewer, clean), fewer, acquired & fewer, judged, clean)
    if best is None or not best.error <= LARGEST_ERROR:
        return kspace, OppositeSide(**sizes, filled_by=None, held_out_error=best.error if best else None)
    found = next(made for name, made in candidates(clean, known, acquired, targets) if name == best.name)
    rows, columns = np.nonzero(targets)
    # What is missing lies farther out than what was withheld, where symmetry holds less; the more so, the less it held.
    scale = best.scale * (1 - best.error**2)
    filled = kspace.clone()
    filled[:, rows, columns] = unit * scale * found
    return filled, OppositeSide(
        **sizes,
        filled_by=best.name.partition(" ")[0],
        held_out_error=best.error,
        scale=scale,
        noise=_noise(int(known.sum()), sizes["n_missing"], scale),
    )


def _noise(n_known: int, n_filled: int, scale: float) -> float:
    """A sample and what is put in opposite add up to 1 + scale times the noise that is in phase with the image."""
    return float(np.sqrt((n_known + n_filled * ((1 + scale) ** 2 - 1)) / n_known))


@dataclass(frozen=True, kw_only=True)
class _Judged:
    name: str
    error: float
    scale: float


def _judge(
    fewer: SliceKSpace, known: PointMask, acquired: PointMask, judged: PointMask, kspace: SliceKSpace
) -> _Judged | None:
    """The candidate that predicts the judged samples best when it is scaled as suits it."""
    rows, columns = np.nonzero(judged)
    true = kspace[:, rows, columns]
    energy = float(true.abs().square().sum())
    if energy == 0:
        return None
    found = []
    for name, predicted in candidates(fewer, known, acquired, judged):
        of_prediction = float(predicted.abs().square().sum())
        common = float((predicted.conj() * true).real.sum())
        scale = min(max(common / of_prediction, 0.0), 1.0) if of_prediction > 0 else 0.0
        error = float((true - scale * predicted).abs().square().sum()) / energy
        found.append(_Judged(name=name, error=error, scale=scale))
    return min(found, key=lambda each: each.error)


def candidates(
    kspace: SliceKSpace, known: PointMask, acquired: PointMask, targets: PointMask
) -> Iterator[tuple[str, Complex64[Tensor, "coil target"]]]:
    """Each way to fill the targets, and what it puts there."""
    yield "pocs", _pocs(kspace, known, targets)
    yield from _virtual_coils(kspace, known, acquired, targets)


def _pocs(kspace: SliceKSpace, known: PointMask, targets: PointMask) -> Complex64[Tensor, "coil target"]:
    """Projections in turn: each coil's image has the phase of the centre, k-space its measured samples."""
    symmetric = known & opposite(known)
    phase = torch.sgn(to_image(kspace * _window(symmetric).to(kspace.device)))
    filled = kspace
    for _ in range(POCS_STEPS):
        image = to_image(filled)
        predicted = to_kspace((image * phase.conj()).real * phase)
        filled = _where(known, kspace, _where(targets, predicted))
    rows, columns = np.nonzero(targets)
    return filled[:, rows, columns]


def _window(symmetric: PointMask) -> Tensor:
    """1 at the centre, falling to 0 where symmetric k-space ends: the phase has no ringing of a sudden end."""
    window = symmetric.astype(np.float32)
    for axis, size in enumerate(symmetric.shape):
        lines = np.flatnonzero(symmetric.any(axis=1 - axis))
        from_centre = np.abs(np.arange(size) - size // 2)
        reach = size // 2 - lines[0] + 1
        falling = np.cos(np.pi / 2 * np.minimum(from_centre / reach, 1)) ** 2
        window *= np.expand_dims(falling, 1 - axis).astype(np.float32)
    return torch.from_numpy(window)


def _virtual_coils(
    kspace: SliceKSpace, known: PointMask, acquired: PointMask, targets: PointMask
) -> Iterator[tuple[str, Complex64[Tensor, "coil target"]]]:
    """Kernels over the conjugate of what lies opposite, calibrated where both sides are known; one for each ridge."""
    offsets = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in KERNEL), indexing="ij"), axis=-1).reshape(-1, 2)
    sources = _turned(_strongest(kspace, known & opposite(known)))
    places = fitting(opposite(known), offsets)
    places = places[acquired[tuple(places.T)]]
    if len(places) < len(offsets) * len(sources):
        return
    if len(places) > MOST_EXAMPLES:
        places = places[np.linspace(0, len(places) - 1, MOST_EXAMPLES).round().astype(int)]
    seen = gathered(sources, _on(kspace, places), offsets).flatten(1)
    examples = Examples(sources=seen, targets=kspace[:, places[:, 0], places[:, 1]].T)
    fit = NormalEquations.of(examples, float(magnitude(seen).median())).solved(ridge=RIDGES[0])
    wanted = [
        gathered(sources, some, offsets).flatten(1) for some in _on(kspace, np.argwhere(targets)).split(GAPS_AT_ONCE)
    ]
    for ridge in RIDGES:
        coefficients = fit.with_ridge(ridge).coefficients
        yield f"virtual_coils {ridge:g}", torch.cat([some @ coefficients for some in wanted]).T


def _strongest(kspace: SliceKSpace, centre: PointMask) -> Complex64[Tensor, "virtual_coil pe ro"]:
    """The few combinations of the coils that hold most of the centre."""
    rows, columns = np.nonzero(centre)
    samples = kspace[:, rows, columns]
    _, basis = torch.linalg.eigh(samples @ samples.mH)
    return torch.einsum("cv,cab->vab", basis[:, -N_VIRTUAL_COILS:].conj(), kspace).contiguous()


def _turned(kspace: SliceKSpace) -> SliceKSpace:
    """The conjugate of what lies opposite of each sample; zero where nothing does."""
    turned = kspace.conj().resolve_conj().flip(-2, -1)
    for axis in (1, 2):
        if kspace.shape[axis] % 2 == 0:
            turned = turned.roll(1, axis)
            turned.select(axis, 0).zero_()
    return turned


def _short_sides(known: PointMask) -> list[Side]:
    """Of each axis along which one side is shorter: the third of it that lies next to what is missing."""
    sides = []
    for axis, size in enumerate(known.shape):
        lines = np.flatnonzero(known.any(axis=1 - axis))
        if not len(lines):
            return []
        before, after = size // 2 - int(lines[0]), int(lines[-1]) - size // 2
        if abs(before - after) <= max(1, size * LEAST_MISSING):
            continue
        reach = min(before, after)
        if reach < LEAST_REACH:
            continue
        n_withheld = reach // 3 + 1
        first = int(lines[0]) if before < after else int(lines[-1]) + 1 - n_withheld
        sides.append((axis, slice(first, first + n_withheld)))
    return sides


def _where(mask: PointMask, these: Tensor, others: Tensor | int = 0) -> Tensor:
    return torch.where(torch.from_numpy(mask).to(these.device), these, others)


def _on(kspace: Tensor, places: np.ndarray) -> Tensor:
    return torch.from_numpy(places).to(kspace.device)
