"""No command destroys what it reads, and ordinary mistakes are one sentence before anything is computed."""

import os
import shutil

import pytest

from raki.phantom.simulation import simulate_scan


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate_scan(path, n_slices=1, n_coils=3, matrix=32, acceleration=2, n_acs_lines=12, seed=2)
    return path


@pytest.fixture
def scan(scan_file, tmp_path):
    """A copy that may be lost, alone in its folder."""
    (tmp_path / "exam").mkdir()
    return shutil.copy(scan_file, tmp_path / "exam/scan.h5")


@pytest.fixture
def refused(run, scan):
    """Runs a command that has to be refused; the scan stays as it was."""
    before = scan.read_bytes()

    def refused(*arguments):
        code, _, said = run(*arguments)
        assert code == 2
        assert scan.read_bytes() == before
        assert "Traceback" not in said
        return " ".join(said.replace("│", " ").split())

    return refused


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_nothing_is_converted_onto_itself(refused, scan, tmp_path, force):
    (tmp_path / "link.h5").symlink_to(scan)
    os.link(scan, tmp_path / "hard.h5")
    for target in (scan, tmp_path / "link.h5", tmp_path / "hard.h5", tmp_path / "exam/../exam/scan.h5"):
        assert "never changed" in refused("convert", scan, target, *force)
        assert "never changed" in refused("deidentify", scan, target, "--token-map", tmp_path / "map.json", *force)
    assert "the token map is the scan itself" in refused("deidentify", scan, tmp_path / "a.h5", "--token-map", scan)


@pytest.mark.parametrize(("kind", "other"), [(".hdr", ".cfl"), (".npy", ".json")])
def test_what_belongs_to_a_scan_is_not_written_over_either(run, scan, tmp_path, kind, other):
    assert run("convert", scan, tmp_path / f"pair{kind}")[0] == 0
    before = {file.name: file.read_bytes() for file in tmp_path.glob("pair*")}
    assert set(before) == {f"pair{kind}", f"pair{other}"}
    for target in (f"pair{kind}", "pair.hdr", "pair.npy"):
        code, _, said = run("convert", tmp_path / f"pair{kind}", tmp_path / target, "--force")
        touched = {tmp_path / target, (tmp_path / target).with_suffix({".hdr": ".cfl", ".npy": ".json"}[target[-4:]])}
        if touched & {tmp_path / name for name in before}:
            assert (code, "never changed" in said.replace("\n", " ")) == (2, True)
        assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_what_is_there_is_written_over_only_if_asked_to(refused, run, scan, tmp_path):
    target = tmp_path / "copy.npz"
    target.write_bytes(b"somebody's work")
    for command in (("convert", scan, target), ("deidentify", scan, target, "--token-map", tmp_path / "map.json")):
        assert "say --force to write over it" in refused(*command)
    assert target.read_bytes() == b"somebody's work"
    assert "is there already" in refused("simulate", scan)
    assert run("convert", scan, target, "--force")[0] == 0
    assert target.read_bytes() != b"somebody's work"
    (tmp_path / "nowhere.h5").symlink_to(tmp_path / "gone.h5")
    assert "is there already" in refused("convert", scan, tmp_path / "nowhere.h5")


def test_results_do_not_stand_in_the_place_of_the_scan(refused, run, scan, tmp_path):
    assert "is the folder of what is read" in refused("reconstruct", scan.parent, "-o", scan.parent / "out")
    assert "would lie among the files of the scan" in refused("convert", scan.parent, scan.parent / "copy.npz")
    named = shutil.copy(scan, tmp_path / "image.h5")
    before = named.read_bytes()
    code, _, said = run("reconstruct", named, "-o", tmp_path, "--method", "zero_filled")
    assert (code, "a result is called image.h5" in " ".join(said.split())) == (2, True)
    assert named.read_bytes() == before
    assert run("reconstruct", scan, "-o", scan.parent, "--method", "zero_filled")[0] == 0


def test_where_nothing_can_be_written_is_said_before_anything_is_computed(refused, scan, tmp_path, monkeypatch):
    assert "make it first" in refused("convert", scan, tmp_path / "no/such/copy.npz")
    assert "is a file; results go into a folder" in refused("reconstruct", scan, "-o", scan)
    assert "is a file; results go into a folder" in refused("compare", scan, "-o", scan / "out")
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    assert "not yours to change" in refused("reconstruct", scan, "-o", tmp_path / "out")
    assert "not yours to change" in refused("convert", scan, tmp_path / "copy.npz")


@pytest.mark.parametrize("device", ["cuda:7", "gpu", "meta", "mps"])
def test_a_device_that_is_not_there_is_named(refused, scan, tmp_path, device):
    for command in (("inspect", scan), ("reconstruct", scan, "-o", tmp_path / "out")):
        assert device in refused(*command, "--device", device)
    assert not (tmp_path / "out").exists()
