"""Images have few edges: an undecimated Haar transform, and a threshold that leaves what is clear of noise alone."""

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor
from torch.nn.functional import avg_pool2d

CombinedImage = Complex64[Tensor, "pe ro"]
Details = Complex64[Tensor, "orientation pe ro"]

# Coarser than eight pixels there is little noise to remove: the ACS was acquired whole.
N_LEVELS = 3
# Coefficients above so many thresholds are left as they are. A soft threshold would take from every edge as much as
# from noise.
UNTOUCHED_ABOVE = 12.0
# The part out of phase with the smooth phase of the object is less likely to be signal.
OUT_OF_PHASE = 1.2


def shrunk(image: CombinedImage, threshold: float, phase: CombinedImage) -> CombinedImage:
    """The image with detail below the noise removed, at each scale, orientation and shift.

    Args:
        image: combined from all coils.
        threshold: in units of the image; half of it counts at the finest scale, whose noise is half that of a pixel,
            and half of that at each coarser one.
        phase: of unit modulus, smooth; the parts in phase with it and out of phase are shrunk each for itself.

    Coifman and Donoho 1995, Lecture Notes in Statistics 103:125-150 (cycle spinning); Gao and Bruce 1997, Statistica
    Sinica 7:855-874 (firm shrinkage).
    """
    details, rest = haar(image * phase.conj(), N_LEVELS)
    kept = [_firm(detail, threshold * 0.5 ** (level + 1)) for level, detail in enumerate(details)]
    return inverse_haar(kept, rest) * phase


def _firm(details: Details, threshold: float) -> Details:
    in_phase, out_of_phase = details.real, details.imag
    return torch.complex(
        in_phase * firm_gain(_size(in_phase), threshold),
        out_of_phase * firm_gain(_size(out_of_phase), OUT_OF_PHASE * threshold),
    )


def _size(details: Float32[Tensor, "orientation pe ro"]) -> Float32[Tensor, "pe ro"]:
    """Root mean square over the orientations, in the pixel or in the square around it, whichever is more.

    A point has all three orientations, and an edge its neighbours: both stand out more than one coefficient does.
    """
    energy = details.square().mean(dim=0)
    return torch.maximum(energy, avg_pool2d(energy[None], 3, 1, 1, count_include_pad=False)[0]).sqrt()


def firm_gain(size: Float32[Tensor, "*any"], threshold: float) -> Float32[Tensor, "*any"]:
    """0 up to the threshold, 1 from UNTOUCHED_ABOVE times it; a size between these is mapped linearly."""
    slope = UNTOUCHED_ABOVE / (UNTOUCHED_ABOVE - 1)
    gain = slope * (1 - threshold / size.clamp(min=torch.finfo(torch.float32).tiny))
    return torch.where(size >= UNTOUCHED_ABOVE * threshold, 1.0, gain.clamp(min=0.0, max=1.0))


def haar(image: CombinedImage, n_levels: int) -> tuple[list[Details], CombinedImage]:
    """Details of each scale, finest first, and what is left; every shift is kept, the image is periodic.

    White noise of level s has s / 2^(level + 1) in the details, level counted from 0.
    """
    details = []
    for level in range(n_levels):
        step = 2**level
        low_pe, high_pe = _halves(image, step, -2)
        (image, high_ro), (across, diagonal) = _halves(low_pe, step, -1), _halves(high_pe, step, -1)
        details.append(torch.stack([high_ro, across, diagonal]))
    return details, image


def inverse_haar(details: list[Details], rest: CombinedImage) -> CombinedImage:
    """The image of these details: the inverse of `haar`, and its pseudo-inverse where they belong to no image."""
    image = rest
    for level in reversed(range(len(details))):
        step = 2**level
        high_ro, across, diagonal = details[level]
        low_pe = _joined(image, high_ro, step, -1)
        image = _joined(low_pe, _joined(across, diagonal, step, -1), step, -2)
    return image


def _halves(image: Tensor, step: int, axis: int) -> tuple[Tensor, Tensor]:
    neighbour = torch.roll(image, -step, axis)
    return (image + neighbour) / 2, (image - neighbour) / 2


def _joined(low: Tensor, high: Tensor, step: int, axis: int) -> Tensor:
    return (low + high + torch.roll(low - high, step, axis)) / 2
