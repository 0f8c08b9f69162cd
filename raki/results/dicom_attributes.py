"""What a DICOM image says of patient, study, series, scanner and sequence, and of the values of its pixels.

Attributes are those of the MR Image IOD (DICOM PS3.3, section A.4). Of type 2 they are there, empty where nothing is
known; conditional ones are there where their condition holds.
"""

import hashlib
import re
from importlib.metadata import version

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, MRImageStorage

from raki.identity.person import Identity, derived_uid
from raki.identity.uids import single_series_uid
from raki.images import Reconstruction, ScanSummary
from raki.results.dicom_identity import decimal, set_identity
from raki.results.image_files import window_top
from raki.results.provenance import unit
from raki.results.report import method_label
from raki.scan.arrays import Volume
from raki.scan.header import parse_header
from raki.wording import plain

RESEARCH_ONLY = "Research use only. Not for diagnosis."
LARGEST_STORED = 65535
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator", "EchoTime"),
    *("EchoTrainLength", "RepetitionTime", "ScanOptions", "Laterality", "PatientPosition"),
)
"""Attributes of type 2; and of type 2C PatientPosition, and Laterality, as nobody tells which part of the body is seen.
"""
# Words of a header's sequence type, in the order in which an image names them.
SEQUENCES = {
    "SE": re.compile(r"spin|tse|fse|haste|\bse\b", re.IGNORECASE),
    "IR": re.compile(r"inversion|mprage|flair|stir|\bt?ir\b", re.IGNORECASE),
    "GR": re.compile(r"gradient|flash|gre|spgr|ssfp|trufi|fl[23]d|mprage", re.IGNORECASE),
    "EP": re.compile(r"epi|echo.?planar", re.IGNORECASE),
}


def series_attributes(reconstruction: Reconstruction, who: Identity, *, scan_key: str) -> Dataset:
    """Patient, study, series, and what the images are. `scan_key` tells scans apart, and is the same for one scan.

    UIDs depend on the scan and on what was asked for, not on the pixels: the same again replaces what was there.
    """
    scan, method = reconstruction.scan, reconstruction.method
    series = Dataset()
    for keyword in MAY_BE_EMPTY:
        setattr(series, keyword, None)
    series.SpecificCharacterSet = "ISO_IR 192"
    series.SOPClassUID = MRImageStorage
    series.Modality = "MR"
    # A token stands for patient and study: images of one study stay together, whichever scan they are from.
    study = [part for part in (who.patient_id, who.study_date, who.study_id, who.accession_number) if part]
    series.StudyInstanceUID = UID(derived_uid("study", *(study or [scan_key])))
    series.SeriesInstanceUID = UID(
        single_series_uid(
            scan_key, method, reconstruction.combination, reconstruction.n_virtual_coils, reconstruction.seed
        )
    )
    series.FrameOfReferenceUID = UID(derived_uid("frame", *(study or [scan_key]), scan.header_xml, repr(scan.geometry)))
    series.SeriesNumber = 1
    series.SeriesDescription = f"{method_label(method, scattered=scan.is_scattered)} R={scan.rate}"
    series.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
    series.BurnedInAnnotation = "NO"
    series.LossyImageCompression = "00"
    series.DerivationDescription = (
        f"RAKI {version('raki-mri')}, {method}, R={scan.rate}, coils combined by "
        f"{reconstruction.combination}, seed {reconstruction.seed}. {RESEARCH_ONLY}"
    )
    series.ContributingEquipmentSequence = Sequence([equipment()])
    set_identity(series, who)
    return series


def name_protocol(series: Dataset, header_xml: str) -> None:
    """Protocol and number of the series that was scanned. They are the site's own words, and may tell who was."""
    measurement = parse_header(header_xml).measurementInformation if header_xml else None
    if measurement is None:
        return
    number = measurement.initialSeriesNumber
    if isinstance(number, int) and 0 < number < 10**6:
        series.SeriesNumber = 100 * number + 1  # as scanners number what they derive
    if protocol := short_text(measurement.protocolName) or short_text(measurement.seriesDescription):
        series.ProtocolName = protocol
        made = series.SeriesDescription
        series.SeriesDescription = f"{protocol[: 62 - len(made)]}, {made}"


