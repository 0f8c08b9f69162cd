"""What an ISMRMRD header tells. Nothing in it is believed to be of the type that the schema wants."""

import math
from dataclasses import fields

from ismrmrd import xsd

from raki.inspection.survey.facts import Origin, Timing
from raki.scan.header import LARGEST_MATRIX
from raki.wording import plain

LONGEST_TEXT = 64
DIMENSIONS = {False: "2-D", True: "3-D"}


def origin_of(header: xsd.ismrmrdHeader | None) -> Origin:
    """Scanner and protocol."""
    system = header.acquisitionSystemInformation if header else None
    measurement = header.measurementInformation if header else None
    sequence = header.sequenceParameters if header else None
    names = (_text_in(measurement, "protocolName"), _text_in(measurement, "seriesDescription"))
    strength = number(getattr(system, "systemFieldStrength_T", None))
    return Origin(
        vendor=_text_in(system, "systemVendor"),
        model=_text_in(system, "systemModel"),
        field_strength_t=strength if strength and strength > 0 else None,
        protocol=next((name for name in names if name), None),
        sequence=_text_in(measurement, "sequenceName"),
        sequence_type=_text_in(sequence, "sequence_type"),
        has_subject_information=_says_anything(header.subjectInformation if header else None),
    )


def timing_of(header: xsd.ismrmrdHeader | None, encoding: xsd.encodingType | None) -> Timing:
    """Times and angles, as many as are numbers."""
    sequence = header.sequenceParameters if header else None
    return Timing(
        repetition_times_ms=_numbers_in(sequence, "TR"),
        echo_times_ms=_numbers_in(sequence, "TE"),
        inversion_times_ms=_numbers_in(sequence, "TI"),
        flip_angles_deg=_numbers_in(sequence, "flipAngle_deg"),
        echo_train_length=count(getattr(encoding, "echoTrainLength", None)),
    )


def kind_of(encoding: xsd.encodingType | None, *, n_slices: int, n_partitions: int) -> str:
    """The kind of scan in plain words."""
    trajectory = trajectory_of(encoding)
    is_3d = n_partitions > 1 or (encoding is not None and (count(encoding.encodedSpace.matrixSize.z) or 1) > 1)
    if trajectory is None:
        return f"unknown trajectory, {DIMENSIONS[is_3d]}"
    if encoding is not None and 1 in (
        count(encoding.encodedSpace.matrixSize.x),
        count(encoding.encodedSpace.matrixSize.y),
    ):
        return "spectrum or projection, no image"
    name = {"cartesian": "Cartesian", "epi": "EPI"}.get(trajectory, f"non-Cartesian ({trajectory})")
    parts = [f"{name} {DIMENSIONS[is_3d]}"]
    if n_slices > 1:
        parts.append("multi-slab" if is_3d else "multi-slice")
    n_bands = n_bands_of(encoding)
    if n_bands > 1:
        parts.append(f"with {n_bands} slices at once")
    return " ".join(parts)


def trajectory_of(encoding: xsd.encodingType | None) -> str | None:
    """In the schema's words: "cartesian", "epi", "radial" ..."""
    trajectory = encoding.trajectory if encoding else None
    return text(getattr(trajectory, "value", trajectory))


def n_bands_of(encoding: xsd.encodingType | None) -> int:
    """Slices that are excited at once (multiband); 1 where the header is silent."""
    multiband = encoding.parallelImaging.multiband if encoding and encoding.parallelImaging else None
    return count(getattr(multiband, "multiband_factor", None)) or 1


def announced_acceleration(encoding: xsd.encodingType | None) -> int | None:
    """R as the header has it, along phase-encode and along the partitions together."""
    parallel = encoding.parallelImaging if encoding else None
    factors = getattr(parallel, "accelerationFactor", None)
    along, across = (count(getattr(factors, f"kspace_encoding_step_{step}", None)) for step in (1, 2))
    return along and along * (across or 1)


def count(value: object) -> int | None:
    """How many there are of something, one at least, or None."""
    found = number(value)
    return int(found) if found is not None and 1 <= found <= LARGEST_MATRIX else None


def number(value: object) -> float | None:
    """A finite number, or None: what doesn't convert stays text in the header."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def text(value: object) -> str | None:
    """One short line that may be shown on any terminal, or None."""
    if not isinstance(value, str):
        return None
    return plain(value, LONGEST_TEXT) or None


def _text_in(part: object, name: str) -> str | None:
    return text(getattr(part, name, None))


def _numbers_in(part: object, name: str) -> tuple[float, ...]:
    values = getattr(part, name, None)
    found = [number(value) for value in values] if isinstance(values, list) else []
    return tuple(value for value in found if value is not None)


def _says_anything(subject: xsd.subjectInformationType | None) -> bool:
    values = [getattr(subject, field.name) for field in fields(subject)] if subject else []
    return any(str(value).strip() for value in values if value is not None)
