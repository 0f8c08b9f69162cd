"""`raki models` and `--model`: from a result to a model, from a model to an image, and back into words."""

import json

import pytest

from raki.errors import BadModel, ModelMismatch, NoSuchModel
from tests.models.conftest import scan_file


@pytest.fixture
def home(place, monkeypatch):
    """The store of the tests is the user's."""
    monkeypatch.setenv("RAKI_MODELS", str(place.store.root))
    return place


def test_models_are_listed_shown_and_verified(home, run):
    code, said, _ = run("models", "list", "--json")
    assert code == 0
    assert json.loads(said)[0]["digest"] == home.kept.digest
    assert "head-6ch@1" in run("models", "list")[1]
    shown = run("models", "show", "head-6ch")[1]
    assert shown.startswith(home.kept.pinned)
    assert "Research use only" in shown
    assert json.loads(run("models", "show", "head-6ch", "--json")[1])["name"] == "head-6ch"
    assert run("models", "verify", "head-6ch")[1] == f"{home.kept.pinned} is sound: 2 kernels.\n"


def test_a_result_becomes_a_model_that_another_store_takes(home, run, tmp_path):
    store = tmp_path / "store"
    code, said, _ = run("models", "promote", home.result, "brain", "--store", store, "--license", "CC-BY-4.0")
    assert code == 0
    pinned = said.strip()
    assert pinned.startswith("brain@1@sha256:")
    assert run("models", "push", "brain", tmp_path / "other", "--store", store)[0] == 0
    third = tmp_path / "third"
    code, said, _ = run("models", "pull", tmp_path / "other/brain/1", "--store", third, "--sha256", pinned[-64:])
    assert (code, said.strip()) == (0, pinned)
    code, _, said = run("models", "pull", tmp_path / "other/brain/1", "--store", third, "--sha256", 64 * "0")
    assert (code, "not the one that was asked for" in said) == (BadModel.exit_code, True)
    assert run("models", "export", "brain", "--monai", tmp_path / "bundle", "--store", third)[0] == 0


@pytest.mark.parametrize("name", ["none", "a.b", "a/b", "../x", "Ä"])
def test_a_model_cannot_be_called_what_is_no_name(home, run, tmp_path, name):
    code, _, said = run("models", "promote", home.result, name, "--store", tmp_path)
    assert (code, said.startswith("BadModel: ")) == (BadModel.exit_code, True)
    assert not [*tmp_path.iterdir()]


def test_a_result_without_weights_makes_no_model(home, run, tmp_path):
    out = tmp_path / "out"
    assert run("reconstruct", home.file, "-o", out, "--method", "grappa", "--device", "cpu")[0] == 0
    code, _, said = run("models", "promote", out, "brain", "--store", tmp_path / "store")
    assert (code, "has no weights.safetensors" in said) == (BadModel.exit_code, True)


def test_weights_that_changed_since_make_no_model(home, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for file in home.result.iterdir():
        if file.is_file():
            (out / file.name).write_bytes(file.read_bytes())
    with (out / "weights.safetensors").open("ab") as file:
        file.write(b"x")
    code, _, said = run("models", "promote", out, "brain", "--store", tmp_path / "store")
    assert (code, "changed since the result was written" in said) == (BadModel.exit_code, True), said


def test_a_scan_is_reconstructed_by_name_by_path_and_again(home, run, tmp_path):
    out = tmp_path / "out"
    arguments = ("reconstruct", home.bare, "-o", out, "--no-maps", "--device", "cpu", "--model")
    assert run(*arguments, "head-6ch")[0] == 0
    facts = json.loads((out / "provenance.json").read_text())
    assert facts["options"]["model"] == {"value": home.kept.pinned, "set_by": "command line"}
    assert facts["options"]["method"] == {"value": "raki_linear", "set_by": "model"}
    assert run("reproduce", out, home.bare)[0] == 0
    by_path = tmp_path / "by_path"
    arguments = ("reconstruct", home.bare, "-o", by_path, "--no-maps", "--device", "cpu", "--model")
    assert run(*arguments, home.result / "weights.safetensors")[0] == 0
    assert (by_path / "image.nii.gz").read_bytes() == (out / "image.nii.gz").read_bytes()
    code, _, said = run("reproduce", by_path, home.bare)
    assert (code, "weights of a file" in said) == (41, True)


def test_a_name_that_there_is_not_ends_with_its_own_code(home, run, tmp_path):
    code, _, said = run("reconstruct", home.bare, "-o", tmp_path / "out", "--model", "head-8ch")
    assert (code, "no model head-8ch" in said) == (NoSuchModel.exit_code, True)
    assert run("reconstruct", home.bare, "-o", tmp_path / "out", "--model", "Head 8")[0] == 2
    assert run("models", "show", "head.8")[0] == NoSuchModel.exit_code


def test_inspect_says_what_a_scan_is_to_a_model(home, run, tmp_path):
    code, said, _ = run("inspect", home.bare, "--model", "head-6ch", "--device", "cpu")
    assert (code, "the model head-6ch@1 fits." in " ".join(said.split())) == (0, True)
    other = scan_file(tmp_path / "other.h5", n_coils=4, acceleration=2)
    code, said, _ = run("inspect", home.bare, other, "--model", "head-6ch", "--json", "--device", "cpu")
    assert code == ModelMismatch.exit_code
    fits, fits_not = json.loads(said)
    assert (fits["fits"], fits_not["fits"]) == (True, False)
    assert any("for 6 coils and the scan has 4" in each["sentence"] for each in fits_not["mismatches"])


def test_a_scan_that_the_model_is_not_for_is_refused_or_calibrated(home, run, tmp_path):
    other = scan_file(tmp_path / "other.h5", n_coils=4, n_acs_lines=16)
    out = tmp_path / "out"
    code, _, said = run("reconstruct", other, "-o", out, "--model", "head-6ch", "--no-maps")
    assert (code, "isn't for this scan. The model is for 6 coils" in said) == (ModelMismatch.exit_code, True)
    (tmp_path / "raki.toml").write_text('[reconstruction]\nmodel = "head-6ch"\nmismatch = "own"\nmaps = false\n')
    assert run("reconstruct", other, "-o", out)[0] == 0
    facts = json.loads((out / "provenance.json").read_text())
    assert (facts["model"]["n_used"], facts["options"]["model"]["set_by"]) == (0, "raki.toml")
    assert any("for 6 coils and the scan has 4" in note for note in facts["notes"])
