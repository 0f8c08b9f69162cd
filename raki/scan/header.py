"""What raki needs from an ISMRMRD header: is it a scan that raki reconstructs, and where does the image lie?"""

import math
import re
import warnings
from dataclasses import fields

from ismrmrd import xsd
from xsdata.exceptions import ConverterError, ParserError
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from raki.errors import DamagedScan, UnsupportedScan

# What xsdata finds out about the schema's classes; it takes longer than to read a header.
SCHEMA = XmlContext()
# The counters of an acquisition are 16 bits wide.
LARGEST_MATRIX = 65535
DECIMAL = re.compile(r"[0-9]{1,9}\.0*")
# No MRI scanner encodes less or more; the ratio of two lengths between them is a number to reckon with.
SHORTEST_MM, LONGEST_MM = 1e-2, 1e5


def parse_header(xml: str) -> xsd.ismrmrdHeader:
    """The header as data classes. Elements that a vendor added are skipped.

    Raises:
        DamagedScan: the text is not an ISMRMRD header.

    Schema: ismrmrd.xsd, https://github.com/ismrmrd/ismrmrd.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise DamagedScan(
            "the header XML declares entities, which an ISMRMRD header never needs; export the scan again"
        )
    parser = XmlParser(config=ParserConfig(fail_on_unknown_properties=False), context=SCHEMA)
    try:
        with warnings.catch_warnings():
            # A value that doesn't convert stays text; those that raki uses are checked where they are used.
            warnings.simplefilter("ignore")
            header = parser.from_bytes(xml.encode(), xsd.ismrmrdHeader)
    # LookupError: it says that it is in an encoding which nobody knows.
    except (ParserError, ConverterError, SyntaxError, TypeError, ValueError, LookupError) as error:
        raise DamagedScan(
            f"the header is not valid ISMRMRD XML ({type(error).__name__}); the file needs a header after ismrmrd.xsd: "
            "export or convert the scan again"
        ) from None
    for encoding in header.encoding:
        _read_decimals(encoding)
    if not header.encoding:
        raise DamagedScan("the header describes no encoding; raki needs its matrix and field of view: convert it again")
    return header


def require_supported(encoding: xsd.encodingType) -> None:
    """Raises UnsupportedScan, with the reason, unless the header describes a Cartesian scan, of slices or of a slab."""
    trajectory = getattr(encoding.trajectory, "value", encoding.trajectory)
    if trajectory not in ("cartesian", "epi"):
        raise UnsupportedScan(f"the trajectory is '{trajectory}'; raki reconstructs Cartesian and EPI scans only")
    n_ro, n_pe, _ = matrix_size(encoding.encodedSpace)
    if n_ro == 1 or n_pe == 1:
        raise UnsupportedScan(
            f"the encoded matrix is {n_ro} x {n_pe} (readout x phase-encode), a spectrum or a projection and no image, "
            "as in spectroscopy; raki reconstructs images, which need more than one sample along both"
        )


def matrix_size(space: xsd.encodingSpaceType) -> tuple[int, int, int]:
    """Matrix along x, y, z; raises DamagedScan where it is impossible."""
    size = space.matrixSize
    return _count("x", size.x), _count("y", size.y), _count("z", size.z)


def field_of_view_mm(space: xsd.encodingSpaceType) -> tuple[float, float, float]:
    """Field of view along x, y, z in mm, 0 along z where a converter didn't know it.

    Raises:
        DamagedScan: it is impossible.
    """
    fov = space.fieldOfView_mm
    return _length_mm("x", fov.x), _length_mm("y", fov.y), 0.0 if fov.z == 0 else _length_mm("z", fov.z)


def centre_line(encoding: xsd.encodingType) -> int:
    """The kspace_encode_step_1 of the line through the centre of k-space; the middle where the header is silent.

    Raises:
        DamagedScan: the header gives a centre that no line can have.
    """
    limits = encoding.encodingLimits.kspace_encoding_step_1 if encoding.encodingLimits else None
    if limits is None:
        return matrix_size(encoding.encodedSpace)[1] // 2
    return limit("centre line", limits.center)


def centre_partition(encoding: xsd.encodingType) -> int:
    """The kspace_encode_step_2 of the partition through the centre of k-space; the middle where the header is silent.

    Raises:
        DamagedScan: the header gives a centre that no partition can have.
    """
    n_partitions = matrix_size(encoding.encodedSpace)[2]
    limits = encoding.encodingLimits.kspace_encoding_step_2 if encoding.encodingLimits else None
    if limits is None or (limits.center == 0 and limits.maximum == 0):
        return n_partitions // 2
    return limit("centre partition", limits.center)


def announced_slices(encoding: xsd.encodingType) -> int:
    """Slices that the header announces; 1 where it is silent. Raises DamagedScan where the number is impossible."""
    limits = encoding.encodingLimits.slice if encoding.encodingLimits else None
    if limits is None:
        return 1
    return limit("last slice", limits.maximum) - limit("first slice", limits.minimum) + 1


def receiver_noise_bandwidth(header: xsd.ismrmrdHeader) -> float:
    """The receiver's noise bandwidth over its sampling bandwidth; 1.0 where the header doesn't tell."""
    system = header.acquisitionSystemInformation
    ratio = system.relativeReceiverNoiseBandwidth if system else None
    return float(ratio) if isinstance(ratio, int | float) and 0 < ratio < math.inf else 1.0


def limit(name: str, number: object) -> int:
    """A number of the header's encodingLimits; raises DamagedScan unless a 16-bit counter can reach it."""
    if not isinstance(number, int) or not 0 <= number <= LARGEST_MATRIX:
        raise DamagedScan(
            f"the header gives {number} as its {name}; raki needs 0 to {LARGEST_MATRIX}: convert the scan again"
        )
    return number


def _read_decimals(encoding: xsd.encodingType) -> None:
    """Whole numbers that a converter wrote as decimals ("96.0"), which stay text, become numbers."""
    limits = encoding.encodingLimits
    parallel = encoding.parallelImaging
    counted = [getattr(space, "matrixSize", None) for space in (encoding.encodedSpace, encoding.reconSpace)]
    counted += [getattr(limits, field.name) for field in fields(limits)] if limits else []
    counted += [parallel.accelerationFactor] if parallel else []
    for part in filter(None, counted):
        for field in fields(part):
            value = getattr(part, field.name)
            if isinstance(value, str) and DECIMAL.fullmatch(value.strip()):
                setattr(part, field.name, int(value.strip().partition(".")[0]))


def _count(axis: str, count: object) -> int:
    if not isinstance(count, int) or not 1 <= count <= LARGEST_MATRIX:
        raise DamagedScan(
            f"the header gives a matrix size of {count} along {axis}; raki needs 1 to {LARGEST_MATRIX}: "
            "convert the scan again"
        )
    return count


def _length_mm(axis: str, length: object) -> float:
    if not isinstance(length, int | float) or not SHORTEST_MM <= length <= LONGEST_MM:
        raise DamagedScan(
            f"the header gives a field of view of {length} mm along {axis}; raki needs {SHORTEST_MM:g} to "
            f"{LONGEST_MM:g} mm: convert the scan again"
        )
    return float(length)
