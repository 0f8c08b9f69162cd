"""DICOM images lie where the patient did, hold the values of the volume, and say whose they are."""

import warnings
from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest
from ismrmrd import xsd
from xsdata.models.datatype import XmlDate, XmlTime

from raki.errors import DamagedScan, NotAScan
from raki.identity.header import identity_in_header, scrub_header
from raki.identity.person import DICOM_KEYWORDS, Identity, derived_uid
from raki.identity.tokens import TokenMap, UnknownToken
from raki.images import Reconstruction, ScanSummary
from raki.phantom.simulation import scan_header
from raki.results.dicom import write_dicom
from raki.results.image_files import write_nifti
from raki.results.reidentification import reidentify
from raki.scan import Frame, Geometry

IDENTITY = Identity(
    patient_name="Mustermann^Jörg",
    patient_id="PID-4711-XY",
    birth_date="19570813",
    sex="M",
    weight_kg="71.5",
    height_m="1.69",
    study_date="20240206",
    study_time="174148",
    study_id="S77",
    accession_number="20240042",
    referring_physician="Arzt^Anna",
    study_description="Herzkatheter",
    study_uid="1.3.12.2.1107.5.2.63.213010.30000024020211075500200000009",
    institution="Klinikum Südstadt",
    station="MR-3",
    device_serial_number="213010",
)


def header_xml():
    header = scan_header(3, 6, 40, 4)
    header.subjectInformation = xsd.subjectInformationType(
        patientName=IDENTITY.patient_name,
        patientID=IDENTITY.patient_id,
        patientBirthdate=XmlDate(1957, 8, 13),
        patientGender="M",
        patientWeight_kg=71.5,
        patientHeight_m=1.69,
    )
    header.studyInformation = xsd.studyInformationType(
        studyDate=XmlDate(2024, 2, 6),
        studyTime=XmlTime(17, 41, 48),
        studyID=IDENTITY.study_id,
        accessionNumber=int(IDENTITY.accession_number),
        referringPhysicianName=IDENTITY.referring_physician,
        studyDescription=IDENTITY.study_description,
        studyInstanceUID=IDENTITY.study_uid,
    )
    system = header.acquisitionSystemInformation
    system.institutionName, system.stationName = IDENTITY.institution, IDENTITY.station
    system.deviceSerialNumber = IDENTITY.device_serial_number
    return xsd.ToXML(header, encoding="utf-8")


ONE_FRAME = (Frame(),)
# A tilted slab, pixels of 2 by 3 mm: nothing in it is symmetric or equal by chance.
TILTED = Geometry(
    fov_mm=(80.0, 96.0, 5.0),
    matrix=(32, 40),
    slice_spacing_mm=6.0,
    read_direction=(0.8, 0.6, 0.0),
    phase_direction=(-0.6, 0.8, 0.0),
    slice_direction=(0.0, 0.0, 1.0),
    position_mm=(11.0, -7.0, 23.0),
)


def example_reconstruction(n_slices=3, frames=ONE_FRAME):
    volume = np.random.default_rng(5).rayleigh(size=(n_slices * len(frames), 32, 40)).astype(np.float32)
    scan = ScanSummary(
        n_slices=n_slices,
        frames=frames,
        n_coils=6,
        n_ro=40,
        sampled=np.arange(32) % 4 == 0,
        encoded_lines=(0, 32),
        acceleration=4,
        net_acceleration=2.5,
        acs_lines=None,
        n_acs_lines_apart=0,
        prewhitened=True,
        geometry=TILTED,
        header_xml="",
    )
    return Reconstruction(
        method="raki",
        combination="rss",
        n_virtual_coils=None,
        images={"raki": volume},
        maps={},
        cross_validation=None,
        scan=scan,
        seed=3,
        device="cpu",
        training_curve=(),
        notes=(),
        seconds={},
    )


