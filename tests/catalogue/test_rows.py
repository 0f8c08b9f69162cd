"""A row an image beside each result: what is known of it, and nothing of the patient."""

import hashlib
import json

import numpy as np
import pydicom
import pytest
from ismrmrd import xsd
from xsdata.models.datatype import XmlDate

from raki.catalogue.embedding import N_NUMBERS, ORDER, embedding
from raki.catalogue.rows import read_rows
from raki.catalogue.schema import COLUMNS, SCHEMA
from raki.formats import read_scan
from raki.identity.uids import image_uid
from raki.images import reconstruct
from raki.phantom import simulate_scan
from raki.prepare import preprocess
from raki.results import Source, write_results
from raki.scan import Frame
from raki.scan.header import parse_header
from tests.catalogue.delivered import deliver, example_rows
from tests.results.example_reconstruction import TILTED, example_reconstruction

SECRETS = ("Mustermann", "PID-4711", "1970-01-01", "St. Elsewhere", "Dr. Who", "470011", "SERIAL-9", "1.2.3.4.5")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A real result of a scan whose header names somebody everywhere it can."""
    folder = tmp_path_factory.mktemp("named")
    simulate_scan(folder / "scan.h5", n_slices=2, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    scan = preprocess(read_scan(folder / "scan.h5"))
    header = parse_header(scan.header_xml)
    name, pid, born, place, doctor, accession, serial, uid = SECRETS
    header.subjectInformation = xsd.subjectInformationType(
        patientName=name, patientID=pid, patientBirthdate=XmlDate.from_string(born)
    )
    header.studyInformation = xsd.studyInformationType(
        accessionNumber=int(accession), referringPhysicianName=doctor, studyInstanceUID=uid, studyDescription=name
    )
    header.measurementInformation = xsd.measurementInformationType(
        patientPosition=header.measurementInformation.patientPosition, protocolName=f"brain {name}", measurementID=pid
    )
    header.acquisitionSystemInformation.institutionName = place
    header.acquisitionSystemInformation.deviceID = serial
    header.acquisitionSystemInformation.systemModel = f"the one of {doctor} & {name}"
    object.__setattr__(scan, "header_xml", xsd.ToXML(header))
    result = reconstruct(scan, method="raki", device="cpu")
    files = write_results(result, folder / f"{name}", source=Source.of(folder / "scan.h5"), scan_id="opaque-1")
    return result, folder / name, files


def test_a_result_has_a_row_for_each_image_that_says_what_is_known(written):
    result, folder, files = written
    assert folder / "catalogue.jsonl" in files
    assert "catalogue.jsonl" in {each["name"] for each in json.loads((folder / "manifest.json").read_text())["files"]}
    rows = [json.loads(line) for line in (folder / "catalogue.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == [0, 1]
    first = rows[0]
    assert list(first) == ["schema", *(column.name for column in COLUMNS)]
    expected = {"schema": SCHEMA, "scan_id": "opaque-1", "result_id": "opaque-1", "acceleration": 2, "n_coils": 4}
    expected |= {"vendor": "raki", "field_strength_t": 2.89, "trajectory": "cartesian", "patient_position": "HFS"}
    expected |= {"repetition_time_ms": 250.0, "flip_angle_deg": 70.0, "echo_time_ms": 4.6, "n_rows": 32, "n_bands": 1}
    assert {name: first[name] for name in expected} == expected
    for name in (
        "g_factor_median",
        "standard_error",
        "standard_error_99",
        "snr_median",
        "held_out_error",
        "noise_sigma",
    ):
        assert first[name] > 0, name
    assert first["g_factor_99"] >= first["g_factor_median"]
    choices = [(each.filled_by, each.held_out_error) for each in result.cross_validation.by_slice]
    assert [row["filled_by"] for row in rows] == [filled_by for filled_by, _ in choices]
    assert [row["held_out_error"] for row in rows] == pytest.approx([error for _, error in choices], rel=1e-6)
    assert choices[0] != choices[1], "each image has its own"
    assert first["position_mm"] != rows[1]["position_mm"]
    np.testing.assert_allclose(first["embedding"], embedding(result.result[0]), atol=1e-6)


def test_the_rows_tell_by_which_uids_dicom_knows_the_images_and_nifti_by_which_digest(tmp_path):
    frames = tuple(Frame(contrast=contrast, repetition=time) for contrast in (0, 1) for time in (0, 1))
    made = example_reconstruction(frames=frames, with_maps=False)
    folder = tmp_path / "out"
    write_results(made, folder, source=Source(name="x", sha256="ab" * 32, n_bytes=1), single_dicoms=True)
    rows = [json.loads(line) for line in (folder / "catalogue.jsonl").read_text().splitlines()]
    place, direction = "PlanePositionSequence", "PlaneOrientationSequence"
    for row in rows:
        volume = pydicom.dcmread(folder / f"image-{row['contrast'] + 1}.dcm")
        assert (volume.SeriesInstanceUID, volume.SOPInstanceUID) == (row["series_uid"], row["sop_instance_uid"])
        single = pydicom.dcmread(folder / "dicom" / f"slice_{row['image'] + 1:04d}.dcm")
        assert (single.SeriesInstanceUID, single.SOPInstanceUID) == (
            row["single_series_uid"], image_uid(row["single_series_uid"], row["image"]),
        )  # fmt: skip
        np.testing.assert_array_equal(volume.pixel_array[row["sop_frame"] - 1], single.pixel_array)
        group = volume.PerFrameFunctionalGroupsSequence[row["sop_frame"] - 1]
        assert group[place][0].ImagePositionPatient == single.ImagePositionPatient
        (shared,) = volume.SharedFunctionalGroupsSequence
        assert shared[direction][0].ImageOrientationPatient == single.ImageOrientationPatient
        digest = hashlib.sha256((folder / "image.nii.gz").read_bytes()).hexdigest()
        assert row["nifti_sha256"] == [digest]


def test_nothing_of_a_person_a_place_or_a_folder_stands_in_it(written):
    _, folder, _ = written
    text = (folder / "catalogue.jsonl").read_text()
    assert [secret for secret in SECRETS if secret in text] == []
    assert json.loads(text.splitlines()[0])["model"] is None, "a text that looks like no name of hardware"


def test_the_rows_are_typed_as_the_schema_says(written, tmp_path):
    _, folder, _ = written
    rows = read_rows(folder.parent, [f"{folder.name}/catalogue.jsonl"])
    assert rows.damaged == {}
    assert rows.table.num_rows == 2


def test_an_image_says_where_it_lies():
    rows = example_rows(n_slices=3)
    assert rows[2]["position_mm"] == [11.0, -7.0, 35.0]
    assert rows[0]["phase_direction"] == list(TILTED.phase_direction)
    assert (rows[0]["slice_spacing_mm"], rows[0]["fov_read_mm"], rows[0]["slice_thickness_mm"]) == (6.0, 80.0, 5.0)
    assert rows[0]["standard_error"] == pytest.approx(rows[0]["standard_error_median"] / rows[0]["mean"], rel=1e-5)


DAMAGE = {
    "is empty or cut short": lambda text: text[:-1],
    "holds a line that is no JSON": lambda text: text[: len(text) // 2] + "\n",
    "has not one row for each image": lambda text: text.splitlines(keepends=True)[0],
    "holds a line that is no row of raki.catalogue/1": lambda text: text.replace(
        "raki.catalogue/1", "raki.catalogue/9", 1
    ),
    "holds a value of another kind than its column": lambda text: text.replace(
        '"n_coils": ', '"n_coils": "x" , "x": ', 1
    ),
    "holds rows of several results": lambda text: text.replace("scan-7", "scan-8", 1),
    "holds a row that says not which result it is of, or when it was made": lambda text: text.replace('"20', '"x0'),
}


@pytest.mark.parametrize("why", DAMAGE)
def test_damaged_rows_are_named_and_the_others_are_read(why, tmp_path):
    deliver(tmp_path, "good", scan_id="scan-6")
    rows = deliver(tmp_path, "bad", scan_id="scan-7") / "catalogue.jsonl"
    rows.write_text(DAMAGE[why](rows.read_text()))
    found = read_rows(tmp_path, ["good/catalogue.jsonl", "bad/catalogue.jsonl"])
    assert found.damaged == {"bad/catalogue.jsonl": why}
    assert set(found.table.column("scan_id").to_pylist()) == {"scan-6"}


def test_rows_that_are_read_some_at_a_time_are_as_if_at_once(tmp_path, monkeypatch):
    for number in range(4):
        deliver(tmp_path, f"{number}", scan_id=f"scan-{number}", created_utc=f"2026-0{number + 1}-01T00:00:00+00:00")
    deliver(tmp_path, "4", scan_id="scan-0", acceleration=9, created_utc="2030-01-01T00:00:00+00:00")
    bad = deliver(tmp_path, "5", scan_id="scan-5") / "catalogue.jsonl"
    bad.write_text(bad.read_text().replace('"n_coils": ', '"n_coils": "x" , "x": ', 1))
    paths = [f"{number}/catalogue.jsonl" for number in range(6)]
    at_once = read_rows(tmp_path, paths)
    monkeypatch.setattr("raki.catalogue.rows.ROWS_AT_ONCE", 4)
    some = read_rows(tmp_path, paths)
    assert some == at_once
    assert some.table.num_rows == 12
    assert {row["acceleration"] for row in some.table.to_pylist() if row["scan_id"] == "scan-0"} == {9}
    assert some.damaged.keys() == {"5/catalogue.jsonl"}
    assert read_rows(tmp_path, []).table.num_rows == 0


def head(matrix):
    """A disk with an off-center spot, whatever the matrix."""
    y, x = np.mgrid[: matrix[0], : matrix[1]] / np.reshape(matrix, (2, 1, 1)) - 0.5
    return ((x**2 + y**2 < 0.16) + 2.0 * ((x - 0.2) ** 2 + (y + 0.1) ** 2 < 0.01)).astype(np.float32)


def test_the_embedding_is_of_the_picture_and_not_of_its_brightness_or_matrix():
    first = embedding(head((128, 128)))
    assert first.shape == (N_NUMBERS,)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(embedding(7 * head((128, 128))), first, atol=1e-5)
    assert first @ embedding(head((96, 200))) > 0.99
    assert first @ embedding(head((128, 128))[:, ::-1].copy()) < 0.95, "the mirror image is another picture"
    assert not embedding(np.ones((20, 30), np.float32)).any()
    with pytest.raises(ValueError, match="negative"):
        embedding(-head((32, 32)))


def test_the_embedding_is_the_transform_that_is_documented():
    """Of a picture whose logarithm is one cosine along the rows, that one number is all."""
    cosine = np.cos(np.pi * 2 * (np.arange(32) + 0.5) / 32)
    picture = np.repeat(np.expm1(2 + cosine)[:, None], 32, axis=1).astype(np.float32)
    numbers = embedding(picture / np.median(picture))
    assert ORDER[np.argmax(np.abs(numbers))] == (2, 0)
    assert np.abs(numbers).max() > 0.95
    assert all(number == pytest.approx(0, abs=1e-6) for number, (_, v) in zip(numbers, ORDER, strict=True) if v)
