"""Whose image it is, as attributes of DICOM. No torch: who puts names back into images makes none."""

import re

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from raki.identity.person import DICOM_KEYWORDS, Identity

DECIMAL = re.compile(r"\d{1,6}(\.\d{1,20})?")
VALUES = {
    "CS": re.compile("[MFO]"),
    "DA": re.compile(r"\d{8}"),
    "DS": re.compile(r"[\d.e-]{1,16}"),
    "LO": re.compile(r"[^\\\x00-\x1f]{1,64}"),
    "PN": re.compile(r"[^\\\x00-\x1f]{1,64}"),
    "SH": re.compile(r"[^\\\x00-\x1f]{1,16}"),
    "ST": re.compile(r"[^\x00-\x1f]{1,1024}"),
    "TM": re.compile(r"\d{6}"),
    "UI": re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+"),
}
"""What a value of an attribute may look like, by the attribute's value representation."""


def set_identity(dataset: Dataset, identity: Identity) -> None:
    """Sets the attributes of patient, study, institution and device that are known, and leaves the others.

    A value that its attribute can't hold is none that came from DICOM; it counts as unknown.

    DICOM PS3.5, section 6.2 (Value Representation).
    """
    for name, value in identity.known.items():
        keyword = DICOM_KEYWORDS[name]
        text = decimal(float(value)) if name in ("weight_kg", "height_m") and DECIMAL.fullmatch(value) else value
        if VALUES[dictionary_VR(keyword)].fullmatch(text):
            setattr(dataset, keyword, text)


def decimal(value: float) -> str:
    """A number as DICOM writes it, in at most 16 characters."""
    return format_number_as_ds(value + 0.0)  # no negative zero
