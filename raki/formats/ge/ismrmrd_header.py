"""The ISMRMRD header of a GE P-file. What the P-file leaves unset stays out."""

from datetime import UTC, datetime

import numpy as np
from ismrmrd import xsd
from xsdata.models.datatype import XmlDate

from raki.formats.ge.header import n_coils, n_lines, n_reference_lines

# By GE's codes for the patient's entry and position. The codes of patients on their side could not be tested.
PATIENT_POSITIONS = {
    (1, 1): xsd.patientPositionType.HFS,
    (1, 2): xsd.patientPositionType.HFP,
    (2, 1): xsd.patientPositionType.FFS,
    (2, 2): xsd.patientPositionType.FFP,
}
SEXES = {1: "M", 2: "F"}


def ismrmrd_header_xml(fields: np.void) -> str:
    """The ISMRMRD header (schema ismrmrd.xsd) from the fields of `raki.formats.ge.fields.FIELDS`."""
    header = xsd.ismrmrdHeader(
        subjectInformation=_subject(fields),
        studyInformation=xsd.studyInformationType(
            studyID=str(fields["exam_number"]), referringPhysicianName=_text(fields["referring_physician"])
        ),
        measurementInformation=_measurement(fields),
        acquisitionSystemInformation=_system(fields),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=int(fields["resonance_frequency_dhz"]) // 10
        ),
        encoding=[_encoding(fields)],
        sequenceParameters=xsd.sequenceParametersType(
            TR=_milliseconds(fields["repetition_time_us"]),
            TE=_milliseconds(fields["echo_time_us"]),
            TI=_milliseconds(fields["inversion_time_us"]),
            flipAngle_deg=[float(fields["flip_angle_deg"])] if fields["flip_angle_deg"] > 0 else [],
        ),
    )
    return str(xsd.ToXML(header, encoding="UTF-8"))


def _encoding(fields: np.void) -> xsd.encodingType:
    n_pe = n_lines(fields)
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=int(fields["frame_size"]), y=n_pe, z=1),
        fieldOfView_mm=xsd.fieldOfViewMm(
            x=float(fields["fov_mm"]), y=float(fields["fov_phase_mm"]), z=float(fields["thickness_mm"])
        ),
    )
    return xsd.encodingType(
        encodedSpace=space,
        reconSpace=space,
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=n_pe - 1, center=n_pe // 2),
            slice=xsd.limitType(minimum=0, maximum=int(fields["n_slices"]) - 1, center=int(fields["n_slices"]) // 2),
        ),
        trajectory=xsd.trajectoryType.CARTESIAN,
        echoTrainLength=n_reference_lines(fields) or None,
    )


def _subject(fields: np.void) -> xsd.subjectInformationType:
    return xsd.subjectInformationType(
        patientName=_text(fields["patient_name"]),
        patientID=_text(fields["patient_id"]),
        patientBirthdate=_date(_text(fields["patient_birthdate"]), "%Y%m%d"),
        patientGender=SEXES.get(int(fields["patient_sex"])),
    )


def _measurement(fields: np.void) -> xsd.measurementInformationType | None:
    """None where the patient's position isn't known: ISMRMRD has no such part without it."""
    position = PATIENT_POSITIONS.get((int(fields["patient_entry"]), int(fields["patient_position"])))
    if position is None:
        return None
    return xsd.measurementInformationType(
        measurementID=str(fields["run_number"]),
        seriesDate=_scan_date(fields["scan_date"]),
        patientPosition=position,
        sequenceName=_text(fields["sequence"]),
        seriesDescription=_text(fields["series_description"]),
    )


def _system(fields: np.void) -> xsd.acquisitionSystemInformationType:
    field_strength_t = float(fields["field_strength_gauss"]) / 1e4
    coil = _text(fields["coil"])
    labels = [xsd.coilLabelType(coilNumber=number, coilName=coil) for number in range(n_coils(fields))] if coil else []
    return xsd.acquisitionSystemInformationType(
        systemVendor="GE",
        systemFieldStrength_T=field_strength_t if field_strength_t > 0 else None,
        receiverChannels=n_coils(fields),
        coilLabel=labels,
        institutionName=_text(fields["institution"]),
        stationName=_text(fields["station"]),
        deviceSerialNumber=_text(fields["system_id"]),
    )


def _milliseconds(duration_us: np.integer) -> list[float]:
    return [float(duration_us) / 1000] if duration_us > 0 else []


def _text(content: bytes) -> str | None:
    """What stands before the first zero; behind it remain parts of longer texts that stood there before."""
    text = content.split(b"\0")[0].decode("latin-1")
    return "".join(letter for letter in text if letter.isprintable()).strip() or None


def _scan_date(content: bytes) -> XmlDate | None:
    """Month, day, and years since 1900."""
    month, _, rest = (_text(content) or "").partition("/")
    day, _, years = rest.partition("/")
    if not years.isascii() or not years.isdigit():
        return None
    return _date(f"{month}/{day}/{1900 + int(years)}", "%m/%d/%Y")


def _date(text: str | None, pattern: str) -> XmlDate | None:
    try:
        found = datetime.strptime(text or "", pattern).replace(tzinfo=UTC)
    except ValueError:
        return None
    return XmlDate(found.year, found.month, found.day)
