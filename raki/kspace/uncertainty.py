"""How far to trust a filled slice: how much noise was amplified, and how wrong each pixel may be.

Nothing here knows how a gap was filled, only that a callable predicts it. Four things put a filled image off its
fully sampled reference, and each is measured on the slice itself:

- noise of the acquired samples, passed on to the gaps: fill again with more noise, and see what changes;
- noise of the reference in the lines that were not acquired, which no method can know;
- the prediction's own mistakes: let it predict the acquired lines from those that it filled, as it filled these from
  the acquired ones;
- beyond the outermost acquired line it has neighbours on one side only: hide that line, and predict what lies before
  the next.

How strong the noise is, is measured too. On measured scans the mistakes on acquired lines have several times the energy
that noise of the estimated sigma would leave, on simulated ones little more than that. Both kinds of noise count as
strong as would explain these mistakes.

All errors are those of the root-sum-of-squares image to first order: the part of the coils' error that is in phase with
the coils' signal.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex64, Float32
from torch import Tensor
from torch.nn.functional import avg_pool2d

from raki.coils import root_sum_of_squares
from raki.kspace.patches import Kernel, Predict, interpolate, sources_at
from raki.kspace.sampling import Sampling
from raki.scan.fourier import CoilImages, SliceKSpace, to_image

SliceImage = Float32[Tensor, "pe ro"]

N_REPLICAS = 4
# Variances are means over a square: few replicas and shifts have to do.
SMOOTHING_PIXELS = 9
# Noise to probe with where there is none, relative to the root mean square of the k-space.
LEAST_PROBE = 1e-4


@dataclass(frozen=True, kw_only=True)
class UncertaintyMaps:
    """Two maps of one slice, on the pixels of its root-sum-of-squares image."""

    g_factor: SliceImage
    """Noise over that of a fully sampled scan, divided by the square root of the net acceleration; dimensionless."""
    standard_error: SliceImage
    """Standard deviation of the image about a fully sampled slice_, in units of the k-space."""


@dataclass(frozen=True, kw_only=True)
class _Filled:
    """A filled slice with what filled it."""

    kspace: SliceKSpace
    sampling: Sampling
    kernel: Kernel
    predict: Predict

    def refilled(self, kspace: SliceKSpace, sampling: Sampling) -> SliceKSpace:
        """Another k-space with the gaps of another sampling filled by the same prediction."""
        return interpolate(kspace, sampling, self.kernel, self.predict)


def assess(
    filled: SliceKSpace,
    sampling: Sampling,
    kernel: Kernel,
    predict: Predict,
    *,
    sigma: float,
    seed: int,
    n_replicas: int = N_REPLICAS,
) -> UncertaintyMaps:
    """Noise amplification and standard error of a slice that `predict` filled; computed where `filled` is.

    The g-factor is that of the filling as it stands: one that shrinks noise, or leaves a gap empty, can have less
    than 1. Lines neither acquired nor filled count in neither map. The share of pixels within 1.96 standard errors of
    a fully sampled scan is given by `python -m benchmarks coverage`, inside the object; the background was not judged.

    Args:
        filled: the acquired lines as they were measured, all gaps as `predict` filled them.
        predict: in units of `filled`; need not be linear. It runs over the slice `n_replicas` + R times.
        sigma: standard deviation of the noise of a complex sample, in units of `filled`; at least so much is
            counted. If it is too low by half, the standard error stays about the same.
        seed: the same seed gives the same bits on the same device.
        n_replicas: more make the noise part smoother.

    Raises:
        ValueError: R is 1, so that nothing was filled.

    Robson et al. 2008, Magn Reson Med 60:895-907, doi:10.1002/mrm.21728 (pseudo replicas).
    """
    if sampling.acceleration == 1:
        raise ValueError("R is 1: every line was acquired, and there is no filling to assess; it needs R of 2 or more")
    slice_ = _Filled(kspace=filled, sampling=sampling, kernel=kernel, predict=predict)
    level = max(sigma, LEAST_PROBE * float(filled.abs().square().mean().sqrt())) or 1.0
    replicas = list(_noise_errors(slice_, level, n_replicas, seed))
    mistakes = [_shifted_error(slice_, shift) for shift in range(1, sampling.acceleration)]
    signal, known = _signal_direction(filled), _known(slice_)
    first, stop = sampling.filled_lines()
    n_filled, n_known = stop - first, int(known.sum())
    # Unitary transform; the half of the noise that is in phase with the signal.
    per_line = 1 / (2 * sampling.n_pe)
    passed_on = _variance(replicas, signal) / (n_replicas * level**2)
    into_gaps = _variance((torch.where(known, 0, replica) for replica in replicas), signal) / (n_replicas * level**2)
    unknowable = per_line * (n_filled - n_known)
    noise = max(sigma**2, level**2 * _excess(slice_, mistakes, replicas[0])) * (into_gaps + unknowable)
    model = _variance(mistakes, signal) / len(mistakes)
    return UncertaintyMaps(
        g_factor=(passed_on / (per_line * n_filled) * n_known / n_filled).sqrt(),
        standard_error=(noise + model + _variance(_border_errors(slice_), signal)).sqrt(),
    )


def _excess(slice_: _Filled, mistakes: Sequence[SliceKSpace], replica: SliceKSpace) -> float:
    """Energy of the mistakes on acquired lines outside the ACS, over that of what a noise replica changes in them.

    One shift tells, that by half a gap.
    """
    shift = slice_.sampling.acceleration // 2
    mistake = mistakes[shift - 1]
    change = _shifted_error(replace(slice_, kspace=slice_.kspace + replica), shift) - mistake
    acquired = (_known(slice_) & ~_in_acs(slice_)).flatten()
    measured, by_noise = (float(error[:, acquired].abs().square().sum()) for error in (mistake, change))
    return measured / by_noise if by_noise > 0 else 1.0


def _noise_errors(slice_: _Filled, level: float, n_replicas: int, seed: int) -> Iterator[SliceKSpace]:
    """What noise of `level` on the acquired samples changes in the filled k-space, replica by replica."""
    generator = torch.Generator().manual_seed(seed)
    known, device = _known(slice_), slice_.kspace.device
    for _ in range(n_replicas):
        noise = level * torch.randn(slice_.kspace.shape, dtype=torch.complex64, generator=generator).to(device)
        noise = torch.where(known, noise, 0)
        yield torch.where(known, noise, slice_.refilled(slice_.kspace + noise, slice_.sampling) - slice_.kspace)


def _shifted_error(slice_: _Filled, shift: int) -> SliceKSpace:
    """Mistakes in predicting from a lattice `shift` lines farther; none in the ACS, nor beyond that lattice."""
    sampling = slice_.sampling
    offset = (sampling.offset + shift) % sampling.acceleration
    shifted = replace(sampling, offset=offset, acquired_range=sampling.filled_lines())
    lattice = shifted.lattice_lines()
    line = torch.arange(sampling.n_pe, device=slice_.kspace.device)[:, None]
    judged = (line > lattice[0]) & (line < lattice[-1]) & ~_in_acs(slice_)
    return torch.where(judged, slice_.refilled(slice_.kspace, shifted) - slice_.kspace, 0)


def _border_errors(slice_: _Filled) -> Iterator[SliceKSpace]:
    """Mistakes in predicting from one side as many lines as were filled beyond either end of the lattice."""
    lattice, gaps = slice_.sampling.lattice_lines(), slice_.sampling.gaps()
    if len(lattice) < 2:
        return
    if gaps[0] < lattice[0]:
        predicted = _predicted_alone(slice_, hidden=slice(0, lattice[0] + 1), gap=lattice[0])
        yield _beside(slice_.kspace, predicted[:, -lattice[0] :], first=lattice[1] - lattice[0])
    n_beyond = slice_.sampling.n_pe - 1 - lattice[-1]
    if n_beyond and gaps[-1] == lattice[-1]:
        predicted = _predicted_alone(slice_, hidden=slice(lattice[-1], None), gap=lattice[-2])
        yield _beside(slice_.kspace, predicted[:, :n_beyond], first=lattice[-2] + 1)


def _predicted_alone(slice_: _Filled, *, hidden: slice, gap: int) -> Complex64[Tensor, "coil line ro"]:
    """The R-1 lines of one gap, predicted as if some lines were not there."""
    seen = slice_.kspace.clone()
    seen[:, hidden] = 0
    targets = slice_.predict(sources_at(seen, [gap], slice_.kernel, slice_.sampling.acceleration))
    return targets[0].unflatten(-1, (len(seen), -1)).permute(1, 2, 0)


def _beside(kspace: SliceKSpace, predicted: Complex64[Tensor, "coil line ro"], *, first: int) -> SliceKSpace:
    """Predicted lines, of which `first` is the first, less those that are there; zero elsewhere."""
    lines = slice(first, first + predicted.shape[1])
    difference = torch.zeros_like(kspace)
    difference[:, lines] = predicted - kspace[:, lines]
    return difference


def _signal_direction(filled: SliceKSpace) -> CoilImages:
    """The coils' signals as a unit vector in each pixel; zero where there is none."""
    images = to_image(filled)
    size = root_sum_of_squares(images)
    return torch.where(size > 0, images / size, 0)


def _variance(errors: Iterable[SliceKSpace], signal: CoilImages) -> SliceImage:
    """Sum over the errors of their energy in the root-sum-of-squares image, smoothed."""
    energy = torch.zeros(signal.shape[1:], device=signal.device)
    for error in errors:
        energy += torch.linalg.vecdot(signal, to_image(error), dim=0).real.square()
    square = avg_pool2d(energy[None], SMOOTHING_PIXELS, 1, SMOOTHING_PIXELS // 2, count_include_pad=False)
    return square[0]


def _known(slice_: _Filled) -> Bool[Tensor, "pe 1"]:
    """Lines that were acquired, as a column to choose lines with."""
    known = _in_acs(slice_)
    known[slice_.sampling.lattice_lines()] = True
    return known


def _in_acs(slice_: _Filled) -> Bool[Tensor, "pe 1"]:
    """Lines of the ACS inside the k-space, as such a column."""
    lines = torch.zeros(slice_.sampling.n_pe, 1, dtype=torch.bool, device=slice_.kspace.device)
    lines[slice(*(slice_.sampling.acs_lines or (0, 0)))] = True
    return lines
