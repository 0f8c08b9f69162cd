"""Between k-space and image as tensors: DC at index `n // 2`, and a transform that keeps the energy."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Shaped
from torch import Tensor

KSpace = Complex64[Tensor, "*slice coil pe ro"]  # readout last: contiguous, as the receiver wrote it
CoilImages = Complex64[Tensor, "*slice coil pe ro"]
SliceKSpace = Complex64[Tensor, "coil pe ro"]
SliceAcs = Complex64[Tensor, "coil acs_line acs_ro"]

IN_PLANE = (-2, -1)


def to_image(kspace: KSpace) -> CoilImages:
    """Centred, unitary inverse DFT over pe and ro; DC is at index `n // 2`.

    Unitary, so noise has the same level in both domains and one regularisation weight means the
    same in either.
    """
    shifted = torch.fft.ifftshift(kspace, dim=IN_PLANE)
    return torch.fft.fftshift(torch.fft.ifft2(shifted, norm="ortho"), dim=IN_PLANE)


def to_kspace(images: CoilImages) -> KSpace:
    """Centred, unitary DFT over pe and ro: the inverse of `to_image`."""
    shifted = torch.fft.ifftshift(images, dim=IN_PLANE)
    return torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), dim=IN_PLANE)


def lines_to_profiles(lines: Complex64[Tensor, "*any ro"]) -> Complex64[Tensor, "*any ro"]:
    """Centred, unitary inverse DFT of each line along the readout."""
    return torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(lines, dim=-1), norm="ortho"), dim=-1)


def profiles_to_lines(profiles: Complex64[Tensor, "*any ro"]) -> Complex64[Tensor, "*any ro"]:
    """The inverse of `lines_to_profiles`."""
    return torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(profiles, dim=-1), norm="ortho"), dim=-1)


def to_columns(images: Shaped[Tensor, "*any pe ro"]) -> Shaped[Tensor, "*any ro pe"]:
    """Columns along phase-encode, contiguous, their middle at index 0: transforms of them need neither copy nor shift.

    Of images, or of lines whose DC is at index `n // 2`.
    """
    return torch.fft.ifftshift(images, dim=-2).mT.contiguous()


def from_columns(columns: Shaped[Tensor, "*any ro pe"]) -> Shaped[Tensor, "*any pe ro"]:
    """The inverse of `to_columns`."""
    return torch.fft.fftshift(columns.mT, dim=-2)


def columns_to_kspace(columns: Complex64[Tensor, "*any ro pe"]) -> Complex64[Tensor, "*any ro pe"]:
    """Unitary DFT of columns along phase-encode."""
    return torch.fft.fft(columns, norm="ortho")


def columns_to_image(columns: Complex64[Tensor, "*any ro pe"]) -> Complex64[Tensor, "*any ro pe"]:
    """Unitary inverse DFT of columns along phase-encode."""
    return torch.fft.ifft(columns, norm="ortho")


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """Transforms of images that lie as the FFT wants them, so that repeating them copies and shifts nothing."""

    corner: Callable[[Tensor], Tensor]
    """From the middle at index `n // 2` to index 0; of images, or of a mask of the k-space."""
    centred: Callable[[Tensor], Tensor]
    """The inverse."""
    kspace: Callable[[Tensor], Tensor]
    image: Callable[[Tensor], Tensor]


def _to_corner(images: Shaped[Tensor, "*any pe ro"]) -> Shaped[Tensor, "*any pe ro"]:
    return torch.fft.ifftshift(images, dim=IN_PLANE).contiguous()


def _from_corner(images: Shaped[Tensor, "*any pe ro"]) -> Shaped[Tensor, "*any pe ro"]:
    return torch.fft.fftshift(images, dim=IN_PLANE)


def _plane_to_kspace(images: Complex64[Tensor, "*any pe ro"]) -> Complex64[Tensor, "*any pe ro"]:
    return torch.fft.fft2(images, norm="ortho")


def _plane_to_image(kspace: Complex64[Tensor, "*any pe ro"]) -> Complex64[Tensor, "*any pe ro"]:
    return torch.fft.ifft2(kspace, norm="ortho")


COLUMNS = Transforms(corner=to_columns, centred=from_columns, kspace=columns_to_kspace, image=columns_to_image)
"""Along phase-encode alone, where lines are whole along the readout; the axes change places."""
PLANES = Transforms(corner=_to_corner, centred=_from_corner, kspace=_plane_to_kspace, image=_plane_to_image)
"""Of both axes."""
