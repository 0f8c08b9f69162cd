"""The command line does what the library does, and ends bad input with one sentence and an exit code of its own."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint, distribution, version
from pathlib import Path

import numpy as np
import pytest

import raki
from raki import cli, errors
from raki.commands import images
from raki.commands.operating import NotInstalled
from raki.kspace import methods
from raki.options import COMBINATIONS
from raki.phantom.simulation import simulate_scan

RAKI = str(Path(sys.executable).parent / "raki")


def test_simulate_and_reconstruct(run, tmp_path):
    scan, out = tmp_path / "scan.tar.gz", tmp_path / "out"
    code, _, _ = run("simulate", scan, "--slices", 1, "--coils", 6, "--matrix", 64, "-R", 2, "--acs", 16)
    assert code == 0
    code, written, progress = run("reconstruct", scan, "--output", out, "--method", "grappa")
    assert code == 0
    assert [Path(line).name for line in written.split()] == [
        "image.h5", "image.nii.gz", "image.dcm", "preview.png", "catalogue.jsonl", "report.html", "provenance.json",
    ]  # fmt: skip
    assert all(Path(line).exists() for line in written.split())
    assert "grappa" in progress


def test_several_slices_read_back_and_forth_are_simulated_and_taken_apart(run, tmp_path):
    scan, size = tmp_path / "scan.h5", ("--slices", 2, "--coils", 6, "--matrix", 32, "-R", 1)
    code, _, _ = run("simulate", scan, *size, "--multiband", 2, "--caipi-shift", 2, "--epi", "--frames", 2)
    assert code == 0
    assert run("reconstruct", scan, "--output", tmp_path / "out", "--method", "grappa")[0] == 0
    facts = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert facts["taken_apart"]["n_bands"] == 2
    assert "read back and forth (EPI)" in json.dumps(facts)


def test_coils_can_be_compressed_and_combined_otherwise(run, tmp_path):
    scan, out = tmp_path / "scan.h5", tmp_path / "out"
    simulate_scan(scan, n_slices=1, n_coils=6, matrix=64, acceleration=2, n_acs_lines=16)
    code, written, _ = run("reconstruct", scan, "-o", out, "--coils", 4, "--combine", "adaptive")
    assert code == 0
    assert {"g_factor.nii.gz", "standard_error.nii.gz", "structure_kept.nii.gz"} <= {
        Path(line).name for line in written.split()
    }
    facts = json.loads((out / "provenance.json").read_text())
    assert (facts["n_virtual_coils"], facts["combination"]) == (4, "adaptive")
    code, _, said = run("reconstruct", scan, "-o", out, "--coils", 7)
    assert code == 2
    assert "ask for 1 to 6" in said.replace("│ ", "")


def test_every_method_and_combination_of_the_library_can_be_asked_for():
    assert {method.value for method in images.Method} == set(methods())
    assert tuple(one.value for one in images.Combination) == COMBINATIONS


def asked_for(out):
    options = json.loads((out / "provenance.json").read_text())["options"]
    return {name: (option["value"], option["set_by"]) for name, option in options.items()}


def test_a_scans_own_options_count_where_the_command_line_leaves_them_open(run, tmp_path):
    scan, out = tmp_path / "scan.h5", tmp_path / "out"
    simulate_scan(scan, n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    (tmp_path / "raki.toml").write_text("[reconstruction]\nmethod = 'zero_filled'\nseed = 7\ncoils = 2\nmaps = false\n")
    code, _, _ = run("reconstruct", scan, "-o", out, "--method", "grappa", "--coils", 0)
    assert code == 0
    assert asked_for(out) == {
        "method": ("grappa", "command line"),
        "combine": ("rss", "default"),
        "coils": (0, "command line"),
        "seed": (7, "raki.toml"),
        "maps": (False, "raki.toml"),
        "weights": (False, "default"),
        "quantities": (False, "default"),
        "kspace": (False, "default"),
        "explain": (False, "default"),
        "model": ("none", "default"),
        "mismatch": ("refuse", "default"),
    }
    facts = json.loads((out / "provenance.json").read_text())
    assert (facts["method"], facts["seed"], facts["n_virtual_coils"]) == ("grappa", 7, None)


def test_maps_can_be_left_out(run, tmp_path):
    scan, out = tmp_path / "scan.h5", tmp_path / "out"
    simulate_scan(scan, n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    (tmp_path / "scan.raki.toml").write_text("[reconstruction]\nmaps = true")
    code, written, _ = run("reconstruct", scan, "-o", out, "--no-maps")
    assert code == 0
    assert "g_factor" not in written
    assert asked_for(out)["maps"] == (False, "command line")


def test_wrong_options_beside_a_scan_are_one_sentence_and_nothing_is_written(run, tmp_path):
    simulate_scan(tmp_path / "scan.h5", n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    (tmp_path / "raki.toml").write_text("[reconstruction]\nmetod = 'grappa'")
    code, _, said = run("reconstruct", tmp_path / "scan.h5", "-o", tmp_path / "out")
    assert code == errors.WrongOptions.exit_code
    assert "WrongOptions: The scan's raki.toml sets reconstruction.metod" in said
    assert not (tmp_path / "out").exists()


def letter(path):
    path.write_text("Dear grandma,")


def without_calibration(path):
    simulate_scan(path, n_slices=1, n_coils=4, matrix=64, acceleration=4, n_acs_lines=0)


def truncated(path):
    simulate_scan(path, n_slices=1, n_coils=4, matrix=64, acceleration=2, n_acs_lines=16)
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("make", "error"),
    [(letter, errors.NotAScan), (truncated, errors.DamagedScan), (without_calibration, errors.NoCalibration)],
)
def test_bad_input_is_one_sentence_and_an_exit_code_of_its_own(run, tmp_path, make, error):
    make(tmp_path / "patient-name.h5")
    before = (tmp_path / "patient-name.h5").read_bytes()
    code, out, said = run("reconstruct", tmp_path / "patient-name.h5", "-o", tmp_path / "out")
    assert code == error.exit_code
    assert error.__name__ in said
    assert "Traceback" not in said
    assert "patient-name" not in said + out
    assert (tmp_path / "patient-name.h5").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_exit_codes_are_distinct():
    kinds = errors.PermanentError.__subclasses__()
    codes = [kind.exit_code for kind in [*kinds, errors.TransientError]]
    assert len(kinds) >= 5
    assert len(set(codes)) == len(codes)
    assert not {0, 1, 2, 130, 137} & set(codes), "these mean something else already"


def test_once_shows_each_scans_stages_and_tells_of_a_failure_by_its_exit_code(assembly, tmp_path):
    simulate_scan(tmp_path / "good.h5", n_slices=1, n_coils=6, matrix=64, acceleration=2, n_acs_lines=16)
    (tmp_path / "good.raki.toml").write_text("[reconstruction]\nmethod = 'grappa'")
    letter(tmp_path / "letter.h5")
    (tmp_path / "work").mkdir()
    (tmp_path / "work/cdk.out").symlink_to(assembly)
    finished = subprocess.run(
        [RAKI, "local", "--work", "work", "--once", "good.h5", "letter.h5", "good.raki.toml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert not finished.stderr
    for word in ("decompressing", "reconstructing", "delivering", "NotAScan", "share/results/letter/error.html"):
        assert word in finished.stdout
    assert "Alarms that would have fired: none (of 11 that look at what is measured here" in finished.stdout
    assert (tmp_path / "share/results/good/report.html").exists()
    assert "share/results/good/report.html" in finished.stdout
    assert asked_for(tmp_path / "share/results/good")["method"] == ("grappa", "raki.toml")


def test_the_version_is_told_and_short_help_helps(run):
    assert run("--version")[:2] == (0, f"raki {version('raki-mri')}\n")
    assert "Reconstruct one raw scan" in run("-h")[1]


def test_the_library_is_lazy_and_says_what_it_lacks():
    assert raki.complete_kspace(np.zeros((2, 8, 8), np.complex64) + 1).shape == (2, 8, 8)
    with pytest.raises(AttributeError, match="no attribute 'magic'"):
        raki.magic  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["local", "--once"], "needs at least one file"),
        (["local", "scan.h5"], "files need --once"),
        (["local", "--once", "--empty", "scan.h5"], "neither goes with --empty"),
        (["local", "--pacs", "ARCHIVE"], "is no AETITLE@HOST:PORT"),
        (["local", "--pacs", "ARCHIVE@127.0.0.1:104", "--empty"], "--empty deploys none"),
        (["local", "--models", ".", "--empty"], "--empty deploys none"),
        (["local", "--models", "nowhere"], "does not exist"),
        (["reconstruct", "missing.h5", "-o", "out"], "does not exist"),
        (["simulate", "scan.docx"], "not as '.docx'"),
        (["simulate", "new.h5", "--caipi-shift", "2"], "give --multiband too"),
        (["simulate", "new.h5", "--epi"], "--epi is of slices that are excited at once; give --multiband too"),
        (["simulate", "new.h5", "--multiband", "2", "--frames", "3"], "give --epi or --random too"),
        (["simulate", "new.h5", "--slices", "4", "--multiband", "3"], "4 slices were asked for, 3 at once"),
        (["simulate", "new.h5", "--partitions", "8", "--multiband", "2"], "--multiband goes with neither"),
    ],
)
def test_a_wrong_call_is_told_so(run, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    letter(tmp_path / "scan.h5")
    code, _, said = run(*arguments)
    assert code == 2
    assert says in said.replace("│ ", "")


@pytest.mark.parametrize(("asked", "exit_code"), [("nearby", NotInstalled.exit_code), ("status", 0)])
def test_a_command_that_lacks_a_package_says_which_and_how_to_have_it(run, monkeypatch, asked, exit_code):
    lacking = EntryPoint(name="nearby", value="no_such_package.nearby:nearby", group="raki.commands")
    monkeypatch.setattr(cli, "plugins", lambda: [lacking._for(distribution("raki-mri"))])
    code, _, said = run(asked, "--help")
    assert code == exit_code, said
    assert "nearby" in said
    assert (
        "it needs the package no_such_package, which pip install --editable '.[local]' in the checkout installs" in said
    )


def test_the_cost_of_the_service_is_told_without_what_deploys_it():
    without = "import sys; sys.modules |= dict.fromkeys(['aws_cdk', 'constructs', 'boto3', 'moto']); "
    start = f"{without}sys.argv = 'raki cost --scans-per-day 4 --gb 1'.split(); from raki.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "each scan" in ran.stdout
