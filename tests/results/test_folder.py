"""A result's folder is whole, and its provenance says how it came about."""

import dataclasses
import json
import math
import re
from datetime import datetime

import h5py
import ismrmrd
import nibabel
import numpy as np
import pytest

import raki.results.provenance
from raki.formats import read_scan
from raki.images import reconstruct
from raki.kspace import EXPLANATION_PARTS
from raki.kspace.method import TrainingPoint
from raki.options import choose
from raki.prepare.preparation import preprocess
from raki.results.folder import Source, write_results
from raki.results.provenance import provenance
from raki.scan import Frame
from tests.results.example_reconstruction import WARNING, example_reconstruction

NAME = "Müller^Anna 1971/head.h5"
SOURCE = Source(name=NAME, sha256="cd" * 32, n_bytes=98765)


def write(folder, **changes):
    reconstruction = dataclasses.replace(example_reconstruction(notes=("A note.",)), **changes)
    return write_results(reconstruction, folder, source=SOURCE, scan_id="7f3a", stage_seconds={"decompress": 1.25})


def strict_json(text):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_files_come_in_order_into_a_folder_that_is_made(tmp_path):
    paths = write(tmp_path / "scan")
    assert [path.name for path in paths] == [
        "image.h5",
        "image.nii.gz",
        "image.dcm",
        "g_factor.nii.gz",
        "standard_error.nii.gz",
        "structure_kept.nii.gz",
        "preview.png",
        "catalogue.jsonl",
        "report.html",
        "provenance.json",
    ]
    assert sorted([*paths, tmp_path / "scan/manifest.json"]) == sorted((tmp_path / "scan").iterdir())


def test_ismrmrd_and_nifti_hold_the_same_images(tmp_path):
    image, nifti, *_ = write(tmp_path)
    expected = example_reconstruction().result
    np.testing.assert_array_equal(np.asarray(nibabel.load(nifti).dataobj).transpose(2, 1, 0), expected)
    with ismrmrd.Dataset(image, mode="r") as dataset:
        slices = [dataset.read_image("image_0", index).data[0, 0] for index in range(len(expected))]
    np.testing.assert_array_equal(np.stack(slices), expected)


@pytest.mark.parametrize(("prewhitened", "unit"), [(True, "noise SD of one coil"), (False, "arbitrary unit")])
def test_the_images_say_their_unit(tmp_path, prewhitened, unit):
    scan = dataclasses.replace(example_reconstruction().scan, prewhitened=prewhitened)
    nifti = write(tmp_path, scan=scan)[1]
    assert unit in bytes(nibabel.load(nifti).header["descrip"]).decode()


def test_the_files_name_stands_in_the_report_and_nowhere_else(tmp_path):
    holders = {path.name for path in write(tmp_path) if NAME.encode() in path.read_bytes()}
    assert holders == {"report.html"}
    assert b"ller" not in (tmp_path / "provenance.json").read_bytes()


def test_provenance_has_the_documented_keys_and_the_facts(tmp_path):
    facts = strict_json(write(tmp_path)[-1].read_text())
    documented = re.findall(r"^    ([a-z]\w+(?:, \w+)*)(?:  |$)", raki.results.provenance.__doc__, re.MULTILINE)
    assert set(facts) == {key for keys in documented for key in keys.split(", ")}
    assert facts["schema"] == "raki.provenance/1"
    assert facts["input"] == {"sha256": "cd" * 32, "n_bytes": 98765}
    assert (facts["scan_id"], facts["method"], facts["seed"], facts["device"]) == ("7f3a", "raki", 3, "cpu")
    assert facts["scan"]["acceleration"] == 4
    assert facts["scan"]["n_acquired_lines"] == 14
    assert facts["scan"]["acs_lines"] == [12, 20]
    assert list(facts["seconds"]) == ["decompress", "zero_filled", "grappa", "raki"]
    assert facts["training"]["last_step"] == 190
    assert facts["notes"][-1] == "A note."
    assert facts["software"]["numpy"] == np.__version__
    assert datetime.fromisoformat(facts["created_utc"]).utcoffset().total_seconds() == 0


