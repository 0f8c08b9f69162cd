"""A job clears away what a killed one left on the disk, and nothing else."""

import fcntl
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from containers.scratch import clear_leftovers, scan_folder


@pytest.fixture
def disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_killed_process_leaves_a_scan_and_the_next_one_clears_it_away(disk):
    dies = (
        "import os, signal, tempfile; from containers.scratch import scan_folder; "
        f"tempfile.tempdir = {str(disk)!r}; context = scan_folder(); folder = context.__enter__(); "
        "(folder / 'prepared.h5').write_bytes(b'k-space'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", dies], check=False).returncode < 0
    assert [path.name for path in disk.glob("*/*")] == ["prepared.h5"]
    assert clear_leftovers() == 1
    assert not list(disk.iterdir())


def test_the_scan_of_a_job_at_work_is_left_alone(disk):
    with scan_folder() as folder:
        assert clear_leftovers() == 0
        assert folder.is_dir()
    assert not list(disk.iterdir())


def test_what_others_have_on_the_disk_is_left_alone(disk):
    (disk / "somebody").mkdir()
    assert clear_leftovers() == 0
    assert (disk / "somebody").is_dir()


def test_a_folder_that_is_cleared_away_before_it_is_locked_is_made_again(disk, monkeypatch):
    """As by a process that starts just then: whoever unpacks a scan there must not find it gone."""
    cleared = []

    class Cleared(tempfile.TemporaryDirectory):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            if not cleared:
                cleared.append(self.name)
                assert clear_leftovers() == 1

    monkeypatch.setattr("containers.scratch.TemporaryDirectory", Cleared)
    with scan_folder() as folder:
        assert cleared
        assert folder != cleared[0]
        (folder / "prepared.h5").write_bytes(b"k-space")
        assert clear_leftovers() == 0
    assert not list(disk.iterdir())


def test_one_that_is_cleared_away_while_its_lock_is_awaited_is_made_again(disk, monkeypatch):
    waited, lock = [], fcntl.flock

    def late(descriptor, operation):
        if not waited and operation == fcntl.LOCK_EX:
            waited.append(descriptor)
            assert clear_leftovers() == 1
        lock(descriptor, operation)

    monkeypatch.setattr("containers.scratch.fcntl.flock", late)
    with scan_folder() as folder:
        assert folder.is_dir()
    assert not list(disk.iterdir())


def test_what_another_process_clears_away_meanwhile_is_passed_over(disk, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda folder, _pattern: [folder / "raki-scan-gone"])
    assert clear_leftovers() == 0
