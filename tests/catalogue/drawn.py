"""Results with a mark in them, and segmentations that other programs draw on what raki wrote of them."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SegmentationStorage

from raki.manifest import entry, manifest
from raki.results.catalogue_rows import write_catalogue_rows
from raki.results.dicom import write_dicom
from raki.results.dicom_volume import write_dicom_volume
from raki.results.image_files import write_niftis
from raki.results.provenance import provenance
from raki.scan import Frame, Geometry
from tests.results.example_reconstruction import example_reconstruction

_AXES = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
# Oblique, turned and mirrored on the screen, and of a number of pixels that no byte ends with.
OBLIQUE = Geometry(
    fov_mm=(86.0, 87.0, 5.0),
    matrix=(29, 43),
    slice_spacing_mm=6.0,
    read_direction=tuple(-_AXES[0]),
    phase_direction=tuple(_AXES[1]),
    slice_direction=tuple(np.cross(-_AXES[0], _AXES[1])),
    position_mm=(11.0, -7.0, 23.0),
)
ONE, SEVERAL = (Frame(),), tuple(Frame(contrast=contrast, repetition=time) for contrast in (0, 1) for time in (0, 1))


def mark(image, shape=OBLIQUE.matrix):
    """A hook that no turn or mirror takes to itself, in another place on each image."""
    marked = np.zeros(shape, bool)
    marked[2 + image : 9 + image, 20] = True
    marked[2 + image, 20:27] = True
    return marked


def deliver_marked(root, name, *, scan_id, sha256="ab" * 32, frames=ONE, geometry=OBLIQUE):
    """A result whose images are bright where they are marked; its DICOM and NIfTI files are raki's own."""
    example = example_reconstruction(frames=frames, geometry=geometry, with_maps=False)
    volume = np.stack([1 + 999 * mark(image, geometry.matrix) for image in range(3 * len(frames))]).astype(np.float32)
    made = replace(example, images={"raki": volume})
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "image.h5").write_bytes(b"")
    write_dicom_volume(made, folder / "image.dcm", source_sha256=sha256)
    write_dicom(made, folder / "dicom", source_sha256=sha256)
    niftis = write_niftis(volume, folder / "image.nii.gz", geometry=geometry, frames=frames, description="marked")
    facts = provenance(made, sha256=sha256, n_bytes=1, scan_id=scan_id, stage_seconds={})
    rows = write_catalogue_rows(made, folder, facts, files=[folder / "image.h5", *niftis])
    listing = manifest([entry(rows, rows.name)], outcome="reconstructed", scan_id=scan_id, remarks=())
    (folder / "manifest.json").write_text(json.dumps(listing))
    return folder


def of(**values):
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def bright(file):
    """What a reader would outline on a DICOM file of raki: frame by frame, its groups and the mask."""
    image = pydicom.dcmread(file)
    pixels = image.pixel_array.reshape(-1, image.Rows, image.Columns) > image.pixel_array.max() // 2
    groups = image.get("PerFrameFunctionalGroupsSequence") or [
        of(
            PlanePositionSequence=[of(ImagePositionPatient=image.ImagePositionPatient)],
            PlaneOrientationSequence=[of(ImageOrientationPatient=image.ImageOrientationPatient)],
            PixelMeasuresSequence=[of(PixelSpacing=image.PixelSpacing)],
        )
    ]
    for group, shared in product(groups, image.get("SharedFunctionalGroupsSequence", ())):
        group.update({element.tag: element for element in shared if element.keyword not in group})
    for number, (group, mask) in enumerate(zip(groups, pixels, strict=True), 1):
        yield drawn_on(image, number if len(pixels) > 1 else None, group), mask


def drawn_on(image, frame, group):
    source = of(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
    if frame:
        source.ReferencedFrameNumber = frame
    kept = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    return of(
        DerivationImageSequence=[of(SourceImageSequence=[source])],
        **{name: group[name].value for name in kept},
        SegmentIdentificationSequence=[of(ReferencedSegmentNumber=1)],
    )


def write_segmentation(path, frames, *, kind="BINARY", series=(), labels=("lesion",), **changes):
    """A DICOM Segmentation of these frames: functional groups, and a mask or a map of labels."""
    masks = np.stack([mask for _, mask in frames])
    seg = of(SOPClassUID=SegmentationStorage, SOPInstanceUID=UID("2.25.77"), SegmentationType=kind)
    if kind == "LABELMAP":
        seg.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.66.7")
        for groups, _ in frames:
            del groups.SegmentIdentificationSequence
    seg.NumberOfFrames, seg.Rows, seg.Columns = masks.shape
    seg.BitsAllocated = seg.BitsStored = 1 if kind == "BINARY" else 8
    seg.HighBit, seg.SamplesPerPixel, seg.PixelRepresentation = seg.BitsStored - 1, 1, 0
    seg.PhotometricInterpretation = "MONOCHROME2"
    seg.MaximumFractionalValue = 200
    tissue = of(CodeValue="52988006", CodingSchemeDesignator="SCT", CodeMeaning="Lesion")
    seg.SegmentSequence = [
        of(SegmentNumber=number, SegmentLabel=label, SegmentedPropertyTypeCodeSequence=[tissue])
        for number, label in enumerate(labels, 1)
    ]
    seg.ContentCreatorName, seg.ContentDate, seg.ContentTime = "Reader^Anna", "20261130", "013000.25"
    seg.TimezoneOffsetFromUTC = "+0200"
    seg.ReferencedSeriesSequence = [of(SeriesInstanceUID=uid) for uid in series]
    seg.PerFrameFunctionalGroupsSequence = [groups for groups, _ in frames]
    if kind == "BINARY":
        seg.PixelData = np.packbits(masks.ravel(), bitorder="little").tobytes()
    else:
        values = masks.astype(np.uint8) * (120 if kind == "FRACTIONAL" else 1)
        seg.PixelData = values.tobytes() + bytes(values.size % 2)
    seg["PixelData"].VR = "OB"
    for keyword, value in changes.items():
        setattr(seg, keyword, value)
    seg.file_meta = FileMetaDataset()
    seg.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    seg.file_meta.MediaStorageSOPClassUID, seg.file_meta.MediaStorageSOPInstanceUID = seg.SOPClassUID, "2.25.77"
    seg.save_as(path, enforce_file_format=True)
    return seg
