"""Several files of one scan as one: the measurement, and beside it a noise scan or a calibration scan."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64, Int

from raki.errors import NotAScan, UnsupportedScan
from raki.formats.acquisitions import Acquisitions, Format, OtherFormat
from raki.formats.sorting.lines import NOT_IMAGE, has_flag
from raki.scan.header import parse_header


@contextmanager
def joined(files: Sequence[tuple[Path, Sequence[Format]]]) -> Iterator[tuple[Format, Acquisitions]]:
    """Opens files, each with the formats that it may be of, and joins what they hold to one scan.

    A file that holds noise alone is the noise scan; one that holds nothing but lines for calibration besides is the
    calibration scan.

    Raises:
        NotAScan: no file holds a measurement.
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
            open_file
            for open_file in opened
            if not _is_noise(open_file[1].heads) and not _calibrates(open_file[1].heads)
        ]
        if not measurements:
            raise NotAScan("the files hold noise and calibration lines only; raki needs the measurement itself")
        if len(measurements) > 1:
            raise UnsupportedScan(
                f"there are {len(measurements)} measurements in several files; raki takes one scan at a time, with its "
                "noise and calibration scans beside it: pack each alone"
            )
        ((format_, measurement),) = measurements
        beside = [acquisitions for _, acquisitions in opened if acquisitions is not measurement]
        yield format_, Joined(measurement, beside)


class Joined:
    """Acquisitions of several files one after the other; the header is the measurement's."""

    def __init__(self, measurement: Acquisitions, beside: Sequence[Acquisitions]) -> None:
        self._parts = [*beside, measurement]
        self._ends = np.cumsum([len(part.heads) for part in self._parts])
        self.heads = np.concatenate([part.heads for part in self._parts])
        # Whatever encoding the scans beside it had for themselves, they serve the measurement's.
        image = np.unique(measurement.heads["encoding_space_ref"][~has_flag(measurement.heads, *NOT_IMAGE)])
        self.heads["encoding_space_ref"][: -len(measurement.heads)] = image[0] if len(image) else 0
        apart = any(_calibrates(part.heads) for part in beside)
        self.header_xml = _with_separate_calibration(measurement.header_xml) if apart else measurement.header_xml

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted acquisitions, in the order asked for."""
        parts = np.searchsorted(self._ends, wanted, side="right")
        starts = np.flatnonzero(np.diff(parts, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(wanted)], strict=True):
            part = self._parts[parts[start]]
            yield from part.samples(wanted[start:end] - (self._ends[parts[start]] - len(part.heads)))


def _opened(path: Path, formats: Sequence[Format], stack: ExitStack) -> tuple[Format, Acquisitions]:
    """The first format that the file turns out to be of; several may begin alike."""
    refusals = []
    for format_ in formats:
        try:
            return format_, stack.enter_context(format_.open(path))
        except OtherFormat as refusal:
            refusals.append(str(refusal))
    raise NotAScan(refusals[0])


def _is_noise(heads: np.ndarray) -> bool:
    return bool(has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT).all())


def _calibrates(heads: np.ndarray) -> bool:
    """Whether all lines of k-space are for calibration alone."""
    lines = heads[~has_flag(heads, *NOT_IMAGE)]
    only = has_flag(lines, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) & ~has_flag(
        lines, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    )
    return len(lines) > 0 and bool(only.all())


def _with_separate_calibration(header_xml: str) -> str:
    header = parse_header(header_xml)
    for encoding in header.encoding:
        if encoding.parallelImaging is None:
            encoding.parallelImaging = xsd.parallelImagingType(
                accelerationFactor=xsd.accelerationFactorType(kspace_encoding_step_1=1, kspace_encoding_step_2=1)
            )
        encoding.parallelImaging.calibrationMode = xsd.calibrationModeType.SEPARATE
    return str(xsd.ToXML(header, encoding="UTF-8"))