def test_options_and_who_set_them_stand_in_provenance_and_report(tmp_path):
    chosen = choose({"deployment": {"method": "grappa", "maps": False}, "raki.toml": {"method": "raki", "seed": 3}})
    *_, report, provenance_json = write_results(example_reconstruction(), tmp_path, source=SOURCE, chosen=chosen)
    assert strict_json(provenance_json.read_text())["options"] == {
        "method": {"value": "raki", "set_by": "raki.toml"},
        "combine": {"value": "rss", "set_by": "default"},
        "coils": {"value": 0, "set_by": "default"},
        "seed": {"value": 3, "set_by": "raki.toml"},
        "maps": {"value": False, "set_by": "deployment"},
        "quantities": {"value": False, "set_by": "default"},
        "kspace": {"value": False, "set_by": "default"},
        "explain": {"value": False, "set_by": "default"},
        "weights": {"value": False, "set_by": "default"},
        "model": {"value": "none", "set_by": "default"},
        "mismatch": {"value": "refuse", "set_by": "default"},
    }
    by_default = (
        "combine rss, coils 0, weights no, quantities no, kspace no, explain no, model none, mismatch refuse (default)"
    )
    assert f"method raki, seed 3 (raki.toml); {by_default}; maps no (deployment)" in report.read_text()
    *_, report, provenance_json = write_results(example_reconstruction(), tmp_path, source=SOURCE)
    assert strict_json(provenance_json.read_text())["options"] is None
    assert "who set them" not in report.read_text()


def test_provenance_is_json_whatever_the_training_gave(tmp_path):
    point = TrainingPoint(step=1, training_loss=math.nan, validation_loss=math.inf)
    facts = strict_json(write(tmp_path / "unmeasured", training_curve=(point,))[-1].read_text())
    assert facts["training"] == {"n_points": 1, "last_step": 1, "training_loss": None, "validation_loss": None}
    assert strict_json(write(tmp_path / "untrained", training_curve=())[-1].read_text())["training"] is None


def test_writing_twice_leaves_what_writing_once_does(tmp_path):
    for _ in range(2):
        image, *_ = write(tmp_path)
    with ismrmrd.Dataset(image, mode="r") as dataset:
        assert dataset.number_of_images("image_0") == 3
    assert len(list(tmp_path.iterdir())) == 11


def test_maps_lie_on_the_pixels_of_the_image(tmp_path):
    example = example_reconstruction(with_explanation=True)
    files = {
        path.name: nibabel.load(path)
        for path in write(tmp_path, explanation=example.explanation)
        if path.suffix == ".gz"
    }
    assert set(EXPLANATION_PARTS) <= {name.removesuffix(".nii.gz") for name in files}
    for name, volume in (*example.maps.items(), *example.explanation.items()):
        written = files[f"{name}.nii.gz"]
        np.testing.assert_array_equal(np.asarray(written.dataobj).transpose(2, 1, 0), volume)
        np.testing.assert_array_equal(written.affine, files["image.nii.gz"].affine)
        assert name in bytes(written.header["descrip"]).decode()


def test_provenance_sums_up_the_verdict_and_the_g_factor(tmp_path):
    facts = strict_json(write(tmp_path)[-1].read_text())
    assert facts["verdict"]["n_slices_by_choice"] == {"raki_linear": 2, "grappa": 1}
    assert facts["verdict"]["grappa_held_out_error"] == 3.4
    assert facts["verdict"]["warnings"] == [WARNING]
    assert 1 <= facts["g_factor"]["median"] <= facts["g_factor"]["percentile_99"] <= 3


def test_the_g_factor_is_that_inside_the_object(tmp_path):
    """A bright disc with a g-factor of 2 in a background of 50."""
    rows, columns = np.ogrid[:32, :40]
    disc = np.broadcast_to((rows - 16) ** 2 + (columns - 20) ** 2 < 100, (3, 32, 40))
    image, g_factor = (np.where(disc, *values).astype(np.float32) for values in ((1, 0), (2, 50)))
    inner = np.where((rows - 16) ** 2 + (columns - 20) ** 2 < 196, 2, g_factor).astype(np.float32)
    facts = strict_json(
        write(tmp_path, images={"grappa": image, "raki": image}, maps={"g_factor": inner})[-1].read_text()
    )
    assert facts["g_factor"] == {"median": 2.0, "percentile_99": 2.0}


