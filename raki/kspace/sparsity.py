"""Images have few edges: an undecimated Haar transform, and a threshold that leaves what is clear of noise alone."""

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

CombinedImage = Complex64[Tensor, "row column"]
Parts = Float32[Tensor, "part row column"]
Details = Float32[Tensor, "orientation part row column"]

# Coarser than eight pixels there is little noise to remove: the ACS was acquired whole.
N_LEVELS = 3
# Coefficients above so many thresholds are left as they are. A soft threshold would take from every edge as much as
# from noise.
UNTOUCHED_ABOVE = 12.0
# The part out of phase with the smooth phase of the object is less likely to be signal.
OUT_OF_PHASE = 1.2


def shrunk(image: CombinedImage, threshold: float, phase: CombinedImage) -> CombinedImage:
    """The image with detail below the noise removed, at each scale, orientation and shift; rows and columns alike.

    Args:
        image: combined from all coils.
        threshold: in units of the image; half of it counts at the finest scale, whose noise is half that of a pixel,
            and half of that at each coarser one.
        phase: of unit modulus, smooth; the parts in phase with it and out of phase are shrunk each for itself.

    Coifman and Donoho 1995, Lecture Notes in Statistics 103:125-150 (cycle spinning); Gao and Bruce 1997, Statistica
    Sinica 7:855-874 (firm shrinkage).
    """
    in_phase = image * phase.conj()
    details, rest = haar(torch.stack([in_phase.real, in_phase.imag]), N_LEVELS)
    thresholds = threshold * torch.tensor([1.0, OUT_OF_PHASE], device=image.device)[:, None, None]
    kept = [detail * firm_gain(_size(detail), thresholds * 0.5 ** (level + 1)) for level, detail in enumerate(details)]
    return torch.complex(*inverse_haar(kept, rest)) * phase


def _size(details: Details) -> Parts:
    """Root mean square over the orientations, in the pixel or in the nine around it, whichever is more.

    A point has all three orientations, and an edge its neighbours: both stand out more than one coefficient does.
    """
    energy = details.square().mean(dim=0)
    around = energy
    for axis in (-2, -1):
        around = around.roll(1, axis).add_(around).add_(around.roll(-1, axis))
    return torch.maximum(energy, around.div_(9)).sqrt_()


def firm_gain(size: Float32[Tensor, "*any"], threshold: Float32[Tensor, "*one"]) -> Float32[Tensor, "*any"]:
    """0 up to the threshold, 1 from UNTOUCHED_ABOVE times it; a size between these is mapped linearly."""
    slope = UNTOUCHED_ABOVE / (UNTOUCHED_ABOVE - 1)
    return (slope - slope * threshold / size.clamp(min=torch.finfo(torch.float32).tiny)).clamp(min=0.0, max=1.0)


def haar(parts: Parts, n_levels: int) -> tuple[list[Details], Parts]:
    """Details of each scale, finest first, and what is left; every shift is kept, the image is periodic.

    White noise of level s has s / 2^(level + 1) in the details, level counted from 0.
    """
    details = []
    for level in range(n_levels):
        step = 2**level
        low_row, high_row = _halves(parts, step, -2)
        (parts, high_column), (across, diagonal) = _halves(low_row, step, -1), _halves(high_row, step, -1)
        details.append(torch.stack([high_column, across, diagonal]))
    return details, parts


def inverse_haar(details: list[Details], rest: Parts) -> Parts:
    """The image of these details: the inverse of `haar`, and its pseudo-inverse where they belong to no image."""
    parts = rest
    for level in reversed(range(len(details))):
        step = 2**level
        high_column, across, diagonal = details[level]
        low_row = _joined(parts, high_column, step, -1)
        parts = _joined(low_row, _joined(across, diagonal, step, -1), step, -2)
    return parts


def _halves(parts: Tensor, step: int, axis: int) -> tuple[Tensor, Tensor]:
    neighbour = torch.roll(parts, -step, axis)
    return (parts + neighbour) / 2, (parts - neighbour) / 2


def _joined(low: Tensor, high: Tensor, step: int, axis: int) -> Tensor:
    return (low + high + torch.roll(low - high, step, axis)) / 2
