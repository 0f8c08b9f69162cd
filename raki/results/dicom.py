"""Images as DICOM: what a PACS, and every viewer of a hospital, reads.

A volume is `slice row column`; see `raki.results.image_files` for where its pixels lie. DICOM's coordinates are LPS,
as raki's are. Pixels are turned as `raki.results.display` says, since many viewers show them as they are stored.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt16
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from raki.identity.header import identity_in_header
from raki.identity.person import Identity
from raki.identity.uids import image_uid
from raki.images import Reconstruction, ScanSummary
from raki.results.dicom_attributes import (
    LARGEST_STORED,
    acquisition_attributes,
    content_key,
    name_protocol,
    number,
    pixel_attributes,
    series_attributes,
    slope_of,
)
from raki.results.dicom_identity import decimal
from raki.results.display import View, view_of
from raki.scan import Frame, Geometry, Place
from raki.scan.header import parse_header


def write_dicom(
    reconstruction: Reconstruction, folder: Path, *, token: str | None = None, source_sha256: str | None = None
) -> list[Path]:
    """Writes the result as a series, a file for each slice of each frame, `slice_0001.dcm` and on.

    Those of an earlier result in the folder are removed.

    Patient and study are those of the scan's header. The same scan, method, combination, coils and seed have the same
    UIDs, so that a viewer or archive replaces what it has; another is a series of its own. Stored values are 16-bit:
    value = stored * slope, in the unit of the reconstruction; the real world value mapping has the slope.

    Args:
        token: stands for the patient instead of what the header says; the study's UID is derived from it.
        source_sha256: of the raw file, by which a scan is known; without it by its header and pixels.

    DICOM PS3.3, section A.4 (MR Image IOD).
    """
    volume, scan = reconstruction.result, reconstruction.scan
    slope = slope_of(volume)
    common = common_attributes(reconstruction, token, source_sha256)
    common.update(pixel_attributes(volume, slope, scan))
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("slice_*.dcm"):
        earlier.unlink()
    moments = [moment(scan, frame) for frame in range(len(scan.frames))]
    written = []
    for index, pixels in enumerate(volume):
        place = scan.geometry.place_of(index, scan.n_slices)
        view = view_of(scan.geometry, index, scan.n_slices)
        image = Dataset()
        image.update(common)
        image.update(place_in_patient(scan.geometry, place, view, scan.n_slices))
        image.update(moments[index // scan.n_slices])
        image.InstanceNumber = index + 1
        image.SOPInstanceUID = UID(image_uid(common.SeriesInstanceUID, index))
        shown = stored(view.turned(pixels), slope)
        image.Rows, image.Columns = shown.shape
        image.PixelData = shown.tobytes()
        path = folder / f"slice_{index + 1:04d}.dcm"
        save(image, path)
        written.append(path)
    return written


def common_attributes(reconstruction: Reconstruction, token: str | None, source_sha256: str | None) -> Dataset:
    """What all images of the series say."""
    header_xml = reconstruction.scan.header_xml
    if token is not None:
        who = Identity(patient_name=token, patient_id=token)
    else:
        who = identity_in_header(header_xml) if header_xml else Identity()
    common = series_attributes(reconstruction, who, scan_key=source_sha256 or content_key(reconstruction))
    if token is None:
        name_protocol(common, header_xml)
    common.update(acquisition_attributes(header_xml))
    return common


def place_in_patient(geometry: Geometry, place: Place, view: View, n_slices: int) -> Dataset:
    """Position and orientation of an image.

    DICOM PS3.3, section C.7.6.2 (Image Plane Module).
    """
    corner_mm, directions = view.corner_mm(geometry, place), np.array([*view.right, *view.down])
    plane = Dataset()
    plane.ImagePositionPatient = _decimals(corner_mm)
    plane.ImageOrientationPatient = _decimals(directions)
    plane.PixelSpacing = _decimals(np.array(view.spacing_mm(geometry)))
    # Of type 2, which may be empty: DICOM PS3.3, table C.7-10.
    plane.SliceThickness = decimal(geometry.fov_mm[2]) if geometry.fov_mm[2] else None
    if not geometry.places and (n_slices > 1 or geometry.fov_mm[2]):  # else there is no one spacing, or none known
        plane.SpacingBetweenSlices = decimal(geometry.slice_spacing_mm)
    plane.SliceLocation = decimal(float(corner_mm @ np.cross(directions[:3], directions[3:])))
    plane.InPlanePhaseEncodingDirection = "ROW" if view.is_transposed else "COL"
    return plane


def moment(scan: ScanSummary, frame: int) -> Dataset:
    """Which of several images of a slice this is: which echo, and at which time."""
    contrast = scan.frames[frame].contrast
    which = Dataset()
    which.AcquisitionNumber, which.EchoNumbers = frame + 1, contrast + 1
    times = list(dict.fromkeys(map(_time, scan.frames)))
    if len(times) > 1:
        which.TemporalPositionIdentifier = times.index(_time(scan.frames[frame])) + 1
        which.NumberOfTemporalPositions = len(times)
    timing = parse_header(scan.header_xml).sequenceParameters if scan.header_xml else None
    if timing and contrast < len(timing.TE) and (echo_time_ms := number(timing.TE[contrast])):
        which.EchoTime = echo_time_ms
    return which


def _time(frame: Frame) -> tuple[int, int, int]:
    """Echoes of one excitation are of one time."""
    return frame.phase, frame.repetition, frame.set


def stored(pixels: np.ndarray, slope: float, intercept: float = 0.0) -> UInt16[np.ndarray, "row column"]:
    """Pixels as they stand in the file: value = stored * slope + intercept."""
    return np.clip(np.rint((pixels.astype(np.float64) - intercept) / slope), 0, LARGEST_STORED).astype("<u2")


def save(dataset: Dataset, path: Path) -> None:
    """Writes the file with what DICOM has before a data set."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)


def _decimals(numbers: Float64[np.ndarray, " number"]) -> list[str]:
    return [decimal(float(value)) for value in numbers]