def acquisition_attributes(header_xml: str) -> Dataset:
    """What the header tells of scanner and sequence."""
    acquisition = Dataset()
    acquisition.ScanningSequence, acquisition.SequenceVariant = "RM", "NONE"  # research mode: the header doesn't tell
    acquisition.MRAcquisitionType = "2D"
    acquisition.PatientPosition = ""  # of type 2C in the General Series Module (PS3.3, C.7.3.1): there, even if unknown
    if not header_xml:
        return acquisition
    header = parse_header(header_xml)
    system, timing = header.acquisitionSystemInformation, header.sequenceParameters
    measurement = header.measurementInformation
    position = getattr(measurement.patientPosition, "value", None) if measurement else None
    resonance = header.experimentalConditions.H1resonanceFrequency_Hz if header.experimentalConditions else None
    kinds = _sequence(timing.sequence_type) if timing else []
    found = {
        "ScanningSequence": kinds or None,
        "Manufacturer": short_text(system.systemVendor) if system else None,
        "ManufacturerModelName": short_text(system.systemModel) if system else None,
        "MagneticFieldStrength": number(system.systemFieldStrength_T) if system else None,
        "RepetitionTime": _first(timing.TR) if timing else None,
        # Scanners give one whether or not they invert.
        "InversionTime": _first(timing.TI) if timing and "IR" in kinds else None,
        "FlipAngle": _first(timing.flipAngle_deg) if timing else None,
        "ImagingFrequency": number(resonance, 1e-6),
        "PatientPosition": position,
    }
    for keyword, value in found.items():
        if value is not None:
            setattr(acquisition, keyword, value)
    return acquisition


def pixel_attributes(volume: Volume, slope: float, scan: ScanSummary) -> Dataset:
    """How pixels are stored, in which window they are shown first, and what they stand for.

    Stored values are whole numbers over the full range, as are centre and width of the window; a viewer that knows
    nothing of `slope` shows them well. What one step stands for is told beside them: the MR Image IOD has no rescaling.

    DICOM PS3.3, sections C.7.6.16.2.11 (Real World Value Mapping) and C.11.2.1.2 (Window Center and Window Width).
    """
    top = min(max(round(window_top(volume) / slope), 1), LARGEST_STORED)
    stored = pixel_format()
    stored.WindowCenter, stored.WindowWidth = str((top + 1) // 2), str(top + 1)
    stored.ImageComments = f"{RESEARCH_ONLY} Value = stored value * {slope:.6g}, in units of: {unit(scan)}."
    stored.RealWorldValueMappingSequence = Sequence([_mapping(slope, unit(scan))])
    return stored


def pixel_format() -> Dataset:
    """Grey values of 16 bits without a sign."""
    stored = Dataset()
    stored.SamplesPerPixel, stored.PhotometricInterpretation = 1, "MONOCHROME2"
    stored.BitsAllocated, stored.BitsStored, stored.HighBit, stored.PixelRepresentation = 16, 16, 15, 0
    return stored


def slope_of(volume: Volume) -> float:
    """The value of one stored step; 1.0 where the volume is black."""
    largest = float(volume.max(initial=0.0))
    return largest / LARGEST_STORED if largest > 0 else 1.0


def content_key(reconstruction: Reconstruction) -> str:
    """What tells scans apart of which nobody knows the raw file."""
    result = np.ascontiguousarray(reconstruction.result)
    return hashlib.sha256(result.tobytes() + reconstruction.scan.header_xml.encode()).hexdigest()


def number(value: object, factor: float = 1.0) -> str | None:
    """The decimal of a positive number; None for what is none."""
    return decimal(value * factor) if isinstance(value, int | float) and 0 < value < 1e12 else None


def short_text(value: str | None) -> str | None:
    """A text that fits into an attribute of 64 characters without a backslash, which separates values."""
    return plain(value.replace("\\", " "), 64) or None if value else None


def _sequence(told: object) -> list[str]:
    """The values of ScanningSequence that a header's sequence type stands for; none where it is silent."""
    return [kind for kind, words in SEQUENCES.items() if isinstance(told, str) and words.search(told)]


def _first(values: list[float]) -> str | None:
    return number(values[0]) if values else None


def equipment() -> Dataset:
    """What made the images of what a scanner acquired.

    DICOM PS3.16, CID 7005 (Contributing Equipment Purpose).
    """
    raki = Dataset()
    raki.Manufacturer, raki.ManufacturerModelName, raki.SoftwareVersions = "raki", "RAKI", version("raki-mri")
    raki.ContributionDescription = RESEARCH_ONLY
    raki.PurposeOfReferenceCodeSequence = Sequence([code("109102", "DCM", "Processing Equipment")])
    return raki


def _mapping(slope: float, meaning: str) -> Dataset:
    mapping = Dataset()
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, LARGEST_STORED
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 0.0, slope
    mapping.LUTExplanation, mapping.LUTLabel = meaning, "magnitude"
    mapping.MeasurementUnitsCodeSequence = Sequence([code("1", "UCUM", "no units")])
    return mapping


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence."""
    coded = Dataset()
    coded.CodeValue, coded.CodingSchemeDesignator, coded.CodeMeaning = value, scheme, meaning
    return coded
