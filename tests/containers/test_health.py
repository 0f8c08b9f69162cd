"""The worker's health check sees a worker that gets no further."""

import os
import tempfile
import time

import pytest

from containers import health


@pytest.fixture
def alive(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / health.ALIVE


def test_a_worker_is_healthy_while_it_touches_its_file(alive):
    assert health.main() == 1, "it hasn't come up"
    health.note_alive()
    assert health.main() == 0
    long_ago_s = time.time() - health.LONGEST_S - 1
    os.utime(alive, (long_ago_s, long_ago_s))
    assert health.main() == 1, "it hangs"
    health.note_alive()
    assert health.main() == 0


def test_a_disk_that_is_gone_does_not_stop_the_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    health.note_alive()
