"""Several measurements in one file as one scan: noise and calibration beside an image, repetitions, further slices."""

from collections.abc import Iterator, Mapping

import numpy as np
from ismrmrd import xsd

from raki.errors import DamagedScan, NoiseAlone, UnsupportedScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.sorting.coils import coil_labels
from raki.formats.sorting.encodings import SAME_AXIS, differences
from raki.formats.sorting.joining import Joined, calibrates, is_noise
from raki.formats.sorting.marks import NOT_IMAGE, has_flag
from raki.formats.sorting.selection import OneAfterAnother, with_heads
from raki.scan.geometry import SAME_MM
from raki.scan.header import field_of_view_mm, parse_header

LARGEST_COUNTER = 65535
# Of its thickness; slices of one set-up don't lie nearer to each other.
LEAST_APART = 0.5
OF_EACH_LINE = {"active_channels": "coils", "number_of_samples": "samples", "sample_time_us": "µs a sample"}

Measurements = Mapping[str, Acquisitions]


def as_one(parts: Measurements) -> Acquisitions:
    """The measurements that one file holds, by their names in it, as one scan.

    Raises:
        NoiseAlone: none is the measurement of an image.
        UnsupportedScan: several are, and they differ in more than what they repeat or which slices they are of.
    """
    parts = {name: part for name, part in parts.items() if is_noise(part.heads) or len(_lines(part))} or parts
    if len(parts) == 1:
        return next(iter(parts.values()))
    images = {name: part for name, part in parts.items() if not is_noise(part.heads) and not calibrates(part.heads)}
    if not images:
        raise NoiseAlone(
            f"the file's {len(parts)} measurements hold noise and calibration lines only; raki needs that of the image"
        )
    beside = [part for name, part in parts.items() if name not in images]
    measurement = _alike(images) if len(images) > 1 else next(iter(images.values()))
    return Joined(measurement, beside) if beside else measurement


class _Alike(OneAfterAnother):
    """Measurements of one set-up, counted on from one to the next."""

    def __init__(self, parts: Measurements, counter: str, said: str) -> None:
        following, counted = 0, []
        for part in parts.values():
            heads = part.heads.copy()
            numbers = heads["idx"][counter].astype(int) + following
            following = int(numbers.max()) + 1
            if following > LARGEST_COUNTER:
                raise DamagedScan(f"the file's measurements count more than {LARGEST_COUNTER} of {counter}: split it")
            heads["idx"][counter] = numbers
            counted.append(with_heads(part, heads))
        super().__init__(counted, next(iter(parts.values())).header_xml)
        self.remarks = (said,)


def _alike(images: Measurements) -> Acquisitions:
    (first, ours), *others = images.items()
    for name, theirs in others:
        if what := "; ".join(_what_differs(ours, theirs)):
            raise UnsupportedScan(_refusal(images, first, name, f"they differ: {what}"))
    places = {name: _places(part) for name, part in images.items()}
    if all(np.array_equal(each, places[first]) for each in places.values()):
        said = f"The file holds {len(images)} measurements of one set-up: they are shown as repetitions."
        return _Alike(images, "repetition", said)
    thickness_mm = field_of_view_mm(parse_header(ours.header_xml).encoding[0].reconSpace)[2]
    names = list(images)
    for number, name in enumerate(names):
        for other in names[:number]:
            if _overlap(places[other], places[name], LEAST_APART * thickness_mm):
                raise UnsupportedScan(_refusal(images, other, name, "they share some of their slices and not all"))
    said = f"The file holds {len(images)} measurements of one set-up, each of other slices: they are shown as one scan."
    return _Alike(images, "slice", said)


def _refusal(images: Measurements, first: str, second: str, what: str) -> str:
    return (
        f"the file holds {len(images)} measurements, and '{first}' and '{second}' are no parts of one scan, {what}; "
        "raki takes one scan at a time: give each a file of its own, with its noise scan"
    )


def _what_differs(ours: Acquisitions, theirs: Acquisitions) -> Iterator[str]:
    """What makes two measurements other than repetitions or further slices, each in words that name nobody."""
    headers = [parse_header(part.header_xml) for part in (ours, theirs)]
    if len(headers[0].encoding) != len(headers[1].encoding):
        yield f"{len(headers[0].encoding)} and {len(headers[1].encoding)} encodings"
    for pair in zip(headers[0].encoding, headers[1].encoding, strict=False):
        yield from differences(*pair)
    lines = [_lines(part) for part in (ours, theirs)]
    for name, unit in OF_EACH_LINE.items():
        numbers = [np.unique(each[name]) for each in lines]
        if not np.array_equal(numbers[0], numbers[1], equal_nan=numbers[0].dtype.kind == "f"):
            yield f"{numbers[0].max():g} and {numbers[1].max():g} {unit}"
    labels = [
        coil_labels(part.header_xml, int(each["active_channels"].max()))
        for part, each in zip((ours, theirs), lines, strict=True)
    ]
    if labels[0] != labels[1]:
        yield "labels of the coils"
    (our_words, their_words) = (list(_words(header)) for header in headers)
    yield from (what for (what, mine), (_, its) in zip(our_words, their_words, strict=True) if mine != its)


def _words(header: xsd.ismrmrdHeader) -> Iterator[tuple[str, object]]:
    """What two measurements of one set-up share besides."""
    measurement = header.measurementInformation
    yield "patient", header.subjectInformation
    yield "position of the patient", measurement and measurement.patientPosition
    yield "protocol", measurement and measurement.protocolName
    yield "timing of the sequence", header.sequenceParameters


def _lines(part: Acquisitions) -> np.ndarray:
    return part.heads[~has_flag(part.heads, *NOT_IMAGE)]


def _places(part: Acquisitions) -> np.ndarray:
    """Position and direction of each slice, in hundredths of a millimetre and of a unit vector's length."""
    lines = _lines(part)
    both = np.concatenate([lines["position"], lines["slice_dir"]], axis=1).astype(float)
    return np.unique(both.round(2), axis=0)


def _overlap(ours: np.ndarray, theirs: np.ndarray, apart_mm: float) -> bool:
    """Whether a slice of one lies within a slice of the other, parallel to it."""
    (our_mm, our_normal), (their_mm, their_normal) = ((places[:, :3], places[:, 3:]) for places in (ours, theirs))
    along_mm = (our_mm * our_normal).sum(axis=1)[:, None] - our_normal @ their_mm.T
    is_parallel = np.abs(our_normal @ their_normal.T) > SAME_AXIS
    return bool((is_parallel & (np.abs(along_mm) < max(apart_mm, SAME_MM))).any())
