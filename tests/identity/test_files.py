"""A cleaned file is the same scan, without a byte of anybody's identity."""

import hashlib

import h5py
import numpy as np
import pytest
from ismrmrd import xsd
from xsdata.models.datatype import XmlDate

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.arrays.bart import BART_CFL, open_bart
from raki.formats.arrays.numpy_files import NUMPY_NPZ
from raki.formats.ge.pfile import GE_PFILE
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5, open_ismrmrd
from raki.formats.ismrmrd.stream import ISMRMRD_STREAM, open_stream
from raki.formats.ismrmrd.stream_writer import write_stream
from raki.formats.scan_reader import sorted_scan
from raki.formats.twix.reader import TWIX
from raki.identity.deidentification import deidentify, read_identity
from raki.identity.person import Identity
from raki.identity.words import IdentityLeft
from raki.phantom.simulation import scan_header
from raki.scan.header import parse_header
from tests.identity.twix_with_identity import twix

TOKEN = "raki-0123456789abcdef"
WORDS = ("Mustermann", "PID-4711-XY", "1957-08-13", "Südstadt", "Herzkatheter", "dependency-77", "2024-02-06", "ECG of")


@pytest.fixture(autouse=True)
def all_formats(monkeypatch):
    """Whatever formats are installed, these are the ones meant here."""
    known = (BART_CFL, GE_PFILE, ISMRMRD_HDF5, ISMRMRD_STREAM, TWIX, NUMPY_NPZ)
    monkeypatch.setattr("raki.formats.opening.formats", lambda: known)


def header_with_identity():
    header = scan_header(2, 3, 32, 2)
    header.subjectInformation = xsd.subjectInformationType(
        patientName="Mustermann^Max", patientID="PID-4711-XY", patientBirthdate=XmlDate(1957, 8, 13)
    )
    header.studyInformation = xsd.studyInformationType(studyDate=XmlDate(2024, 2, 6), studyDescription="Herzkatheter")
    header.acquisitionSystemInformation.institutionName = "Klinikum Südstadt"
    header.measurementInformation.measurementDependency = [
        xsd.measurementDependencyType(dependencyType="Noise", measurementID="dependency-77")
    ]
    return xsd.ToXML(header, encoding="utf-8")


@pytest.fixture
def source(raw, tmp_path):
    """The small scan with a patient in its header and beside its acquisitions, and a clock in their heads."""
    path = tmp_path / "Mustermann.h5"
    path.write_bytes(raw.read_bytes())
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][:]
        head = rows["head"]
        head["acquisition_time_stamp"] = 25_483_792 + 10 * np.arange(len(head))
        head["physiology_time_stamp"], head["measurement_uid"] = 147_638_083, 45_387
        head["user_int"], head["user_float"] = 19_570_813, 4711.0
        file["dataset/data"][:] = rows
        file["dataset/xml"][0] = header_with_identity().encode()
        file["dataset"].attrs["operator"] = "Mustermann"
        file["dataset/waveforms"] = np.frombuffer(b"ECG of Mustermann", np.uint8)
        file["notes"] = "Herzkatheter"
    return path


def found(content):
    encodings = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
    return {word for word in WORDS for encoding in encodings if word.encode(encoding) in content}


def scan_of(path, open_file=open_ismrmrd):
    with open_file(path) as acquisitions:
        return sorted_scan(acquisitions).in_memory()


def test_nothing_of_the_identity_is_left_in_any_byte(source, tmp_path):
    before = source.read_bytes()
    assert found(before) == set(WORDS)
    identity = deidentify(source, tmp_path / "out.h5", token=TOKEN)
    assert identity == Identity(
        patient_name="Mustermann^Max",
        patient_id="PID-4711-XY",
        birth_date="19570813",
        study_date="20240206",
        study_description="Herzkatheter",
        institution="Klinikum Südstadt",
    )
    assert identity == read_identity(source)
    after = (tmp_path / "out.h5").read_bytes()
    assert found(after) == set()
    for number in (147_638_083, 45_387, 19_570_813, 25_483_792):
        assert np.uint32(number).tobytes() in before
        assert np.uint32(number).tobytes() not in after
    assert source.read_bytes() == before


