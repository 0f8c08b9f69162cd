"""A folder of results holds files of one run at every moment, and a manifest only where all of them are there."""

import hashlib
import json
from pathlib import Path

import pytest

from raki.results import Source, write_results
from tests.results.example_reconstruction import example_reconstruction

SOURCE = Source(name="head.h5", sha256="cd" * 32, n_bytes=98765)
RUNS = {
    "with maps and single images": lambda folder: write(folder, with_maps=True, single_dicoms=True),
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
