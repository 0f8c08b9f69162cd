"""How far to trust a filled slice: how much noise was amplified, how wrong each pixel may be, and what may have faded.

Five things put a filled image off its fully sampled reference, and each is measured on the slice itself:

- noise of the acquired samples, passed on to the gaps: fill again with more noise, and see what changes;
- what was taken away besides noise: the difference to the linear filling is more than noise alone would make it
  (Stein's unbiased estimate of the risk);
- what fades in a small structure: points put into the slice tell how much of it survives near by;
- noise of the reference in the lines that were not acquired, which no method can know;
- beyond the outermost acquired line there are neighbours on one side only: hide that line, and predict what lies before
  the next.

The noise counts as strong as it must be to explain the mistakes in predicting acquired lines, so what a filling can't
explain is in it.

All errors are those of the root-sum-of-squares image to first order: the part of the coils' error that is in phase with
the coils' signal.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor
from torch.nn.functional import avg_pool2d

from raki.coils import root_sum_of_squares
from raki.kspace.in_phase import SliceImage, in_phase, signal_direction
from raki.kspace.linear_fit import LinearFilling
from raki.kspace.measured import Filling, LinearlyFilling, MeasuredSlice
from raki.kspace.mistakes import LEAST_PROBE, white_noise
from raki.kspace.patches import sources_at
from raki.kspace.probes import Probes
from raki.planning import Sampling
from raki.scan.fourier import CoilImages, SliceKSpace, to_image

N_REPLICAS = 4
# Variances are means over a square: few replicas have to do.
SMOOTHING_PIXELS = 9
# A small structure is what differs from the mean over this square.
STRUCTURE_PIXELS = 5
# A filling that shows less of small structures than this is no more trusted than that.
LEAST_SURVIVAL = 0.2


@dataclass(frozen=True, kw_only=True)
class UncertaintyMaps:
    """Three maps of one slice, on the pixels of its root-sum-of-squares image."""

    g_factor: SliceImage
    """Noise over that of a fully sampled scan, divided by the square root of the net acceleration; dimensionless. Less
    than 1 where noise was taken away: there the image was smoothed."""
    standard_error: SliceImage
    """Standard deviation of the image about a fully sampled one, in units of the k-space; faded structures count."""
    structure_kept: SliceImage
    """How much of a small structure survives near each pixel, from 0 to 1; that of points put into the slice."""

    def with_more_noise(self, factor: float) -> "UncertaintyMaps":
        """Those of an image whose noise has grown since."""
        return replace(self, g_factor=self.g_factor * factor, standard_error=self.standard_error * factor)


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What becomes of small structures near each pixel."""

    kept: SliceImage
    """The part of them that is shown, in the mean; from 0 to 1."""
    lost: SliceImage
    """Root mean square of the part that isn't."""


