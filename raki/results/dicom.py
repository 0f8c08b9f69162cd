"""Images as DICOM: what a PACS, and every viewer of a hospital, reads.

A volume is `slice row column`; see `raki.results.image_files` for where its pixels lie. DICOM's coordinates are LPS,
as raki's are.
"""

import hashlib
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt16
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from raki.identity import DICOM_KEYWORDS, Identity, derived_uid, identity_in_header
from raki.images import Reconstruction, ScanSummary
from raki.results.image_files import window_top
from raki.scan import Geometry
from raki.scan.arrays import Volume
from raki.scan.header import parse_header

RESEARCH_ONLY = "Research use only. Not for diagnosis."
LARGEST_STORED = 65535
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
# Attributes that have to be there, empty where nothing is known (type 2 of the MR Image IOD).
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator", "EchoTime"),
    *("EchoTrainLength", "RepetitionTime", "ScanOptions"),
)


def write_dicom(reconstruction: Reconstruction, folder: Path, *, token: str | None = None) -> list[Path]:
    """Writes the result as a series, a file for each slice of each frame, `slice_0001.dcm` and on.

    Those of an earlier result in the folder are removed.

    Patient and study are those of the scan's header. The same reconstruction gives the same bytes; another scan,
    method or seed gives a series of its own. Stored values are 16-bit: value = stored * RescaleSlope, in the unit of
    the reconstruction.

    Args:
        token: stands for the patient instead of what the header says; the study's UID is derived from it.

    DICOM PS3.3, section A.4 (MR Image IOD).
    """
    volume, scan = reconstruction.result, reconstruction.scan
    if token is not None:
        who = Identity(patient_name=token, patient_id=token)
    else:
        who = identity_in_header(scan.header_xml) if scan.header_xml else Identity()
    slope = _slope(volume)
    common = _series(reconstruction, who)
    common.update(_acquisition(scan.header_xml))
    common.update(_scaling(volume, slope))
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("slice_*.dcm"):
        earlier.unlink()
    written = []
    for index, pixels in enumerate(volume):
        frame, slice_index = divmod(index, scan.n_slices)
        image = Dataset()
        image.update(common)
        image.update(_place(scan.geometry, slice_index))
        image.update(_moment(scan, frame))
        image.InstanceNumber = index + 1
        image.SOPInstanceUID = UID(derived_uid("image", common.SeriesInstanceUID, str(index)))
        image.PixelData = _stored(pixels, slope).tobytes()
        path = folder / f"slice_{index + 1:04d}.dcm"
        _save(image, path)
        written.append(path)
    return written


def set_identity(dataset: Dataset, identity: Identity) -> None:
    """Sets the attributes of patient, study, institution and device that are known, and leaves the others.

    A value that its attribute can't hold is none that came from DICOM; it counts as unknown.

    DICOM PS3.5, section 6.2 (Value Representation).
    """
    for name, value in identity.known.items():
        keyword = DICOM_KEYWORDS[name]
        text = _decimal(float(value)) if name in ("weight_kg", "height_m") and DECIMAL.fullmatch(value) else value
        if VALUES[dictionary_VR(keyword)].fullmatch(text):
            setattr(dataset, keyword, text)


def _series(reconstruction: Reconstruction, who: Identity) -> Dataset:
    """Patient, study, series, and what the images are."""
    scan, method = reconstruction.scan, reconstruction.method
    content = hashlib.sha256(reconstruction.result.tobytes()).hexdigest()
    sources = (scan.header_xml, method, reconstruction.combination, str(reconstruction.seed), content)
    series = Dataset()
    for keyword in MAY_BE_EMPTY:
        setattr(series, keyword, None)
    series.SpecificCharacterSet = "ISO_IR 192"
    series.SOPClassUID = MRImageStorage
    series.Modality = "MR"
    # A token stands for patient and study: images of one study stay together, whichever scan they are from.
    study = [part for part in (who.patient_id, who.study_date, who.study_id, who.accession_number) if part]
    series.StudyInstanceUID = UID(derived_uid("study", *(study or [content])))
    series.SeriesInstanceUID = UID(derived_uid("series", *sources))
    series.FrameOfReferenceUID = UID(derived_uid("frame", *(study or [content]), scan.header_xml, repr(scan.geometry)))
    series.SeriesNumber = 1
    series.SeriesDescription = f"{'raki' if method == 'raki' else f'raki {method}'} R={scan.acceleration}"
    series.ImageType = ["DERIVED", "PRIMARY", "OTHER"]
    series.BurnedInAnnotation = "NO"
    series.LossyImageCompression = "00"
    series.ImageComments = RESEARCH_ONLY
    series.DerivationDescription = (
        f"raki {version('raki-mri')}, {method}, R={scan.acceleration}, coils combined by "
        f"{reconstruction.combination}, seed {reconstruction.seed}"
    )
    set_identity(series, who)
    return series