def test_the_scan_is_the_same(source, tmp_path):
    deidentify(source, tmp_path / "out.h5", token=TOKEN)
    scan, other = scan_of(source), scan_of(tmp_path / "out.h5")
    np.testing.assert_array_equal(other.kspace, scan.kspace)
    np.testing.assert_array_equal(other.noise, scan.noise)
    np.testing.assert_array_equal(other.sampled, scan.sampled)
    assert other.geometry == scan.geometry
    assert (other.acs_lines, other.noise_dwell_ratio) == (scan.acs_lines, scan.noise_dwell_ratio)
    with open_ismrmrd(tmp_path / "out.h5") as file:
        assert file.heads["acquisition_time_stamp"].tolist() == [10 * n for n in range(len(file.heads))]
    assert parse_header(other.header_xml).subjectInformation.patientID == TOKEN


def test_of_several_measurements_in_a_file_nobody_is_left(source, tmp_path):
    with h5py.File(source, "r+") as file:
        file.move("dataset", "image")
        rows, xml = file["image/data"][:], file["image/xml"][:]
        is_noise = rows["head"]["flags"] & np.uint64(1 << 18) != 0
        del file["image/data"]
        file["image"].create_dataset("data", data=rows[~is_noise])
        file.create_dataset("noise/xml", data=xml, dtype=h5py.special_dtype(vlen=bytes))
        file.create_dataset("noise/data", data=rows[is_noise])
    assert deidentify(source, tmp_path / "out.h5", token=TOKEN).patient_id == "PID-4711-XY"
    assert found((tmp_path / "out.h5").read_bytes()) == set()
    scan, other = scan_of(source), scan_of(tmp_path / "out.h5")
    np.testing.assert_array_equal(other.kspace, scan.kspace)
    np.testing.assert_array_equal(other.noise, scan.noise)


def test_the_same_goes_for_streams(source, tmp_path):
    with open_ismrmrd(source) as file:
        samples = file.samples(np.arange(len(file.heads)))
        write_stream(file.header_xml, file.heads, samples, tmp_path / "Mustermann.mrd")
    assert deidentify(tmp_path / "Mustermann.mrd", tmp_path / "out.mrd", token=TOKEN) == read_identity(source)
    assert found((tmp_path / "out.mrd").read_bytes()) == set()
    np.testing.assert_array_equal(scan_of(tmp_path / "out.mrd", open_stream).kspace, scan_of(source).kspace)


def test_discarded_samples_are_cut_and_the_echo_stays_in_the_centre(source, tmp_path):
    with h5py.File(source, "r+") as file:
        rows = file["dataset/data"][:]
        images = rows["head"]["flags"] & np.uint64(1 << 18) == 0
        rows["head"]["discard_pre"][images], rows["head"]["discard_post"][images] = 3, 2
        rows["head"]["center_sample"][images] = 32
        file["dataset/data"][:] = rows
    deidentify(source, tmp_path / "out.h5", token=TOKEN)
    np.testing.assert_array_equal(scan_of(tmp_path / "out.h5").kspace, scan_of(source).kspace)


def test_the_same_scan_and_token_give_the_same_bytes(source, tmp_path):
    for name in ("one.h5", "other.h5"):
        deidentify(source, tmp_path / name, token=TOKEN)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "other.h5").read_bytes()


def test_siemens_raw_data_is_found_by_its_content(tmp_path):
    identity = deidentify(twix(tmp_path / "scan.raw"), tmp_path / "out.raw", token=TOKEN)
    assert identity.patient_id == "PID-4711-XY"
    assert found((tmp_path / "out.raw").read_bytes()) == set()


