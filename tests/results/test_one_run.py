"""A folder of results holds files of one run at every moment, and a manifest only where all of them are there."""

import hashlib
import json
import threading
from pathlib import Path

import pytest

from raki.results import Source, write_results
from raki.results.one_run import in_place_of_the_last
from tests.results.example_reconstruction import example_reconstruction

SOURCE = Source(name="head.h5", sha256="cd" * 32, n_bytes=98765)
RUNS = {
    "with maps and single images": lambda folder: write(folder, with_maps=True, single_dicoms=True),
    "with an explanation": lambda folder: write(folder, with_explanation=True),
    "without maps": lambda folder: write(folder, with_maps=False),
    "of other slices": lambda folder: write(folder, n_slices=2, single_dicoms=True),
}


def write(folder, *, single_dicoms=False, **changes):
    return write_results(example_reconstruction(**changes), folder, source=SOURCE, single_dicoms=single_dicoms)


def contents(folder):
    """Digests of what is to be seen, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    visible = {name: path for name, path in names.items() if not name.startswith(".") and name != "notes.txt"}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in visible.items()}


def listed(folder):
    return {entry["name"]: entry["sha256"] for entry in json.loads((folder / "manifest.json").read_text())["files"]}


@pytest.mark.parametrize("first", RUNS)
@pytest.mark.parametrize("second", RUNS)
def test_at_no_moment_are_there_files_of_two_runs(first, second, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    RUNS[first](folder)
    (folder / "notes.txt").write_text("a person's own")
    before, moments = contents(folder), []

    def looked_at(change):
        def changed(path, *arguments, **options):
            result = change(path, *arguments, **options)
            moments.append(contents(folder))
            return result

        return changed

    with monkeypatch.context() as patched:
        for name in ("unlink", "replace"):
            patched.setattr(Path, name, looked_at(getattr(Path, name)))
        RUNS[second](folder)
    after = contents(folder)
    assert {**listed(folder), "manifest.json": after["manifest.json"]} == after
    assert len(moments) > 12
    for moment in moments:
        assert moment.items() <= before.items() or moment.items() <= after.items()
        assert "manifest.json" not in moment or moment in (before, after)
    assert (folder / "notes.txt").read_text() == "a person's own"
    assert not list(folder.glob(".*"))


def test_a_run_that_fails_leaves_the_last_one_as_it_was(tmp_path, monkeypatch):
    folder = tmp_path / "out"
    write(folder)
    before = contents(folder)
    monkeypatch.setattr("raki.results.folder.render_report", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(folder, with_maps=False)
    assert contents(folder) == before
    assert not list(folder.glob(".*"))


def test_what_a_run_left_that_never_had_a_manifest_goes_too(tmp_path):
    folder = tmp_path / "out"
    write(folder, single_dicoms=True)
    (folder / "manifest.json").unlink()
    for name in ("error.html", "error.json", "note.html", "image-2.nii.gz", "g_factor-1.nii.gz", "image-3.dcm"):
        (folder / name).write_text("earlier")
    write(folder, with_maps=False)
    assert contents(folder).keys() - listed(folder).keys() == {"manifest.json"}


def test_of_two_runs_at_once_the_files_of_one_stay(tmp_path, monkeypatch):
    folder, second, move = tmp_path / "out", [], Path.replace

    def moved_when_another_run_begins(path, target):
        moved = move(path, target)
        if not second:
            second.append(threading.Thread(target=_few, args=(folder, b"second")))
            second[0].start()
            second[0].join(timeout=0.5)  # it waits for its turn, or it doesn't
        return moved

    monkeypatch.setattr(Path, "replace", moved_when_another_run_begins)
    _few(folder, b"first")
    second[0].join()
    found = contents(folder)
    assert {**listed(folder), "manifest.json": found["manifest.json"]} == found
    assert len({(folder / name).read_bytes() for name in ("image.h5", "report.html")}) == 1


def _few(folder, content):
    def write(room):
        files = [room / "image.h5", room / "report.html"]
        for file in files:
            file.write_bytes(content)
        return files

    in_place_of_the_last(folder, write, scan_id=None, remarks=())


@pytest.mark.parametrize("step", range(1, 9))
def test_one_that_is_killed_leaves_no_manifest_of_files_that_are_not_there(tmp_path, monkeypatch, step):
    folder, steps = tmp_path / "out", []
    _few(folder, b"first")

    class Killed(BaseException):
        pass

    def counted(change):
        def changed(*arguments, **options):
            steps.append(change)
            if len(steps) == step:
                raise Killed
            return change(*arguments, **options)

        return changed

    with monkeypatch.context() as patched:
        for name in ("unlink", "replace"):
            patched.setattr(Path, name, counted(getattr(Path, name)))
        try:
            _few(folder, b"second")
        except Killed:
            found = contents(folder)
            assert "manifest.json" not in found or listed(folder).items() <= found.items()
    _few(folder, b"third")
    assert (folder / "image.h5").read_bytes() == (folder / "report.html").read_bytes() == b"third"
