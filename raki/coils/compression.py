"""Fewer virtual coils that say nearly all that the coils of the receiver say."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Complex128, Float64
from torch import Tensor

from raki.coils.combination import coil_covariance, principal_components
from raki.scan.fourier import KSpace, to_image, to_kspace

Matrix = Complex64[Tensor, "*ro virtual coil"]
VirtualKSpace = Complex64[Tensor, "*slice virtual pe ro"]
Energies = Float64[Tensor, " component"]


@dataclass(frozen=True, kw_only=True)
class CoilCompression:
    """A matrix from coils to virtual coils, found on calibration data and applied to any data of the same coils.

    Rows are orthonormal: noise that is white and equal in all coils is so in the virtual coils, at the same level.
    """

    matrix: Matrix
    """One for all of k-space (SVD), or one for each position along the readout (geometric)."""
    loss: float
    """Part of the calibration data's energy that the virtual coils lack; from 0 to 1."""

    @property
    def n_coils_out(self) -> int:
        """Number of virtual coils."""
        return self.matrix.shape[-2]

    def apply(self, kspace: KSpace) -> VirtualKSpace:
        """Virtual coils' k-space of the coils' k-space, of any number of lines; where lines are zero they stay zero.

        Raises:
            ValueError: other coils than the matrix was made for, or another readout where it differs along it.
        """
        self._check(kspace.shape[-3], kspace.shape[-1])
        if self.matrix.ndim == 2:
            return torch.einsum("vc,...cpr->...vpr", self.matrix, kspace)
        return _from_hybrid(torch.einsum("rvc,...cpr->...vpr", self.matrix, _to_hybrid(kspace)))

    def apply_to_noise(self, noise: Complex64[Tensor, "coil sample"]) -> Complex64[Tensor, "virtual sample"]:
        """Virtual coils' samples of a noise scan, for an SVD compression.

        A noise scan has no positions along the readout, so a geometric compression has no matrix for it: there, whiten
        before compressing, and the noise of the virtual coils is known to be white.

        Raises:
            ValueError: other coils than the matrix was made for, or the compression is geometric.
        """
        if self.matrix.ndim == 3:
            raise ValueError(
                "a geometric compression has one matrix for each readout position, and a noise scan has no positions; "
                "prewhiten before compressing, and the virtual coils' noise is white and at the same level"
            )
        self._check(noise.shape[0], noise.shape[1])
        return self.matrix @ noise

    def _check(self, n_coils: int, n_ro: int) -> None:
        if n_coils != self.matrix.shape[-1]:
            raise ValueError(f"the data have {n_coils} coils; this compression was made for {self.matrix.shape[-1]}")
        if self.matrix.ndim == 3 and n_ro != len(self.matrix):
            raise ValueError(
                f"the data have {n_ro} samples along the readout; this geometric compression was made for "
                f"{len(self.matrix)}: calibrate on lines as long as the data's"
            )


def svd_compression(acs: KSpace, *, n_coils: int | None = None, loss: float | None = None) -> CoilCompression:
    """One matrix for all of k-space: the strongest principal components of the coils.

    Args:
        acs: calibration lines, or any k-space of these coils; noise should be white, so prewhiten first.
        n_coils: how many virtual coils; or else
        loss: the greatest part of the energy of `acs` that may be lost, which says how many.

    Raises:
        ValueError: not one of `n_coils` and `loss` is given, or it can't be met.

    Huang et al. 2008, Magn Reson Imaging 26:133-141, doi:10.1016/j.mri.2007.04.010.

    >>> import raki, torch
    >>> kspace = torch.from_numpy(raki.phantom_kspace(n_slices=1, n_coils=6, matrix=32))
    >>> raki.svd_compression(kspace, n_coils=3).apply(kspace).shape
    torch.Size([1, 3, 32, 32])
    """
    return principal_compression(coil_covariance(acs), n_coils=n_coils, loss=loss)


