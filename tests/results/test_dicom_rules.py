"""What DICOM asks of an image stands in each: attributes of types 1 and 2, and those that a condition asks for.

By hand the same was held against `dciodvfy` and `dcentvfy` of dicom3tools: no errors, of any scan in any place.
"""

from dataclasses import replace

import numpy as np
import pydicom
import pytest

import raki.results.dicom_volume
from raki.results.dicom import write_dicom
from raki.results.dicom_volume import write_dicom_volume
from raki.results.image_files import window_top
from raki.scan import Frame, Place
from tests.results.example_reconstruction import HEADER_XML, TILTED, example_reconstruction

# By module of the MR Image IOD: section of DICOM PS3.3, attributes of type 1, attributes of type 2.
MODULES = {
    "Patient": ("C.7.1.1", "", "PatientName PatientID PatientBirthDate PatientSex"),
    "General Study": (
        "C.7.2.1",
        "StudyInstanceUID",
        "StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber",
    ),
    "General Series": ("C.7.3.1", "Modality SeriesInstanceUID", "SeriesNumber Laterality PatientPosition"),
    "Frame of Reference": ("C.7.4.1", "FrameOfReferenceUID", "PositionReferenceIndicator"),
    "General Equipment": ("C.7.5.1", "", "Manufacturer"),
    "General Image": ("C.7.6.1", "", "InstanceNumber"),
    "Image Plane": ("C.7.6.2", "PixelSpacing ImageOrientationPatient ImagePositionPatient", "SliceThickness"),
    "Image Pixel": (
        "C.7.6.3",
        "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation",
        "",
    ),
    "MR Image": (
        "C.8.3.1",
        "ImageType ScanningSequence SequenceVariant",
        "ScanOptions MRAcquisitionType RepetitionTime EchoTime EchoTrainLength",
    ),
    "SOP Common": ("C.12.1", "SOPClassUID SOPInstanceUID", ""),
}
# Of the Enhanced MR Image IOD, beyond patient, study and frame of reference.
ENHANCED = {
    "Enhanced General Equipment": ("C.7.5.2", "Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions"),
    "Multi-frame Functional Groups": (
        "C.7.6.16",
        "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence InstanceNumber ContentDate ContentTime "
        "NumberOfFrames",
    ),
    "Multi-frame Dimension": ("C.7.6.17", "DimensionOrganizationSequence DimensionIndexSequence"),
    "Enhanced MR Image": (
        "C.8.13.1",
        "ImageType PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique ComplexImageComponent "
        "AcquisitionContrast ContentQualification ApplicableSafetyStandardAgency BurnedInAnnotation "
        "LossyImageCompression PresentationLUTShape",
    ),
}
PER_FRAME = "FrameContent PlanePosition"
SHARED = (
    "FrameAnatomy PixelValueTransformation FrameVOILUT RealWorldValueMapping MRImageFrameType "
    "PlaneOrientation PixelMeasures"
)


def with_header(reconstruction, changed):
    return replace(reconstruction, scan=replace(reconstruction.scan, header_xml=changed))


def require(dataset, keyword, section, *, is_filled):
    assert keyword in dataset, f"{keyword} is missing (PS3.3, {section})"
    assert not is_filled or dataset[keyword].value not in (None, "", []), f"{keyword} is empty (PS3.3, {section})"


@pytest.mark.parametrize("header_xml", [HEADER_XML, ""])
def test_each_image_has_what_its_modules_ask_for(tmp_path, header_xml):
    for path in write_dicom(with_header(example_reconstruction(), header_xml), tmp_path):
        image = pydicom.dcmread(path)
        for section, filled, there in MODULES.values():
            for keyword in filled.split():
                require(image, keyword, section, is_filled=True)
            for keyword in there.split():
                require(image, keyword, section, is_filled=False)
        assert "InversionTime" not in image
        assert "RescaleSlope" not in image  # the IOD has no modality LUT


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e9])
def test_pixels_and_window_are_whole_numbers_over_the_full_range(tmp_path, scale):
    some = example_reconstruction()
    images = {method: volume * np.float32(scale) for method, volume in some.images.items()}
    shown = [pydicom.dcmread(path) for path in write_dicom(replace(some, images=images), tmp_path)]
    assert max(image.pixel_array.max() for image in shown) == 65535
    for image in shown:
        low = float(image.WindowCenter) - float(image.WindowWidth) / 2
        assert (float(image.WindowWidth) % 1, float(image.WindowCenter) % 1) == (0, 0)
        assert abs(low) <= 1
        # The 99.7th percentile of all is white, as in the pictures.
        assert image.WindowWidth == pytest.approx(window_top(images["raki"]) / images["raki"].max() * 65535, abs=2)
        (mapping,) = image.RealWorldValueMappingSequence
        assert mapping.RealWorldValueSlope == pytest.approx(images["raki"].max() / 65535)
        assert f"{mapping.RealWorldValueSlope:.6g}" in image.ImageComments


