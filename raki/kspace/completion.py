"""Fill in the k-space lines that the scanner skipped: the one call behind every way to use raki."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.errors import DamagedScan, NoCalibration, UnsupportedScan
from raki.kspace.cross_validation import CrossValidation, cross_validation_of
from raki.kspace.frames import MANY_FRAMES, Firsts, about_frames
from raki.kspace.linear_fit import KernelWeights
from raki.kspace.method import FillSettings, SliceReport, TrainingPoint
from raki.kspace.opposite import OppositeSides, fill_opposite
from raki.kspace.others import filled_by
from raki.kspace.sampling import LinesBySlice, SampledLines, lines_by_slice
from raki.kspace.uncertainty import UncertaintyMaps
from raki.planning import Method, PointSampling, Sampling, SlicePlan, find_method, methods, plans_of, slice_kernel
from raki.plugins import kept_off_stdout
from raki.scan.arrays import LineMask, PointMask
from raki.scan.fourier import KSpace

LoadSlice = Callable[[int], Complex64[Tensor, "coil line ro"]]
TakeSlice = Callable[[int, Complex64[Tensor, "coil pe ro"]], None]


@dataclass(frozen=True, kw_only=True)
class FillReport:
    """How the k-space of a scan was filled: what a report says about it."""

    sampling: Sampling | PointSampling
    training_curve: tuple[TrainingPoint, ...]
    """Mean over the slices; empty where nothing was trained."""
    cross_validation: CrossValidation | None
    """What the slices say of the choice; only of `raki` and its rungs, and where lines were missing."""
    maps: tuple[UncertaintyMaps, ...]
    """Of each slice, where they were asked for and lines were missing; only of `raki`."""
    weights: tuple[KernelWeights, ...]
    """Of each slice, where they were asked for and lines were missing; only of methods with a linear kernel."""
    opposite: OppositeSides | None
    """Where one side of k-space wasn't measured (partial Fourier), how it was filled; None where none is missing, or
    nothing was to be filled."""
    notes: tuple[str, ...]
    """Sentences for the report."""


def complete(
    kspace: KSpace,
    method: str = "raki",
    *,
    sampled: SampledLines | LinesBySlice | None = None,
    acs: Complex64[Tensor, "*slice coil acs_line acs_ro"] | None = None,
    noise: Complex64[Tensor, "coil sample"] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    with_maps: bool = False,
    with_weights: bool = False,
    progress: Callable[[float], None] | None = None,
) -> tuple[KSpace, FillReport]:
    """Fill the missing lines of the acquired range, and those at the border of k-space within R of its ends.

    Lines farther out were never meant to be acquired. Where the lines opposite to them were (partial Fourier), they are
    filled by symmetry as far as acquired lines are predicted so (see `raki.kspace.opposite`); else (zero-padding) they
    stay zero. Each slice is calibrated on its own. Every sample of an acquired line, ACS included, is returned as it
    came.

    Returns the filled k-space, of the same shape and on the CPU, and the report on it.

    Args:
        kspace: one slice or several; samples of lines that were not acquired are not read.
        method: one of `methods()`. `zero_filled` fills nothing; the slowest are published networks, for comparison.
        sampled: acquired lines, of all slices or of each; by default those with a sample other than zero.
        acs: neighbouring fully sampled lines, same slices and coils, if they are not inside `kspace`.
        noise: samples recorded without excitation, axes coil and sample, scaled as `kspace` is;
            without it the noise level is estimated from outer k-space and the ACS.
        seed: the same seed gives the same bits on the same device.
        device: where to compute; by default a GPU if there is one.
        with_maps: whether to make maps of noise amplification and uncertainty too (`raki` only); it takes about as long
            again as the filling.
        with_weights: whether to keep the weights of the kernels too, of a method that has one.
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
    report = complete_slices(
        len(slices),
        slices.__getitem__,
        result.__setitem__,
        method,
        plans=plans_of((lines_by_slice(slices) if sampled is None else sampled).cpu().numpy(), len(slices)),
        load_acs=None if separate is None else separate.__getitem__,
        noise=noise,
        seed=seed,
        device=device,
        with_maps=with_maps,
        with_weights=with_weights,
        progress=progress,
    )
    return result.reshape(kspace.shape), report


