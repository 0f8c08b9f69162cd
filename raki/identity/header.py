"""The ISMRMRD header without identity: a new header, built from elements that are known to be safe.

What survives is an allow-list, so that an element which a vendor or a later schema adds is left out until somebody
has looked at it. Numbers survive as numbers, names of choices as choices; text survives in few places alone, where
it names hardware or the numbers of an EPI's readout, and only if it looks like such a name.

Schema: ismrmrd.xsd, https://github.com/ismrmrd/ismrmrd. The fields that tell who was scanned, where and when are those
of HIPAA's "safe harbor" method, 45 CFR 164.514(b)(2).
"""

import re
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from ismrmrd import xsd

from raki.identity.person import SITE_TOKEN, Identity, derived_uid, require_token
from raki.scan.header import parse_header

KEPT: dict[type, frozenset[str]] = {
    xsd.ismrmrdHeader: frozenset(
        {
            "version",
            "measurementInformation",
            "acquisitionSystemInformation",
            "experimentalConditions",
            "encoding",
            "sequenceParameters",
        }
    ),
    xsd.measurementInformationType: frozenset({"patientPosition", "relativeTablePosition"}),
    xsd.threeDimensionalFloat: frozenset({"x", "y", "z"}),
    xsd.acquisitionSystemInformationType: frozenset(
        {
            "systemVendor",
            "systemModel",
            "systemFieldStrength_T",
            "relativeReceiverNoiseBandwidth",
            "receiverChannels",
            "coilLabel",
        }
    ),
    xsd.coilLabelType: frozenset({"coilNumber", "coilName"}),
    xsd.experimentalConditionsType: frozenset({"H1resonanceFrequency_Hz"}),
    xsd.encodingType: frozenset(
        {
            "encodedSpace",
            "reconSpace",
            "encodingLimits",
            "trajectory",
            "trajectoryDescription",
            "parallelImaging",
            "echoTrainLength",
        }
    ),
    xsd.encodingSpaceType: frozenset({"matrixSize", "fieldOfView_mm"}),
    xsd.matrixSizeType: frozenset({"x", "y", "z"}),
    xsd.fieldOfViewMm: frozenset({"x", "y", "z"}),
    xsd.encodingLimitsType: frozenset(field.name for field in fields(xsd.encodingLimitsType)),
    xsd.limitType: frozenset({"minimum", "maximum", "center"}),
    xsd.trajectoryDescriptionType: frozenset({"identifier", "userParameterLong", "userParameterDouble"}),
    xsd.userParameterLongType: frozenset({"name", "value"}),
    xsd.userParameterDoubleType: frozenset({"name", "value"}),
    xsd.parallelImagingType: frozenset(field.name for field in fields(xsd.parallelImagingType)),
    xsd.accelerationFactorType: frozenset({"kspace_encoding_step_1", "kspace_encoding_step_2"}),
    xsd.multibandType: frozenset(field.name for field in fields(xsd.multibandType)),
    xsd.multibandSpacingType: frozenset({"dZ"}),
    xsd.sequenceParametersType: frozenset(
        {"TR", "TE", "TI", "flipAngle_deg", "echo_spacing", "diffusion", "diffusionDimension"}
    ),
    xsd.diffusionType: frozenset({"gradientDirection", "bvalue"}),
    xsd.gradientDirectionType: frozenset({"rl", "ap", "fh"}),
}
"""The elements that survive, by the type of the element around them."""

HARDWARE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,:;+*/()_-]{0,63}")
# How an EPI sampled its readout: https://ismrmrd.readthedocs.io, "ConventionalEPI".
EPI_TIMING = re.compile(
    "etl|numberOfNavigators|numSamples|echoSpacing|dwellTime|rampUpTime|rampDownTime|flatTopTime|acqDelayTime"
)
KEPT_TEXT = {
    "systemVendor": HARDWARE_NAME,
    "systemModel": HARDWARE_NAME,
    "coilName": HARDWARE_NAME,
    "identifier": re.compile("ConventionalEPI"),
    "name": EPI_TIMING,
}
"""The texts that survive, and only if they look so."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What of a person stays in a raw file because a site's own work needs it. Neither names anybody."""

    keep_weight: bool = False
    keep_gender: bool = False


