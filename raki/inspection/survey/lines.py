"""What the heads of the acquisitions tell, whether or not raki can make images of them."""

from dataclasses import replace

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool, Int, Shaped

from raki.errors import PermanentError
from raki.formats.acquisitions import HEAD, flag_bits
from raki.formats.sorting.lines import lay_out
from raki.formats.sorting.marks import NOT_IMAGE, has_flag
from raki.inspection.survey.facts import Counts, Noise, PhaseLines, Readout
from raki.inspection.survey.header import count, number
from raki.scan import COUNTERS
from raki.scan.header import matrix_size

Heads = Shaped[np.ndarray, " acquisition"]

OTHER_LINES = {
    "noise": ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    "navigator": ismrmrd.ACQ_IS_NAVIGATION_DATA,
    "phase correction": ismrmrd.ACQ_IS_PHASECORR_DATA,
    "dummy": ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    "real-time feedback": ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    "high-priority feedback": ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    "surface coil correction": ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    "phase stabilization": ismrmrd.ACQ_IS_PHASE_STABILIZATION,
    "phase stabilization reference": ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
}
CALIBRATION = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
# A line that has these in common with another one was recorded twice.
PLACE = ("kspace_encode_step_1", "kspace_encode_step_2", "slice", "contrast", "phase", "repetition", "set")


def is_image(heads: Heads) -> Bool[np.ndarray, " acquisition"]:
    """The lines of k-space, those for calibration among them."""
    return ~has_flag(heads, *NOT_IMAGE)


def counts_of(heads: Heads) -> Counts:
    """How many there are of what."""
    image, others = heads[is_image(heads)], heads[~is_image(heads)]
    n = {name: len(np.unique(image["idx"][name])) for name in image["idx"].dtype.names or () if name != "user"}
    marked = {name: int(has_flag(others, flag).sum()) for name, flag in OTHER_LINES.items()}
    return Counts(
        n_acquisitions=len(heads),
        n_image_lines=len(image),
        n_coils=int(image["active_channels"].max(initial=0)),
        n_slices=n["slice"],
        slice_order=slice_order(image),
        n_contrasts=n["contrast"],
        n_phases=n["phase"],
        n_repetitions=n["repetition"],
        n_sets=n["set"],
        n_averages=_n_averages(image),
        n_partitions=n["kspace_encode_step_2"],
        n_segments=n["segment"],
        n_reversed_lines=int(has_flag(image, ismrmrd.ACQ_IS_REVERSE).sum()),
        n_calibration_lines=int(has_flag(image, *CALIBRATION).sum()),
        n_other_lines=len(others),
        other_lines={name: n_lines for name, n_lines in marked.items() if n_lines},
    )


def slice_examples(image: Heads) -> Int[np.ndarray, " slice"]:
    """The first line of each slice, in the order of space along the slice direction."""
    if not len(image):
        return np.zeros(0, int)
    _, firsts = np.unique(image["idx"]["slice"], return_index=True)
    along_mm = _finite(image["position"][firsts]) @ _finite(image["slice_dir"][firsts[0]])
    return firsts[np.argsort(along_mm, kind="stable")]


def slice_order(image: Heads) -> str | None:
    """The order in time of slices that lie next to each other in space; see `Counts.slice_order`."""
    examples = slice_examples(image)
    if len(examples) < 2:
        return None
    direction = _finite(image["slice_dir"][examples[0]])
    if direction[np.abs(direction).argmax()] < 0:
        examples = examples[::-1]
    # For each slice in the order of time, its place in space.
    places = np.argsort(examples)
    steps = set(np.diff(places).tolist())
    if steps in ({1}, {-1}):
        return "ascending" if steps == {1} else "descending"
    return "interleaved" if _in_passes(places) or _in_passes(places[::-1]) else "irregular"


