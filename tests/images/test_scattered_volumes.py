"""3-D scans whose points lie at random, from the raw file to slices and a report, against what the phantom is."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from raki.cli import app
from raki.errors import UnsupportedScan
from raki.formats import read_scan
from raki.images import reconstruct
from raki.images.calibration import calibration_of
from raki.images.metrics import nmse, object_mask
from raki.inspection.inspection import inspect
from raki.phantom import simulate_volume
from raki.prepare import prepare, preprocess
from raki.scan import Frame
from raki.scan.prepared import open_prepared

N, PARTITIONS, COILS = 24, 24, 5
SIZE = {"n_partitions": PARTITIONS, "n_coils": COILS, "matrix": N, "n_acs": 8, "noise_level": 0.02}


def simulated(path, **others):
    simulate_volume(path, **SIZE, acceleration=(2, 1), at_random=True, **others)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("random")


@pytest.fixture(scope="module")
def truth(folder):
    simulate_volume(folder / "full.h5", **SIZE, acceleration=(1, 1))
    return reconstruct(preprocess(read_scan(folder / "full.h5")), method="zero_filled", device="cpu").result


@pytest.fixture(scope="module")
def raw(folder):
    return simulated(folder / "raw.h5")


@pytest.fixture(scope="module")
def frames(folder):
    return simulated(folder / "frames.h5", n_frames=2)


def error(images, truth):
    found, true = torch.from_numpy(images.copy()), torch.from_numpy(truth.copy())
    return float(nmse(found, true, object_mask(true)))


def test_they_are_filled_and_the_report_says_by_what(raw, truth, folder):
    ran = CliRunner().invoke(
        app, ["reconstruct", str(raw), "-o", str(folder / "out"), "--method", "grappa", "--no-maps"]
    )
    assert ran.exit_code == 0, ran.output
    facts = json.loads((folder / "out/provenance.json").read_text(encoding="utf-8"))
    scattered = facts["scattered"]
    assert set(scattered["n_by_filling"]) <= {"spirit", "spirit_sparse", "zeros"}
    assert sum(scattered["n_by_filling"].values()) == N
    assert 0 < scattered["held_out_error"] <= scattered["linear_held_out_error"] < 1
    assert facts["scan"]["acceleration_by_direction"] is None
    assert facts["scan"]["acs_block"][1] - facts["scan"]["acs_block"][0] >= 8
    report = (folder / "out/report.html").read_text(encoding="utf-8")
    assert "SPIRiT filled in those between them" in report
    assert "(points on no lattice)" in report
    assert f'viewBox="0 0 {N} {PARTITIONS}"' in report


def test_each_rung_is_nearer_to_the_truth(raw, truth):
    made = reconstruct(preprocess(read_scan(raw)), device="cpu", with_maps=False)
    errors = [error(made.images[name], truth) for name in ("zero_filled", "grappa", "raki")]
    assert errors[1] < 0.5 * errors[0]
    assert errors[2] < 1.05 * errors[1]


def test_each_frame_is_filled_from_its_own_points(frames, truth, folder):
    scan = preprocess(read_scan(frames))
    assert scan.sampled_by_frame.shape == (2, N, PARTITIONS)
    assert (scan.sampled_by_frame[0] != scan.sampled_by_frame[1]).any()
    made = reconstruct(scan, method="grappa", device="cpu", with_maps=False)
    for frame in range(2):
        shown = (volume[frame * PARTITIONS : (frame + 1) * PARTITIONS] for volume in made.images.values())
        zeros, spirit = (error(volume, truth) for volume in shown)
        assert spirit < 0.5 * zeros
    assert "Each of 2 frames was filled from its own points" in " ".join(made.notes)
    prepare([frames], folder / "prepared.h5")
    with open_prepared(folder / "prepared.h5") as prepared:
        np.testing.assert_array_equal(prepared.sampled_by_frame, scan.sampled_by_frame)
        np.testing.assert_array_equal(prepared.in_memory().kspace, scan.in_memory().kspace)
        np.testing.assert_array_equal(prepared.lines_of(N), scan.sampled_by_frame[1])


def test_frames_without_a_block_are_calibrated_on_their_mean(frames):
    scan = preprocess(read_scan(frames)).in_memory()
    assert calibration_of(scan) == (None, ())
    masks = scan.sampled_by_frame.copy()
    masks[0, ::2], masks[1, 1::2] = False, False
    kspace = scan.kspace.reshape(2, N, COILS, N, PARTITIONS) * masks[:, None, None]
    fields = {**vars(scan), "sampled_by_frame": masks, "sampled": masks.any(axis=0)}
    halves = type(scan)(**fields | {"kspace": kspace.reshape(scan.kspace.shape)})
    acs, said = calibration_of(halves)
    assert "calibrated on the mean over the frames" in said[0]
    n_lines, n_points = acs.shape[2:]
    lines, columns = (slice(n // 2 - 4, n // 2 + 4) for n in (N, PARTITIONS))
    assert min(n_lines, n_points) >= 8
    counts = masks[:, lines, columns].sum(axis=0)
    wanted = kspace[:, 9, :, lines, columns].sum(axis=0) / counts
    found = [
        np.allclose(acs[9][:, row : row + 8, column : column + 8], wanted, rtol=1e-4)
        for row in range(n_lines - 7)
        for column in range(n_points - 7)
    ]
    assert any(found)


def test_a_frame_with_a_block_is_calibrated_on_it_and_lends_it_to_those_without(frames):
    """Contrasts may cancel in a mean: an inversion and what follows it have opposite signs."""
    scan = preprocess(read_scan(frames)).in_memory()
    masks = scan.sampled_by_frame.copy()
    masks[1, ::2] = False
    kspace = scan.kspace.reshape(2, N, COILS, N, PARTITIONS) * masks[:, None, None]
    kspace[1] *= -1
    contrasts = (Frame(contrast=0), Frame(contrast=1))
    fields = {**vars(scan), "sampled_by_frame": masks, "sampled": masks.any(axis=0), "frames": contrasts}
    acs, said = calibration_of(type(scan)(**fields | {"kspace": kspace.reshape(scan.kspace.shape)}))
    assert len(acs) == 2 * N
    np.testing.assert_array_equal(acs[N + 9], acs[9])
    assert np.isin(acs[9], kspace[0, 9]).all()
    assert (
        "1 of 2 frames have no block to calibrate on: they are calibrated on those of a frame that has them" in said[0]
    )


def test_each_frame_that_has_the_block_keeps_its_own(frames):
    """Of a series whose third frame lacks it: the second isn't calibrated on the first, and the third is."""
    scan = preprocess(read_scan(frames)).in_memory()
    masks = np.concatenate([scan.sampled_by_frame, scan.sampled_by_frame[:1]])
    masks[2, ::2] = False
    masks[1] = masks[0]
    kspace = np.concatenate([scan.kspace[:N], 2 * scan.kspace[:N], 3 * scan.kspace[:N] * masks[2]])
    series = tuple(Frame(repetition=n) for n in range(3))
    fields = {**vars(scan), "sampled_by_frame": masks, "sampled": masks.any(axis=0), "frames": series}
    acs, _ = calibration_of(type(scan)(**fields | {"kspace": kspace}))
    np.testing.assert_array_equal(acs[N + 9], 2 * acs[9])
    np.testing.assert_array_equal(acs[2 * N + 9], acs[9])