NOTHING_OF_A_PERSON = Policy()


def scrub_header(header_xml: str, token: str, *, policy: Policy = NOTHING_OF_A_PERSON) -> str:
    """The header without identity; patient name and ID are the token, the study's UID is derived from it.

    Scrubbing a scrubbed header by the same token changes nothing.

    Raises:
        DamagedScan: the text is no ISMRMRD header.
        ValueError: the token doesn't look like one.
    """
    header = parse_header(header_xml)
    scrubbed = _kept(header)
    scrubbed.subjectInformation = _subject(header.subjectInformation, require_token(token), policy)
    scrubbed.studyInformation = xsd.studyInformationType(studyInstanceUID=derived_uid("study", token))
    return xsd.ToXML(scrubbed)


def harmless_header(header_xml: str) -> xsd.ismrmrdHeader:
    """What of a header tells nobody who, where and when it was: `scrub_header` without the names that it puts in.

    Raises:
        DamagedScan: the text is no ISMRMRD header.
    """
    kept: xsd.ismrmrdHeader = _kept(parse_header(header_xml))
    return kept


def token_in_header(header_xml: str) -> str | None:
    """The token that stands for patient and study already; None where the header names somebody, or nobody.

    Raises:
        DamagedScan: the text is no ISMRMRD header.
    """
    subject = parse_header(header_xml).subjectInformation
    given = str(subject.patientID) if subject else ""
    return given if SITE_TOKEN.fullmatch(given) else None


def identity_in_header(header_xml: str) -> Identity:
    """What the header tells of patient, study, institution and device.

    Raises:
        DamagedScan: the text is no ISMRMRD header.
    """
    header = parse_header(header_xml)
    subject = header.subjectInformation or xsd.subjectInformationType()
    study = header.studyInformation or xsd.studyInformationType()
    system = header.acquisitionSystemInformation or xsd.acquisitionSystemInformationType()
    return Identity(
        patient_name=_text(subject.patientName),
        patient_id=_text(subject.patientID),
        birth_date=_digits(subject.patientBirthdate, 8),
        sex=_text(subject.patientGender),
        weight_kg=_text(subject.patientWeight_kg),
        height_m=_text(subject.patientHeight_m),
        study_date=_digits(study.studyDate, 8),
        study_time=_digits(study.studyTime, 6),
        study_id=_text(study.studyID),
        accession_number=_text(study.accessionNumber),
        referring_physician=_text(study.referringPhysicianName),
        study_description=_text(study.studyDescription),
        study_uid=_text(study.studyInstanceUID),
        institution=_text(system.institutionName),
        station=_text(system.stationName),
        device_serial_number=_text(system.deviceSerialNumber),
    )


def _subject(subject: xsd.subjectInformationType | None, token: str, policy: Policy) -> xsd.subjectInformationType:
    kept = xsd.subjectInformationType(patientName=token, patientID=token)
    if subject is not None and policy.keep_weight and isinstance(subject.patientWeight_kg, float):
        kept.patientWeight_kg = subject.patientWeight_kg
    if subject is not None and policy.keep_gender and subject.patientGender in ("M", "F", "O"):
        kept.patientGender = subject.patientGender
    return kept


def _kept(element: Any) -> Any:
    """A new element with what is safe in this one; None for anything that is not known."""
    kind: Any = type(element)
    if not is_dataclass(element):
        return element if isinstance(element, int | float | Enum) else None
    kept: dict[str, Any] = {}
    for name in KEPT.get(kind, frozenset()):
        value = getattr(element, name)
        if isinstance(value, list):
            kept[name] = [kept_item for kept_item in (_kept(item) for item in value) if kept_item is not None]
        elif name in KEPT_TEXT:
            kept[name] = value if isinstance(value, str) and KEPT_TEXT[name].fullmatch(value) else None
        else:
            kept[name] = _kept(value)
    # A number whose name isn't known, or the trajectory of another kind.
    is_unknown = any(kept.get(name, "") is None for name in ("name", "identifier"))
    return None if is_unknown else kind(**kept)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _digits(value: object, n_digits: int) -> str:
    """A date as YYYYMMDD, a time as HHMMSS, from the form with hyphens and colons."""
    return re.sub(r"\D", "", _text(value))[:n_digits]