def _acquisition(header_xml: str) -> Dataset:
    """What the header tells of scanner and sequence."""
    acquisition = Dataset()
    acquisition.ScanningSequence, acquisition.SequenceVariant = "RM", "NONE"  # research mode: the header doesn't tell
    acquisition.MRAcquisitionType = "2D"
    if not header_xml:
        return acquisition
    header = parse_header(header_xml)
    system, timing = header.acquisitionSystemInformation, header.sequenceParameters
    measurement = header.measurementInformation
    position = getattr(measurement.patientPosition, "value", None) if measurement else None
    resonance = header.experimentalConditions.H1resonanceFrequency_Hz if header.experimentalConditions else None
    found = {
        "Manufacturer": _short_text(system.systemVendor) if system else None,
        "ManufacturerModelName": _short_text(system.systemModel) if system else None,
        "MagneticFieldStrength": _number(system.systemFieldStrength_T) if system else None,
        "RepetitionTime": _first(timing.TR) if timing else None,
        "InversionTime": _first(timing.TI) if timing else None,
        "FlipAngle": _first(timing.flipAngle_deg) if timing else None,
        "ImagingFrequency": _number(resonance, 1e-6),
        "PatientPosition": position,
    }
    for keyword, value in found.items():
        if value is not None:
            setattr(acquisition, keyword, value)
    return acquisition


def _scaling(volume: Volume, slope: float) -> Dataset:
    """How pixels are stored, and in which window they are shown first."""
    top = window_top(volume)
    scaling = Dataset()
    scaling.SamplesPerPixel, scaling.PhotometricInterpretation = 1, "MONOCHROME2"
    scaling.Rows, scaling.Columns = volume.shape[1:]
    scaling.BitsAllocated, scaling.BitsStored, scaling.HighBit, scaling.PixelRepresentation = 16, 16, 15, 0
    scaling.RescaleIntercept, scaling.RescaleSlope, scaling.RescaleType = "0", _decimal(slope), "US"
    scaling.WindowCenter, scaling.WindowWidth = _decimal(top / 2), _decimal(top)
    return scaling


def _place(geometry: Geometry, index: int) -> Dataset:
    """Position and orientation of a slice.

    DICOM PS3.3, section C.7.6.2 (Image Plane Module).
    """
    n_rows, n_columns = geometry.matrix
    row_mm, column_mm = geometry.fov_mm[1] / n_rows, geometry.fov_mm[0] / n_columns
    read, phase, normal = (
        np.array(direction)
        for direction in (geometry.read_direction, geometry.phase_direction, geometry.slice_direction)
    )
    centre_mm = np.array(geometry.position_mm) + index * geometry.slice_spacing_mm * normal
    corner_mm = centre_mm - read * column_mm * (n_columns // 2) - phase * row_mm * (n_rows // 2)
    place = Dataset()
    place.ImagePositionPatient = _decimals(corner_mm)
    place.ImageOrientationPatient = _decimals(np.concatenate([read, phase]))
    place.PixelSpacing = _decimals(np.array([row_mm, column_mm]))
    place.SliceThickness = _decimal(geometry.fov_mm[2])
    place.SpacingBetweenSlices = _decimal(geometry.slice_spacing_mm)
    place.SliceLocation = _decimal(float(centre_mm @ normal))
    place.InPlanePhaseEncodingDirection = "COL"
    return place


def _moment(scan: ScanSummary, number: int) -> Dataset:
    """Which of several images of a slice this is."""
    contrast = scan.frames[number].contrast
    moment = Dataset()
    moment.AcquisitionNumber, moment.EchoNumbers = number + 1, contrast + 1
    if len(scan.frames) > 1:
        moment.TemporalPositionIdentifier, moment.NumberOfTemporalPositions = number + 1, len(scan.frames)
    timing = parse_header(scan.header_xml).sequenceParameters if scan.header_xml else None
    if timing and contrast < len(timing.TE) and (echo_time_ms := _number(timing.TE[contrast])):
        moment.EchoTime = echo_time_ms
    return moment


def _slope(volume: Volume) -> float:
    """The value of one stored step, as precise as its decimal text; 1.0 where the volume is black."""
    largest = float(volume.max(initial=0.0))
    return float(_decimal(largest / LARGEST_STORED)) if largest > 0 else 1.0


def _stored(pixels: np.ndarray, slope: float) -> UInt16[np.ndarray, "row column"]:
    return np.clip(np.rint(pixels.astype(np.float64) / slope), 0, LARGEST_STORED).astype("<u2")


def _save(dataset: Dataset, path: Path) -> None:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)


def _decimals(numbers: Float64[np.ndarray, " number"]) -> list[str]:
    return [_decimal(float(number)) for number in numbers]


def _decimal(number: float) -> str:
    """A number as DICOM writes it, in at most 16 characters."""
    return format_number_as_ds(number + 0.0)  # no negative zero


def _number(value: object, factor: float = 1.0) -> str | None:
    return _decimal(value * factor) if isinstance(value, int | float) and 0 < value < 1e12 else None


def _first(values: list[float]) -> str | None:
    return _number(values[0]) if values else None


def _short_text(value: str | None) -> str | None:
    """A text that fits into an attribute of 64 characters without a backslash, which separates values."""
    return re.sub(r"[\\\x00-\x1f]", " ", value).strip()[:64] if value else None
