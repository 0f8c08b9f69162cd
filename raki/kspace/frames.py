"""Many frames of one slice: what the first was calibrated to fills the others, where it predicts them as well.

Coils, acceleration and position are the same in each frame of a series, and calibrating takes ten times as long as
filling. What has moved since, or was never alike, is found out by the samples themselves: the kernel predicts the
acquired lines of each frame, and where it errs more than it did in the first, the frame is calibrated on its own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Lock

from raki.kspace.explanation import explain
from raki.kspace.linear_fit import LinearFilling
from raki.kspace.measured import Filling, MeasuredSlice, measured_slice
from raki.kspace.method import Calibration, FillSettings, SliceReport
from raki.kspace.mistakes import energies_of_mistakes
from raki.planning import AnySampling
from raki.scan.fourier import SliceAcs, SliceKSpace

# Fewer frames are calibrated one by one.
MANY_FRAMES = 8
# The energy of the mistakes in a frame over that in the first.
LARGEST_GROWTH = 1.25
# The energy of a frame over that of the first. One that is much brighter deserves a calibration less noisy than that of
# a dim one, and in a much darker one other detail stands out of the noise.
LEAST_BRIGHTNESS, MOST_BRIGHTNESS = 0.25, 2.0
# A kernel that errs by more of the energy in its own frame has learnt from noise. Series of signal have 0.004 to 0.1.
WORTH_NOTHING = 0.5


@dataclass(frozen=True, kw_only=True)
class FrameCalibration:
    """What the first frame of a slice was calibrated to, in units of `scale`."""

    filling: Filling
    linear: LinearFilling
    """What it begins with; itself, if it is linear."""
    scale: float
    sigma: float
    mistakes: tuple[float, float] | None
    """In that frame: energy of the mistakes, and of the acquired lines outside the ACS; None where none are told."""
    report: SliceReport
    """On that frame."""

    @classmethod
    def of(
        cls, filling: Filling, linear: LinearFilling, measured: MeasuredSlice, scale: float, report: SliceReport
    ) -> "FrameCalibration":
        """That of a frame, `measured` in units of `scale`."""
        told = energies_of_mistakes(linear.filled(measured), measured.lattice, linear)
        return cls(filling=filling, linear=linear, scale=scale, sigma=measured.sigma, mistakes=told, report=report)

    def fill(
        self, kspace: SliceKSpace, acs: SliceAcs, sampling: AnySampling, settings: FillSettings
    ) -> tuple[SliceKSpace, SliceReport] | None:
        """A later frame of the slice, filled on the CPU; None where the calibration errs more.

        It is of the same R, whatever its offset, and about as bright. Mistakes may be as large as in the first frame,
        or as much larger as the frame itself is brighter.
        """
        measured = measured_slice(
            kspace / self.scale, acs / self.scale, sampling, sigma=self.sigma, device=settings.device
        )
        told = energies_of_mistakes(self.linear.filled(measured), measured.lattice, self.linear)
        if self.mistakes is None or told is None or self.mistakes[0] > WORTH_NOTHING * self.mistakes[1]:
            return None
        brightness = told[1] / self.mistakes[1]
        if not LEAST_BRIGHTNESS <= brightness <= MOST_BRIGHTNESS:
            return None
        if told[0] > LARGEST_GROWTH * self.mistakes[0] * max(1.0, brightness):
            return None
        filled = self.filling.filled(measured)
        report = replace(self.report, is_reused=True)
        if settings.with_explanation:  # of each frame its own: it adds up to the image
            report = replace(report, explanation=explain(filled, measured, self.linear).scaled(self.scale))
        return filled.cpu() * self.scale, report


class Firsts:
    """What the first frames of the slices were calibrated to; later ones, in other threads, wait for it."""

    def __init__(self, n_later: int) -> None:
        self._n_later = n_later
        self._lock = Lock()
        self._found: dict[int, Future[Calibration | None]] = {}
        self._n_asked: Counter[int] = Counter()

    def keep(self, number: int, calibration: Calibration | None) -> None:
        """That of a slice, for those who ask now or later; the first that is kept stays."""
        if not (found := self._of(number)).done():
            found.set_result(calibration)

    def of(self, number: int) -> Calibration | None:
        """That of a slice, once its first frame is done; each later frame asks once, and with the last it is let go."""
        found = self._of(number)
        calibration = found.result()
        with self._lock:
            self._n_asked[number] += 1
            if self._n_asked[number] == self._n_later:
                del self._found[number]
        return calibration

    def _of(self, number: int) -> "Future[Calibration | None]":
        with self._lock:
            return self._found.setdefault(number, Future())


def about_frames(reports: Sequence[SliceReport], n_slices: int) -> Iterator[str]:
    """A sentence where calibrations were used again.

    Args:
        reports: on all images, those of the first frame first.
    """
    later = reports[n_slices:]
    n_reused = sum(report.is_reused for report in later)
    if n_reused:
        anew = len(later) - n_reused
        others = f"; {anew} in which it erred more were calibrated on their own" if anew else ""
        yield (
            f"{n_reused} of {len(later)} images of later frames were filled by what the first frame of their slice was "
            f"calibrated to, which predicts their measured samples as well as that frame's{others}. Maps, and what is "
            "told of the choice, are the first frame's there."
        )
