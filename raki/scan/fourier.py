"""Between k-space and image as tensors: DC at index `n // 2`, and a transform that keeps the energy."""

import torch
from jaxtyping import Complex64
from torch import Tensor

KSpace = Complex64[Tensor, "*slice coil pe ro"]  # readout last: contiguous, as the receiver wrote it
CoilImages = Complex64[Tensor, "*slice coil pe ro"]
SliceKSpace = Complex64[Tensor, "coil pe ro"]
SliceAcs = Complex64[Tensor, "coil acs_line acs_ro"]

IN_PLANE = (-2, -1)
ALONG_PE = (-2,)


def to_image(kspace: KSpace, along: tuple[int, ...] = IN_PLANE) -> CoilImages:
    """Centred, unitary inverse DFT over pe and ro, or only `along` some axes; DC is at index `n // 2`.

    Unitary, so noise has the same level in both domains and one regularisation weight means the
    same in either.
    """
    shifted = torch.fft.ifftshift(kspace, dim=along)
    return torch.fft.fftshift(torch.fft.ifftn(shifted, dim=along, norm="ortho"), dim=along)


def to_kspace(images: CoilImages, along: tuple[int, ...] = IN_PLANE) -> KSpace:
    """Centred, unitary DFT over pe and ro, or only `along` some axes: the inverse of `to_image`."""
    shifted = torch.fft.ifftshift(images, dim=along)
    return torch.fft.fftshift(torch.fft.fftn(shifted, dim=along, norm="ortho"), dim=along)
