"""The benchmark's own arithmetic: a wrong yardstick flatters every method. No time is judged here."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import bart, models, multiband_epi, opponents, peers, speed, starts, volumes
from benchmarks.__main__ import app
from benchmarks.burst import idle_share
from benchmarks.filling import TunedFill, settled
from benchmarks.gpu import combine
from benchmarks.plots import why_no_plot
from benchmarks.probe import measure
from benchmarks.ratios import TUNED, Case, Measurement, aggregates, pairs
from benchmarks.scans import even_slices, find_scans, load_scan
from benchmarks.synthetic import noisy_slices
from benchmarks.tuned import KERNELS, RIDGES, every_setting, tuned_grappa
from benchmarks.undersampling import Undersampling
from raki.coils.combination import root_sum_of_squares
from raki.errors import UnsupportedScan
from raki.images.metrics import nmse, object_mask
from raki.kspace.sampling import find_sampling
from raki.phantom.phantom import phantom_planes
from raki.phantom.volume import sampled_points
from raki.planning import find_point_sampling
from raki.scan.fourier import to_image


@pytest.fixture(scope="module")
def full():
    return torch.from_numpy(np.stack(list(noisy_slices(1, 4, 40))))


@pytest.fixture
def folder(tmp_path, full):
    """A scan among files that are none."""
    kspace = full.numpy()
    np.save(tmp_path / "head.npy", kspace)
    np.save(tmp_path / "head_noise.npy", kspace)
    np.save(tmp_path / "short.npy", kspace[:, :, :24])
    np.save(tmp_path / "one_slice.npy", kspace[0])
    np.save(tmp_path / "undersampled.npy", kspace * (np.arange(40) % 2)[:, None].astype(np.complex64))
    np.save(tmp_path / "cut.npy", kspace * (np.arange(40) > 3).astype(np.complex64))
    (tmp_path / "text.h5").write_text("no scan")
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def record(folder, command):
    """The JSON file of a command; its plot has to lie beside it wherever one can be drawn."""
    plot = folder / f"{command}.png"
    if not why_no_plot():
        assert plot.read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / f"{command}.json").read_text())


@given(st.integers(32, 80), st.integers(2, 6), st.integers(8, 16), st.none() | st.integers(0, 7))
def test_masks_are_a_lattice_and_a_block_as_the_library_finds_them(n_pe, acceleration, n_acs_lines, offset):
    lines = Undersampling(n_pe=n_pe, acceleration=acceleration, n_acs_lines=n_acs_lines, offset=offset)
    expected = (n_pe // 2 if offset is None else offset) % acceleration
    assert lines.sampled[expected::acceleration].all()
    found = find_sampling(lines.sampled)
    assert (found.acceleration, found.offset) == (acceleration, expected)
    assert found.acs_lines == (lines.calibration_lines.start, lines.calibration_lines.stop)
    assert n_acs_lines <= found.n_acs_lines <= n_acs_lines + 2
    off_lattice = torch.arange(n_pe) % acceleration != expected
    outside = (torch.arange(n_pe) - n_pe // 2 + 0.5).abs() > n_acs_lines / 2 + 1
    assert not lines.sampled[off_lattice & outside].any()


def test_combinations_without_enough_lines_or_coils_are_left_out():
    def refusal(n_pe=64, acceleration=4, n_acs_lines=24, n_coils=8):
        return Undersampling(n_pe=n_pe, acceleration=acceleration, n_acs_lines=n_acs_lines).refusal(n_coils)

    assert not refusal()
    assert "more than half of 40 lines" in refusal(n_pe=40)
    assert "R=4 is more than 2 coils" in refusal(n_coils=2)


def test_only_fully_sampled_scans_are_found(folder):
    assert [path.name for path in find_scans(folder)] == ["head.npy"]
    with pytest.raises(UnsupportedScan, match="20 of its lines are zero"):
        load_scan(folder / "undersampled.npy")
    with pytest.raises(UnsupportedScan, match="4 of its columns are zero"):
        load_scan(folder / "cut.npy")


def test_slices_are_spread_evenly():
    assert even_slices(7, 2) == (1, 5)
    assert even_slices(9, 3) == (1, 4, 7)
    assert even_slices(5, 1) == (2,)
    assert even_slices(2, 4) == even_slices(2, None) == (0, 1)


@pytest.fixture(scope="module")
def lines():
    return Undersampling(n_pe=40, acceleration=3, n_acs_lines=16, offset=2)


@pytest.fixture(scope="module")
def settings(full, lines):
    return list(every_setting(lines.applied_to(full)[0], lines))


def test_tuned_grappa_is_the_best_of_its_fifteen_settings(full, lines, settings):
    reference = root_sum_of_squares(to_image(full[0]))
    mask = object_mask(reference)
    errors = [nmse(root_sum_of_squares(to_image(kspace)), reference, mask) for _, kspace in settings]
    assert [(one.n_pe, one.n_ro, one.ridge) for one, _ in settings] == [
        (*kernel, ridge) for kernel, ridge in product(KERNELS, RIDGES)
    ]
    best = tuned_grappa(lines.applied_to(full)[0], lines, reference, mask)
    assert best.nmse == min(errors) < max(errors)
    assert best.setting == settings[int(np.argmin(errors))][0]
    assert torch.equal(best.kspace, settings[int(np.argmin(errors))][1])


def test_tuned_grappa_fills_every_line_and_keeps_what_was_acquired(full, lines, settings):
    for _, kspace in settings:
        assert torch.equal(kspace[:, lines.sampled], full[0][:, lines.sampled])
        assert (kspace.abs().sum(dim=(0, 2)) > 0).all(), "also the lines at both borders"


def test_tuned_grappa_is_the_least_squares_of_the_textbook(full, lines, settings):
    """One sample a time, by loops, with the regularisation as extra rows of the system."""
    measured, acs = lines.applied_to(full)[0].numpy().astype(complex), full[0, :, lines.calibration_lines].numpy()
    acs = acs.astype(complex)
    n_pe, n_ro, acceleration, ridge = 2, 5, 3, 1e-3
    n_acs_lines = acs.shape[1]
    rows, wanted = [], []
    for line in range(n_acs_lines - acceleration):
        for ro in range(2, 40 - 2):
            rows.append(acs[:, [line, line + acceleration], ro - 2 : ro + 3].ravel())
            wanted.append(acs[:, line + 1, ro])
    rows, wanted = np.array(rows), np.array(wanted)
    damping = np.sqrt(ridge * np.mean(np.linalg.norm(rows, axis=0) ** 2)) * np.eye(rows.shape[1])
    weights = np.linalg.lstsq(
        np.concatenate([rows, damping]), np.concatenate([wanted, np.zeros((rows.shape[1], 4))]), rcond=None
    )[0]
    expected = np.array([measured[:, [5, 8], ro - 2 : ro + 3].ravel() @ weights for ro in range(2, 38)]).T
    (filled,) = (k for one, k in settings if (one.n_pe, one.n_ro, one.ridge) == (n_pe, n_ro, ridge))
    np.testing.assert_allclose(filled[:, 6, 2:38].numpy(), expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_a_kernel_too_long_for_the_acs_is_left_out(full):
    lines = Undersampling(n_pe=40, acceleration=5, n_acs_lines=12)
    assert {one.n_pe for one, _ in every_setting(lines.applied_to(full)[0], lines)} == {2}


def test_aggregates_are_geometric_means_and_worst_cases_of_shared_cases():
    def measured(method, acceleration, error, scan="a"):
        scores = {"nmse": error, "high_frequency_error": 2 * error, "ssim": 1 - error}
        return Measurement(case=Case(scan, 0, acceleration, 24), method=method, scores=scores, seconds=1.0)

    measurements = [
        *(measured(TUNED, acceleration, 0.1) for acceleration in (2, 4, 6)),
        *(measured("raki", acceleration, error) for acceleration, error in ((2, 0.1), (4, 0.05), (6, 0.2))),
        measured("raki", 5, 0.7, scan="nobody else's"),
        measured("iraki", 4, 0.1),
    ]
    found = {
        (one.method, one.opponent, one.accelerations): one for one in aggregates(measurements, pairs(["raki", "iraki"]))
    }
    assert set(found) == {
        *(("raki", TUNED, group) for group in ("2-3", "4-6", "all")),
        *(("iraki", TUNED, group) for group in ("4-6", "all")),
        *(("raki", "iraki", group) for group in ("4-6", "all")),
    }
    high = found["raki", TUNED, "4-6"]
    assert (high.n_cases, high.worst_case) == (2, Case("a", 0, 6, 24))
    assert high.geometric_mean == pytest.approx(1.0)
    assert high.worst == pytest.approx(2.0)
    assert high.high_frequency_error == pytest.approx(1.0)
    assert high.ssim_gain == pytest.approx(-0.025)
    assert found["raki", "iraki", "all"].geometric_mean == pytest.approx(0.5)


def test_quality_compares_with_the_full_scan(folder, tmp_path):
    out = tmp_path / "results"
    options = ["--method", "grappa", "--method", "zero_filled", "-R", 2, "-R", 3, "--acs", 12, "--acs", 32]
    said = run("quality", folder / "head.npy", *options, "--output", out)
    assert "more than half of 40 lines" in said
    found = record(out, "quality")
    assert {(one["method"], one["case"]["acceleration"]) for one in found["measurements"]} == set(
        product([TUNED, "grappa", "zero_filled"], [2, 3])
    )
    overall = {(one["method"], one["accelerations"]): one["geometric_mean"] for one in found["aggregates"]}
    assert overall["zero_filled", "all"] > 2 > overall["grappa", "all"]
    assert all(set(one["scores"]) >= {"nmse", "nmse_full", "psnr", "ssim"} for one in found["measurements"])


def test_speed_measures_every_size_in_turns(tmp_path, monkeypatch):
    runs = []

    def probe(method, path):
        runs.append((method, *np.load(path).shape[:2]))
        return {"seconds": {"grappa": 1.0, "raki": 2.0}[method] * runs[-1][1], "growth_bytes": 2**20 * len(runs)}

    monkeypatch.setattr(speed, "_probe", probe)
    run(
        "speed",
        "--slices",
        4,
        "--coils",
        3,
        "--also-coils",
        2,
        "--matrix",
        32,
        "--acs",
        12,
        "--rounds",
        2,
        "-o",
        tmp_path,
    )
    assert [one[0] for one in runs] == 6 * ["grappa", "raki"], "the methods take turns"
    assert {one[1:] for one in runs} == {(1, 2), (1, 3), (4, 3)}
    found = record(tmp_path, "speed")
    assert found["seconds_per_slice_of_most_over_one"] == {"grappa": 1.0, "raki": 1.0}
    assert [cost["growth_mib"] for cost in found["costs"]] == [3, 4, 7, 8, 11, 12], "the worst of the rounds"


def test_a_probe_tells_memory_beyond_input_and_output(tmp_path, full):
    np.save(tmp_path / "kspace.npy", Undersampling(n_pe=40, acceleration=2, n_acs_lines=12).applied_to(full).numpy())
    found = measure("grappa", tmp_path / "kspace.npy")
    assert found["seconds"] > 0
    assert found["growth_bytes"] is None or found["growth_bytes"] >= 0


def test_peers_that_are_not_here_are_named_and_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(opponents, "find_spec", lambda _module: None)
    monkeypatch.setattr(bart.shutil, "which", lambda _program: None)
    options = ["--method", "grappa", "--coils", 3, "--matrix", 32, "-R", 2, "--acs", 12, "--rounds", 1]
    said = " ".join(run("peers", *options, "-o", tmp_path).split())
    for name in ("pygrappa", "sigpy", "public_raki", "bart_l1", "bart_l2_tuned"):
        assert f"left out: {name} needs" in said
    (result,) = record(tmp_path, "peers")["results"]
    assert result["method"] == "grappa"
    assert 0 < result["scores"]["nmse"] < 0.05


@pytest.mark.parametrize("name", ["pygrappa", "sigpy", "bart_l2", "bart_l1"])
def test_peers_fill_what_is_missing_and_keep_what_was_acquired(full, name):
    if opponents.why_not(name):
        pytest.skip(opponents.why_not(name))
    lines = Undersampling(n_pe=40, acceleration=2, n_acs_lines=16)
    (result,) = peers.race(full, lines, opponents.fills([name]), 1)
    filled = opponents.fills([name])[name](lines.applied_to(full), lines)
    assert torch.equal(filled[..., lines.sampled, :], full[..., lines.sampled, :])
    assert result.scores["nmse"] < 0.02


def test_a_tuned_method_takes_the_best_setting_of_each_slice(full):
    def wrong_where(is_wrong):
        return lambda kspace, _lines: torch.stack([one * (1.2 if is_wrong(one.abs().max()) else 1) for one in kspace])

    lines = Undersampling(n_pe=40, acceleration=1, n_acs_lines=16)
    limit = 2 * full.abs().max()
    tuned = TunedFill(settings={"weak": wrong_where(lambda x: x > limit), "strong": wrong_where(lambda x: x < limit)})
    scan = torch.cat([full, 3 * full])
    fill, settings = settled(tuned, scan, lines)
    assert settings == ["weak", "strong"]
    assert torch.equal(fill(scan, lines), scan)
    assert torch.equal(fill(scan.flip(0), lines), 1.2 * scan.flip(0)), "another scan is filled with the same settings"
    assert settled(tuned.settings["weak"], scan, lines) == (tuned.settings["weak"], ["", ""])


def test_public_code_gets_a_lattice_from_line_0_and_its_own_scale(full):
    lines = Undersampling(n_pe=40, acceleration=3, n_acs_lines=12, offset=2)
    measured = lines.applied_to(full)[0].numpy()
    seen = {}

    def run_public(lattice, acs, where, acceleration):
        seen.update(lattice=lattice.copy(), acs=acs, where=where)
        return np.where(lattice == 0, 7, lattice)

    filled = opponents._from_first_lattice_line(run_public, measured, lines)
    assert seen["lattice"][:, ::3].all()
    assert not seen["lattice"][:, 1::3].any()
    smallest = np.abs(np.concatenate([seen["lattice"][:, ::3].ravel(), seen["acs"].ravel()])).min()
    assert 1 <= smallest < 10
    scale = smallest / np.abs(measured[measured != 0]).min()
    np.testing.assert_allclose(seen["acs"], scale * full[0, :, lines.calibration_lines].numpy(), rtol=1e-5)
    np.testing.assert_allclose(filled[:, 2::3], measured[:, 2::3], rtol=1e-5)
    assert not filled[:, :2].any()


def test_unknown_and_unavailable_methods_are_refused_in_words(tmp_path):
    for name, words in (("magic", "there is no method 'magic'"), ("public_raki", "public_raki needs")):
        result = CliRunner().invoke(app, ["quality", "--method", name, "-o", str(tmp_path)], env={"COLUMNS": "400"})
        assert result.exit_code == 2
        assert words in result.output


def test_gpu_needs_one_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(app, ["gpu", "-o", str(tmp_path)])
    assert result.exit_code == 1
    assert "no CUDA device" in result.output


def test_the_stages_of_a_small_scan_are_timed_on_a_cpu(tmp_path):
    options = ["--device", "cpu", "--gigabytes", 0.0001, "--coils", 3, "--matrix", 40, "--method", "grappa"]
    run("gpu", *options, "--acs", 12, "-R", 2, "-o", tmp_path)
    found = record(tmp_path, "gpu")
    assert found["n_slices"] == 3
    assert list(found["seconds"]) == ["load", "calibrate, train and fill", "combine"]


def test_combining_some_slices_at_a_time_changes_nothing(full):
    volume = torch.cat([full * factor for factor in range(1, 11)])
    together = root_sum_of_squares(to_image(volume))
    np.testing.assert_allclose(combine(volume, torch.device("cpu")).numpy(), together.numpy(), rtol=1e-5)


def test_a_fault_that_no_test_notices_survives_and_the_working_tree_stays_as_it_is(tmp_path):
    module, tests = tmp_path / "code/raki/size/large.py", tmp_path / "code/tests/size"
    for folder in (module.parent, tests):
        folder.mkdir(parents=True)
    # Without it the checkout's own package would be found before this one.
    (tmp_path / "code/raki/__init__.py").write_text('"""Copied."""\n')
    module.write_text('"""Sizes."""\n\n\ndef is_large(n):\n    """Ten or more."""\n    return n >= 10\n')
    (tests / "test_large.py").write_text(
        "from raki.size.large import is_large\n\n\n"
        "def test_large():\n    assert is_large(99)\n    assert not is_large(1)\n    assert is_large(11)\n"
    )
    before = module.read_text()
    said = run("mutation", "--paths", "raki", "--repository", tmp_path / "code", "-o", tmp_path)
    assert "No test notices:" in said
    found = record(tmp_path, "mutation")
    results = {one["operator"]: one["result"] for one in found["mutants"]}
    assert results == {"comparison": "survived", "off by one": "survived", "return": "killed"}
    assert found["kill_rates"] == {"raki/size": 0.333, "all": 0.333}
    assert module.read_text() == before


def test_a_devices_idle_share_is_what_lies_between_its_scans():
    job = [
        {"event": "worked", "Stage": "decompressing", "BusySeconds": 9, "IdleSeconds": 9},
        {"event": "worked", "Stage": "reconstructing", "BusySeconds": 2, "IdleSeconds": 50},
        {"event": "worked", "Stage": "reconstructing", "BusySeconds": 1, "IdleSeconds": 1},
        {"event": "ended", "Stage": "reconstructing", "IdleSeconds": 60},
    ]
    assert idle_share([job]) == 0.25
    assert idle_share([job, [], job]) == 0.25, "each job waits for its first scan"


def test_slices_read_back_and_forth_are_taken_apart_in_both_ways(monkeypatch):
    monkeypatch.setattr(multiband_epi, "DIFFERENCES_RAD", (0.0, 0.6))
    monkeypatch.setattr(multiband_epi, "EPI_CASES", ((2, 2, 1),))
    slices = torch.from_numpy(np.stack(list(phantom_planes(np.array([0.0, 40.0]), 6, 32, 0))))
    same, different = multiband_epi.epi_measurements(iter([("head", slices)]), 0.01)
    assert same.errors["dual"] == pytest.approx(same.errors["mean"], rel=0.2)
    assert different.errors["dual"] < 0.3 * different.errors["mean"]
    assert different.ghosts["dual"] < different.ghosts["mean"]
    assert multiband_epi.epi_table([same, different]).row_count == 2


def test_the_yardstick_of_volumes_fills_a_volume_that_its_kernels_can_fill(monkeypatch):
    """The best setting is far better than zeros, and a kernel along the readout no worse than none."""
    monkeypatch.setattr(volumes, "MATRIX", 16)
    monkeypatch.setattr(volumes, "N_PARTITIONS", 12)
    monkeypatch.setattr(volumes, "KERNELS", ((2, 2, 1), (2, 2, 3)))
    full = volumes.noisy_volume("head", 6, snr=200.0, seed=0)
    acquired, _ = sampled_points((16, 12), (2, 1), 0, 10)
    measured = (full * acquired).astype(np.complex64)
    filled = list(volumes.every_grappa(measured, find_point_sampling(acquired)))
    off = [np.linalg.norm(np.where(acquired, measured, each) - full) for each in filled]
    assert len(off) == 2 * len(volumes.RIDGES)
    assert min(off) < 0.5 * np.linalg.norm(measured - full)
    assert min(off[5:]) < 1.05 * min(off[:5])


def test_networks_start_from_what_they_came_to_on_another_scan(tmp_path, monkeypatch):
    """After few steps a start at the same place is far ahead of a random one."""
    monkeypatch.setattr(models, "REAL_SCANS", tmp_path / "none")
    monkeypatch.setattr(starts, "PARTS_OF_THE_STEPS", (1.0, 0.1))
    monkeypatch.setattr(starts, "NETWORKS", {"rraki": starts.NETWORKS["rraki"]})
    run("starts", "--accelerations", "3", "--steps", "0.1", "-o", tmp_path)
    whole, part = json.loads((tmp_path / "starts.json").read_text())["measurements"]
    assert (whole["part_of_steps"], part["part_of_steps"]) == (1.0, 0.1)
    assert whole["foreign"] is None
    assert part["same"] < part["random"] / 3
    assert part["random"] > 3 * whole["random"]
