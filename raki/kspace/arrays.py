"""The call for arrays, of numpy or of torch: what `raki.complete_kspace` is."""

import warnings
from typing import overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from raki.kspace.completion import complete
from raki.kspace.plausible import implausible_axes


@overload
def complete_kspace(
    kspace: Tensor,
    method: str = "raki",
    *,
    sampled: ArrayLike | Tensor | None = None,
    acs: ArrayLike | Tensor | None = None,
    noise: ArrayLike | Tensor | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Tensor: ...
@overload
def complete_kspace(
    kspace: ArrayLike,
    method: str = "raki",
    *,
    sampled: ArrayLike | Tensor | None = None,
    acs: ArrayLike | Tensor | None = None,
    noise: ArrayLike | Tensor | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> np.ndarray: ...
def complete_kspace(
    kspace: ArrayLike | Tensor,
    method: str = "raki",
    *,
    sampled: ArrayLike | Tensor | None = None,
    acs: ArrayLike | Tensor | None = None,
    noise: ArrayLike | Tensor | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> np.ndarray | Tensor:
    """Fill in the k-space lines that the scanner skipped.

    R, the offset of the lattice and the ACS are found from the lines that were acquired. Missing lines of the acquired
    range are filled, and those at the border of k-space within R of its ends. Lines farther out stay zero
    (zero-padding), but where the lines opposite to them were acquired (partial Fourier): there they are inferred from
    these, as far as acquired lines are predicted so. Each slice is calibrated on its own.

    Args:
        kspace: complex, axes (slice,) coil, pe, ro, the centre at index n // 2 of pe and ro; zero where nothing was
            acquired. In any unit: samples come back in it. Whatever numpy.asarray takes, or a torch tensor on any
            device. Samples of lines that were not acquired are not read.
        method: "raki", "grappa", "zero_filled", or a published network: "raki2019", "rraki", "iraki" (minutes a slice).
        sampled: which lines were acquired, one boolean for each; by default those with a sample other than zero.
        acs: neighbouring fully sampled lines, same slices and coils, if they are not inside `kspace`.
        noise: samples recorded without excitation, axes coil, sample, scaled as `kspace` is; without it the noise level
            is estimated from the ACS.
        seed: the same seed gives the same bits on the same device.
        device: where to compute, as torch names it; by default a GPU if there is one.

    Returns:
        complex64, the shape of `kspace`: an array for an array, a tensor (on the CPU) for a tensor. Acquired samples
        come back bit for bit.

    Raises:
        ValueError: an unknown method, or arrays whose shapes contradict each other.
        DamagedScan: an acquired line holds NaN or infinity.
        UnsupportedScan: the lines are not regularly undersampled.
        NoCalibration: undersampled, without enough ACS lines.

    Warns:
        UserWarning: the axes seem to be others: coils last, or readout and phase-encode swapped.

    >>> import raki
    >>> kspace = raki.phantom_kspace(n_slices=1, n_coils=6, matrix=48)
    >>> acquired = np.arange(48) % 2 == 0
    >>> acquired[16:32] = True
    >>> kspace[..., ~acquired, :] = 0
    >>> filled = raki.complete_kspace(kspace, method="grappa")
    >>> filled.shape, bool((filled[..., acquired, :] == kspace[..., acquired, :]).all())
    ((1, 6, 48, 48), True)
    """
    tensor = _as_tensor(kspace, torch.complex64)
    mask = None if sampled is None else _as_tensor(sampled, torch.bool)
    calibration = None if acs is None else _as_tensor(acs, torch.complex64)
    _check_shapes(tensor, mask, calibration)
    if sampled is None:
        for sentence in implausible_axes(tensor):
            warnings.warn(sentence, UserWarning, stacklevel=2)
    noise_scan = None if noise is None else _as_tensor(noise, torch.complex64)
    filled, _ = complete(tensor, method, sampled=mask, acs=calibration, noise=noise_scan, seed=seed, device=device)
    return filled if isinstance(kspace, Tensor) else filled.numpy()


def _as_tensor(array: ArrayLike | Tensor, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(array if isinstance(array, Tensor) else np.array(array)).to(dtype).cpu()


def _check_shapes(kspace: Tensor, sampled: Tensor | None, acs: Tensor | None) -> None:
    if kspace.ndim not in (3, 4) or 0 in kspace.shape:
        raise ValueError(f"kspace has shape {tuple(kspace.shape)}; needed are axes (slice,) coil, pe, ro, none empty")
    n_pe = kspace.shape[-2]
    if sampled is not None and tuple(sampled.shape) != (n_pe,):
        raise ValueError(f"sampled has shape {tuple(sampled.shape)}; a kspace of {n_pe} lines needs ({n_pe},)")
    if acs is not None and acs.shape[:-2] != kspace.shape[:-2]:
        raise ValueError(
            f"acs has shape {tuple(acs.shape)} and kspace {tuple(kspace.shape)}; they need the same slices and coils"
        )