def test_provenance_is_json_whatever_the_verdict_could_not_tell(tmp_path):
    known = example_reconstruction().cross_validation
    unknown = dataclasses.replace(known, held_out_error=math.nan, grappa_held_out_error=None)
    facts = strict_json(write(tmp_path / "unjudged", cross_validation=unknown)[-1].read_text())
    assert (facts["verdict"]["held_out_error"], facts["verdict"]["grappa_held_out_error"]) == (None, None)
    facts = strict_json(write(tmp_path / "without", cross_validation=None, maps={})[-1].read_text())
    assert (facts["verdict"], facts["g_factor"]) == (None, None)


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    def missing(package):
        raise raki.results.provenance.PackageNotFoundError(package)

    monkeypatch.setattr(raki.results.provenance, "version", missing)
    facts = provenance(example_reconstruction(), sha256="", n_bytes=0, scan_id=None, stage_seconds={})
    assert facts["software"]["raki"] == "not installed as a package"


def again_at_half(raw, path):
    """The scan with every image line recorded twice, the second time as contrast 3 and half as bright."""
    path.write_bytes(raw.read_bytes())
    with h5py.File(path, "r+") as file:
        acquisitions = file["dataset/data"][:]
        again = acquisitions[acquisitions["head"]["flags"] & np.uint64(1 << 18) == 0].copy()
        again["head"]["idx"]["contrast"] = 2
        for index, samples in enumerate(again["data"]):
            again["data"][index] = samples / 2
        both = np.concatenate([again, acquisitions])
        file["dataset/data"].resize(len(both), axis=0)
        file["dataset/data"][:] = both
    return path


def test_two_contrasts_of_a_raw_scan_come_out_as_two_frames_of_one_volume(raw, tmp_path):
    twice = again_at_half(raw, tmp_path / "twice.h5")
    for name, path in (("one", raw), ("two", twice)):
        found = reconstruct(preprocess(read_scan(path)), method="grappa", device="cpu")
        write_results(found, tmp_path / name, source=SOURCE)
    one, two = (nibabel.load(tmp_path / name / "image.nii.gz") for name in ("one", "two"))
    assert (one.shape, two.shape) == ((32, 32, 2), (32, 32, 2, 2))
    np.testing.assert_array_equal(two.affine, one.affine)
    first, second = np.moveaxis(np.asarray(two.dataobj), -1, 0)
    np.testing.assert_array_equal(first, np.asarray(one.dataobj))
    np.testing.assert_allclose(second, first / 2, rtol=1e-3)
    with ismrmrd.Dataset(tmp_path / "two" / "image.h5", mode="r") as dataset:
        images = [dataset.read_image("image_0", index) for index in range(4)]
    assert [(image.contrast, image.slice) for image in images] == [(0, 0), (0, 1), (2, 0), (2, 1)]
    for image, other in zip(images[:2], images[2:], strict=True):
        np.testing.assert_array_equal(image.position, other.position)
    facts = strict_json((tmp_path / "two" / "provenance.json").read_text())
    assert facts["scan"]["n_slices"] == 2
    assert [frame["contrast"] for frame in facts["scan"]["frames"]] == [0, 2]
    assert "2 contrasts" in (tmp_path / "two" / "report.html").read_text()


def test_maps_of_several_frames_lie_on_the_pixels_of_the_images(tmp_path):
    frames = tuple(Frame(repetition=repetition) for repetition in range(4))
    example = example_reconstruction(frames=frames)
    write_results(example, tmp_path, source=SOURCE)
    image = nibabel.load(tmp_path / "image.nii.gz")
    for name, volume in example.maps.items():
        written = nibabel.load(tmp_path / f"{name}.nii.gz")
        assert written.shape == image.shape == (40, 32, 3, 4)
        np.testing.assert_array_equal(written.affine, image.affine)
        np.testing.assert_array_equal(np.asarray(written.dataobj)[..., 2].T, volume[6:9])
