"""EPI: lines recorded forward and backward in turn, made into lines as any other scan has them."""

from collections.abc import Iterator
from functools import lru_cache

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64, Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import Acquisitions, flag_bits
from raki.formats.epi.ghost import NyquistPhase, correct_nyquist, flip_reversed, nyquist_phase
from raki.formats.epi.ramps import RampSampling, readout_positions, regrid_ramps
from raki.formats.sorting.marks import NOT_IMAGE, has_flag
from raki.scan import COUNTERS

# Lines corrected at once: a train or a part of one.
BATCH = 256


def straightened(acquisitions: Acquisitions, encoding: xsd.encodingType) -> Acquisitions:
    """The same acquisitions with reversed lines flipped, ramp samples regridded and the Nyquist ghost corrected.

    A scan that isn't EPI comes back as it is.

    Raises:
        UnsupportedScan: lines of both directions in one image, without navigators to correct them by.
        DamagedScan: the header's readout is impossible.
    """
    ramps = RampSampling.from_header(encoding)
    of_image = ~has_flag(acquisitions.heads, *NOT_IMAGE)
    if ramps is None and not has_flag(acquisitions.heads[of_image], ismrmrd.ACQ_IS_REVERSE).any():
        return acquisitions
    return EchoTrains(acquisitions, ramps)


