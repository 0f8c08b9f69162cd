"""What the words taken out of a Siemens header mean."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from raki.identity.person import Identity
from raki.identity.words import telling_words

Removed = Mapping[str, Collection[str]]
"""Texts and numbers by the name of the parameter that held them."""

SOURCES = {
    "patient_name": ("tPatientName", "PatientName", "PatientsName"),
    "patient_id": ("PatientID", "tPatientID"),
    "birth_date": ("PatientBirthDay", "PatientsBirthDate"),
    "study_description": ("tStudyDescription", "StudyDescription"),
    "study_uid": ("StudyInstanceUID",),
    "institution": ("InstitutionName", "HospitalName"),
    "institution_address": ("InstitutionAddress",),
    "device_serial_number": ("DeviceSerialNumber",),
}
SEXES = {"1": "F", "2": "M", "3": "O"}
# "2024-02-06 17:41:48" of XA; "1.3.12.2.1107.5.2.63.<device>.1.20240206174024808.0.0.0" of all versions.
PREPARED = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)")
FRAME_OF_REFERENCE = re.compile(r"\.((?:19|20)\d{6})(\d{6})\d{0,3}\.")
# Names of parameters whose values tell who or where, in letters; and those of numbers and dates that tell as much.
NAMING = re.compile(
    r"patientid|patients?name|patients?birth|physician|operator|institution|hospital|street|city|study", re.IGNORECASE
)
NUMBERING = re.compile(
    r"series|loid|uid|phone|serial|machine|frameofreference|referenceimage|contextfolder|exammemory|timestamp|mpps|"
    r"patient|customerid|accession",
    re.IGNORECASE,
)


def identity_of(removed: Removed) -> Identity:
    """The identity that the parameters tell; empty where they do not, or hold the x's of a file made anonymous."""
    found = {field: next(_values(removed, names), "") for field, names in SOURCES.items()}
    found["sex"] = SEXES.get(next(_values(removed, ("PatientSex", "lPatientSex")), ""), "")
    found["weight_kg"] = _scaled(next(_values(removed, ("flUsedPatientWeight", "UsedPatientWeight")), ""), 1.0)
    found["height_m"] = _scaled(next(_values(removed, ("flPatientHeight",)), ""), 1e-3)
    found["study_date"], found["study_time"] = _study_date(removed)
    return Identity(**found)


def tell_tale(removed: Removed) -> set[str]:
    """The words that tell who, where or when, and that mean nothing else wherever they stand."""
    naming = {_decoded(value) for name, values in removed.items() if NAMING.search(name) for value in values}
    numbering = {_decoded(value) for name, values in removed.items() if NUMBERING.search(name) for value in values}
    return telling_words(naming | {word for word in numbering if re.search(r"\d{4}", word)})


def _values(removed: Removed, names: Sequence[str]) -> Iterator[str]:
    return (
        word
        for name in names
        for value in removed.get(name, ())
        if (word := _decoded(value)) and not re.fullmatch(r"[xX]+|0|n\.a\.", word)
    )


def _study_date(removed: Removed) -> tuple[str, str]:
    for name, pattern in (("PrepareTimestamp", PREPARED), ("tFrameOfReference", FRAME_OF_REFERENCE)):
        for value in _values(removed, (name, name.removeprefix("t"))):
            if found := pattern.search(value):
                digits = "".join(found.groups())
                return digits[:8], digits[8:]
    return "", ""


def _decoded(value: str) -> str:
    """XA writes UTF-8, older scanners Latin-1; every byte came as one letter."""
    try:
        return value.encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        return value.strip()


def _scaled(number: str, factor: float) -> str:
    return f"{float(number) * factor:g}" if re.fullmatch(r"\d++(\.\d*+)?", number) else ""