def with_header(reconstruction, xml):
    return replace(reconstruction, scan=replace(reconstruction.scan, header_xml=xml))


@pytest.fixture(scope="module")
def reconstruction():
    return with_header(example_reconstruction(), header_xml())


def read(paths):
    """Reads images, and holds every value to what its type may be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        datasets = [pydicom.dcmread(path) for path in paths]
        for dataset in datasets:
            dataset.decode()
            str(dataset)
    return datasets


def test_pixels_have_the_reconstructions_values(reconstruction, tmp_path):
    paths = write_dicom(reconstruction, tmp_path)
    assert [path.name for path in paths] == ["slice_0001.dcm", "slice_0002.dcm", "slice_0003.dcm"]
    step = reconstruction.result.max() / 65535
    for dataset, pixels in zip(read(paths), reconstruction.result, strict=True):
        (mapping,) = dataset.RealWorldValueMappingSequence
        values = dataset.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
        assert dataset.pixel_array.dtype == np.uint16
        np.testing.assert_allclose(values, pixels, rtol=0, atol=0.51 * step)


def test_pixels_lie_where_nifti_puts_them(reconstruction, tmp_path):
    write_nifti(reconstruction.result, tmp_path / "i.nii", geometry=reconstruction.scan.geometry, description="")
    affine = np.diag([-1, -1, 1, 1]) @ nibabel.load(tmp_path / "i.nii").affine  # RAS to LPS
    for index, dataset in enumerate(read(write_dicom(reconstruction, tmp_path))):
        orientation = np.array(dataset.ImageOrientationPatient, float)
        row_mm, column_mm = map(float, dataset.PixelSpacing)
        corner_mm = np.array(dataset.ImagePositionPatient, float)
        for row, column in [(0, 0), (0, 39), (31, 0), (17, 23)]:
            lps = corner_mm + orientation[:3] * column_mm * column + orientation[3:] * row_mm * row
            np.testing.assert_allclose(lps, (affine @ [column, row, index, 1])[:3], atol=1e-4)
        assert float(dataset.SpacingBetweenSlices) == pytest.approx(np.linalg.norm(affine[:3, 2]))
        assert dataset.SliceThickness == 5.0


@pytest.mark.parametrize(("n_slices", "spacing"), [(3, 6.0), (1, None)])
def test_an_unknown_thickness_is_empty(tmp_path, n_slices, spacing):
    made = with_header(example_reconstruction(n_slices), header_xml())
    thin = replace(TILTED, fov_mm=(*TILTED.fov_mm[:2], 0.0))
    for dataset in read(write_dicom(replace(made, scan=replace(made.scan, geometry=thin)), tmp_path)):
        assert "SliceThickness" in dataset
        assert dataset.SliceThickness is None
        assert dataset.get("SpacingBetweenSlices") == spacing


def test_frames_lie_in_the_same_place_and_tell_their_echo(tmp_path):
    frames = (Frame(), Frame(contrast=1))
    xml = header_xml().replace("<TE>4.6</TE>", "<TE>4.6</TE><TE>9.2</TE>")
    images = read(write_dicom(with_header(example_reconstruction(2, frames), xml), tmp_path))
    places = [tuple(image.ImagePositionPatient) for image in images]
    assert places[:2] == places[2:] != places[:1] * 2
    assert [image.EchoTime for image in images] == [4.6, 4.6, 9.2, 9.2]
    assert [image.AcquisitionNumber for image in images] == [1, 1, 2, 2]
    assert [image.InstanceNumber for image in images] == [1, 2, 3, 4]


def test_a_black_image_stays_black(reconstruction, tmp_path):
    black = {method: np.zeros_like(volume) for method, volume in reconstruction.images.items()}
    (dataset, *_) = read(write_dicom(replace(reconstruction, images=black), tmp_path))
    assert not dataset.pixel_array.any()


def test_the_same_reconstruction_gives_the_same_bytes(reconstruction, tmp_path):
    one, other = (write_dicom(reconstruction, tmp_path / name) for name in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_uids_tell_series_apart_and_keep_a_study_together(reconstruction, tmp_path):
    reseeded = replace(reconstruction, seed=4)
    doubled = {method: 2 * volume for method, volume in reconstruction.images.items()}
    several = [reconstruction, reseeded, replace(reconstruction, images=doubled)]
    series = [read(write_dicom(one, tmp_path / str(n))) for n, one in enumerate(several)]
    every = [dataset for one in series for dataset in one]
    assert len({dataset.SOPInstanceUID for dataset in every}) == 9
    assert len({dataset.SeriesInstanceUID for dataset in every}) == 3
    assert {dataset.StudyInstanceUID for dataset in every} == {IDENTITY.study_uid}
    assert len({dataset.FrameOfReferenceUID for dataset in every}) == 1
    assert all(dataset.SOPInstanceUID.is_valid and dataset.SeriesInstanceUID.is_valid for dataset in every)


def test_what_dicom_wants_of_every_image_is_there_though_nobody_knows_it(tmp_path):
    """Types 2 and 2C of the MR Image IOD, DICOM PS3.3 A.4: an attribute without a value, where the header is silent."""
    (dataset, *_) = read(write_dicom(example_reconstruction(), tmp_path))
    for keyword in ("PatientPosition", "PatientName", "PatientID", "StudyDate", "AccessionNumber", "EchoTime"):
        assert keyword in dataset


def test_it_says_what_it_is(reconstruction, tmp_path):
    (dataset, *_) = read(write_dicom(reconstruction, tmp_path))
    assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID == pydicom.uid.MRImageStorage
    assert dataset.SeriesDescription == "phantom_t1_axial, RAKI R=4"
    assert (dataset.ProtocolName, dataset.SeriesNumber) == ("phantom_t1_axial", 1)
    assert list(dataset.ImageType)[:2] == ["DERIVED", "PRIMARY"]
    assert "Research use only" in dataset.ImageComments
    assert dataset.BurnedInAnnotation == "NO"
    assert (dataset.Manufacturer, dataset.PatientPosition) == ("raki", "HFS")
    assert (dataset.MagneticFieldStrength, dataset.RepetitionTime) == (2.89, 250)
    assert (dataset.EchoTime, dataset.FlipAngle) == (4.6, 70)
    assert dataset.ImagingFrequency == pytest.approx(123.2)
    assert f"seed {reconstruction.seed}" in dataset.DerivationDescription


def test_earlier_images_in_the_folder_go(reconstruction, tmp_path):
    write_dicom(reconstruction, tmp_path)
    write_dicom(with_header(example_reconstruction(n_slices=1), header_xml()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["slice_0001.dcm"]


def test_a_scan_without_a_header_is_written_for_nobody(reconstruction, tmp_path):
    (dataset, *_) = read(write_dicom(with_header(reconstruction, ""), tmp_path))
    assert not dataset.PatientName
    assert dataset.StudyInstanceUID.is_valid


def test_a_token_stands_for_the_patient(reconstruction, tmp_path):
    paths = write_dicom(reconstruction, tmp_path, token="raki-0123456789abcdef")
    for path, dataset in zip(paths, read(paths), strict=True):
        assert dataset.PatientID == dataset.PatientName == "raki-0123456789abcdef"
        assert dataset.StudyInstanceUID == derived_uid("study", "raki-0123456789abcdef")
        for value in IDENTITY.known.values():
            assert len(value) < 6 or value.encode() not in path.read_bytes()


def test_values_that_dicom_cannot_hold_are_left_out(reconstruction, tmp_path):
    xml = header_xml().replace("Klinikum Südstadt", "K" * 65).replace("S77", "a\\b").replace(">71.5<", ">heavy<")
    (dataset, *_) = read(write_dicom(with_header(reconstruction, xml), tmp_path))
    assert "InstitutionName" not in dataset
    assert "PatientWeight" not in dataset
    assert not dataset.StudyID


def test_out_under_a_token_and_back_restores_every_field(reconstruction, tmp_path):
    identity = identity_in_header(header_xml())
    assert identity == IDENTITY
    token = TokenMap(tmp_path / "tokens.json").token_for(identity)
    scrubbed = with_header(reconstruction, scrub_header(header_xml(), token))
    sent = write_dicom(scrubbed, tmp_path / "sent/scan")
    for path in sent:
        for value in IDENTITY.known.values():
            assert len(value) < 6 or value.encode() not in path.read_bytes()
    back = reidentify(tmp_path / "sent", tmp_path / "tokens.json", tmp_path / "back")
    assert [path.relative_to(tmp_path / "back") for path in back] == [
        path.relative_to(tmp_path / "sent") for path in sent
    ]
    for returned, image in zip(read(back), read(sent), strict=True):
        for field, value in IDENTITY.known.items():
            assert str(returned[DICOM_KEYWORDS[field]].value) == value
        assert token not in str(returned)
        assert returned.SOPInstanceUID == returned.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
        assert returned.SeriesInstanceUID == image.SeriesInstanceUID
        np.testing.assert_array_equal(returned.pixel_array, image.pixel_array)


def test_one_unknown_token_and_nothing_is_written(reconstruction, tmp_path):
    token = TokenMap(tmp_path / "tokens.json").token_for(IDENTITY)
    write_dicom(reconstruction, tmp_path / "sent/a", token=token)
    write_dicom(reconstruction, tmp_path / "sent/b", token="raki-of-another-site")
    with pytest.raises(UnknownToken, match="token map"):
        reidentify(tmp_path / "sent", tmp_path / "tokens.json", tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []


def test_what_is_no_image_is_named(reconstruction, tmp_path):
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent/report.html").write_text("report")
    with pytest.raises(NotAScan, match="no DICOM images"):
        reidentify(tmp_path / "sent", tmp_path / "tokens.json", tmp_path / "back")
    content = write_dicom(reconstruction, tmp_path / "sent")[0].read_bytes()
    (tmp_path / "sent/slice_0001.dcm").write_bytes(content[:700])
    with pytest.raises((DamagedScan, UnknownToken)):
        reidentify(tmp_path / "sent", tmp_path / "tokens.json", tmp_path / "back")


@pytest.mark.filterwarnings("default")  # as they are outside of tests: the library's are no errors
@pytest.mark.parametrize("left", [-1, -1000, 300, 800])
def test_an_image_that_is_cut_short_gets_no_name(reconstruction, left, tmp_path):
    """The library takes an end between two elements for that of the image."""
    token = TokenMap(tmp_path / "tokens.json").token_for(IDENTITY)
    (image, *_) = write_dicom(reconstruction, tmp_path / "sent", token=token)
    image.write_bytes(image.read_bytes()[:left])
    with pytest.raises(DamagedScan, match="a DICOM image can't be read"):
        reidentify(tmp_path / "sent", tmp_path / "tokens.json", tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []


def test_a_number_of_too_few_bytes_is_damage(reconstruction, tmp_path):
    """The library converts an element when it is looked at, and its errors have no class in common."""
    token = TokenMap(tmp_path / "tokens.json").token_for(IDENTITY)
    (image, *_) = write_dicom(reconstruction, tmp_path / "sent", token=token)
    content = bytearray(image.read_bytes())
    rows = content.index(b"\x28\0\x10\0US\x02\0")
    content[rows + 6 : rows + 10] = bytes([1, 0, 1])  # one byte, and the next element follows at once
    image.write_bytes(content)
    with pytest.raises(DamagedScan, match=r"a DICOM image can't be read \(BytesLengthException\)"):
        reidentify(tmp_path / "sent", tmp_path / "tokens.json", tmp_path / "back")
