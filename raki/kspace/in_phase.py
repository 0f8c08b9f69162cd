"""What a change of k-space does to the root-sum-of-squares image, to first order: its part in phase with the signal."""

import torch
from jaxtyping import Float32
from torch import Tensor

from raki.coils import root_sum_of_squares
from raki.scan.fourier import CoilImages, SliceKSpace, to_image

SliceImage = Float32[Tensor, "pe ro"]


def signal_direction(filled: SliceKSpace) -> CoilImages:
    """The coils' signals as a unit vector in each pixel; zero where there is none."""
    images = to_image(filled)
    size = root_sum_of_squares(images)
    return torch.where(size > 0, images / size, 0)


def in_phase(part: SliceKSpace, signal: CoilImages) -> SliceImage:
    """What a part of the k-space adds to the image; of all parts together, exactly the image."""
    return torch.linalg.vecdot(signal, to_image(part), dim=0).real
