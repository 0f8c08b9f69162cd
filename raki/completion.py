"""Fill in the k-space lines that the scanner skipped: the one call behind every way to use raki."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.errors import DamagedScan, NoCalibration
from raki.filling import fill_by_grappa, fill_by_raki, fit_notes, mean_curve, slice_kernel
from raki.fourier import KSpace
from raki.sampling import SampledLines, Sampling, acquired_lines, find_sampling
from raki.training import Fitted, TrainingPoint

__all__ = ["METHODS", "Completion", "TrainingPoint", "complete", "complete_kspace"]

METHODS = ("zero_filled", "grappa", "raki")

FEW_ACS_LINES = 16


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A filled k-space, and what a report says about how it was filled."""

    kspace: KSpace
    """Same shape as the input, on the CPU; acquired samples bit for bit."""
    sampling: Sampling
    training_curve: tuple[TrainingPoint, ...]
    """Mean over the slices; empty for methods that train nothing."""
    notes: tuple[str, ...]
    """Sentences for the report."""


def complete(
    kspace: KSpace,
    method: str = "raki",
    *,
    sampled: SampledLines | None = None,
    acs: Complex64[Tensor, "*slice coil acs_line acs_ro"] | None = None,
    noise: Complex64[Tensor, "coil sample"] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Completion:
    """Fill the missing lines between the outermost acquired ones; lines beyond these stay zero.

    Each slice is calibrated on its own ACS. Every sample of an acquired line, ACS included, is
    returned as it came.

    Args:
        kspace: one slice or several; samples of lines that were not acquired are not read.
        method: one of METHODS. `zero_filled` fills nothing.
        sampled: acquired lines; by default those with a sample other than zero.
        acs: neighbouring fully sampled lines, same slices and coils, if they are not inside `kspace`.
        noise: samples recorded without excitation, axes coil and sample, scaled as `kspace` is;
            without it the noise level is estimated from the ACS.
        seed: the same seed gives the same bits on the same device.
        device: where to compute; by default a GPU if there is one.
        progress: called with the fraction of slices done, from 0 to 1.

    Raises:
        ValueError: an unknown method.
        DamagedScan: an acquired line holds NaN or infinity.
        UnsupportedScan: the lines are not regularly undersampled.
        NoCalibration: undersampled, without enough ACS lines.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it has to be one of {', '.join(METHODS)}")
    kspace = kspace.cpu()
    sampled = acquired_lines(kspace) if sampled is None else sampled.cpu()
    acs = None if acs is None else acs.cpu()
    sampling = find_sampling(sampled)
    measured = torch.where(sampled[:, None], kspace, 0)
    _check_finite(measured, "acquired")
    if method == "zero_filled" or sampling.acceleration == 1:
        return Completion(kspace=measured, sampling=sampling, training_curve=(), notes=_unfilled_notes(sampling))
    acs = _find_acs(measured, sampling, acs)
    _check_finite(acs, "ACS")
    filled, fits = _fill_slices(
        measured,
        acs,
        sampling,
        method=method,
        sigma=None if noise is None else float(noise.abs().square().mean().sqrt()),
        seed=seed,
        device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        progress=progress or (lambda _fraction: None),
    )
    return Completion(
        kspace=torch.where(sampled[:, None], kspace, filled),
        sampling=sampling,
        training_curve=mean_curve(fits) if fits else (),
        notes=_acs_notes(acs.shape[-2], sampling) + (fit_notes(fits) if fits else ()),
    )


def complete_kspace(
    kspace: Any,
    method: str = "raki",
    *,
    sampled: Any = None,
    acs: Any = None,
    noise: Any = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Any:
    """`complete` for arrays: numpy in, numpy out; a tensor in, a tensor out. Complex64, same shape.

    Axes are coil, pe, ro, or slice, coil, pe, ro. Arguments and errors are those of `complete`.

    Raises:
        ValueError: also for arrays whose shapes contradict each other.
    """
    tensor = _as_tensor(kspace, torch.complex64)
    mask = None if sampled is None else _as_tensor(sampled, torch.bool)
    calibration = None if acs is None else _as_tensor(acs, torch.complex64)
    _check_shapes(tensor, mask, calibration)
    noise_scan = None if noise is None else _as_tensor(noise, torch.complex64)
    filled = complete(tensor, method, sampled=mask, acs=calibration, noise=noise_scan, seed=seed, device=device).kspace
    return filled if isinstance(kspace, Tensor) else filled.numpy()


def _as_tensor(array: Any, dtype: torch.dtype) -> Tensor:
    return torch.as_tensor(array if isinstance(array, Tensor) else np.array(array)).to(dtype).cpu()


def _fill_slices(
    measured: Tensor,
    acs: Tensor,
    sampling: Sampling,
    *,
    method: str,
    sigma: float | None,
    seed: int,
    device: torch.device,
    progress: Callable[[float], None],
) -> tuple[Tensor, list[Fitted]]:
    """Every slice on its own, as many at a time as there are cores: working memory is that of so few slices."""
    slices = measured.reshape(-1, *measured.shape[-3:])
    filled = torch.empty_like(slices)

    def fill(index: int, its_acs: Tensor) -> Fitted | None:
        if method == "grappa":
            filled[index] = fill_by_grappa(slices[index], its_acs, sampling, device=device)
            return None
        filled[index], fit = fill_by_raki(slices[index], its_acs, sampling, sigma=sigma, seed=seed, device=device)
        return fit

    fits = []
    progress(0.0)
    with _slice_threads(device) as pool:
        for fit in pool.map(fill, range(len(slices)), acs.reshape(-1, *acs.shape[-3:])):
            fits.append(fit)
            progress(len(fits) / len(slices))
    return filled.reshape(measured.shape), [fit for fit in fits if fit is not None]


@contextmanager
def _slice_threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """One thread a slice on a CPU; one in all on a GPU.

    The products of one slice are small. Shared among threads they wait for each other, and on a machine that does
    anything else besides they wait by spinning: seconds become minutes.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(n_threads if device.type == "cpu" else 1) as pool:
            yield pool
    finally:
        torch.set_num_threads(n_threads)


def _find_acs(measured: Tensor, sampling: Sampling, acs: Tensor | None) -> Tensor:
    needed = slice_kernel(measured.shape[-1]).n_lines_needed(sampling.acceleration)
    if acs is None:
        first, stop = sampling.acs_lines or (0, 0)
        acs = measured[..., first:stop, :]
    if acs.shape[-2] < needed:
        raise NoCalibration(
            f"every {sampling.acceleration}th line was acquired (R={sampling.acceleration}), and {acs.shape[-2]} "
            f"neighbouring lines to calibrate on; at least {needed} are needed, 24 or more advised: acquire them, or "
            f"pass a separate calibration scan as acs"
        )
    return acs


def _acs_notes(n_acs_lines: int, sampling: Sampling) -> tuple[str, ...]:
    if n_acs_lines >= FEW_ACS_LINES:
        return ()
    return (
        f"The ACS has only {n_acs_lines} lines for R={sampling.acceleration}; calibration is better with "
        f"{FEW_ACS_LINES} or more.",
    )


def _unfilled_notes(sampling: Sampling) -> tuple[str, ...]:
    if sampling.acceleration > 1:
        return ("Missing lines were left at zero.",)
    first, stop = sampling.acquired_lines
    return (f"Lines {first} to {stop - 1} of {sampling.n_pe} were all acquired: nothing was filled.",)


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


def _check_finite(measured: Tensor, which: str) -> None:
    broken = (~torch.isfinite(measured)).movedim(-2, 0).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise DamagedScan(
            f"{len(broken)} {which} lines hold NaN or infinity, the first of them line {broken[0]}; "
            f"leave them out of sampled, or read the scan again"
        )
