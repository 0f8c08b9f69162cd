"""Quantities as DICOM: an Enhanced MR image each, a series of its own, in true units, derived from the magnitude.

Stored values are 16-bit over the range of the quantity; both the rescaling, which viewers know, and the real world
value mapping, which names the unit, turn them into it.

DICOM PS3.3, sections A.36.2 (Enhanced MR Image IOD), C.7.6.16.2.6 (Derivation Image Macro) and C.7.6.16.2.9 (Pixel
Value Transformation Macro).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedMRImageStorage

from raki.identity.person import derived_uid
from raki.identity.uids import volume_uid
from raki.images import Reconstruction
from raki.results.dicom import common_attributes, stored
from raki.results.dicom_attributes import LARGEST_STORED, RESEARCH_ONLY, code, pixel_format
from raki.results.dicom_identity import decimal
from raki.results.dicom_volume import as_frames, of, write_frames
from raki.results.image_files import window_top
from raki.results.quantities import Quantity, quantities_of


def write_dicom_quantities(
    reconstruction: Reconstruction, folder: Path, *, token: str | None = None, source_sha256: str | None = None
) -> list[Path]:
    """`g_factor.dcm`, `standard_error.dcm`, `structure_kept.dcm`, `snr.dcm` and `phase.dcm`, as far as there are such.

    Files, frames and arguments are those of `raki.results.dicom_volume.write_dicom_volume`: frame for frame they are
    derived from `image.dcm`, which each names as its source.
    """
    return [
        path
        for quantity in quantities_of(reconstruction)
        for path in _write(reconstruction, quantity, folder / f"{quantity.name}.dcm", token, source_sha256)
    ]


def _write(
    reconstruction: Reconstruction, quantity: Quantity, path: Path, token: str | None, source_sha256: str | None
) -> list[Path]:
    slope, intercept = _scaling(quantity)
    common = common_attributes(reconstruction, token, source_sha256)
    common.SeriesNumber = int(common.SeriesNumber) + quantity.place
    common.SeriesDescription = f"{common.SeriesDescription[: 61 - len(quantity.label)]}, {quantity.label}"
    common = as_frames(common, _pixels(quantity, slope, intercept), component=quantity.component)
    magnitude, study = common.SeriesInstanceUID, common.StudyInstanceUID
    common.SeriesInstanceUID = UID(derived_uid("series", magnitude, quantity.name))
    (shared,) = common.SharedFunctionalGroupsSequence
    shared.PixelValueTransformationSequence = Sequence(
        [of(RescaleIntercept=decimal(intercept), RescaleSlope=decimal(slope), RescaleType="US")]
    )

    def pixels_of(index: int, turned: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return stored(turned(quantity.volume[index]), slope, intercept)

    def derive(image: Dataset, file: int) -> None:
        source = of(
            ReferencedSOPClassUID=EnhancedMRImageStorage, ReferencedSOPInstanceUID=UID(volume_uid(magnitude, file))
        )
        series = of(SeriesInstanceUID=magnitude, ReferencedSOPSequence=Sequence([source]))
        image.SourceImageEvidenceSequence = Sequence(
            [of(StudyInstanceUID=study, ReferencedSeriesSequence=Sequence([series]))]
        )
        for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence, 1):
            groups.DerivationImageSequence = Sequence([_derivation(quantity, source, number)])

    return write_frames(reconstruction, path, common, pixels_of, finish=derive)


def _scaling(quantity: Quantity) -> tuple[float, float]:
    """The value of one stored step, and that of a stored zero; as DICOM's decimals hold them."""
    least, largest = quantity.bounds or (
        min(0.0, float(quantity.volume.min(initial=0.0))),
        float(quantity.volume.max(initial=0.0)),
    )
    slope = (largest - least) / LARGEST_STORED if largest > least else 1.0
    return float(decimal(slope)), float(decimal(least))


def _pixels(quantity: Quantity, slope: float, intercept: float) -> Dataset:
    """How they are stored, which part of their range is shown first, and what they stand for."""
    pixels = pixel_format()
    low, top = quantity.bounds or (intercept, max(window_top(quantity.volume), slope))
    pixels.WindowCenter, pixels.WindowWidth = decimal((low + top) / 2), decimal(top - low)
    pixels.ImageComments = f"{RESEARCH_ONLY} Value = {quantity.meaning}."
    mapping = Dataset()
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, LARGEST_STORED
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = intercept, slope
    mapping.LUTExplanation, mapping.LUTLabel = quantity.meaning[:64], quantity.label
    value, meaning = quantity.ucum
    mapping.MeasurementUnitsCodeSequence = Sequence([code(value, "UCUM", meaning)])
    pixels.RealWorldValueMappingSequence = Sequence([mapping])
    return pixels


def _derivation(quantity: Quantity, source: Dataset, frame: int) -> Dataset:
    """Frame for frame from the magnitude. No code of DICOM's says how; the scheme is raki's own."""
    from_frame = of(
        ReferencedSOPClassUID=source.ReferencedSOPClassUID,
        ReferencedSOPInstanceUID=source.ReferencedSOPInstanceUID,
        ReferencedFrameNumber=frame,
        PurposeOfReferenceCodeSequence=Sequence([code("121322", "DCM", "Source image for image processing operation")]),
    )
    return of(
        DerivationDescription=quantity.meaning,
        DerivationCodeSequence=Sequence([code(quantity.name, "99RAKI", quantity.label)]),
        SourceImageSequence=Sequence([from_frame]),
    )