@pytest.mark.parametrize(
    ("sequence", "kinds", "is_there"),
    [("Flash", "GR", False), ("TurboSpinEcho", "SE", False), ("InversionRecovery", "IR", True), ("odd", "RM", False)],
)
def test_an_inversion_time_stands_where_the_sequence_inverts(tmp_path, sequence, kinds, is_there):
    told = HEADER_XML.replace("<TE>", "<TI>300.0</TI><TE>").replace(
        "</sequenceParameters>", f"<sequence_type>{sequence}</sequence_type></sequenceParameters>"
    )
    (image, *_) = map(pydicom.dcmread, write_dicom(with_header(example_reconstruction(), told), tmp_path))
    assert image.ScanningSequence == kinds
    assert ("InversionTime" in image) == is_there


def test_a_re_run_has_the_uids_of_the_first_whatever_its_pixels_are(tmp_path):
    some = example_reconstruction()
    other_device = replace(some, images={name: volume * np.float32(1.0001) for name, volume in some.images.items()})
    runs = {
        "first": write_dicom(some, tmp_path / "1", source_sha256="ab"),
        "again": write_dicom(other_device, tmp_path / "2", source_sha256="ab"),
        "seed": write_dicom(replace(some, seed=8), tmp_path / "3", source_sha256="ab"),
        "another scan": write_dicom(some, tmp_path / "4", source_sha256="cd"),
    }
    uids = {name: [pydicom.dcmread(path).SOPInstanceUID for path in paths] for name, paths in runs.items()}
    assert uids["first"] == uids["again"]
    assert len({uid for some_uids in uids.values() for uid in some_uids}) == 9


def test_frames_of_other_times_are_temporal_positions_and_echoes_are_not(tmp_path):
    frames = tuple(Frame(contrast=contrast, repetition=time) for time in (0, 4) for contrast in (0, 1))
    images = list(map(pydicom.dcmread, write_dicom(example_reconstruction(n_slices=1, frames=frames), tmp_path)))
    assert [image.TemporalPositionIdentifier for image in images] == [1, 1, 2, 2]
    assert {image.NumberOfTemporalPositions for image in images} == {2}
    assert [image.EchoNumbers for image in images] == [1, 2, 1, 2]
    echoes = write_dicom(example_reconstruction(n_slices=1, frames=frames[:2]), tmp_path / "echoes")
    assert not any("TemporalPositionIdentifier" in pydicom.dcmread(path) for path in echoes)


@pytest.mark.parametrize("header_xml", [HEADER_XML, ""])
def test_the_file_of_all_frames_has_what_its_modules_ask_for(tmp_path, header_xml):
    some = with_header(example_reconstruction(), header_xml)
    (path,) = write_dicom_volume(some, tmp_path / "image.dcm")
    image = pydicom.dcmread(path)
    for section, filled in ENHANCED.values():
        for keyword in filled.split():
            require(image, keyword, section, is_filled=True)
    for name in ("Patient", "General Study", "Frame of Reference", "SOP Common"):
        for keyword in " ".join(MODULES[name][1:]).split():
            require(image, keyword, MODULES[name][0], is_filled=False)
    (shared,) = image.SharedFunctionalGroupsSequence
    for name in SHARED.split():
        require(shared, f"{name}Sequence", "C.7.6.16.2", is_filled=True)
    for frame in image.PerFrameFunctionalGroupsSequence:
        for name in PER_FRAME.split():
            require(frame, f"{name}Sequence", "C.7.6.16.2", is_filled=True)
        assert not {element.keyword for element in frame} & {element.keyword for element in shared}, "never said twice"
    for keyword in ("Laterality", "WindowWidth", "ImagePositionPatient", "EchoTime"):
        assert keyword not in image


