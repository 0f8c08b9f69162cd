"""Stored weights through the command line for other kinds of scans than a few slices: 3-D, slabs, slices at once."""

import json
from functools import partial

import h5py
import numpy as np
import pytest

from raki.errors import ModelMismatch, NoCalibration
from raki.phantom import simulate_multiband, simulate_scan, simulate_volume

SMALL = {"n_coils": 6, "matrix": 24}
COMMON = ("--device", "cpu", "--no-maps")


def volume(path, *, n_acs_lines, **changed):
    lattice = {"acceleration": (1, 2), "shift": 1, "n_partitions": 8}
    simulate_volume(path, n_acs=n_acs_lines, **{**SMALL, **lattice, **changed})


KINDS = {
    "3-D, a displaced lattice": (0.50, volume),
    "two slabs": (0.10, partial(volume, n_partitions=6, acceleration=(2, 1), shift=0, n_slabs=2, overlap=2, n_coils=4)),
    "three slices": (0.06, partial(simulate_scan, n_slices=3, acceleration=2, **SMALL)),
}
"""How to make one, and how far an image by the weights of its place may lie from that of the scan that they are of: of
its norm; what was measured, plus a third. That scan has its centre acquired, which is much of one so small."""
NOISE_LEVEL = {"first": 0.01, "second": 0.03}


@pytest.fixture
def reconstruct(run, tmp_path):
    def reconstruct(name, *options):
        code, _, said = run("reconstruct", tmp_path / f"{name}.h5", "-o", tmp_path / name, *COMMON, *options)
        return code, said

    return reconstruct


@pytest.fixture
def promoted(reconstruct, run, tmp_path):
    """Makes a model of a scan; gives the options by which it is named."""

    def promoted(name, method):
        code, said = reconstruct(name, "--weights", "--method", method)
        assert code == 0, said
        assert run("models", "promote", tmp_path / name, "place", "--store", tmp_path / "store")[0] == 0
        return "--model", "place", "--store", tmp_path / "store"

    return promoted


def model_of(folder):
    return json.loads((folder / "provenance.json").read_text())["model"]


def image_of(folder):
    with h5py.File(folder / "image.h5") as file:
        return np.asarray(file["dataset/image_0/data"], dtype=np.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_scan_without_calibration_lines_is_filled_by_the_weights_of_its_place(
    kind, reconstruct, promoted, tmp_path
):
    worst, make = KINDS[kind]
    for name, n_acs_lines in (("first", 16), ("second", 0)):
        make(tmp_path / f"{name}.h5", n_acs_lines=n_acs_lines, noise_level=NOISE_LEVEL[name])
    model = promoted("first", "grappa")
    code, said = reconstruct("second", *model)
    assert code == 0, said
    told = model_of(tmp_path / "second")
    assert told["n_used"] == told["n_images"] == len(told["images"]) > 1
    first, second = (image_of(tmp_path / name) for name in ("first", "second"))
    in_units_of_noise = NOISE_LEVEL["second"] / NOISE_LEVEL["first"]
    difference = np.linalg.norm(in_units_of_noise * second - first) / np.linalg.norm(first)
    assert difference < worst
    if make is volume:
        of_another_lattice_or_object(reconstruct, model, tmp_path)


def of_another_lattice_or_object(reconstruct, model, tmp_path):
    for name, changed in (("straight", {"shift": 0}), ("another", {"seed": 5})):
        volume(tmp_path / f"{name}.h5", n_acs_lines=0, noise_level=NOISE_LEVEL["first"], **changed)
    code, said = reconstruct("straight", *model)
    assert (code, "ModelMismatch: " in said) == (ModelMismatch.exit_code, True)
    code, said = reconstruct("another", *model)
    assert (code, "The stored weights don't hold here" in said) == (NoCalibration.exit_code, True)
    assert not [name for name in ("straight", "another") if (tmp_path / name).exists()]


def test_slices_excited_at_once_bring_their_own_calibration_which_is_never_made_worse(reconstruct, promoted, tmp_path):
    """Taken apart by a reference they are, and that calibrates them; what is stored has to predict them better."""
    sums = partial(simulate_multiband, n_slices=2, caipi_shift=2, n_coils=12, matrix=32, acceleration=2)
    sums(tmp_path / "first.h5", n_acs_lines=24)
    sums(tmp_path / "second.h5", n_acs_lines=12, noise_level=0.04)
    code, said = reconstruct("second", *promoted("first", "grappa"))
    assert code == 0, said
    told = model_of(tmp_path / "second")
    assert told["n_images"] == 2
    for each in told["images"]:
        assert each["used"] == (each["judged"] < each["own_judged"])


def test_slices_excited_at_once_without_a_reference_are_not_simulated(run, tmp_path):
    code, _, said = run("simulate", tmp_path / "a.h5", "--multiband", 2, "--acs", 0)
    assert code == 2
    assert "told apart by a reference" in said
    assert not list(tmp_path.iterdir())
