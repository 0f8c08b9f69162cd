"""Fill in the k-space lines that the scanner skipped: the one call behind every way to use raki."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.errors import DamagedScan, NoCalibration
from raki.kspace.filling import Fitted, Judgement, fill_by_grappa, fill_by_raki, mean_curve, slice_kernel
from raki.kspace.published.iraki import fill_by_iraki
from raki.kspace.published.raki2019 import fill_by_raki2019
from raki.kspace.published.rraki import fill_by_rraki
from raki.kspace.sampling import SampledLines, Sampling, acquired_lines, find_sampling
from raki.kspace.training import TrainingPoint
from raki.kspace.uncertainty import Trust, assess
from raki.kspace.verdict import Verdict, verdict_of
from raki.scan.fourier import KSpace, SliceAcs, SliceKSpace

Published = Callable[..., tuple[Tensor, tuple[TrainingPoint, ...]]]

PUBLISHED: dict[str, Published] = {"raki2019": fill_by_raki2019, "rraki": fill_by_rraki, "iraki": fill_by_iraki}
"""Networks as they were published, for comparison: minutes a slice."""

METHODS = ("zero_filled", "grappa", "raki", *PUBLISHED)

# A nonlinear branch that held-out lines of none of so many slices approve of isn't trained for the others.
N_BRANCH_TRIALS = 2


LoadSlice = Callable[[int], Complex64[Tensor, "coil line ro"]]
TakeSlice = Callable[[int, Complex64[Tensor, "coil pe ro"]], None]


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a report says about how a k-space was filled."""

    sampling: Sampling
    training_curve: tuple[TrainingPoint, ...]
    """Mean over the slices; empty where nothing was trained."""
    verdict: Verdict | None
    """What held-out lines say of the choice; only of `raki`, and where lines were missing."""
    trust: tuple[Trust, ...]
    """Maps of each slice, where they were asked for and lines were missing; only of `raki`."""
    notes: tuple[str, ...]
    """Sentences for the report."""


