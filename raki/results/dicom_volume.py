"""A result as one DICOM file with many frames: what stands on the share.

A folder of results is flat, and a scan of thirty slices and sixty time points would bury its report under 1,800 files.

DICOM PS3.3, section A.36.2 (Enhanced MR Image IOD). Of a derived image it needs less than of one that a scanner made.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt16
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedMRImageStorage

from raki.identity.person import derived_uid
from raki.identity.uids import framed_series_uid, volume_uid
from raki.images import Reconstruction, ScanSummary
from raki.results.dicom import common_attributes, moment, place_in_patient, save, stored
from raki.results.dicom_attributes import code, equipment, pixel_attributes, slope_of
from raki.results.display import View, view_of

StoredPixels = UInt16[np.ndarray, "row column"]
Turned = Callable[[np.ndarray], np.ndarray]
"""A picture as it was acquired in, as it is shown out."""

CLASSIC_ONLY = (
    *("ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime"),
    *("EchoTrainLength", "InversionTime", "FlipAngle", "ImagingFrequency", "Laterality", "DerivationDescription"),
)
"""Attributes of single images; of those with many frames a derived one need not have any."""
LARGEST_BYTES = 1 << 31
"""Of a file's pixels: DICOM counts them in 32 bits, and some readers with a sign."""
DIMENSIONS = ("StackID", "InStackPositionNumber", "TemporalPositionIndex")
"""By which the frames of a file are told apart."""


def write_dicom_volume(
    reconstruction: Reconstruction, path: Path, *, token: str | None = None, source_sha256: str | None = None
) -> list[Path]:
    """`NAME.dcm`; where there are several echoes, or slices of several shapes on the screen, `NAME-1.dcm` and so on.

    There is one for each echo and shape: the frames of a file have one shape, and converters sort echoes by file. One
    that would be larger than `LARGEST_BYTES` is several.
    Files of these names that are there already go. Arguments and values are those of `raki.results.dicom.write_dicom`.
    """
    volume = reconstruction.result
    slope = slope_of(volume)
    pixels = pixel_attributes(volume, slope, reconstruction.scan)
    common = as_frames(common_attributes(reconstruction, token, source_sha256), pixels, component="MAGNITUDE")

    def pixels_of(index: int, turned: Turned) -> StoredPixels:
        return stored(turned(volume[index]), slope)

    return write_frames(reconstruction, path, common, pixels_of)


def write_frames(
    reconstruction: Reconstruction,
    path: Path,
    common: Dataset,
    pixels_of: Callable[[int, Turned], StoredPixels],
    *,
    finish: Callable[[Dataset, int], None] = lambda _image, _file: None,
) -> list[Path]:
    """The files of a series, with the frames that `write_dicom_volume` has in each.

    Args:
        common: what is said of all files, as `as_frames` gives it.
        pixels_of: the stored pixels of an image, by its index and what turns a picture as it is shown.
        finish: is handed each file, complete but for its pixels, and its number from 1.
    """
    scan = reconstruction.scan
    for stale in (path, *path.parent.glob(f"{path.stem}-[0-9]*.dcm")):
        stale.unlink(missing_ok=True)
    views = [view_of(scan.geometry, index, scan.n_slices) for index in range(scan.n_images)]
    parts = _parts(scan, views)
    organization = UID(derived_uid("dimensions", common.SeriesInstanceUID))
    written = []
    for number, indices in enumerate(parts, 1):
        shown = np.stack([pixels_of(index, views[index].turned) for index in indices])
        image = Dataset()
        image.update(common)
        image.InstanceNumber = number
        image.SOPInstanceUID = UID(volume_uid(common.SeriesInstanceUID, number))
        image.DimensionOrganizationSequence = Sequence([of(DimensionOrganizationUID=organization)])
        image.DimensionIndexSequence = Sequence(_dimension(keyword, organization) for keyword in DIMENSIONS)
        image.NumberOfFrames, image.Rows, image.Columns = shown.shape
        image.PerFrameFunctionalGroupsSequence = Sequence(_frame(scan, index, views[index]) for index in indices)
        _say_once(image)
        finish(image, number)
        image.PixelData = shown.tobytes()
        written.append(path if len(parts) == 1 else path.with_name(f"{path.stem}-{number}.dcm"))
        save(image, written[-1])
    return written


def files_and_frames(scan: ScanSummary) -> dict[int, tuple[int, int]]:
    """Image -> the number of the file that has it, and that of its frame there, both from 1."""
    parts = _parts(scan, [view_of(scan.geometry, index, scan.n_slices) for index in range(scan.n_images)])
    return {index: (file, frame) for file, indices in enumerate(parts, 1) for frame, index in enumerate(indices, 1)}


