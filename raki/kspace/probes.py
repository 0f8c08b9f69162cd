"""How much of a small structure survives: points of light are put into the slice, and it is filled again.

A filling that takes noise away can take a thin vessel with it, and every error measure that counts energy improves.
Only a structure that is known to be there tells. Points of one pixel are the hardest: what keeps them keeps lines and
edges.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn.functional import avg_pool2d

from raki.coils import Image, root_sum_of_squares
from raki.kspace.image_prior import CoilModel
from raki.kspace.measured import MeasuredSlice
from raki.kspace.sparsity import CombinedImage
from raki.planning import AnySampling
from raki.scan.fourier import SliceKSpace, to_image, to_kspace

N_PROBES = 64
# Neither two probes nor their fold-over come closer than this.
LEAST_DISTANCE_PIXELS = 6
# Of the signal around them, in turn; but never less than can be seen in the linear filling's noise.
AMPLITUDES = (0.2, 0.4)
VISIBLE = 4.0
# A point has to brighten its pixel by this part of its amplitude, were all lines acquired.
LEAST_RESPONSE = 0.5
SIGNAL_PIXELS = 5
# Where the object is: above this part of its bright level.
LEAST_SIGNAL = 0.15
BRIGHT_QUANTILE = 0.99
# A map of what survives is a mean over neighbours, weighed by a Gaussian of this width.
MAP_SIGMA_PIXELS = 12.0
LEAST_NEAR = 1e-6


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Points put into a slice."""

    places: Int64[Tensor, "probe 2"]
    kspace: SliceKSpace
    """What they add to a slice of which all lines were acquired that are now acquired or filled."""
    response: Float32[Tensor, " probe"]
    """What they add to the root-sum-of-squares image of all lines, each in its own pixel."""

    def put_into(self, measured: MeasuredSlice) -> MeasuredSlice:
        """The slice as it had been acquired with them."""
        return replace(measured, kspace=measured.kspace + torch.where(measured.known, self.kspace, 0))

    def kept(self, with_probes: SliceKSpace, without: SliceKSpace) -> Float32[Tensor, " probe"]:
        """The part of each that is shown, by the slice filled with and without them."""
        shown = _magnitude(with_probes) - _magnitude(without)
        return shown[self.places[:, 0], self.places[:, 1]] / self.response

    def map_of(self, values: Float32[Tensor, " probe"], shape: tuple[int, int]) -> Image:
        """Mean at each pixel over the probes near by; 1 where there are none at all."""
        if not len(values):
            return torch.ones(shape, device=values.device)
        near = [
            torch.exp(-((torch.arange(n, device=values.device) - at[:, None]) ** 2) / (2 * MAP_SIGMA_PIXELS**2))
            for n, at in zip(shape, self.places.T, strict=True)
        ]
        weights = near[0].T @ near[1]
        mean = (near[0].T * values) @ near[1] / weights.clamp(min=torch.finfo(torch.float32).tiny)
        return torch.where(weights > LEAST_NEAR, mean, values.mean())


def put_probes(filled: SliceKSpace, model: CoilModel, sampling: AnySampling, *, seed: int) -> Probes:
    """Points of one pixel, in phase with what is around them, seen by the coils as their sensitivities say.

    At most N_PROBES, spread at random over the object; none where the image is dark throughout.
    """
    maps = model.sensitivities
    images = to_image(filled)
    around = _smooth(torch.linalg.vecdot(maps, images, dim=0))
    size = around.abs()
    bright = float(size.flatten().quantile(BRIGHT_QUANTILE))
    candidates = (size > LEAST_SIGNAL * bright).nonzero()
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))
    places = _spread(candidates[order.to(candidates.device)], sampling)
    amplitudes = torch.tensor(AMPLITUDES, device=filled.device)[torch.arange(len(places)) % len(AMPLITUDES)]
    points = torch.zeros_like(around)
    rows, columns = places[:, 0], places[:, 1]
    amplitudes = (amplitudes * size[rows, columns]).maximum(VISIBLE * model.noise[rows, columns] / 2**0.5)
    points[rows, columns] = amplitudes * torch.sgn(around[rows, columns])
    meant = torch.from_numpy(sampling.meant_points()).to(filled.device)
    kspace = torch.where(meant, to_kspace(maps * points), 0)
    response = (_magnitude(filled + kspace) - _magnitude(filled))[rows, columns]
    # Where the pixel itself is dark or of another phase, adding a point doesn't brighten it: nothing to measure by.
    seen = response > LEAST_RESPONSE * points.abs()[rows, columns]
    return Probes(places=places[seen], kspace=kspace, response=response[seen])


def _spread(candidates: Int64[Tensor, "candidate 2"], sampling: AnySampling) -> Int64[Tensor, "probe 2"]:
    """The first of the candidates that keep their distance, also from the fold-over of each other."""
    chosen: list[tuple[int, int]] = []
    for row, column in candidates[: 8 * N_PROBES].tolist():
        if len(chosen) == N_PROBES:
            break
        apart = (sampling.fold_distance(row - other, column - beside) for other, beside in chosen)
        if all(distance >= LEAST_DISTANCE_PIXELS for distance in apart):
            chosen.append((row, column))
    return torch.tensor(chosen, dtype=torch.int64, device=candidates.device).reshape(-1, 2)


def _magnitude(kspace: SliceKSpace) -> Image:
    return root_sum_of_squares(to_image(kspace))


def _smooth(image: CombinedImage) -> CombinedImage:
    parts = torch.stack([image.real, image.imag])
    smooth = avg_pool2d(parts, SIGNAL_PIXELS, 1, SIGNAL_PIXELS // 2, count_include_pad=False)
    return torch.complex(smooth[0], smooth[1])