@dataclass(frozen=True, kw_only=True)
class Completion(Account):
    """A filled k-space, and the account of it."""

    kspace: KSpace
    """Same shape as the input, on the CPU; acquired samples bit for bit."""


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What is kept of a slice besides its samples: little, however many slices there are."""

    n_coils: int = 0
    n_acs_lines: int = 0
    curve: tuple[TrainingPoint, ...] = ()
    judgement: Judgement | None = None
    sigma: float = 0.0
    trust: Trust | None = None


def complete(
    kspace: KSpace,
    method: str = "raki",
    *,
    sampled: SampledLines | None = None,
    acs: Complex64[Tensor, "*slice coil acs_line acs_ro"] | None = None,
    noise: Complex64[Tensor, "coil sample"] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    with_maps: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Completion:
    """Fill the missing lines of the acquired range, and those at the border of k-space within R of its ends.

    Lines farther out were never meant to be acquired (zero-padding, partial Fourier) and stay zero. Each slice is
    calibrated on its own. Every sample of an acquired line, ACS included, is returned as it came.

    Args:
        kspace: one slice or several; samples of lines that were not acquired are not read.
        method: one of METHODS. `zero_filled` fills nothing; the last three are published networks, for comparison.
        sampled: acquired lines; by default those with a sample other than zero.
        acs: neighbouring fully sampled lines, same slices and coils, if they are not inside `kspace`.
        noise: samples recorded without excitation, axes coil and sample, scaled as `kspace` is;
            without it the noise level is estimated from the ACS.
        seed: the same seed gives the same bits on the same device.
        device: where to compute; by default a GPU if there is one.
        with_maps: whether to make maps of noise amplification and uncertainty too (`raki` only); it takes about as long
            again as the filling.
        progress: called with the fraction of slices done, from 0 to 1.

    Raises:
        ValueError: an unknown method.
        DamagedScan: an acquired line holds NaN or infinity.
        UnsupportedScan: the lines are not regularly undersampled.
        NoCalibration: undersampled, without enough ACS lines.
    """
    kspace = kspace.cpu()
    slices = kspace.reshape(-1, *kspace.shape[-3:])
    separate = None if acs is None else acs.cpu().reshape(-1, *acs.shape[-3:])
    result = torch.empty_like(slices)
    account = complete_slices(
        len(slices),
        slices.__getitem__,
        result.__setitem__,
        method,
        sampled=acquired_lines(slices) if sampled is None else sampled,
        load_acs=None if separate is None else separate.__getitem__,
        noise=noise,
        seed=seed,
        device=device,
        with_maps=with_maps,
        progress=progress,
    )
    return Completion(kspace=result.reshape(kspace.shape), **vars(account))


def complete_slices(
    n_slices: int,
    load: LoadSlice,
    take: TakeSlice,
    method: str = "raki",
    *,
    sampled: SampledLines,
    load_acs: LoadSlice | None = None,
    noise: Complex64[Tensor, "coil sample"] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    with_maps: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Account:
    """`complete` for a scan of any size: only the slices at work are in memory.

    Arguments and errors that aren't named here are those of `complete`.

    Args:
        load: reads one slice, axes `coil pe ro`; called once for each, from several threads.
        take: is handed each slice as it was filled, on the CPU, in no certain order and from several threads.
        load_acs: reads one slice of a separate calibration scan.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it has to be one of {', '.join(METHODS)}")
    sampled = sampled.cpu()
    sampling = find_sampling(sampled)
    filling = _Filling(
        n_slices=n_slices,
        load=load,
        load_acs=load_acs,
        take=take,
        sampled=sampled,
        sampling=sampling,
        method=method if sampling.acceleration > 1 else "zero_filled",
        sigma=None if noise is None else float(noise.abs().square().mean().sqrt()),
        seed=seed,
        device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        with_maps=with_maps,
    )
    outcomes = filling.run(progress or (lambda _fraction: None))
    verdict = filling.verdict(outcomes)
    return Account(
        sampling=sampling,
        training_curve=mean_curve([one.curve for one in outcomes if one.curve]),
        verdict=verdict,
        trust=tuple(one.trust for one in outcomes if one.trust is not None),
        notes=_notes(filling.method, sampling, verdict),
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


@dataclass(frozen=True, kw_only=True)
class _Filling:
    """One call's slices and settings."""

    n_slices: int
    load: LoadSlice
    load_acs: LoadSlice | None
    take: TakeSlice
    sampled: SampledLines
    sampling: Sampling
    method: str
    sigma: float | None
    seed: int
    device: torch.device
    with_maps: bool

    def run(self, progress: Callable[[float], None]) -> list[_Outcome]:
        """Fill every slice on its own, as many at a time as there are cores."""
        outcomes: list[_Outcome] = []
        progress(0.0)
        with _slice_threads(self.device) as pool:
            # The first slices say whether a nonlinear branch is worth training for the others.
            for some in (range(min(N_BRANCH_TRIALS, self.n_slices)), range(N_BRANCH_TRIALS, self.n_slices)):
                kept = [one.judgement.trial.kept_steps > 0 for one in outcomes if one.judgement]
                for outcome in pool.map(partial(self._fill, with_branch=not kept or any(kept)), some):
                    outcomes.append(outcome)
                    progress(len(outcomes) / self.n_slices)
        return outcomes

    def _fill(self, index: int, *, with_branch: bool) -> _Outcome:
        measured = torch.where(self.sampled[:, None], self.load(index), 0)
        _check_finite(measured, "acquired")
        if self.method == "zero_filled":
            self.take(index, measured)
            return _Outcome()
        acs = _find_acs(measured, self.sampling, self.load_acs(index) if self.load_acs else None)
        _check_finite(acs, "ACS")
        filled, outcome = self._filled(measured, acs, with_branch)
        self.take(index, torch.where(self.sampled[:, None], measured, filled))
        return replace(outcome, n_coils=len(measured), n_acs_lines=acs.shape[-2])

    def _filled(self, measured: SliceKSpace, acs: SliceAcs, with_branch: bool) -> tuple[SliceKSpace, _Outcome]:
        if self.method == "grappa":
            return fill_by_grappa(measured, acs, self.sampling, device=self.device), _Outcome()
        if self.method in PUBLISHED:
            filled, curve = PUBLISHED[self.method](measured, acs, self.sampling, seed=self.seed, device=self.device)
            return filled, _Outcome(curve=curve)
        filled, fitted = fill_by_raki(
            measured,
            acs,
            self.sampling,
            sigma=self.sigma,
            seed=self.seed,
            device=self.device,
            with_branch=with_branch,
        )
        trust = self._assess(filled, fitted) if self.with_maps else None
        judgement = fitted.judgement
        return filled, _Outcome(
            curve=judgement.trial.curve, judgement=judgement, sigma=fitted.sigma * fitted.scale, trust=trust
        )

    def _assess(self, filled: SliceKSpace, fitted: Fitted) -> Trust:
        # In the units of the fit, where no square leaves the range of float32.
        maps = assess(
            (filled / fitted.scale).to(self.device),
            self.sampling,
            fitted.kernel,
            fitted.predict,
            sigma=fitted.sigma,
            seed=self.seed,
        )
        return Trust(g_factor=maps.g_factor.cpu(), standard_error=maps.standard_error.cpu() * fitted.scale)

    def verdict(self, outcomes: Sequence[_Outcome]) -> Verdict | None:
        """What the slices' judgements say of the scan."""
        judgements = [one.judgement for one in outcomes if one.judgement is not None]
        if not judgements:
            return None
        return verdict_of(
            judgements,
            [one.sigma for one in outcomes],
            self.sampling,
            n_coils=outcomes[0].n_coils,
            n_acs_lines=outcomes[0].n_acs_lines,
            noise_measured=self.sigma is not None,
        )


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


def _notes(method: str, sampling: Sampling, verdict: Verdict | None) -> tuple[str, ...]:
    if sampling.acceleration == 1:
        first, stop = sampling.acquired_lines
        return (f"Lines {first} to {stop - 1} of {sampling.n_pe} were all acquired: nothing was filled.",)
    if method == "zero_filled":
        return ("Missing lines were left at zero.",)
    return () if verdict is None else verdict.warnings + verdict.notes()


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
