"""The commands on raw files, as a user calls them."""

import errno
import json
import shutil
import tarfile

import nibabel
import numpy as np
import pydicom
import pytest

from raki.errors import NotAScan, TransientError
from raki.formats import read_scan
from raki.phantom.simulation import simulate_scan
from raki.prepare.preparation import prepare, prepare_here, preprocess
from raki.scan.header import parse_header
from raki.scan.prepared import read_prepared

WRITABLE = (".h5", ".mrd", ".hdr", ".cfl", ".npz", ".npy")


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate_scan(path, n_slices=2, n_coils=4, matrix=48, acceleration=2, n_acs_lines=16, seed=2)
    return path


def named(files):
    """Where a reader starts: of BART's two files the one that says what is in the other."""
    return next(file for file in files if file.suffix != ".cfl" and file.suffix != ".json")


@pytest.mark.parametrize("suffix", WRITABLE)
def test_simulated_converted_inspected_it_is_the_same_scan(run, scan_file, tmp_path, suffix):
    code, _, _ = run("convert", scan_file, tmp_path / f"copy{suffix}")
    assert code == 0
    converted = named(sorted(tmp_path.iterdir()))
    code, said, _ = run("inspect", converted, "--json", "--device", "cpu")
    assert code == 0
    found = json.loads(said)
    assert found["feasibility"]["reconstructable"] is True
    original = read_scan(scan_file)
    copy = read_scan(converted, *(file for file in tmp_path.iterdir() if file != converted))
    np.testing.assert_array_equal(copy.kspace, original.kspace)
    np.testing.assert_array_equal(copy.sampled, original.sampled)


def test_a_scan_can_be_converted_prepared(run, scan_file, tmp_path):
    code, _, _ = run("convert", scan_file, tmp_path / "clean.npz", "--prepared")
    assert code == 0
    np.testing.assert_array_equal(read_scan(tmp_path / "clean.npz").kspace, preprocess(read_scan(scan_file)).kspace)


def test_an_unknown_ending_is_refused_with_those_there_are(run, scan_file, tmp_path):
    code, _, said = run("convert", scan_file, tmp_path / "copy.dcm")
    assert code == 2
    assert ".npz" in said
    assert not (tmp_path / "copy.dcm").exists()


def test_inspect_speaks_plainly_and_names_nobody(run, scan_file):
    code, said, _ = run("inspect", scan_file)
    assert code == 0
    assert "Can be reconstructed" in said
    assert "R=2" in said
    assert "Phantom^Digital" not in said