def test_the_file_is_inspected(raw, frames):
    for file in (raw, frames):  # of the first frame, where frames differ
        found = inspect([file], device="cpu")
        assert found.feasibility.reconstructable
        assert "can be filled in by SPIRiT" in found.feasibility.sentence
        assert found.phase_encoding.partitions.accelerations is None
        usable = {each.method for each in found.feasibility.methods if each.usable}
        assert usable == {"zero_filled", "grappa", "raki_linear", "raki"}
        ran = CliRunner().invoke(app, ["inspect", str(file)])
        assert "on no lattice, R=" in ran.output


def test_too_few_points_are_refused_with_their_numbers(raw):
    scan = preprocess(read_scan(raw)).in_memory()
    sampled = np.zeros((N, PARTITIONS), bool)
    sampled[10:14, 10:14] = sampled[0, 0] = sampled[0, -1] = sampled[-1, 0] = sampled[-1, -1] = sampled[3, 9] = True
    with pytest.raises(UnsupportedScan, match="21 of 576 points were acquired"):
        reconstruct(type(scan)(**{**vars(scan), "sampled": sampled}), device="cpu")


def test_the_command_line_simulates_them(tmp_path):
    size = ["--partitions", "16", "--coils", "4", "--matrix", "32", "--acs", "8", "-R", "2", "--along-partitions", "2"]
    ran = CliRunner().invoke(app, ["simulate", str(tmp_path / "a.h5"), *size, "--random", "--frames", "2"])
    assert ran.exit_code == 0, ran.output
    scan = read_scan(tmp_path / "a.h5")
    assert len(scan.frames) == 2
    assert scan.sampled_by_frame is not None
    alone = CliRunner().invoke(app, ["simulate", str(tmp_path / "b.h5"), "--random"])
    assert alone.exit_code == 2
    assert "--partitions" in alone.output
