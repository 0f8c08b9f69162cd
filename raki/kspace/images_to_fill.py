"""The images of one call, filled one by one and as many at a time as there are cores."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.errors import DamagedScan, NoCalibration
from raki.kspace.frames import Firsts
from raki.kspace.linear_fit import KernelWeights
from raki.kspace.method import FillSettings, SliceReport
from raki.kspace.opposite import fill_opposite
from raki.kspace.others import filled_by
from raki.kspace.stored import StoredWeights, fill_by_stored
from raki.planning import AnySampling, Method, Sampling, ScatteredSampling, SlicePlan, find_method, slice_kernel
from raki.plugins import kept_off_stdout
from raki.scan.arrays import LineMask, PointMask

LoadSlice = Callable[[int], Complex64[Tensor, "coil line ro"]]
TakeSlice = Callable[[int, Complex64[Tensor, "coil pe ro"]], None]


@dataclass(frozen=True, kw_only=True)
class ImagesToFill:
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
    stored: StoredWeights | None = None
    """Weights of an earlier scan, where there are such."""
    is_judged: bool = True
    """Whether an image that can be calibrated is, and the better weights taken."""

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
        is_scattered = isinstance(plan.sampling, ScatteredSampling)
        weights = self.stored(index) if self.stored and not is_scattered else None
        acs = self._acs(plan, whole, separate, is_needed=weights is None)
        filled, report = self._filled(whole, acs, index) if weights is None else self._by(weights, whole, acs, index)
        is_inside, of_lines = self.load_acs is None and bool(measured.any()), isinstance(plan.sampling, Sampling)
        return _where(plan.acquired, measured, filled), replace(
            report,
            n_coils=len(measured),
            n_acs_lines=acs.shape[-2],
            brightest_line=int(measured.abs().square().sum(dim=(0, 2)).argmax()) if is_inside and of_lines else None,
        )

    def _acs(self, plan: SlicePlan, whole: Tensor, separate: Tensor | None, *, is_needed: bool) -> Tensor:
        """The lines to calibrate on; empty where there are too few, and none are needed."""
        if plan.sampling.acceleration == 1:
            return whole
        try:
            return _find_acs(whole, plan.sampling, separate)
        except NoCalibration:
            if is_needed:
                raise
            return whole[:, :0]

    def _by(self, weights: KernelWeights, whole: Tensor, acs: Tensor, index: int) -> tuple[Tensor, SliceReport]:
        """By stored weights, or by the method where that is better."""
        sampling = self.plans[index].sampling
        assert not isinstance(sampling, ScatteredSampling)

        def own(settings: FillSettings) -> tuple[Tensor, SliceReport]:
            return filled_by(self.method, whole, acs, sampling, settings)

        settings = replace(self.settings, with_calibration=False)
        able = own if acs.numel() else None
        return fill_by_stored(weights, whole, acs, sampling, settings, able, is_judged=self.is_judged)

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


def _find_acs(measured: Tensor, sampling: AnySampling, acs: Tensor | None) -> Tensor:
    if not isinstance(sampling, Sampling):
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