def test_the_file_of_all_frames_says_the_same_of_each_as_the_single_images(tmp_path):
    some = example_reconstruction(frames=(Frame(), Frame(repetition=1)))
    (path,) = write_dicom_volume(some, tmp_path / "image.dcm")
    image, singles = pydicom.dcmread(path), map(pydicom.dcmread, write_dicom(some, tmp_path / "dicom"))
    (shared,) = image.SharedFunctionalGroupsSequence
    frames = zip(image.pixel_array, image.PerFrameFunctionalGroupsSequence, singles, strict=True)
    for number, (pixels, groups, single) in enumerate(frames):
        np.testing.assert_array_equal(pixels, single.pixel_array)
        assert groups.PlanePositionSequence[0].ImagePositionPatient == single.ImagePositionPatient
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == single.ImageOrientationPatient
        assert shared.PixelMeasuresSequence[0].PixelSpacing == single.PixelSpacing
        assert groups.FrameContentSequence[0].DimensionIndexValues == [1, number % 3 + 1, number // 3 + 1]
        assert image.StudyInstanceUID == single.StudyInstanceUID
        assert image.SeriesInstanceUID != single.SeriesInstanceUID


def test_each_echo_is_a_file_of_its_own(tmp_path):
    told = HEADER_XML.replace("<TE>4.6</TE>", "<TE>4.6</TE><TE>9.2</TE>")
    frames = tuple(Frame(contrast=contrast, repetition=time) for time in (0, 1, 2) for contrast in (0, 1))
    some = with_header(example_reconstruction(frames=frames), told)
    files = write_dicom_volume(some, tmp_path / "image.dcm")
    by_frame = some.result.reshape(3, 2, 3, 32, 40)
    for echo, path in enumerate(files):
        image = pydicom.dcmread(path)
        groups = image.PerFrameFunctionalGroupsSequence
        assert {group.MREchoSequence[0].EffectiveEchoTime for group in groups} == {(4.6, 9.2)[echo]}
        assert [group.FrameContentSequence[0].TemporalPositionIndex for group in groups] == [1] * 3 + [2] * 3 + [3] * 3
        turned = by_frame[:, echo].reshape(9, 32, 40) / some.result.max() * 65535
        np.testing.assert_allclose(image.pixel_array, turned, atol=0.51)


def test_what_dicom_cannot_count_in_one_file_is_several(tmp_path, monkeypatch):
    monkeypatch.setattr(raki.results.dicom_volume, "LARGEST_BYTES", 2 * (32 * 40 * 2) + 1)
    some = example_reconstruction(n_slices=5)
    files = [pydicom.dcmread(path) for path in write_dicom_volume(some, tmp_path / "image.dcm")]
    assert [image.NumberOfFrames for image in files] == [2, 2, 1]
    stored = np.concatenate([image.pixel_array.reshape(-1, 32, 40) for image in files])
    np.testing.assert_allclose(stored, some.result / some.result.max() * 65535, atol=0.51)
    assert len({image.SOPInstanceUID for image in files}) == 3


def test_slices_that_are_shown_in_another_shape_are_a_file_of_their_own(tmp_path):
    directions = (((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0)))
    places = tuple(
        Place(position_mm=(0.0, 0.0, 0.0), read_direction=read, phase_direction=phase, slice_direction=(0.0, 0.0, 1.0))
        for read, phase in directions
    )
    (tmp_path / "image.dcm").write_bytes(b"of an earlier result")
    some = example_reconstruction(n_slices=2, geometry=replace(TILTED, places=places))
    files = write_dicom_volume(some, tmp_path / "image.dcm")
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert [(path.name, pydicom.dcmread(path).pixel_array.shape) for path in files] == [
        ("image-1.dcm", (32, 40)),
        ("image-2.dcm", (40, 32)),
    ]