def survival_of(probes: Probes, kept: Float32[Tensor, " probe"], shape: tuple[int, int]) -> Survival:
    """What points put into the slice tell of the structures around them."""
    return Survival(
        kept=probes.map_of(kept, shape).clamp(min=0, max=1), lost=probes.map_of((1 - kept).square(), shape).sqrt()
    )


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What noise of one standard deviation does to a slice that is filled in two ways, as variances of its image."""

    passed_on: SliceImage
    """By the filling, acquired lines and gaps."""
    linear: SliceImage
    """By the linear filling, in the gaps alone."""
    shared: SliceImage
    """Covariance of the filling with the linear one in the gaps."""


def assess(
    filled: SliceKSpace,
    measured: MeasuredSlice,
    filling: Filling,
    linear: LinearlyFilling,
    survival: Survival,
    *,
    sigma: float,
    seed: int,
    n_replicas: int = N_REPLICAS,
) -> UncertaintyMaps:
    """Noise amplification and standard error of a slice that `filling` filled; computed where `filled` is.

    The g-factor is that of the filling as it stands: one that takes noise away, or leaves a gap empty, can have less
    than 1. Lines neither acquired nor filled count in neither map. The share of pixels within 1.96 standard errors of
    a fully sampled scan is given by `python -m benchmarks coverage`, inside the object; the background was not judged.

    Args:
        filled: the acquired lines as they were measured, all gaps as `filling` filled them.
        filling: need not be linear. It fills the slice `n_replicas` times.
        linear: what it begins with, or itself.
        survival: what becomes of small structures.
        sigma: standard deviation of a complex sample's noise that explains the mistakes of `linear`.
        seed: the same seed gives the same bits on the same device.
        n_replicas: more make the noise part smoother.

    Raises:
        ValueError: R is 1, so that nothing was filled.

    Robson et al. 2008, Magn Reson Med 60:895-907, doi:10.1002/mrm.21728 (pseudo replicas); Stein 1981, Ann Stat
    9:1135-1151, and Ramani et al. 2008, IEEE Trans Image Process 17:1540-1554 (risk from replicas).
    """
    sampling = measured.sampling
    if sampling.acceleration == 1:
        raise ValueError("R is 1: every line was acquired, and there is no filling to assess; it needs R of 2 or more")
    signal = signal_direction(filled)
    meant = sampling.meant_points()
    n_filled, n_known = int(meant.sum()), int(measured.known.sum())
    noise = _noise(filled, measured, filling, linear, signal, sigma=sigma, n_replicas=n_replicas, seed=seed)
    # Unitary transform; the half of the noise that is in phase with the signal.
    per_line = 1 / (2 * meant.size)
    taken = in_phase(filled - linear.filled(measured), signal).square()
    risk = (_smooth(taken) + sigma**2 * (2 * noise.shared - noise.linear)).maximum(sigma**2 * noise.shared.clamp(min=0))
    unknowable = max(sigma, measured.sigma) ** 2 * per_line * (n_filled - n_known)
    border = _smooth(_energy(_border_errors(filled, measured, linear), signal))
    faded = _faded(filled, survival)
    return UncertaintyMaps(
        g_factor=(noise.passed_on / (per_line * n_filled) * n_known / n_filled).sqrt(),
        standard_error=(risk + unknowable + border + faded.square()).sqrt(),
        structure_kept=survival.kept,
    )


def _noise(
    filled: SliceKSpace,
    measured: MeasuredSlice,
    filling: Filling,
    linear: LinearlyFilling,
    signal: CoilImages,
    *,
    sigma: float,
    n_replicas: int,
    seed: int,
) -> Noise:
    """From replicas: the slice with noise added, filled again."""
    level = max(sigma, LEAST_PROBE * float(filled.abs().square().mean().sqrt())) or 1.0
    generator = torch.Generator().manual_seed(seed)
    in_gap = ~measured.known
    passed_on, by_linear, shared = (torch.zeros_like(signal[0].real) for _ in range(3))
    for _ in range(n_replicas):
        noise = white_noise(measured, level, generator)
        change = filling.filled(replace(measured, kspace=measured.kspace + noise)) - filled
        linear_change = linear.filled(replace(measured, kspace=noise))
        in_gaps = in_phase(torch.where(in_gap, change, 0), signal)
        linear_in_gaps = in_phase(torch.where(in_gap, linear_change, 0), signal)
        passed_on += in_phase(change, signal).square()
        by_linear += linear_in_gaps.square()
        shared += in_gaps * linear_in_gaps
    per_replica = 1 / (n_replicas * level**2)
    return Noise(
        passed_on=per_replica * _smooth(passed_on),
        linear=per_replica * _smooth(by_linear),
        shared=per_replica * _smooth(shared),
    )


def _faded(filled: SliceKSpace, survival: Survival) -> SliceImage:
    """What small structures, as far as they are seen, must have lost."""
    magnitude = root_sum_of_squares(to_image(filled))
    seen = (magnitude - _smooth(magnitude, STRUCTURE_PIXELS)).abs()
    return survival.lost / survival.kept.clamp(min=LEAST_SURVIVAL) * seen


def _border_errors(filled: SliceKSpace, measured: MeasuredSlice, linear: LinearlyFilling) -> Iterator[SliceKSpace]:
    """Mistakes in predicting from one side as many lines as were filled beyond either end of the lattice.

    None of points of two directions, whose border is a small part of them.
    """
    if not isinstance(measured.sampling, Sampling) or not isinstance(linear, LinearFilling):
        return
    lattice, gaps = measured.sampling.lattice_lines(), measured.sampling.gaps()
    if len(lattice) < 2:
        return
    if gaps[0] < lattice[0]:
        predicted = _predicted_alone(filled, measured, linear, hidden=slice(0, lattice[0] + 1), gap=lattice[0])
        yield _beside(filled, predicted[:, -lattice[0] :], first=lattice[1] - lattice[0])
    n_beyond = measured.sampling.n_pe - 1 - lattice[-1]
    if n_beyond and gaps[-1] == lattice[-1]:
        predicted = _predicted_alone(filled, measured, linear, hidden=slice(lattice[-1], None), gap=lattice[-2])
        yield _beside(filled, predicted[:, :n_beyond], first=lattice[-2] + 1)


def _predicted_alone(
    filled: SliceKSpace, measured: MeasuredSlice, linear: LinearFilling, *, hidden: slice, gap: int
) -> Complex64[Tensor, "coil line ro"]:
    """The R-1 lines of one gap, predicted as if some lines were not there."""
    seen = filled.clone()
    seen[:, hidden] = 0
    sources = sources_at(seen, [gap], linear.kernel, measured.sampling.acceleration)
    targets = linear.fit.predict(sources)
    return targets[0].unflatten(-1, (len(seen), -1)).permute(1, 2, 0)


def _beside(kspace: SliceKSpace, predicted: Complex64[Tensor, "coil line ro"], *, first: int) -> SliceKSpace:
    """Predicted lines, of which `first` is the first, less those that are there; zero elsewhere."""
    lines = slice(first, first + predicted.shape[1])
    difference = torch.zeros_like(kspace)
    difference[:, lines] = predicted - kspace[:, lines]
    return difference


def _energy(errors: Iterable[SliceKSpace], signal: CoilImages) -> SliceImage:
    """Sum over the errors of their energy in the root-sum-of-squares image."""
    energy = torch.zeros_like(signal[0].real)
    for error in errors:
        energy += in_phase(error, signal).square()
    return energy


def _smooth(image: SliceImage, n_pixels: int = SMOOTHING_PIXELS) -> SliceImage:
    return avg_pool2d(image[None], n_pixels, 1, n_pixels // 2, count_include_pad=False)[0]
