"""Several files of one scan as one: the measurement, and beside it a noise scan or a calibration scan."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.errors import DamagedScan, NoiseAlone, NotAScan, UnsupportedScan
from raki.formats.acquisitions import Acquisitions, Format, OtherFormat
from raki.formats.sorting.coils import coil_labels, in_order_of
from raki.formats.sorting.marks import NOT_IMAGE, has_flag
from raki.formats.sorting.selection import OneAfterAnother, Selected, with_heads
from raki.scan.header import parse_header

NOT_NOISE = "The file beside the scan that is named as its noise scan holds none: it was left out."


@contextmanager
def joined(files: Sequence[tuple[Path, Sequence[Format]]]) -> Iterator[tuple[Format, Acquisitions]]:
    """Opens files, each with the formats that it may be of, and joins what they hold to one scan.

    A file that holds noise alone is the noise scan; one that holds nothing but lines for calibration besides is the
    calibration scan.

    Raises:
        NoiseAlone: no file holds a measurement of an image.
        NotAScan: a file is of no format that raki reads.
        UnsupportedScan: several do.
    """
    if not files:
        raise NotAScan("there is no file of raw data; raki needs the measurement itself")
    with ExitStack() as stack:
        opened = [_opened(path, formats, stack) for path, formats in files]
        if len(opened) == 1:
            yield opened[0]
            return
        measurements = [
            open_file for open_file in opened if not is_noise(open_file[1].heads) and not calibrates(open_file[1].heads)
        ]
        if not measurements:
            raise NoiseAlone("the files hold noise and calibration lines only; raki needs the measurement itself")
        if len(measurements) > 1:
            raise UnsupportedScan(
                f"there are {len(measurements)} measurements in several files; raki takes one scan at a time, with its "
                "noise and calibration scans beside it: pack each alone"
            )
        ((format_, measurement),) = measurements
        beside = [acquisitions for _, acquisitions in opened if acquisitions is not measurement]
        yield format_, Joined(measurement, beside)


def with_noise(measurement: Acquisitions, beside: Acquisitions | None) -> Acquisitions:
    """A measurement with the noise scan that lies beside it, unless it has its own; None is what nobody could read."""
    if has_flag(measurement.heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT).any():
        return measurement
    if beside is None or not is_noise(beside.heads):
        return Joined(measurement, [], (NOT_NOISE,))
    return Joined(measurement, [beside])


class Joined(OneAfterAnother):
    """A measurement and the acquisitions of other scans beside it; the header is the measurement's.

    A calibration scan keeps the encoding that it was recorded in: it follows those of the measurement in the header.
    """

    def __init__(self, measurement: Acquisitions, beside: Sequence[Acquisitions], said: Sequence[str] = ()) -> None:
        matched = [_with_coils_of(measurement, part) for part in beside]
        self.remarks = (*getattr(measurement, "remarks", ()), *said, *(about for _, about in matched if about))
        """Sentences on what became of the scans beside the measurement."""
        self.cut_from = getattr(measurement, "cut_from", None)
        """Of the measurement's file, as `completeness.complete_images` takes it."""
        header = parse_header(measurement.header_xml)
        n_encodings = len(header.encoding)
        image = measurement.heads["encoding_space_ref"][~has_flag(measurement.heads, *NOT_IMAGE)]
        parts = [measurement]
        for part in (part for part, _ in matched if part is not None):
            heads = part.heads.copy()
            if is_noise(heads):
                heads["encoding_space_ref"] = image[0] if len(image) else 0
            else:
                heads["encoding_space_ref"] += len(header.encoding)
                header.encoding += parse_header(part.header_xml).encoding
            parts.append(with_heads(part, heads))
        is_longer = len(header.encoding) > n_encodings
        super().__init__(parts, str(xsd.ToXML(header, encoding="UTF-8")) if is_longer else measurement.header_xml)


def _with_coils_of(measurement: Acquisitions, part: Acquisitions) -> tuple[Acquisitions | None, str]:
    """A scan beside the measurement with its coils in the measurement's order, by their labels, and a sentence.

    None for a noise scan of which that can't be told: whitened by another coil's noise, an image is worse than before.

    Raises:
        DamagedScan: a calibration scan of other coils.
    """
    if part.header_xml == measurement.header_xml:
        return part, ""
    n_coils, n_there = (int(scan.heads["active_channels"].max(initial=0)) for scan in (measurement, part))
    wanted, there = coil_labels(measurement.header_xml, n_coils), coil_labels(part.header_xml, n_there)
    order = None if wanted is None or there is None else in_order_of(wanted, there)
    if order is not None:
        if np.array_equal(order, np.arange(n_there)):
            return part, ""
        every = np.arange(len(part.heads))
        return Selected(part, every, coils=order, n_coils=n_there), ""
    known = wanted is not None and there is not None
    why = "are not all among its own" if known else "have no labels that tell them apart"
    if is_noise(part.heads):
        return None, f"The noise scan was not used, and the coils not decorrelated: the image's coils {why}."
    if known or n_coils != n_there:
        raise DamagedScan(
            f"the calibration scan was recorded with other coils ({n_there}) than the image ({n_coils}); raki needs "
            "the same: leave it out, or take the one that belongs to the image"
        )
    return part, "The coils have no labels: those of the calibration scan were taken in the order in which they stand."


def _opened(path: Path, formats: Sequence[Format], stack: ExitStack) -> tuple[Format, Acquisitions]:
    """The first format that the file turns out to be of; several may begin alike."""
    refusals = []
    for format_ in formats:
        try:
            return format_, stack.enter_context(format_.open(path))
        except OtherFormat as refusal:
            refusals.append(str(refusal))
    raise NotAScan(refusals[0])


def is_noise(heads: np.ndarray) -> bool:
    """Whether all acquisitions are noise alone."""
    return len(heads) > 0 and bool(has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT).all())


def calibrates(heads: np.ndarray) -> bool:
    """Whether all lines of k-space are for calibration alone."""
    lines = heads[~has_flag(heads, *NOT_IMAGE)]
    only = has_flag(lines, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) & ~has_flag(
        lines, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    )
    return len(lines) > 0 and bool(only.all())