def principal_compression(
    covariance: Complex128[Tensor, "coil coil"], *, n_coils: int | None = None, loss: float | None = None
) -> CoilCompression:
    """`svd_compression` from the covariance of the coils, which may be summed up slice by slice."""
    energies, components = principal_components(covariance)
    n_kept = _n_kept(energies, n_coils, loss)
    return CoilCompression(matrix=components[:n_kept], loss=_loss(energies, n_kept))


def geometric_compression(acs: KSpace, *, n_coils: int | None = None, loss: float | None = None) -> CoilCompression:
    """One matrix for each position along the readout (GCC), which loses less than one for all.

    The readout is fully sampled, so it can be transformed first; at each position fewer coils see anything. The
    virtual coils of neighbouring positions are turned to be as alike as they can, or else the compressed data would
    not be smooth along the readout and no kernel would fit them.

    Args:
        acs: as for `svd_compression`, with lines as long as those of the data to be compressed.
        n_coils: how many virtual coils, the same at all positions; or else
        loss: the greatest part of the energy of `acs` that may be lost in all.

    Raises:
        ValueError: not one of `n_coils` and `loss` is given, or it can't be met.

    Zhang et al. 2013, Magn Reson Med 69:571-582, doi:10.1002/mrm.24267.

    >>> import raki, torch
    >>> kspace = torch.from_numpy(raki.phantom_kspace(n_slices=1, n_coils=6, matrix=32))
    >>> raki.geometric_compression(kspace, n_coils=3).apply(kspace).shape
    torch.Size([1, 3, 32, 32])
    """
    by_position = _to_hybrid(acs).movedim(-1, 0)
    per_slice = (by_position @ by_position.mH).to(torch.complex128)
    covariance = per_slice.reshape(acs.shape[-1], -1, *per_slice.shape[-2:]).sum(dim=1)
    energies, components = principal_components(covariance)
    total = energies.sum(dim=0)
    n_kept = _n_kept(total, n_coils, loss)
    brightest = int(energies.sum(dim=1).argmax())
    return CoilCompression(matrix=_aligned(components[:, :n_kept], brightest), loss=_loss(total, n_kept))


def _aligned(components: Complex64[Tensor, "ro virtual coil"], start: int) -> Complex64[Tensor, "ro virtual coil"]:
    """The same subspaces with bases turned to be nearest to their neighbours', from `start` outwards.

    The start decides on one turn for all: it keeps its principal components, which in the air would be those of noise.
    """
    aligned = components.clone()
    for positions, step in ((range(start + 1, len(components)), 1), (range(start - 1, -1, -1), -1)):
        for position in positions:
            left, _, right = torch.linalg.svd(aligned[position - step] @ components[position].mH)
            aligned[position] = left @ right @ components[position]
    return aligned


def _n_kept(energies: Energies, n_coils: int | None, loss: float | None) -> int:
    n_available = len(energies)
    if n_coils is not None and loss is None:
        if not 1 <= n_coils <= n_available:
            raise ValueError(
                f"{n_coils} virtual coils were asked for and there are {n_available} coils; ask for 1 to {n_available}"
            )
        return n_coils
    if loss is not None and n_coils is None:
        if not 0 <= loss < 1:
            raise ValueError(f"a loss of {loss} was asked for; it is a part of the energy, from 0 to below 1")
        return next(n_kept for n_kept in range(1, n_available + 1) if _loss(energies, n_kept) <= loss)
    raise ValueError(f"n_coils is {n_coils} and loss {loss}; give one of them, and leave the other out")


def _loss(energies: Energies, n_kept: int) -> float:
    """Zero where there is no energy to lose, and where all is kept."""
    return float(energies[n_kept:].sum() / energies.sum().clamp(min=torch.finfo(energies.dtype).tiny))


def _to_hybrid(kspace: KSpace) -> KSpace:
    """Transformed along the readout alone: each line for itself is a picture one pixel high."""
    return to_image(kspace.unsqueeze(-2)).squeeze(-2)


def _from_hybrid(hybrid: KSpace) -> KSpace:
    return to_kspace(hybrid.unsqueeze(-2)).squeeze(-2)
