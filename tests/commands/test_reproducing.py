"""A result comes out again bit for bit, and where it doesn't, or was changed, that is named."""

import json
import shutil

import h5py
import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from raki.cli import app
from raki.manifest import entry
from raki.phantom import simulate_scan
from raki.results.reproduction import DamagedResult, NotReproduced


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate_scan(path, n_slices=2, n_coils=4, matrix=48, acceleration=2, n_acs_lines=20, seed=3)
    return path


@pytest.fixture(scope="module")
def made(scan, tmp_path_factory):
    """The folder of a result with a seed and a combination of its own."""
    folder = tmp_path_factory.mktemp("results") / "out"
    asked = ["--method", "raki", "--combine", "adaptive", "--seed", "7", "--device", "cpu", "--weights"]
    assert CliRunner().invoke(app, ["reconstruct", str(scan), "-o", str(folder), *asked]).exit_code == 0
    return folder


@pytest.fixture
def result(made, tmp_path):
    return shutil.copytree(made, tmp_path / "result")


def test_the_same_bits_come_out_again(run, scan, result):
    before = {path: path.read_bytes() for path in result.iterdir()}
    code, said, _ = run("reproduce", str(result / "manifest.json"), str(scan))
    assert code == 0
    assert "Identical." in said
    assert {path: path.read_bytes() for path in result.iterdir()} == before
    assert run("reproduce", str(result), str(scan))[0] == 0


def test_a_pixel_that_was_changed_is_named(run, scan, result):
    with h5py.File(result / "image.h5", "r+") as file:
        pixels = file["dataset/image_0/data"][:]
        pixels.flat[100] += np.float32(0.5)
        file["dataset/image_0/data"][...] = pixels
    code, _, said = run("reproduce", str(result), str(scan))
    assert code == NotReproduced.exit_code
    assert "Changed since the manifest was written: image.h5." in said


def test_another_image_that_comes_out_is_named_with_the_software_that_is_other(run, scan, result):
    facts = json.loads((result / "provenance.json").read_text())
    facts["options"]["method"]["value"] = "zero_filled"
    facts["software"]["torch"] = "1.0"
    (result / "provenance.json").write_text(json.dumps(facts))
    code, _, said = run("reproduce", str(result), str(scan))
    assert code == NotReproduced.exit_code
    assert "Changed since the manifest was written: provenance.json." in said
    assert "Another result comes out: g_factor.nii.gz (only then), image.h5 (" in said
    assert "torch 1.0 then" in said


def test_a_weight_that_was_changed_is_named(run, scan, result):
    path = result / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, said, why = run("reproduce", str(result), str(scan))
    assert code == NotReproduced.exit_code
    assert "Changed since the manifest was written: weights.safetensors." in why
    assert "image_0002: 1 of" in " ".join(said.split())


def test_a_result_that_an_earlier_raki_wrote_has_what_was_the_only_way_then(run, scan, result):
    facts = json.loads((result / "provenance.json").read_text())
    del facts["options"]["weights"]
    (result / "provenance.json").write_text(json.dumps(facts))
    code, _, why = run("reproduce", str(result), str(scan))
    assert code == NotReproduced.exit_code
    assert "Another result comes out: weights.safetensors (only then)." in why


def test_another_raw_file_is_refused_before_anything_is_computed(run, result, tmp_path):
    simulate_scan(tmp_path / "other.h5", n_slices=2, n_coils=4, matrix=48, acceleration=2, n_acs_lines=20, seed=4)
    code, _, said = run("reproduce", str(result), str(tmp_path / "other.h5"))
    assert code == NotReproduced.exit_code
    assert "not the one that the result was made from" in said


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("manifest.json", None, "no manifest.json in the folder"),
        ("provenance.json", None, "no provenance.json in the folder"),
        ("manifest.json", "{", "no JSON"),
        ("manifest.json", "[]", "no facts"),
        ("manifest.json", '{"files": [{"name": "../../x", "sha256": ""}]}', "lists no files"),
        ("provenance.json", "{}", "options of the result"),
        ("provenance.json", '{"options": {"method": {"value": "magic"}}}', "options of the result"),
        ("provenance.json", '{"options": [1]}', "options of the result"),
    ],
)
def test_what_is_no_result_is_one_sentence(run, scan, result, name, content, says):
    if content is None:
        (result / name).unlink()
    else:
        (result / name).write_text(content)
    code, _, said = run("reproduce", str(result), str(scan))
    assert code == DamagedResult.exit_code
    assert says in said


def signed_anew(folder):
    """A manifest that fits files which were changed."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [entry(folder / each["name"], each["name"]) for each in manifest["files"]]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def move_nifti(folder):
    image = nibabel.load(folder / "image.nii.gz")
    affine = image.affine.copy()
    affine[0, 3] += 1
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), folder / "image.nii.gz")


def move_ismrmrd(folder):
    with h5py.File(folder / "image.h5", "r+") as file:
        heads = file["dataset/image_0/header"][:]
        heads["position"] += 1
        file["dataset/image_0/header"][...] = heads


@pytest.mark.parametrize(("move", "name"), [(move_nifti, "image.nii.gz"), (move_ismrmrd, "image.h5")])
def test_an_image_that_lies_elsewhere_is_another_though_the_manifest_fits(run, scan, result, move, name):
    move(result)
    signed_anew(result)
    code, _, said = run("reproduce", str(result), str(scan))
    assert code == NotReproduced.exit_code
    assert f"Another result comes out: {name} (the same values at another place in the patient)." in said


def test_an_image_of_another_run_among_the_files_is_named(run, scan, result):
    shutil.copy(result / "image.nii.gz", result / "image-2.nii.gz")
    code, _, said = run("reproduce", str(result), str(scan))
    assert code == NotReproduced.exit_code
    assert "image-2.nii.gz (only then)" in said


@pytest.mark.parametrize("facts", [{"input": []}, {"input": None}, {"input": {"sha256": 5}}])
def test_a_provenance_of_another_form_is_a_sentence(run, scan, result, facts):
    written = json.loads((result / "provenance.json").read_text())
    (result / "provenance.json").write_text(json.dumps({**written, **facts, "software": []}))
    assert run("reproduce", str(result), str(scan))[0] == NotReproduced.exit_code