def complete_slices(
    n_images: int,
    load: LoadSlice,
    take: TakeSlice,
    method: str = "raki",
    *,
    plans: Sequence[SlicePlan],
    load_acs: LoadSlice | None = None,
    echo: tuple[int, int] | None = None,
    n_frames: int = 1,
    noise: Complex64[Tensor, "coil sample"] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    with_maps: bool = False,
    with_weights: bool = False,
    progress: Callable[[float], None] | None = None,
) -> FillReport:
    """`complete` for a scan of any size: only the slices at work are in memory.

    Arguments and errors that aren't named here are those of `complete`.

    Args:
        load: reads one slice, axes `coil pe ro`; called once for each, from several threads.
        plans: of each slice, which lines were acquired and how the others are filled; or which points, of the planes of
            a 3-D scan, whose second phase-encode direction stands where a slice has the readout.
        take: is handed each slice as it was filled, on the CPU, in no certain order and from several threads.
        load_acs: reads one slice of a separate calibration scan.
        echo: first and one past the last sample of the readouts that was measured, where that isn't all.
        n_frames: of the images; those of the first frame come first. Of many, each slice is calibrated on its first,
            and on others where that doesn't hold of them; see `raki.kspace.frames`.
    """
    wanted = find_method(method)
    sampling = plans[0].sampling
    _require_fills(wanted, sampling)
    settings = FillSettings(
        device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        seed=seed,
        sigma=None if noise is None else float(noise.abs().square().mean().sqrt()),
        with_maps=with_maps,
        with_weights=with_weights,
        with_calibration=n_frames >= MANY_FRAMES,
    )
    scan = _ScanToFill(
        load=load,
        load_acs=load_acs,
        take=take,
        plans=plans,
        echo=echo,
        n_slices=n_images // n_frames,
        method=wanted if sampling.acceleration > 1 else find_method("zero_filled"),
        wanted=wanted,
        settings=settings,
        firsts=Firsts(n_frames - 1),
    )
    reports = scan.fill(n_images, progress or (lambda _fraction: None))
    opposite = [report.opposite for report in reports if report.opposite is not None]
    sides = OppositeSides.of(opposite) if opposite else None
    chosen = [report for report in reports if report.chosen is not None]
    cross_validation = (
        cross_validation_of(chosen, sampling, noise_measured=settings.sigma is not None) if chosen else None
    )
    return FillReport(
        sampling=sampling,
        training_curve=mean_curve([report.curve for report in reports if report.curve]),
        cross_validation=cross_validation,
        maps=tuple(report.maps for report in reports if report.maps is not None),
        weights=tuple(report.weights for report in reports if report.weights is not None),
        opposite=sides,
        notes=(
            *_notes(scan.method, wanted, plans, cross_validation),
            *about_frames(reports, n_images // n_frames),
            *(sides.notes() if sides else ()),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _ScanToFill:
    """One call's slices and what they are filled by."""

    load: LoadSlice
    load_acs: LoadSlice | None
    take: TakeSlice
    plans: Sequence[SlicePlan]
    echo: tuple[int, int] | None
    n_slices: int
    """Of each frame."""
    method: Method
    """What the slices are filled by: by nothing, where no line is missing."""
    wanted: Method
    settings: FillSettings
    firsts: Firsts
    """Of many frames: what the first of each slice was calibrated to."""

    def fill(self, n_images: int, progress: Callable[[float], None]) -> list[SliceReport]:
        """Fill every image, as many at a time as there are cores; of many frames those of a slice one after another."""
        by_frame = range(n_images)
        order = [*by_frame]
        if self.settings.with_calibration:
            order = [index for number in range(self.n_slices) for index in by_frame[number :: self.n_slices]]
        reports: dict[int, SliceReport] = {}
        progress(0.0)
        with _slice_threads(self.settings.device) as pool, kept_off_stdout():
            for index, report in zip(order, pool.map(self._fill_image, order), strict=True):
                reports[index] = report
                progress(len(reports) / n_images)
        return [reports[index] for index in by_frame]

    def _fill_image(self, index: int) -> SliceReport:
        try:
            return self._fill_slice(index)
        finally:
            # Whatever became of a first frame, nobody waits for it any longer.
            if index < self.n_slices:
                self.firsts.keep(index, None)

    def _fill_slice(self, index: int) -> SliceReport:
        plan = self.plans[index]
        measured = _where(plan.acquired, self.load(index))
        _check_finite(measured, "acquired")
        filled, report = self._fill_between(plan, measured, index)
        if self.wanted.name == "zero_filled":
            self.take(index, filled)
            return report
        acquired, meant = (self._samples(mask, measured) for mask in (plan.acquired, plan.sampling.meant_points()))
        whole, opposite = fill_opposite(filled, acquired | meant, acquired)
        self.take(index, whole)
        if opposite is not None and report.maps is not None:
            report = replace(report, maps=report.maps.with_more_noise(opposite.noise))
        return replace(report, opposite=opposite)

    def _samples(self, mask: np.ndarray, like: Tensor) -> PointMask:
        """A mask of lines, whichever way it has them, or of points, on every sample of a slice that was measured."""
        samples = np.broadcast_to(mask[:, None] if mask.ndim == 1 else mask, tuple(like.shape[1:])).copy()
        if self.echo is not None:
            samples[:, : self.echo[0]] = samples[:, self.echo[1] :] = False
        return samples

    def _fill_between(self, plan: SlicePlan, measured: Tensor, index: int) -> tuple[Tensor, SliceReport]:
        """What is missing between the measured lines, or points."""
        if self.method.name == "zero_filled" and not self._restores(plan):
            return measured, SliceReport()
        separate = self.load_acs(index) if self.load_acs else None
        if separate is not None:
            _check_finite(separate, "ACS")
        whole = _where(plan.regular, self._with_lost_lines(plan, measured, separate))
        acs = _find_acs(whole, plan.sampling, separate) if plan.sampling.acceleration > 1 else whole
        filled, report = self._filled(whole, acs, index)
        is_inside, of_lines = self.load_acs is None and bool(measured.any()), isinstance(plan.sampling, Sampling)
        return _where(plan.acquired, measured, filled), replace(
            report,
            n_coils=len(measured),
            n_acs_lines=acs.shape[-2],
            brightest_line=int(measured.abs().square().sum(dim=(0, 2)).argmax()) if is_inside and of_lines else None,
        )

    def _filled(self, whole: Tensor, acs: Tensor, index: int) -> tuple[Tensor, SliceReport]:
        """By the method; or, of many frames, by what the first of the slice was calibrated to, where that holds."""
        sampling = self.plans[index].sampling
        if not self.settings.with_calibration:
            return filled_by(self.method, whole, acs, sampling, self.settings)
        first = index % self.n_slices
        if index == first:
            filled, report = filled_by(self.method, whole, acs, sampling, self.settings)
            self.firsts.keep(first, report.calibration)
            return filled, replace(report, calibration=None)
        calibration = self.firsts.of(first)
        if calibration is not None:
            again = calibration.fill(whole, acs, sampling, self.settings)
            if again is not None:
                return again
        return filled_by(self.method, whole, acs, sampling, replace(self.settings, with_calibration=False))

    def _restores(self, plan: SlicePlan) -> bool:
        """Whether lost lines are filled: not where nothing is to be filled at all."""
        return plan.first is not None and self.wanted.name != "zero_filled"

    def _with_lost_lines(self, plan: SlicePlan, measured: Tensor, separate: Tensor | None) -> Tensor:
        """The slice with the lost lines of its pattern, filled by GRAPPA from those of a coarser one."""
        if plan.first is None:
            return measured
        lines, sampling = plan.first
        fewer = _where(lines, measured)
        try:
            acs = _find_acs(fewer, sampling, separate)
        except NoCalibration:
            raise NoCalibration(
                f"{int(plan.lost.sum())} lines are missing in the pattern of every {plan.sampling.acceleration}th, and "
                f"there are too few neighbouring lines to fill these in from every {sampling.acceleration}th: leave "
                "the slice out"
            ) from None
        filled, _ = find_method("grappa").fill(fewer, acs, sampling, self.settings)
        return _where(plan.lost, filled, measured)


def mean_curve(curves: Sequence[tuple[TrainingPoint, ...]]) -> tuple[TrainingPoint, ...]:
    """Training curve of a scan: mean over the slices that something was trained on, as far as all of them go."""
    return tuple(
        TrainingPoint(
            step=points[0].step,
            training_loss=sum(point.training_loss for point in points) / len(points),
            validation_loss=sum(point.validation_loss for point in points) / len(points),
        )
        for points in zip(*curves, strict=False)
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


def _require_fills(method: Method, sampling: Sampling | PointSampling) -> None:
    """Raises UnsupportedScan where a method knows lines only, and points are missing."""
    if isinstance(sampling, PointSampling) and sampling.acceleration > 1 and not method.fills_points:
        able = [name for name, each in methods().items() if each.fills_points]
        raise UnsupportedScan(
            f"{method.name} fills lines, as 2-D scans have them, and this scan skips points of two phase-encode "
            f"directions (it is 3-D): choose one of {', '.join(able)}"
        )


def _find_acs(measured: Tensor, sampling: Sampling | PointSampling, acs: Tensor | None) -> Tensor:
    if isinstance(sampling, PointSampling):
        found = measured[:, *sampling.acs_block()] if acs is None else acs
        if obstacle := next(find_method("grappa").obstacles(sampling, *found.shape[1:]), None):
            raise NoCalibration(
                f"points of two phase-encode directions were skipped, and calibrating {obstacle}: acquire them, or "
                "pass a separate calibration scan as acs"
            )
        return found
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


def _notes(
    method: Method, wanted: Method, plans: Sequence[SlicePlan], cross_validation: CrossValidation | None
) -> tuple[str, ...]:
    sampling = plans[0].sampling
    has_losses = any(plan.first is not None for plan in plans)
    if isinstance(sampling, PointSampling) and sampling.acceleration == 1:
        return ("Of the two phase-encode directions no point is missing: nothing was filled.",)
    if sampling.acceleration == 1 and has_losses and method is not wanted:
        return ("Lines that were lost among the acquired ones were filled by GRAPPA; no other line is missing.",)
    if sampling.acceleration == 1:
        first, stop = sampling.acquired_range
        lost = " but for those that were lost" if has_losses else ""
        return (
            f"Lines {first} to {stop - 1} of {sampling.n_pe} were all acquired{lost}: nothing was filled between them.",
        )
    if method.name == "zero_filled":
        return ("Missing lines were left at zero.",)
    return () if cross_validation is None else cross_validation.warnings + cross_validation.notes()


def _where(samples: LineMask | PointMask, these: Tensor, others: Tensor | int = 0) -> Tensor:
    """Some lines of one array, or points, and the rest of another."""
    mask = torch.from_numpy(samples)
    return torch.where(mask[:, None] if mask.ndim == 1 else mask, these, others)


def _check_finite(measured: Tensor, which: str) -> None:
    broken = (~torch.isfinite(measured)).movedim(-2, 0).flatten(1).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise DamagedScan(
            f"{len(broken)} {which} lines hold NaN or infinity, the first of them line {broken[0]}; "
            f"leave them out of sampled, or read the scan again"
        )