def test_what_cannot_be_opened_has_its_exit_code(run, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear grandma,")
    for command in (("inspect",), ("convert",), ("deidentify", "--token-map", tmp_path / "map.json")):
        target = [] if command == ("inspect",) else [tmp_path / "out.h5"]
        code, _, said = run(command[0], tmp_path / "letter.txt", *target, *command[1:])
        assert (code, "NotAScan" in said) == (NotAScan.exit_code, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letter.txt"]


def test_compare_needs_a_full_scan_and_shows_the_scores(run, scan_file, tmp_path):
    full = tmp_path / "full.h5"
    simulate_scan(full, n_slices=1, n_coils=6, matrix=48, acceleration=1, seed=2)
    code, said, _ = run("compare", full, "-R", 2, "--acs", 16, "--method", "grappa", "-o", tmp_path / "out")
    assert code == 0
    assert "NMSE" in said
    assert (tmp_path / "out/comparison.png").exists()
    code, _, said = run("compare", scan_file, "-o", tmp_path / "out")
    assert code == 12
    assert "fully sampled" in said


def test_identity_leaves_with_nobody_and_comes_back_to_the_images(run, scan_file, tmp_path):
    tokens, anonymous = tmp_path / "tokens.json", tmp_path / "anonymous.h5"
    code, token, _ = run("deidentify", scan_file, anonymous, "--token-map", tokens)
    assert code == 0
    assert b"Phantom^Digital" not in anonymous.read_bytes()
    code, _, _ = run("reconstruct", anonymous, "-o", tmp_path / "out", "--method", "zero_filled", "--dicom")
    assert code == 0
    images = sorted((tmp_path / "out/dicom").iterdir())
    assert len(images) == 2
    assert pydicom.dcmread(images[0]).PatientID == token.strip()
    code, written, _ = run("reidentify", tmp_path / "out/dicom", "-o", tmp_path / "named", "--token-map", tokens)
    assert code == 0
    for path in written.split():
        assert str(pydicom.dcmread(path).PatientName) == "Phantom^Digital"
    code, _, said = run(
        "reidentify", tmp_path / "out/dicom", "-o", tmp_path / "x", "--token-map", tmp_path / "new.json"
    )
    assert (code, "UnknownToken" in said) == (17, True)


def test_a_folder_and_an_archive_of_several_files_are_one_scan(run, scan_file, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    run("convert", scan_file, folder / "scan.hdr")
    with tarfile.open(tmp_path / "scan.tar", "w") as archive:
        archive.add(folder, "scan")
    volumes = []
    for number, source in enumerate((folder, tmp_path / "scan.tar")):
        code, _, _ = run("reconstruct", source, "-o", tmp_path / f"out{number}", "--method", "grappa")
        assert code == 0
        volumes.append(nibabel.load(tmp_path / f"out{number}/image.nii.gz").get_fdata())
    np.testing.assert_array_equal(*volumes)


def test_a_prepared_scan_names_nobody_where_the_site_wants_it_so(scan_file, tmp_path):
    prepare([scan_file], tmp_path / "named")
    prepare([scan_file], tmp_path / "scan", token="5f0c1d2e3a4b5c6d")
    assert "Phantom^Digital" in read_prepared(tmp_path / "named").header_xml
    scrubbed = read_prepared(tmp_path / "scan")
    assert parse_header(scrubbed.header_xml).subjectInformation.patientID == "5f0c1d2e3a4b5c6d"
    assert b"Phantom^Digital" not in (tmp_path / "scan").read_bytes()
    np.testing.assert_array_equal(scrubbed.kspace, read_prepared(tmp_path / "named").kspace)


def test_a_disk_that_is_full_is_worth_another_try(scan_file, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space", str(tmp_path))

    monkeypatch.setattr("raki.prepare.preparation.write_prepared", full)
    with pytest.raises(TransientError, match="ENOSPC") as raised:
        prepare_here([scan_file], tmp_path / "prepared")
    assert str(tmp_path) not in raised.value.sentence


def test_the_sites_own_token_stays(run, scan_file, tmp_path):
    code, token, _ = run("deidentify", scan_file, tmp_path / "anonymous.h5", "--token-map", tmp_path / "tokens.json")
    assert code == 0
    prepare([tmp_path / "anonymous.h5"], tmp_path / "scan", token="5f0c1d2e3a4b5c6d")
    header = parse_header(read_prepared(tmp_path / "scan").header_xml)
    assert header.subjectInformation.patientID == token.strip()


def test_a_raw_file_is_never_changed(run, scan_file, tmp_path):
    before = scan_file.read_bytes()
    copy = tmp_path / "scan.h5"
    shutil.copyfile(scan_file, copy)
    copy.chmod(0o400)
    for command in (("inspect",), ("convert", tmp_path / "a.npz"), ("deidentify", tmp_path / "b.h5")):
        tokens = ["--token-map", tmp_path / "map.json"] if command[0] == "deidentify" else []
        assert run(command[0], copy, *command[1:], *tokens)[0] == 0
    assert copy.read_bytes() == before
    code, _, said = run("deidentify", copy, copy, "--token-map", tmp_path / "map.json")
    assert (code, "never changed" in said.replace("│ ", "")) == (2, True)
