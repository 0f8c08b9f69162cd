"""How far an image is from its reference.

All figures are taken where `mask` is true, or over the whole image. A root-sum-of-squares picture has
the noise floor of its reference in the background: judge inside the object, and give the other beside it.
"""

import torch
from jaxtyping import Bool, Float64
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from raki.coils import Image

Mask = Bool[Tensor, "*slice pe ro"]

# The object is where the image, smoothed, exceeds this part of its bright level (the 99th percentile).
OBJECT_THRESHOLD = 0.12
BRIGHT_QUANTILE = 0.99
SMOOTHING_PIXELS = 5
OPENING_PIXELS = 3

# As in the papers that introduced the two.
SSIM_WINDOW_PIXELS, SSIM_SIGMA_PIXELS = 11, 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
EDGE_WINDOW_PIXELS, EDGE_SIGMA_PIXELS = 15, 1.5


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


def ssim(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Structural similarity, the mean over all pixels whose 11 by 11 window lies in the image; 1 for equal images.

    Means, variances and covariance are taken under a Gaussian of sigma 1.5 pixels, slice by slice. The dynamic range
    is the reference's maximum over all slices, inside the mask or not.

    Raises:
        ValueError: the shapes differ, the reference is nowhere positive, or no window lies in the image and around a
            pixel of the mask.

    Wang et al. 2004, IEEE Trans Image Process 13:600-612, doi:10.1109/TIP.2003.819861.
    """
    _check_shapes(image, reference, mask)
    peak = float(reference.max())
    if peak <= 0:
        raise ValueError(f"the reference's maximum is {peak}; it is the dynamic range, and has to be positive")
    found, wanted = image.double() / peak, reference.double() / peak
    products = torch.stack([found, wanted, found.square(), wanted.square(), found * wanted])
    window = _gaussian(SSIM_WINDOW_PIXELS, SSIM_SIGMA_PIXELS, image.device)
    mean_1, mean_2, square_1, square_2, product = _filter_inside(products, window)
    variance_1, variance_2 = square_1 - mean_1.square(), square_2 - mean_2.square()
    luminance = (2 * mean_1 * mean_2 + SSIM_K1**2) / (mean_1.square() + mean_2.square() + SSIM_K1**2)
    structure = (2 * (product - mean_1 * mean_2) + SSIM_K2**2) / (variance_1 + variance_2 + SSIM_K2**2)
    return float((luminance * structure)[_window_centres(reference, mask, SSIM_WINDOW_PIXELS)].mean())


def high_frequency_error(image: Image, reference: Image, mask: Mask | None = None) -> float:
    """Energy of the error's edges over that of the reference's edges; dimensionless, 0 is perfect.

    Edges are what a Laplacian of Gaussian leaves, 15 by 15 pixels with sigma 1.5, at all pixels whose window lies in
    the image. This is the square of the HFEN of the paper, relative to the reference, as `nmse` is; a blurred image has
    a small `nmse` and a large high-frequency error.

    Raises:
        ValueError: the shapes differ, the reference has no edge inside the mask, or no window lies in the image and
            around a pixel of the mask.

    Ravishankar and Bresler 2011, IEEE Trans Med Imaging 30:1028-1041, doi:10.1109/TMI.2010.2090538.
    """
    _check_shapes(image, reference, mask)
    window = _laplacian_of_gaussian(EDGE_WINDOW_PIXELS, EDGE_SIGMA_PIXELS, image.device)
    pair = torch.stack([image.double() - reference.double(), reference.double()])
    of_error, of_reference = _filter_inside(pair, window)[:, _window_centres(reference, mask, EDGE_WINDOW_PIXELS)]
    energy = of_reference.square().sum()
    if energy <= torch.finfo(torch.float64).eps * reference.double().square().sum():
        raise ValueError("the reference has no edge inside the mask; an error relative to it has no meaning")
    return float(of_error.square().sum() / energy)


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
    _check_shapes(image, reference, mask)
    if mask is None:
        return image.double(), reference.double()
    if not mask.any():
        raise ValueError("the mask is empty; an image needs at least one pixel to be judged on")
    return image[mask].double(), reference[mask].double()


def _check_shapes(image: Tensor, reference: Tensor, mask: Tensor | None) -> None:
    if image.shape != reference.shape or (mask is not None and mask.shape != reference.shape):
        shapes = [tuple(array.shape) for array in (image, reference, mask) if array is not None]
        raise ValueError(f"image, reference and mask have shapes {shapes}; they need the same")


def _gaussian(n_pixels: int, sigma: float, device: torch.device) -> Float64[Tensor, "window window"]:
    squares = (torch.arange(n_pixels, dtype=torch.float64, device=device) - n_pixels // 2).square()
    profile = torch.exp(-squares / (2 * sigma**2))
    window = torch.outer(profile, profile)
    return window / window.sum()


def _laplacian_of_gaussian(n_pixels: int, sigma: float, device: torch.device) -> Float64[Tensor, "window window"]:
    """Its sum is zero, so that an even brightness leaves nothing."""
    squares = (torch.arange(n_pixels, dtype=torch.float64, device=device) - n_pixels // 2).square()
    radius_squared = squares[:, None] + squares
    window = (radius_squared / sigma**2 - 2) / sigma**2 * _gaussian(n_pixels, sigma, device)
    return window - window.mean()


def _filter_inside(images: Tensor, window: Tensor) -> Tensor:
    """Correlation with a square window, wherever it lies in the image: smaller than the image by one less than it."""
    if min(images.shape[-2:]) < len(window):
        raise ValueError(f"an image of {tuple(images.shape[-2:])} pixels is smaller than the window of {len(window)}")
    planes = images.reshape(-1, 1, *images.shape[-2:])
    filtered = conv2d(planes, window[None, None])
    return filtered.reshape(*images.shape[:-2], *filtered.shape[-2:])


def _window_centres(reference: Tensor, mask: Tensor | None, n_pixels: int) -> Tensor:
    """Which of the windows in the image are judged: those around a pixel of the mask."""
    half = n_pixels // 2
    chosen = torch.ones_like(reference, dtype=torch.bool) if mask is None else mask
    inner = chosen[..., half : chosen.shape[-2] - half, half : chosen.shape[-1] - half]
    if not inner.any():
        raise ValueError(f"no pixel of the mask has a window of {n_pixels} pixels that lies in the image")
    return inner


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
