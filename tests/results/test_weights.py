"""`weights.safetensors` holds the kernels that filled the images: who has the file can fill a slice again with them."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import raki
from raki.kspace import KernelWeights, complete
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.points import gathered
from raki.phantom.phantom import phantom_kspace
from raki.planning import Cell
from raki.results import Source, write_results
from raki.results.reproduction import differences
from raki.results.weights import read_weights, write_weights
from tests.results.example_reconstruction import example_reconstruction

SOURCE = Source(name="scan.h5", sha256="ab", n_bytes=1)


@pytest.fixture(scope="module")
def undersampled():
    """Two slices of 4 coils and 48 lines, R = 3, and which lines were acquired."""
    kspace = phantom_kspace(n_slices=2, n_coils=4, matrix=48)
    acquired = np.zeros(48, dtype=bool)
    acquired[1::3] = acquired[14:34] = True
    return torch.from_numpy(kspace * acquired[:, None]), acquired


@pytest.fixture(scope="module")
def filled_by(undersampled):
    """By method: the filled slices and the weights."""
    return {
        name: complete(undersampled[0], name, device="cpu", with_weights=True)
        for name in ("grappa", "raki_linear", "raki")
    }


def a_result(weights, **changed):
    return replace(example_reconstruction(n_slices=2), weights=weights, **changed)


@pytest.mark.parametrize("method", ["grappa", "raki_linear"])
def test_a_missing_sample_is_the_sum_of_its_neighbours_times_the_weights(undersampled, filled_by, method, tmp_path):
    filled, report = filled_by[method]
    (path,) = write_weights(a_result(report.weights), tmp_path / "weights.safetensors")
    weights, head = read_weights(path)
    kspace, acquired = undersampled
    assert list(weights) == ["image_0001", "image_0002"]
    for index, (name, kernel) in enumerate(weights.items()):
        place = np.array((37, 20))  # on the last acquired line before the gap of lines 38 and 39
        assert acquired[37]
        assert not acquired[38]
        lines, samples = (place + head["kernels"][name]["sources"]).T
        made = np.einsum("cs,csdm->dm", kspace[index][:, lines, samples].numpy(), kernel)
        lines, samples = (place + head["kernels"][name]["missing"]).T
        assert lines.tolist() == [38, 39]
        np.testing.assert_allclose(made, filled[index][:, lines, samples], rtol=2e-3, atol=1e-4)


def test_of_a_3d_scan_the_weights_are_those_of_points_in_a_plane(tmp_path):
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn((4, 24, 24), generator=generator, dtype=torch.complex64)
    cell = Cell(n_pe=2, n_pe2=2, shift=1)
    filling = calibrated_grappa(plane, cell)
    some = a_result((KernelWeights.of(filling, cell, "grappa"),))
    some = replace(some, scan=replace(some.scan, points=np.ones((32, 24), dtype=bool)))
    (path,) = write_weights(some, tmp_path / "weights.safetensors")
    weights, head = read_weights(path)
    place = torch.tensor([[12, 10]])
    expected = filling.fit.predict(gathered(plane, place, cell.taps(filling.kernel)).flatten(1)).unflatten(1, (4, 3))[0]
    rows, columns = (place.numpy() + head["kernels"]["plane_0001"]["sources"]).T
    made = np.einsum("cs,csdm->dm", plane[:, rows, columns].numpy(), weights["plane_0001"])
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)
    assert head["kernels"]["plane_0001"]["missing"] == [[0, 1], [1, 0], [1, 1]]


def test_a_file_says_which_rung_filled_each_image_and_the_same_weights_are_the_same_bytes(filled_by, tmp_path):
    weights = filled_by["raki"][1].weights
    (path,) = write_weights(a_result(weights), tmp_path / "one.safetensors")
    (again,) = write_weights(a_result(weights), tmp_path / "two.safetensors")
    head = read_weights(path)[1]
    assert path.read_bytes() == again.read_bytes()
    assert (head["schema"], head["method"]) == ("raki.weights/2", "raki")
    assert {facts["filled_by"] for facts in head["kernels"].values()} <= {"grappa", "raki_linear", "raki"}


def test_weights_are_kept_only_where_they_were_asked_for_and_a_kernel_filled(undersampled, tmp_path):
    kspace, _ = undersampled
    assert complete(kspace[:1], "grappa", device="cpu")[1].weights == ()
    assert complete(kspace[:1], "zero_filled", device="cpu", with_weights=True)[1].weights == ()
    assert write_weights(example_reconstruction(), tmp_path / "weights.safetensors") == []
    assert not list(tmp_path.iterdir())


def test_the_manifest_has_their_digest_and_a_run_without_them_leaves_none_behind(filled_by, tmp_path):
    weights = filled_by["grappa"][1].weights
    written = write_results(a_result(weights), tmp_path, source=SOURCE)
    path = tmp_path / "weights.safetensors"
    assert path in written
    files = {file["name"]: file["sha256"] for file in json.loads((tmp_path / "manifest.json").read_text())["files"]}
    assert files[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "manifest.json").unlink()
    write_results(example_reconstruction(n_slices=2), tmp_path, source=SOURCE)
    assert not path.exists()


def test_a_weight_that_changed_is_named_by_its_image(filled_by, tmp_path):
    first, second = filled_by["grappa"][1].weights
    coefficients = second.coefficients.clone()
    coefficients[3, 1] += 1e-6j
    runs = {"then": (first, second), "now": (first, replace(second, coefficients=coefficients)), "fewer": (first,)}
    for name, weights in runs.items():
        (tmp_path / name).mkdir()
        write_weights(a_result(weights), tmp_path / name / "weights.safetensors")
    assert differences(tmp_path / "then", tmp_path / "then") == {"weights.safetensors": ""}
    (said,) = differences(tmp_path / "then", tmp_path / "now").values()
    assert said.startswith(f"image_0002: 1 of {coefficients.numel()} values, by ")
    assert differences(tmp_path / "then", tmp_path / "fewer") == {"weights.safetensors": "image_0002 only then"}


def test_what_is_no_file_of_weights_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\0" * 20)
    with pytest.raises(ValueError, match=r"weights\.safetensors holds no weights"):
        read_weights(path)


def test_weights_come_with_the_reconstruction_that_was_asked_for_them(tmp_path):
    raki.simulate_scan(tmp_path / "scan.h5", n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    scan = raki.preprocess(raki.read_scan(tmp_path / "scan.h5"))
    (weights,) = raki.reconstruct(scan, method="raki_linear", device="cpu", with_weights=True).weights
    assert weights.targets.tolist() == [[1, 0]]
    assert weights.coefficients.shape[1] == 4
    assert raki.reconstruct(scan, method="raki_linear", device="cpu").weights == ()
