"""Simulated objects are what they are said to be: fully sampled, as noisy as asked, with structures of some pixels."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.ablation import VARIANTS
from benchmarks.objects import GREY, OBJECTS, line_pairs, simulated_scan, simulated_scans, vessels, zone_plate
from raki.coils.combination import root_sum_of_squares
from raki.images.metrics import object_mask
from raki.scan.fourier import to_image


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_is_a_full_scan_with_the_noise_that_was_asked_for(name):
    noisy, clean = (simulated_scan(name, n_coils=3, matrix=64, snr=snr) for snr in (20, 1e6))
    assert noisy.kspace.shape == (1, 3, 64, 64)
    assert noisy.kspace.dtype == torch.complex64
    assert (noisy.kspace.abs().sum(dim=(1, 3)) > 0).all()
    images = [root_sum_of_squares(to_image(scan.kspace[0])) for scan in (noisy, clean)]
    inside = object_mask(images[1])
    assert 0.3 < inside.float().mean() < 0.7, "air around it, and not too much"
    noise = (noisy.kspace - clean.kspace).abs().square().mean().sqrt() / 2**0.5
    assert float(images[1][inside].mean() / noise) == pytest.approx(20, rel=0.05)


def test_every_setting_is_simulated_under_a_name_of_its_own():
    scans = simulated_scans([2, 3], [32], [20.0, 60.0])
    assert len({scan.name for scan in scans}) == len(scans) == 4 * len(OBJECTS)
    assert torch.equal(scans[0].kspace, simulated_scan("head", n_coils=2, matrix=32, snr=20).kspace)
    with pytest.raises(ValueError, match="no object 'foot'"):
        simulated_scan("foot")


def test_quality_takes_simulated_objects_in_place_of_scans(tmp_path):
    options = ["--method", "zero_filled", "-R", "2", "--acs", "12", "--coils", "2", "--matrix", "32", "--snr", "40"]
    result = CliRunner().invoke(app, ["quality", "--simulated", *options, "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    measurements = json.loads((tmp_path / "quality.json").read_text())["measurements"]
    assert {one["case"]["scan"] for one in measurements} == {f"{name}_2coils_32_snr40" for name in OBJECTS}


SMALL = ["--simulated", "-R", "2", "--acs", "12", "--coils", "4", "--matrix", "48", "--snr", "40"]


def record_of(command, folder):
    result = CliRunner().invoke(app, [command, *SMALL, "-o", str(folder)])
    assert result.exit_code == 0, result.output
    return json.loads((folder / f"{command}.json").read_text())


def test_the_ablation_has_every_rung_beside_tuned_grappa(tmp_path):
    found = record_of("ablation", tmp_path)
    by_name = {one["method"]: one for one in found["aggregates"] if one["accelerations"] == "all"}
    assert set(by_name) == set(VARIANTS)
    *_, linear, strongest, raki = (by_name[name]["geometric_mean"] for name in VARIANTS)
    assert raki < linear
    kept = {name: [] for name in VARIANTS}
    for one in found["measurements"]:
        if one["method"] in kept:
            kept[one["method"]].append(one["scores"]["kept"])
    means = {name: np.mean(parts) for name, parts in kept.items()}
    assert all(0.5 < mean <= 1 for mean in means.values())
    *_, of_strongest, of_raki = means.values()
    assert of_strongest <= of_raki
    assert strongest > 0


def test_coverage_judges_the_whole_object_and_the_structures_that_it_puts_in(tmp_path):
    found = record_of("coverage", tmp_path)
    assert found["summary"]["n_cases"] == len(OBJECTS)
    for one in found["coverage"]:
        assert 0.9 < one["share"] <= 1
        assert 0.5 < one["share_of_features"] <= 1
        assert 0 < one["error_over_standard_error"] < 1.5
    assert found["summary"]["least_of_features"] == min(one["share_of_features"] for one in found["coverage"])


def test_bars_are_two_pixels_wide_and_two_apart():
    picture = line_pairs(64, 0)
    bright = picture[32] > GREY
    widths = np.diff(np.flatnonzero(np.diff(bright.astype(int))))
    assert len(widths) > 8
    assert set(widths[:7]) == {2}
    assert picture.max() == 1


def test_rings_reach_the_finest_grating_at_the_border():
    radii = zone_plate(128, 0)[64, 64:]
    signs = np.sign(np.diff(radii[: int(0.38 * 128)]))
    extrema = np.flatnonzero(signs[1:] != signs[:-1])
    assert np.diff(extrema)[0] > 3
    assert np.diff(extrema)[-5:].mean() < 1.5


def test_vessels_are_bright_and_thin():
    picture = vessels(128, 0)
    share = (picture > 0.7).sum() / (picture > 0).sum()
    assert 0.02 < share < 0.2
    assert not np.array_equal(picture, vessels(128, 1))