def readout_of(heads: Heads, encoding: xsd.encodingType | None) -> Readout | None:
    """The most frequent kind of line."""
    image = heads[is_image(heads)]
    if not len(image):
        return None
    before, after = image["discard_pre"].astype(int), image["discard_post"].astype(int)
    n_kept = np.maximum(image["number_of_samples"].astype(int) - before - after, 0)
    centre = np.clip(image["center_sample"].astype(int) - before, 0, n_kept)
    kinds, n_found = np.unique((n_kept << 16) + centre, return_counts=True)
    n_samples, echo = divmod(int(kinds[n_found.argmax()]), 1 << 16)
    n_encoded = count(encoding.encodedSpace.matrixSize.x) if encoding else None
    # A full line is symmetric; converters leave the centre unset in such lines.
    is_symmetric = n_samples == n_encoded or abs(2 * echo - n_samples) <= 1
    return Readout(
        n_samples=n_samples,
        n_encoded=n_encoded,
        oversampling=_oversampling(encoding),
        echo_fraction=1.0 if is_symmetric else n_samples / (2 * max(echo, n_samples - echo)),
        dwell_time_us=_dwell_time_us(image),
    )


def noise_of(heads: Heads) -> Noise | None:
    """The noise scan, or noise lines before the image."""
    noise = heads[has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    if not len(noise):
        return None
    n_samples = int(noise["number_of_samples"].astype(int).sum())
    return Noise(n_acquisitions=len(noise), n_samples=n_samples, dwell_time_us=_dwell_time_us(noise))


def phase_lines_of(heads: Heads, encoding: xsd.encodingType) -> PhaseLines | None:
    """Which phase-encode lines were acquired of the first slice and frame; None where the header contradicts them.

    Looks at nothing else: what the lines were recorded with, and where, may be as raki doesn't take it.
    """
    image = heads[is_image(heads)]
    alike = np.all([image["idx"][name] == image["idx"][name][0] for name in COUNTERS], axis=0)
    alike |= has_flag(image, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    plain = np.zeros(len(image), HEAD)
    plain["idx"]["kspace_encode_step_1"] = image["idx"]["kspace_encode_step_1"]
    plain["flags"] = image["flags"] & flag_bits(*CALIBRATION)
    plain["active_channels"] = 1
    limits = encoding.encodingLimits and replace(encoding.encodingLimits, slice=None)
    try:
        plain["number_of_samples"] = matrix_size(encoding.encodedSpace)[0]
        one_slice = plain[alike & (image["idx"]["slice"] == image["idx"]["slice"][0])]
        layout = lay_out(one_slice, replace(encoding, encodingLimits=limits))
    except PermanentError:
        return None
    return PhaseLines(sampled=layout.sampled, acs_lines=layout.acs_lines, acs_is_separate=layout.acs is not None)


def _n_averages(image: Heads) -> int:
    """The smallest number of lines that share one place."""
    if not len(image):
        return 0
    places = [image["idx"][name] for name in PLACE]
    order = np.lexsort(places)
    is_other = np.any([np.diff(counter[order]) != 0 for counter in places], axis=0)
    return int(np.diff(np.flatnonzero(is_other), prepend=-1, append=len(image) - 1).min())


def _finite(vectors: np.ndarray) -> np.ndarray:
    return np.nan_to_num(vectors.astype(float), posinf=0.0, neginf=0.0)


def _in_passes(places: Int[np.ndarray, " slice"]) -> bool:
    """Whether the slices were acquired in n passes, each of them every n-th slice."""
    passes = np.split(places, np.flatnonzero(np.diff(places) < 0) + 1)
    steps = {int(step) for positions in passes for step in np.diff(positions)}
    return steps == {len(passes)}


def _oversampling(encoding: xsd.encodingType | None) -> float | None:
    if encoding is None:
        return None
    encoded, shown = number(encoding.encodedSpace.fieldOfView_mm.x), number(encoding.reconSpace.fieldOfView_mm.x)
    return encoded / shown if encoded and shown and encoded > 0 and shown > 0 else None


def _dwell_time_us(heads: Heads) -> float | None:
    dwell_us = number(float(heads["sample_time_us"][0]))
    return dwell_us if dwell_us and dwell_us > 0 else None
