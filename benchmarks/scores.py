"""How far a filled k-space is from the full one, in every figure that is reported."""

from raki.coils import Image, root_sum_of_squares
from raki.images import nmse, psnr, ssim
from raki.images.metrics import Mask, high_frequency_error
from raki.scan.fourier import KSpace, to_image

# All inside the object. The root-sum-of-squares background is the reference's own noise floor.
FIGURES = {"nmse": nmse, "psnr": psnr, "ssim": ssim, "high_frequency_error": high_frequency_error}


def score(kspace: KSpace, reference: Image, mask: Mask) -> dict[str, float]:
    """The figures of one slice's root-sum-of-squares image; `nmse_full` alone is that of the full image."""
    image = root_sum_of_squares(to_image(kspace))
    inside = {name: figure(image, reference, mask) for name, figure in FIGURES.items()}
    return inside | {"nmse_full": nmse(image, reference)}
