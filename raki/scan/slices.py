"""The k-space of a scan by slices, in memory or read when they are asked for."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Complex64

from raki.scan.arrays import LineMask, PointMask, ScanKSpace

SliceOfKSpace = Complex64[np.ndarray, "coil pe ro"]
LinesOfSlice = Complex64[np.ndarray, "coil ..."]
"""Acquired lines, axes `coil line ro`; of a plane of a 3-D scan its acquired points, `coil point`."""
ChangedLines = Complex64[np.ndarray, "changed_coil ..."]

N_SLICES_AHEAD = 1


def _unchanged(lines: LinesOfSlice) -> LinesOfSlice:
    return lines


@dataclass(frozen=True)
class LazySlices:
    """The k-space of a scan that is too large for memory: a slice is read when it is asked for, and not kept.

    Only acquired lines are read and changed; a whole slice, with zeros for the others, is made of them last.
    """

    shape: tuple[int, int, int, int]
    """Axes `slice coil pe ro`; of a 3-D scan `x coil pe pe2`, see `raki.scan.Scan`."""
    load: Callable[[int], LinesOfSlice]
    """Reads the acquired lines of one slice."""
    sampled: LineMask | PointMask | None = None
    """Which lines these are, or which points of a plane; None for all."""
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
            ahead: deque[Future[LinesOfSlice]] = deque()
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

    def _changed(self, raw: Future[LinesOfSlice]) -> LinesOfSlice:
        return self.change(raw.result())

    def _whole(self, lines: LinesOfSlice) -> SliceOfKSpace:
        if self.sampled is None:
            return lines
        whole = np.zeros(self.shape[1:], np.complex64)
        whole[:, self.sampled] = lines
        return whole


Slices = ScanKSpace | LazySlices
"""k-space by slices, in memory or not; both are indexed and iterated over alike."""
AcsSlices = Complex64[np.ndarray, "acs_slice coil acs_line acs_ro"] | LazySlices
ChangedSlices = Complex64[np.ndarray, "slice changed_coil pe changed_ro"] | LazySlices


def each_slice(
    kspace: Slices,
    sampled: LineMask | PointMask,
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
    for index, slice_ in enumerate(kspace):
        changed[index][:, sampled] = change(slice_[:, sampled])
    return changed


def lines_of_slices(kspace: Slices, sampled: LineMask | PointMask) -> Iterator[LinesOfSlice]:
    """The acquired lines of every slice, in the order of the slices."""
    if isinstance(kspace, LazySlices) and kspace.sampled is not None and np.array_equal(kspace.sampled, sampled):
        return kspace.each_lines()
    return (slice_[:, sampled] for slice_ in kspace)


def in_memory(kspace: Slices) -> ScanKSpace:
    """All slices as one array."""
    if not isinstance(kspace, LazySlices):
        return kspace
    whole = np.empty(kspace.shape, np.complex64)
    for index, slice_ in enumerate(kspace):
        whole[index] = slice_
    return whole
