"""A store holds what its digests say or nothing: no code, no link, no half of a model, no other tensors."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from raki.errors import BadModel, NoSuchModel
from raki.models import Store, promote
from raki.models.document import digest_of, json_schema, parse_document, stored_schema
from raki.models.store import read_model, weights_of
from raki.results.weights import read_weights


def described(folder, **changed):
    """Changes facts of a description, whose digests of files stay as the files are."""
    path = folder / "model.json"
    facts = json.loads(path.read_text())
    facts["files"] = {name: digest_of(folder / name) for name in ("weights.safetensors", "README.md")}
    path.write_text(json.dumps({**facts, **changed}))


def rewritten(folder, change):
    """Changes tensors and head of the weights, and has the description agree."""
    path = folder / "weights.safetensors"
    tensors, head = load_file(path), read_weights(path)[1]
    change(tensors, head)
    save_file(tensors, path, {"raki": json.dumps(head)})
    described(folder)


def test_a_model_is_found_by_name_version_and_digest(place):
    name, digest = "head-6ch", place.kept.digest
    for text in (name, f"{name}@1", f"{name}@sha256:{digest}", f"{name}@1@sha256:{digest}", place.kept.pinned):
        assert place.store.find(text) == place.kept
    with pytest.raises(NoSuchModel, match=r"no model head-8ch; it has head-6ch"):
        place.store.find("head-8ch")
    with pytest.raises(NoSuchModel, match="head-6ch@2"):
        place.store.find(f"{name}@2")
    with pytest.raises(BadModel, match="no version of head-6ch in the store has the digest sha256:aaaaaaaaaaaa"):
        place.store.find(f"{name}@sha256:{64 * 'a'}")


@pytest.mark.parametrize("text", ["../head-6ch", "head-6ch/1", "head.6ch", "", ".", "head-6ch@1@2", "HEAD-6ch"])
def test_what_is_no_name_is_none(place, text):
    with pytest.raises(NoSuchModel, match="is no name of a model"):
        place.store.find(text)


def test_the_newest_version_is_the_one_with_the_highest_number(place, tmp_path):
    store = Store(root=tmp_path / "store")
    for version in ("2", "10", "9.3"):
        promote(place.result, "head", store=store, version=version)
    assert store.versions("head") == ["10", "9.3", "2"]
    assert store.find("head").document.version == "10"
    assert promote(place.result, "head", store=store).document.version == "11"
    (store.root / "head" / "12").mkdir()
    (sentence,) = [each.sentence for each in store.each() if isinstance(each, BadModel)]
    assert "lacks README.md, model.json, weights.safetensors" in sentence


def test_a_version_is_written_once(place, tmp_path):
    store = Store(root=tmp_path / "store")
    first = promote(place.result, "head", store=store)
    assert store.add(first.folder) == first
    with pytest.raises(BadModel, match="another model of the name head@1"):
        promote(place.result, "head", store=store, version="1", intended_use="Something else.")
    assert not [each for each in (store.root / "head").iterdir() if each.name.startswith(".")]


def test_a_model_that_is_taken_in_is_whole_and_the_same(place, tmp_path):
    store = Store(root=tmp_path / "other")
    kept = store.add(place.kept.folder)
    assert (kept.digest, kept.document) == (place.kept.digest, place.kept.document)
    assert kept.weights().made_for == place.kept.document.made_for


def test_a_link_is_no_model_and_none_is_followed(place, model_folder, tmp_path):
    store = Store(root=tmp_path / "store")
    (store.root / "linked").mkdir(parents=True)
    (store.root / "linked" / "1").symlink_to(place.kept.folder)
    assert store.versions("linked") == []
    with pytest.raises(BadModel, match="is no folder of a model"):
        read_model(store.root / "linked" / "1")
    (model_folder / "weights.safetensors").unlink()
    (model_folder / "weights.safetensors").symlink_to(place.kept.folder / "weights.safetensors")
    with pytest.raises(BadModel, match=r"weights\.safetensors of the model is a link"):
        store.add(model_folder)
    os.mkfifo(tmp_path / "pipe")
    (model_folder / "weights.safetensors").unlink()
    (tmp_path / "pipe").rename(model_folder / "weights.safetensors")
    with pytest.raises(BadModel, match="no plain file"):
        store.add(model_folder)


@pytest.mark.parametrize("name", ["modeling.py", "pytorch_model.bin", "weights.pkl", ".hidden", "sub"])
def test_anything_besides_the_three_files_is_refused(model_folder, tmp_path, name):
    (model_folder / name).mkdir() if name == "sub" else (model_folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(BadModel, match="and nothing else, no code and no pickle"):
        Store(root=tmp_path).add(model_folder)


@pytest.mark.parametrize("key", ["auto_map", "custom_code", "trust_remote_code"])
def test_a_description_that_asks_for_code_is_refused_by_that(model_folder, key):
    described(model_folder, **{key: {"AutoModel": "evil--code.Model"}})
    with pytest.raises(BadModel, match=f"asks for code to be run .{key}."):
        read_model(model_folder)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "holds no facts"),
        (b"{}", r"doesn't fit its schema raki\.model/1: "),
        (b" " * (17 << 20), "bytes; 16777216 are the most"),
    ],
)
def test_a_description_that_is_none_is_said_to_be_that(content, says):
    with pytest.raises(BadModel, match=says):
        parse_document(content)


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": "raki.model/2"},
        {"name": "../../etc"},
        {"version": "1/2"},
        {"unknown": 1},
        {"architecture": {"name": "resnet"}},
        {"scores": [{"name": "x", "value": float("nan"), "benchmark": ""}]},
        {"files": {"weights.safetensors": "ab", "README.md": "ab"}},
    ],
)
def test_a_description_with_other_facts_is_refused(model_folder, changed):
    described(model_folder, **changed)
    with pytest.raises(BadModel, match="doesn't fit its schema"):
        read_model(model_folder)


@pytest.mark.parametrize("name", ["weights.safetensors", "README.md"])
def test_a_file_that_changed_is_named(model_folder, name):
    with (model_folder / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BadModel, match=rf"{name} of head-6ch@1 is not what model.json says: its SHA-256"):
        read_model(model_folder)


def dropped(tensors, head):
    del tensors["image_0002"]


def added(tensors, head):
    tensors["image_0003"] = tensors["image_0002"]


def of_another_shape(tensors, head):
    tensors["image_0001"] = tensors["image_0001"][:, :-1].copy()


def of_another_type(tensors, head):
    tensors["image_0001"] = tensors["image_0001"].real.copy()


def not_finite(tensors, head):
    tensors["image_0001"][0, 0, 0, 0] = np.nan


def huge_kernel(tensors, head):
    head["kernels"]["image_0001"]["kernel"] = [10**9, 7]


def other_rung(tensors, head):
    head["kernels"]["image_0001"]["filled_by"] = "os.system"


def other_schema(tensors, head):
    head["schema"] = "raki.weights/1"


def no_facts(tensors, head):
    del head["made_for"]


def odd_strength(tensors, head):
    head["kernels"]["image_0001"]["strength"] = "1; import os"


def other_scan(tensors, head):
    head["made_for"]["n_readout"] = 50


def virtual_coils(tensors, head):
    head["n_virtual_coils"] = 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dropped, "has tensors 1 "),
        (added, "has tensors 3 "),
        (of_another_shape, r"is of shape .* is needed"),
        (of_another_type, "is float32 of 4 axes; complex64"),
        (not_finite, "values that are no numbers"),
        (huge_kernel, "a kernel of 1000000000 lines"),
        (other_rung, "was filled by 'os.system'"),
        (other_schema, r"is of schema 'raki\.weights/1'"),
        (no_facts, "lacks what filling needs"),
        (odd_strength, "where a number from 0 is needed"),
        (other_scan, "of another scan, method or seed"),
        (virtual_coils, "6 virtual coils"),
    ],
)
def test_weights_that_are_not_what_is_told_of_them_are_refused(model_folder, tmp_path, change, says):
    rewritten(model_folder, change)
    with pytest.raises(BadModel, match=says):
        Store(root=tmp_path).add(model_folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"\xff" * 64, (1 << 62).to_bytes(8, "little") + b"{}"])
def test_what_is_no_safetensors_is_refused_and_nothing_of_it_is_run(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadModel, match="the weights can't be used"):
        weights_of(path)


def test_the_schema_in_the_package_is_that_of_the_classes(place):
    assert stored_schema() == json_schema()
    keys = json.loads((place.kept.folder / "model.json").read_text()).keys()
    assert keys == stored_schema()["properties"].keys()


def test_the_card_says_what_a_person_asks_first(place):
    text = (place.kept.folder / "README.md").read_text()
    assert text.startswith('---\nlicense: "other"\nlibrary_name: raki\n')
    for said in (
        "# head-6ch 1",
        "6, decorrelated by noise",
        "| R | 3 |",
        "held_out_error",
        "Research use only",
        " T |",
    ):
        assert said in text
    assert place.kept.document.made_from[0].raw_sha256[:12] in text


def test_the_same_result_makes_the_same_model(place, tmp_path):
    again = promote(place.result, "head-6ch", store=Store(root=tmp_path))
    assert again.digest == place.kept.digest