def test_bart_keeps_its_dimensions_and_loses_its_history(tmp_path):
    samples = np.random.default_rng(0).standard_normal((8, 8, 1, 2, 2)).astype("<f4").view("<c8")
    samples.tofile(tmp_path / "scan.cfl")
    dimensions = " ".join(map(str, [8, 8, 1, 2, *[1] * 12]))
    (tmp_path / "scan.hdr").write_text(
        f"# Dimensions\n{dimensions}\n# Command\nfft Mustermann\n# Files\n >Mustermann\n"
    )
    assert deidentify(tmp_path / "scan.hdr", tmp_path / "out.hdr", token=TOKEN) == Identity()
    assert (tmp_path / "out.hdr").read_text() == f"# Dimensions\n{dimensions}\n"
    assert (tmp_path / "out.cfl").read_bytes() == (tmp_path / "scan.cfl").read_bytes()
    with open_bart(tmp_path / "out.hdr") as file:
        assert len(file.heads) == 8


def test_archives_of_arrays_are_copied_if_they_hold_nothing_else(tmp_path):
    kspace = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.complex64)
    np.savez(tmp_path / "scan.npz", kspace=kspace, axes="slice coil pe ro")
    assert deidentify(tmp_path / "scan.npz", tmp_path / "out.npz", token=TOKEN) == Identity()
    assert (tmp_path / "out.npz").read_bytes() == (tmp_path / "scan.npz").read_bytes()
    np.savez(tmp_path / "scan.npz", kspace=kspace, axes="slice coil pe ro", patient="Mustermann")
    with pytest.raises(UnsupportedScan, match="patient"):
        deidentify(tmp_path / "scan.npz", tmp_path / "other.npz", token=TOKEN)
    assert not (tmp_path / "other.npz").exists()


def test_ge_files_are_refused_with_what_to_do(real_scans, tmp_path):
    with pytest.raises(UnsupportedScan, match="convert the scan to ISMRMRD"):
        deidentify(real_scans / "vendor/P12800_rev20.7", tmp_path / "out.7", token=TOKEN)


@pytest.mark.parametrize(
    ("content", "error"), [(b"", NotAScan), (b"notes", NotAScan), (b"\x89HDF\r\n\x1a\n", DamagedScan)]
)
def test_what_is_no_scan_leaves_nothing_behind(tmp_path, content, error):
    (tmp_path / "scan.h5").write_bytes(content)
    with pytest.raises(error):
        deidentify(tmp_path / "scan.h5", tmp_path / "out.h5", token=TOKEN)
    assert [one.name for one in tmp_path.iterdir()] == ["scan.h5"]


def test_a_scan_that_breaks_off_leaves_an_earlier_target_as_it_was(source, tmp_path):
    (tmp_path / "out.h5").write_bytes(b"earlier")
    with h5py.File(source, "r+") as file:
        rows = file["dataset/data"][-1:]
        rows["data"][0] = rows["data"][0][:6]
        file["dataset/data"][-1:] = rows
    with pytest.raises(DamagedScan, match="holds 6 numbers"):
        deidentify(source, tmp_path / "out.h5", token=TOKEN)
    assert (tmp_path / "out.h5").read_bytes() == b"earlier"
    assert {one.name for one in tmp_path.iterdir()} == {"out.h5", "Mustermann.h5"}


def change(source, old, new):
    with h5py.File(source, "r+") as file:
        file["dataset/xml"][0] = file["dataset/xml"][0].decode().replace(old, new).encode()


def test_a_coil_that_is_named_after_the_patient_is_found(source, tmp_path):
    change(source, "digital phantom", "PID-4711-XY")
    change(source, "</acq", "<coilLabel><coilNumber>0</coilNumber><coilName>PID-4711-XY</coilName></coilLabel></acq")
    change(source, ">PID-4711-XY</systemModel>", ">digital phantom</systemModel>")
    with pytest.raises(IdentityLeft):
        deidentify(source, tmp_path / "out.h5", token=TOKEN)


def test_a_scan_that_needs_its_trajectory_is_refused(source, tmp_path):
    change(source, ">cartesian<", ">spiral<")
    with pytest.raises(UnsupportedScan, match="'spiral'"):
        deidentify(source, tmp_path / "out.h5", token=TOKEN)


def test_the_source_is_never_the_target(source):
    digest = hashlib.sha256(source.read_bytes()).digest()
    with pytest.raises(ValueError, match="never changed"):
        deidentify(source, source, token=TOKEN)
    assert hashlib.sha256(source.read_bytes()).digest() == digest