def _parts(scan: ScanSummary, views: list[View]) -> list[list[int]]:
    """The images that share a file: of one echo, of one shape on the screen, and no more than DICOM can count."""
    by_file: dict[tuple[int, bool], list[int]] = {}
    for index, view in enumerate(views):
        is_turned = view.is_transposed and len(set(scan.geometry.matrix)) > 1
        by_file.setdefault((scan.frames[index // scan.n_slices].contrast, is_turned), []).append(index)
    most = max(LARGEST_BYTES // (2 * math.prod(scan.geometry.matrix)), 1)
    return [indices[first : first + most] for indices in by_file.values() for first in range(0, len(indices), most)]


def as_frames(common: Dataset, pixels: Dataset, *, component: str) -> Dataset:
    """What is said of all frames: what is said of the series, as files with many frames say it, and of their pixels.

    Args:
        pixels: as `pixel_attributes` gives them; stored values count as they stand.
        component: of a complex image, MAGNITUDE or PHASE.
    """
    common.SeriesInstanceUID = UID(framed_series_uid(common.SeriesInstanceUID))
    pixels.ImageComments = f"{common.DerivationDescription} {pixels.ImageComments}"
    for keyword in CLASSIC_ONLY:
        if keyword in common:
            delattr(common, keyword)
    shared = Dataset()
    shared.FrameAnatomySequence = Sequence([_anatomy()])
    shared.FrameVOILUTSequence = Sequence([_taken(pixels, "WindowCenter", "WindowWidth")])
    shared.PixelValueTransformationSequence = Sequence([_as_stored()])
    shared.RealWorldValueMappingSequence = pixels.RealWorldValueMappingSequence
    del pixels.RealWorldValueMappingSequence
    shared.MRImageFrameTypeSequence = Sequence([_kind("FrameType", component)])
    common.update(pixels)
    common.update(_kind("ImageType", component))
    common.update(_device())
    common.SOPClassUID = EnhancedMRImageStorage
    common.SharedFunctionalGroupsSequence = Sequence([shared])
    common.PresentationLUTShape = "IDENTITY"
    common.ContentQualification = "RESEARCH"
    common.ApplicableSafetyStandardAgency = "UNKNOWN"  # has to be there, and no raw file tells
    common.AcquisitionContextSequence = Sequence([])
    now = datetime.now(UTC)
    common.ContentDate, common.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    return common


def _frame(scan: ScanSummary, index: int, view: View) -> Dataset:
    """What is said of one frame: where it lies, and which of several images of its slice it is."""
    frame, number = divmod(index, scan.n_slices)
    which = moment(scan, frame)
    stack, position = _stack(scan, number)
    lies = place_in_patient(scan.geometry, scan.geometry.place_of(index, scan.n_slices), view, scan.n_slices)
    time = int(which.get("TemporalPositionIdentifier", 1))
    content = of(
        StackID=str(stack),
        InStackPositionNumber=position,
        TemporalPositionIndex=time,
        FrameAcquisitionNumber=frame + 1,
        DimensionIndexValues=[stack, position, time],
    )
    groups = Dataset()
    groups.FrameContentSequence = Sequence([content])
    groups.PlanePositionSequence = Sequence([_taken(lies, "ImagePositionPatient")])
    groups.PlaneOrientationSequence = Sequence([_taken(lies, "ImageOrientationPatient")])
    measures = [
        name for name in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices") if lies.get(name) is not None
    ]
    groups.PixelMeasuresSequence = Sequence([_taken(lies, *measures)])
    if which.get("EchoTime"):
        groups.MREchoSequence = Sequence([of(EffectiveEchoTime=float(which.EchoTime))])
    return groups


def _say_once(image: Dataset) -> None:
    """Has what is the same of all frames, how large pixels are and how slices lie, among what is said of all.

    DICOM PS3.3, section C.7.6.16: a group is of all frames or of each. Tools that draw on an image look for pixel sizes
    among the former.
    """
    frames = image.PerFrameFunctionalGroupsSequence
    shared = Dataset()
    shared.update(image.SharedFunctionalGroupsSequence[0])
    for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if all(groups[keyword] == frames[0][keyword] for groups in frames):
            shared[keyword] = frames[0][keyword]
            for groups in frames:
                delattr(groups, keyword)
    image.SharedFunctionalGroupsSequence = Sequence([shared])


def _stack(scan: ScanSummary, number: int) -> tuple[int, int]:
    """The stack of a slice, and its place in it, counted from one. Slices that move from frame to frame are one."""
    if len(scan.geometry.places) > scan.n_slices:
        return 1, number + 1
    for stack, (slices, _) in enumerate(scan.geometry.stacks(scan.n_slices), 1):
        if number < slices.stop:
            return stack, number - slices.start + 1
    raise IndexError(number)


def _anatomy() -> Dataset:
    """Nobody tells which part of the body was scanned.

    DICOM PS3.16, CID 4030.
    """
    return of(FrameLaterality="U", AnatomicRegionSequence=Sequence([code("38266002", "SCT", "Entire body")]))


def _as_stored() -> Dataset:
    """Windows are those of stored values; see `pixel_attributes`."""
    return of(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")


def _kind(keyword: str, component: str) -> Dataset:
    """What the pixels are: of the image by "ImageType", of its frames by "FrameType".

    DICOM PS3.3, section C.8.13.3.1 (MR Image Description Macro).
    """
    return of(
        **{keyword: ["DERIVED", "PRIMARY", "VOLUME", "NONE"]},
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent=component,
        AcquisitionContrast="UNKNOWN",
    )


def _device() -> Dataset:
    """What made the file: raki, which has no serial number.

    DICOM PS3.3, section C.7.5.2 (Enhanced General Equipment Module).
    """
    device = _taken(equipment(), "Manufacturer", "ManufacturerModelName", "SoftwareVersions")
    device.DeviceSerialNumber = "none"
    return device


def _dimension(keyword: str, organization: UID) -> Dataset:
    return of(
        DimensionOrganizationUID=organization,
        DimensionIndexPointer=tag_for_keyword(keyword),
        FunctionalGroupPointer=tag_for_keyword("FrameContentSequence"),
        DimensionDescriptionLabel=keyword,
    )


def _taken(dataset: Dataset, *keywords: str) -> Dataset:
    """The attributes of these names; `dataset` has them no more."""
    taken = Dataset()
    for keyword in keywords:
        taken[keyword] = dataset[keyword]
        delattr(dataset, keyword)
    return taken


def of(**values: Any) -> Dataset:
    """A data set of these attributes."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