class EchoTrains:
    """Acquisitions whose lines of k-space are corrected when they are read. Noise stays as it was recorded."""

    def __init__(self, acquisitions: Acquisitions, ramps: RampSampling | None) -> None:
        self._acquisitions, self._ramps = acquisitions, ramps
        self.header_xml = acquisitions.header_xml
        heads = acquisitions.heads
        self._is_line = ~has_flag(heads, *NOT_IMAGE)
        self._is_reversed = has_flag(heads, ismrmrd.ACQ_IS_REVERSE)
        self._runs = _navigator_runs(heads)
        self._run_of = np.full(len(heads), -1)
        if _mixes_directions(heads[self._is_line]):
            self._run_of[self._is_line] = _matching_runs(heads, self._runs, np.flatnonzero(self._is_line))
        self._phase = lru_cache(maxsize=64)(self._phase_of_run)
        self.heads = self._straight_heads(heads)

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted acquisitions, in the order asked for."""
        kinds = np.where(self._is_line[wanted], self._run_of[wanted], -2)
        starts = np.flatnonzero(np.diff(kinds, prepend=-3))
        for start, end in zip(starts, [*starts[1:], len(wanted)], strict=True):
            for first in range(start, end, BATCH):
                some = wanted[first : min(first + BATCH, end)]
                if kinds[start] == -2:
                    yield from self._acquisitions.samples(some)
                    continue
                lines = self._on_grid(some)
                if kinds[start] >= 0:
                    lines = correct_nyquist(lines, self._is_reversed[some], self._phase(int(kinds[start])))
                yield from lines

    def _straight_heads(self, heads: np.ndarray) -> np.ndarray:
        straight = heads.copy()
        lines = self._is_line
        straight["flags"][lines] &= ~flag_bits(ismrmrd.ACQ_IS_REVERSE)
        turned = lines & self._is_reversed
        straight["discard_pre"][turned] = heads["discard_post"][turned]
        straight["discard_post"][turned] = heads["discard_pre"][turned]
        last = np.maximum(heads["number_of_samples"].astype(int) - 1 - heads["center_sample"], 0)
        straight["center_sample"][turned] = last[turned]
        if self._ramps is not None:
            straight["number_of_samples"][lines] = self._ramps.n_kept
            straight["center_sample"][lines] = self._ramps.n_kept // 2
            straight["discard_pre"][lines] = straight["discard_post"][lines] = 0
        return straight

    def _on_grid(self, indices: np.ndarray) -> Complex64[np.ndarray, "line coil ro"]:
        recorded = list(self._acquisitions.samples(indices))
        if len({line.shape for line in recorded}) > 1:
            raise DamagedScan(
                "lines of one echo train have different numbers of coils or samples; raki needs them alike: export the "
                "scan again"
            )
        is_reversed = self._is_reversed[indices]
        lines = flip_reversed(np.stack(recorded), is_reversed)
        if self._ramps is None:
            return lines
        straight = np.empty((*lines.shape[:2], self._ramps.n_kept), np.complex64)
        for turned in (False, True):
            positions = readout_positions(self._ramps, reversed_line=turned)
            straight[is_reversed == turned] = regrid_ramps(lines[is_reversed == turned], positions, self._ramps.n_kept)
        return straight

    def _phase_of_run(self, run: int) -> NyquistPhase:
        indices = self._runs[run]
        return nyquist_phase(self._on_grid(indices), self._is_reversed[indices])


def _mixes_directions(lines: np.ndarray) -> bool:
    """Whether some image has lines of both directions: only there they make a ghost (EPI).

    The echoes of a bipolar readout are images of one direction each; flipped, every second one is as the others.
    """
    images = _codes(lines, ("slice", *COUNTERS))
    is_reversed = has_flag(lines, ismrmrd.ACQ_IS_REVERSE)
    n_lines, n_reversed = np.bincount(images), np.bincount(images, is_reversed)
    return bool(((n_reversed > 0) & (n_reversed < n_lines)).any())


def _navigator_runs(heads: np.ndarray) -> list[np.ndarray]:
    """Navigators that follow each other in the file, as they stand before each train of one slice."""
    navigators = np.flatnonzero(has_flag(heads, ismrmrd.ACQ_IS_PHASECORR_DATA))
    train = [heads["idx"][name][navigators] for name in ("slice", "repetition", "set", "contrast")]
    changes = np.any([np.diff(counter) != 0 for counter in train], axis=0) | (np.diff(navigators) > 1)
    return [run for run in np.split(navigators, np.flatnonzero(changes) + 1) if len(run)]


def _matching_runs(heads: np.ndarray, runs: list[np.ndarray], lines: np.ndarray) -> Int[np.ndarray, " line"]:
    """The navigators of each line: the last before it of its slice, set, contrast and repetition.

    Else the last before it of its slice, else the first of its slice; never another slice's, whose phase is its own.
    """
    firsts = np.array([run[0] for run in runs], int)
    found = np.full(len(lines), -1)
    for counters in (("slice", "repetition", "set", "contrast"), ("slice",)):
        before, earliest = _runs_alike(_codes(heads, counters), firsts, lines)
        found = np.where(found < 0, before, found)
    found = np.where(found < 0, earliest, found)
    if (found < 0).any():
        n_missing = len(np.unique(heads["idx"]["slice"][lines[found < 0]]))
        raise UnsupportedScan(
            f"{n_missing} slices have reversed lines (EPI) and no navigators (phase-correction lines); raki needs them "
            "to remove the N/2 ghost: export the scan with its phase-correction lines"
        )
    return found


def _codes(heads: np.ndarray, counters: tuple[str, ...]) -> Int[np.ndarray, " acquisition"]:
    """One number for each combination of counters."""
    values = np.stack([heads["idx"][name] for name in counters], axis=1)
    return np.unique(values, axis=0, return_inverse=True)[1].ravel()


def _runs_alike(
    codes: np.ndarray, firsts: np.ndarray, lines: np.ndarray
) -> tuple[Int[np.ndarray, " line"], Int[np.ndarray, " line"]]:
    """For each line the last run before it with the same code, and the first run with it; -1 where there is none."""
    if not len(firsts):
        return np.full(len(lines), -1), np.full(len(lines), -1)
    order = np.argsort(codes[firsts] * len(codes) + firsts)
    keys = (codes[firsts] * len(codes) + firsts)[order]
    before = np.searchsorted(keys, codes[lines] * len(codes) + lines) - 1
    earliest = np.minimum(np.searchsorted(keys, codes[lines] * len(codes)), len(keys) - 1)
    return tuple(  # type: ignore[return-value]
        np.where((place >= 0) & (codes[firsts[order[place]]] == codes[lines]), order[place], -1)
        for place in (before, earliest)
    )
