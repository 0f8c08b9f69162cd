"""A scan as the rest of the library sees it, whatever the scanner wrote."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Complex64

from raki.arrays import LineMask, NoiseScan, ScanKSpace

SliceOfKSpace = Complex64[np.ndarray, "coil pe ro"]
LinesOfSlice = Complex64[np.ndarray, "coil line ro"]
ChangedLines = Complex64[np.ndarray, "changed_coil line changed_ro"]

N_SLICES_AHEAD = 1


def _unchanged(lines: LinesOfSlice) -> LinesOfSlice:
    return lines


@dataclass(frozen=True)
class LazySlices:
    """The k-space of a scan that is too large for memory: a slice is read when it is asked for, and not kept.

    Only acquired lines are read and changed; a whole slice, with zeros for the others, is made of them last.
    """

    shape: tuple[int, int, int, int]
    """Axes `slice coil pe ro`."""
    load: Callable[[int], LinesOfSlice]
    """Reads the acquired lines of one slice."""
    sampled: LineMask | None = None
    """Which lines these are; None for all."""
    change: Callable[[LinesOfSlice], ChangedLines] = _unchanged
    """What is done to the lines of a slice after they are read."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Held while a slice is read: slices may be asked for in several threads, files are read in one at a time."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> SliceOfKSpace:
        if not 0 <= index < len(self):
            raise IndexError(f"slice {index} was asked for; there are {len(self)}")
        return self._whole(self.change(self._read(index)))

    def __iter__(self) -> Iterator[SliceOfKSpace]:
        return map(self._whole, self.each_lines())

    def each_lines(self) -> Iterator[LinesOfSlice]:
        """The acquired lines of all slices, in order. While one is used, the next is changed, and a third is read."""
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as changer:
            ahead: deque[Future] = deque()
            try:
                for index in range(len(self)):
                    raw = reader.submit(self._read, index)
                    ahead.append(changer.submit(self._changed, raw))
                    if len(ahead) > N_SLICES_AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                reader.shutdown(cancel_futures=True)
                changer.shutdown(cancel_futures=True)

    def _read(self, index: int) -> LinesOfSlice:
        with self.lock:
            return self.load(index)

    def _changed(self, raw: Future) -> LinesOfSlice:
        return self.change(raw.result())

    def _whole(self, lines: LinesOfSlice) -> SliceOfKSpace:
        if self.sampled is None:
            return lines
        whole = np.zeros(self.shape[1:], np.complex64)
        whole[:, self.sampled] = lines
        return whole


Slices = ScanKSpace | LazySlices
"""k-space by slices, in memory or not; both are indexed and iterated over alike."""
AcsSlices = Complex64[np.ndarray, "acs_slice coil acs_line ro"] | LazySlices
ChangedSlices = Complex64[np.ndarray, "slice changed_coil pe changed_ro"] | LazySlices


def each_slice(
    kspace: Slices,
    sampled: LineMask,
    change: Callable[[LinesOfSlice], ChangedLines],
    *,
    n_coils: int | None = None,
    n_ro: int | None = None,
) -> ChangedSlices:
    """The acquired lines of every slice changed; in memory where the k-space is, when asked for where it isn't.

    `n_coils` and `n_ro` are the sizes afterwards of what changes in size.
    """
    n_slices, n_coils_before, n_pe, n_ro_before = kspace.shape
    shape = (n_slices, n_coils or n_coils_before, n_pe, n_ro or n_ro_before)
    if isinstance(kspace, LazySlices):
        before = kspace.change
        return replace(kspace, shape=shape, change=lambda lines: change(before(lines)))
    changed = np.zeros(shape, np.complex64)
    for index, one in enumerate(kspace):
        changed[index][:, sampled] = change(one[:, sampled])
    return changed


def acquired_lines(kspace: Slices, sampled: LineMask) -> Iterator[LinesOfSlice]:
    """The acquired lines of every slice, in the order of the slices."""
    if isinstance(kspace, LazySlices) and kspace.sampled is not None and np.array_equal(kspace.sampled, sampled):
        return kspace.each_lines()
    return (one[:, sampled] for one in kspace)


def in_memory(kspace: Slices) -> ScanKSpace:
    """All slices as one array."""
    if not isinstance(kspace, LazySlices):
        return kspace
    whole = np.empty(kspace.shape, np.complex64)
    for index, one in enumerate(kspace):
        whole[index] = one
    return whole


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Which of several images of the same slices this is, by the counters that ISMRMRD has for them."""

    contrast: int = 0
    phase: int = 0
    repetition: int = 0
    set: int = 0


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where the image lies. Lengths in mm; patient coordinates LPS, as in DICOM and ISMRMRD."""

    fov_mm: tuple[float, float, float]
    """Field of view of the image along readout, phase-encode and slice, all oversampling removed."""
    matrix: tuple[int, int]
    """Pixels of the image along phase-encode and readout; the k-space may have more or fewer lines."""
    phase_oversampling: float = 1.0
    """Field of view that the phase-encode lines encode over that of the image, about the same centre; at least 1.0.
    With the image's pixels the encoded field of view has a whole number of rows."""
    slice_spacing_mm: float
    """Distance between neighbouring slice centres; equals the slice thickness for a single slice."""
    read_direction: tuple[float, float, float] = (1.0, 0.0, 0.0)
    phase_direction: tuple[float, float, float] = (0.0, 1.0, 0.0)
    slice_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    position_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of the first slice."""

    def __post_init__(self) -> None:
        n_rows = self.matrix[0] * self.phase_oversampling
        if not 1 <= self.phase_oversampling < math.inf or abs(n_rows - round(n_rows)) > 1e-6:
            raise ValueError(
                f"a phase oversampling of {self.phase_oversampling:g} makes {n_rows:g} rows of the image's "
                f"{self.matrix[0]}; a whole number, not less, was needed"
            )

    @property
    def encoded_rows(self) -> int:
        """Rows of the encoded field of view in pixels of the image; `matrix[0]` of them are the image."""
        return round(self.matrix[0] * self.phase_oversampling)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One Cartesian multi-slice 2-D scan, sorted.

    `kspace` holds zero where nothing was acquired. `sampled` marks the acquired phase-encode lines; it is
    the same for all slices. `acs_lines` are the first and one past the last line of the fully sampled
    centre block inside `kspace`, or None when there is none. `noise` is what the receiver recorded without
    excitation, or None. `header_xml` is the ISMRMRD header as read.

    Where there are several frames, the first axis counts the slices of the first frame, then those of the next.
    """

    kspace: Slices
    sampled: LineMask
    acs_lines: tuple[int, int] | None
    acs: AcsSlices | None = None
    """Fully sampled lines about the centre that were acquired apart from the image, readout and coils the same;
    axes `slice coil acs_line ro`, the slices of one frame: they serve all frames. None where there are none."""
    noise: NoiseScan | None
    noise_dwell_ratio: float
    """Dwell time of the image acquisitions over that of the noise acquisitions; 1.0 without noise."""
    readout_oversampling: float
    """Readout samples acquired over those kept for the image, 2.0 on most scanners; 1.0 once removed."""
    geometry: Geometry
    header_xml: str
    prewhitened: bool = False
    frames: tuple[Frame, ...] = (Frame(),)

    @property
    def n_slices(self) -> int:
        """Slices of one frame."""
        return len(self.kspace) // len(self.frames)

    def in_memory(self) -> "Scan":
        """The same scan with all samples read."""
        return replace(self, kspace=in_memory(self.kspace), acs=None if self.acs is None else in_memory(self.acs))
