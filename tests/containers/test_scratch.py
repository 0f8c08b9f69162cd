"""A job clears away what a killed one left on the disk, and nothing else."""

import subprocess
import sys
import tempfile

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
