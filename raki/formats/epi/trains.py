"""EPI: lines recorded forward and backward in turn, made into lines as any other scan has them."""

from collections.abc import Iterator
from functools import lru_cache

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool, Complex64, Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import Acquisitions, flag_bits
from raki.formats.epi.ghost import correct_nyquist, flip_reversed, nyquist_phase
from raki.formats.epi.own_phase import Halves, about_ghost, halves, on_the_side_of, own_images, refined
from raki.formats.epi.ramps import RampSampling, readout_positions, regrid_ramps
from raki.formats.epi.unmarked import IMAGES_LOOKED_AT, spread, with_reversals_marked
from raki.formats.sorting.marks import NOT_IMAGE, has_flag
from raki.scan import COUNTERS, NyquistPhase

# Lines corrected at once: a train or a part of one.
BATCH = 256


def straightened(acquisitions: Acquisitions, encoding: xsd.encodingType) -> tuple[Acquisitions, tuple[str, ...]]:
    """The same acquisitions with reversed lines flipped, ramp samples regridded and the Nyquist ghost corrected.

    A scan that isn't EPI comes back as it is. With it come sentences on what was found in the lines alone.

    Raises:
        UnsupportedScan: lines of both directions in one image that hold no signal, or whose directions don't tell; of a
            3-D scan lines of both directions without navigators.
        DamagedScan: the header's readout is impossible.
    """
    ramps = RampSampling.from_header(encoding)
    marked, about_marks = with_reversals_marked(acquisitions, encoding)
    of_image = ~has_flag(marked.heads, *NOT_IMAGE)
    if ramps is None and not has_flag(marked.heads[of_image], ismrmrd.ACQ_IS_REVERSE).any():
        return acquisitions, ()
    trains = EchoTrains(marked, ramps)
    return trains, (*about_marks, *trains.remarks)


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
        self._phase = lru_cache(maxsize=64)(self._phase_of_run)
        self.remarks: tuple[str, ...] = ()
        if _mixes_directions(heads[self._is_line]):
            self._run_of[self._is_line] = _matching_runs(heads, self._runs, np.flatnonzero(self._is_line))
            self._correct_without_navigators(np.flatnonzero(self._is_line & (self._run_of < 0)))
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

    def navigators_of(
        self, slice_number: int
    ) -> tuple[Complex64[np.ndarray, "navigator coil ro"], Bool[np.ndarray, " navigator"]] | None:
        """The first navigators of a slice, by its counter, flipped and on the grid, and which were read backward.

        None where it has none.
        """
        for run in self._runs:
            if self.heads["idx"]["slice"][run[0]] == slice_number:
                return self._on_grid(run), self._is_reversed[run]
        return None

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
        if run < len(self._runs):
            return self._between(self._runs[run])
        return self._phase_of_image(self._own[run - len(self._runs)])

    def _between(self, indices: np.ndarray) -> NyquistPhase:
        return nyquist_phase(self._on_grid(indices), self._is_reversed[indices])

    def _phase_of_image(self, image: np.ndarray) -> NyquistPhase:
        own = on_the_side_of(self._between(image), self._common)
        return refined(self._halves(image), (own, self._common))

    def _correct_without_navigators(self, lines: np.ndarray) -> None:
        """Counts the images among these lines as further runs, each its own navigators."""
        _require_slices(self._acquisitions.heads[lines])
        self._own, image_of = own_images(self._acquisitions.heads, lines)
        if not self._own:
            return
        self._run_of[lines[image_of >= 0]] = len(self._runs) + image_of[image_of >= 0]
        examples = [self._own[number] for number in spread(len(self._own), IMAGES_LOOKED_AT)]
        brightest = max(examples, key=lambda image: float(np.linalg.norm(self._on_grid(image))))
        self._common = self._between(brightest)
        self.remarks = (about_ghost(self._halves(brightest), self._phase_of_image(brightest), len(self._own)),)

    def _halves(self, image: np.ndarray) -> Halves:
        places = self._acquisitions.heads["idx"]["kspace_encode_step_1"][image].astype(int)
        return halves(self._on_grid(image), places, self._is_reversed[image])


def _require_slices(lines: np.ndarray) -> None:
    if len(np.unique(lines["idx"]["kspace_encode_step_2"])) > 1:
        raise UnsupportedScan(
            "the scan is 3-D, its lines were recorded in both directions (EPI), and it has no navigators "
            "(phase-correction lines) of its slab; raki finds the N/2 ghost's phase without them in 2-D scans: export "
            "the scan with its phase-correction lines"
        )


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

    Else the last before it of its slice, else the first of its slice; never another slice's, whose phase is its own: -1
    where its slice has none.
    """
    firsts = np.array([run[0] for run in runs], int)
    found = np.full(len(lines), -1)
    for counters in (("slice", "repetition", "set", "contrast"), ("slice",)):
        before, earliest = _runs_alike(_codes(heads, counters), firsts, lines)
        found = np.where(found < 0, before, found)
    return np.where(found < 0, earliest, found)


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
