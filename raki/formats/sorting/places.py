"""Where lines belong in k-space: slice, line and first sample of each."""

from dataclasses import dataclass

import numpy as np
from ismrmrd import xsd
from jaxtyping import Int

from raki.errors import DamagedScan
from raki.scan.header import centre_line

OfEachLine = Int[np.ndarray, " line"]
Places = Int[np.ndarray, " _"]  # of some lines or others: several kinds meet in one function


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Where some acquisitions belong: for each of them its slice, line and first sample."""

    indices: OfEachLine
    """Of the acquisitions in the file."""
    slices: OfEachLine
    lines: OfEachLine
    first_samples: OfEachLine
    n_recorded: Int[np.ndarray, "slice pe"]
    """How often each line was recorded; averages are more than one."""

    @property
    def n_averages(self) -> int:
        """The smallest number of recordings of a line that was recorded at all."""
        return int(self.n_recorded[self.n_recorded > 0].min())


def lines_at(
    heads: np.ndarray,
    indices: Places,
    slices: Places,
    shape: tuple[int, int, int, int],
    encoding: xsd.encodingType,
) -> Lines:
    """The places of some acquisitions, whose slices are known.

    Raises:
        DamagedScan: lines or samples outside the encoded matrix.
    """
    n_slices, _, n_pe, n_ro = shape
    lines = heads["idx"]["kspace_encode_step_1"][indices].astype(int) - centre_line(encoding) + n_pe // 2
    if lines.min() < 0 or lines.max() >= n_pe:
        raise DamagedScan(
            f"phase-encode lines {lines.min()} to {lines.max()} were found, the header announces 0 to {n_pe - 1}; "
            "matrix, centre and lines must agree: convert the scan again"
        )
    n_recorded = np.zeros((n_slices, n_pe), int)
    np.add.at(n_recorded, (slices, lines), 1)
    first = first_samples(heads[indices], n_ro)
    return Lines(indices=indices, slices=slices, lines=lines, first_samples=first, n_recorded=n_recorded)


def first_samples(heads: np.ndarray, n_ro: int) -> Places:
    """Where the kept samples of each line begin, so that the echo's centre comes to n_ro // 2 (asymmetric echo)."""
    before, after = heads["discard_pre"].astype(int), heads["discard_post"].astype(int)
    n_kept = heads["number_of_samples"].astype(int) - before - after
    centre = heads["center_sample"].astype(int) - before
    # A full line fits in one way only; converters leave center_sample unset in such lines.
    first = np.where(n_kept == n_ro, 0, n_ro // 2 - centre)
    wrong = (n_kept <= 0) | (first < 0) | (first + n_kept > n_ro)
    if wrong.any():
        n = int(np.argmax(wrong))
        raise DamagedScan(
            f"a line of {n_kept[n]} samples with its centre at {heads['center_sample'][n]} was found; the header "
            f"announces {n_ro} samples, and the line must fit into them: convert the scan again"
        )
    return first


def measured_samples(heads: np.ndarray, n_ro: int) -> tuple[int, int] | None:
    """First and one past the last sample of the readouts that was measured, where that isn't all (asymmetric echo).

    None also where the lines differ in it: then none of it is told.
    """
    n_kept = heads["number_of_samples"].astype(int) - heads["discard_pre"] - heads["discard_post"]
    first = first_samples(heads, n_ro)
    spans = set(zip(first.tolist(), (first + n_kept).tolist(), strict=True))
    return spans.pop() if len(spans) == 1 and spans != {(0, n_ro)} else None
