"""Who and what a raw file is about, in the words of DICOM, and the token that stands for it outside the site."""

import re
import uuid
from dataclasses import dataclass, fields, replace

TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{5,31}")
SITE_TOKEN = re.compile(r"raki-[0-9a-f]{16}")
"""What a token map gives out; no patient's number looks so."""
"""What a token may look like: it has to fit into every patient name and identifier, and to be no word of a header."""

# Namespace of all identifiers that raki derives (RFC 9562, UUID version 5).
NAMESPACE = uuid.UUID("5ec4aa5b-6d1f-5d57-9a3e-0d8f0f6f2c11")

DICOM_KEYWORDS = {
    "patient_name": "PatientName",
    "patient_id": "PatientID",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "weight_kg": "PatientWeight",
    "height_m": "PatientSize",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_id": "StudyID",
    "accession_number": "AccessionNumber",
    "referring_physician": "ReferringPhysicianName",
    "study_description": "StudyDescription",
    "study_uid": "StudyInstanceUID",
    "institution": "InstitutionName",
    "institution_address": "InstitutionAddress",
    "station": "StationName",
    "device_serial_number": "DeviceSerialNumber",
}
"""The DICOM attribute that holds each field of an `Identity`."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a raw file tells of its patient, study, institution and device, as DICOM writes it; empty where unknown.

    Dates are YYYYMMDD, times HHMMSS, the sex is M, F or O. It never leaves the site.
    """

    patient_name: str = ""
    patient_id: str = ""
    birth_date: str = ""
    sex: str = ""
    weight_kg: str = ""
    height_m: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    accession_number: str = ""
    referring_physician: str = ""
    study_description: str = ""
    study_uid: str = ""
    institution: str = ""
    institution_address: str = ""
    station: str = ""
    device_serial_number: str = ""

    @property
    def known(self) -> dict[str, str]:
        """The fields that hold something, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value}

    @property
    def study_key(self) -> tuple[str, ...] | None:
        """What is the same in all scans of one patient in one study; None where no patient is named."""
        if not (self.patient_id or self.patient_name):
            return None
        study = self.study_uid or "/".join((self.study_date, self.study_id, self.accession_number))
        return self.patient_id, self.patient_name, self.birth_date, study

    def completed(self, other: "Identity") -> "Identity":
        """This identity, with what `other` knows in its empty fields."""
        return replace(other, **self.known)


def require_token(token: str) -> str:
    """The token itself.

    Raises:
        ValueError: it is not 6 to 32 letters, digits and hyphens.
    """
    if not TOKEN.fullmatch(token):
        raise ValueError("a token is 6 to 32 letters, digits and hyphens; take one from raki.identity.tokens.TokenMap")
    return token


def derived_uid(*sources: str) -> str:
    """A DICOM UID that depends on nothing but the sources; the same sources give the same UID.

    DICOM PS3.5, annex B.2 (UUID derived UID).
    """
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(sources)).int}"
