"""How far an image is from its reference.

All figures are taken where `mask` is true, or over the whole image. A root-sum-of-squares picture has
the noise floor of its reference in the background: judge inside the object, and give the other beside it.
"""

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from raki.coils import Image

Mask = Bool[Tensor, "*slice pe ro"]

# The object is where the image, smoothed, exceeds this part of its bright level (the 99th percentile).
OBJECT_THRESHOLD = 0.12
BRIGHT_QUANTILE = 0.99
SMOOTHING_PIXELS = 5
OPENING_PIXELS = 3


def nmse(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Energy of the error over the energy of the reference; dimensionless, 0 is perfect.

    Raises:
        ValueError: the shapes differ, or the reference is zero everywhere inside the mask.
    """
    found, wanted = _inside(image, reference, mask)
    energy = wanted.square().sum()
    if energy == 0:
        raise ValueError("the reference is zero everywhere inside the mask; an error relative to it has no meaning")
    return float((found - wanted).square().sum() / energy)


def psnr(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Peak of the reference over the root-mean-square error, in dB; infinite for equal images.

    Raises:
        ValueError: the shapes differ, or the mask is empty.
    """
    found, wanted = _inside(image, reference, mask)
    return float(10 * torch.log10(wanted.max().square() / (found - wanted).square().mean()))


def object_mask(reference: Image) -> Mask:
    """Where the object is: smoothed, above 12 % of the bright level, opened, holes filled.

    The bright level is the 99th percentile over all slices, so that an empty slice gets an empty mask.
    """
    planes = reference.reshape(-1, 1, *reference.shape[-2:])
    smooth = avg_pool2d(planes, SMOOTHING_PIXELS, stride=1, padding=SMOOTHING_PIXELS // 2, count_include_pad=False)
    bright = smooth.flatten().kthvalue(max(1, int(BRIGHT_QUANTILE * smooth.numel()))).values
    solid = (smooth > OBJECT_THRESHOLD * bright).float()
    opened = _dilate(1 - _dilate(1 - solid, OPENING_PIXELS), OPENING_PIXELS)
    return _fill_holes(opened).reshape(reference.shape) > 0


def _inside(image: Tensor, reference: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    if image.shape != reference.shape or (mask is not None and mask.shape != reference.shape):
        shapes = [tuple(array.shape) for array in (image, reference, mask) if array is not None]
        raise ValueError(f"image, reference and mask have shapes {shapes}; they need the same")
    if mask is None:
        return image.double(), reference.double()
    if not mask.any():
        raise ValueError("the mask is empty; an image needs at least one pixel to be judged on")
    return image[mask].double(), reference[mask].double()


def _dilate(planes: Tensor, n_pixels: int) -> Tensor:
    return max_pool2d(planes, n_pixels, stride=1, padding=n_pixels // 2)


def _fill_holes(solid: Tensor) -> Tensor:
    """What background can't be reached from the border, in steps to the four neighbours, is a hole."""
    free = torch.nn.functional.pad(1 - solid, (1, 1, 1, 1), value=1.0)
    outside = torch.zeros_like(free)
    outside[..., 0, 0] = 1
    while True:
        along_pe = max_pool2d(outside, (3, 1), stride=1, padding=(1, 0))
        along_ro = max_pool2d(outside, (1, 3), stride=1, padding=(0, 1))
        grown = torch.maximum(along_pe, along_ro) * free
        if torch.equal(grown, outside):
            return 1 - outside[..., 1:-1, 1:-1]
        outside = grown
