"""Unpacking and preparing happen within walls: what is killed leaves nothing, and nothing it wrote is trusted."""

import gzip
import io
import os
import signal
from pathlib import Path

import pytest

from raki.archive import DEFAULT_LIMITS
from raki.errors import DamagedScan, NotAScan, PermanentError, ProcessLost, TransientError
from raki.names import OPTIONS_FILE
from raki.phantom.simulation import simulate_scan
from raki.prepare import open_within, prepare, room_for, unpack_within
from raki.sandbox import Allowance, Readers
from raki.scan.prepared import read_prepared
from tests.archive.test_unpacking import tar


@pytest.fixture(scope="module")
def readers():
    with Readers(["raki.prepare", "raki.formats:formats"]) as ready:
        yield ready


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "scan.h5"
    simulate_scan(path, n_slices=1, n_coils=2, matrix=16, acceleration=1, n_acs_lines=8)
    return path


@pytest.fixture
def into(tmp_path):
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def test_a_packed_scan_is_unpacked_and_prepared(readers, scan, into):
    packed = tar(("scan.h5", scan.read_bytes()), (OPTIONS_FILE, b"coils = 2"))
    files = unpack_within(io.BytesIO(packed), len(packed), into, within=readers.contained)
    assert files == [into / "scan.h5"]
    assert (into / OPTIONS_FILE).read_text() == "coils = 2"
    prepare(files, into / "prepared", within=readers.contained)
    assert read_prepared(into / "prepared").kspace.shape == (1, 2, 16, 16)
    assert {path.name for path in into.iterdir()} == {"scan.h5", OPTIONS_FILE, "prepared"}


def test_a_file_on_this_machine_stays_where_it_is(readers, scan, into):
    assert open_within(scan, into, within=readers.contained) == [scan]
    assert open_within(scan.parent, into, within=readers.contained) == [scan]
    assert not list(into.iterdir())


def test_an_error_of_the_archive_is_its_own_and_leaves_nothing(readers, into):
    with pytest.raises(NotAScan, match="holds text"):
        unpack_within(io.BytesIO(gzip.compress(b"words " * 1000)), 1000, into, within=readers.contained)
    assert not list(into.iterdir())


def test_an_outage_of_where_the_stream_comes_from_stays_one(readers, scan, into):
    class Broken(io.BytesIO):
        def read(self, n_bytes=-1, /):
            raise TransientError("the network is down")

    with pytest.raises(TransientError, match="the network is down"):
        unpack_within(Broken(), 1000, into, within=readers.contained)
    assert open_within(scan, into, within=readers.contained) == [scan]


def leave_something_and_die(stream: io.BufferedReader, room: Path, _limits: object) -> list[Path]:
    (room / "large").write_bytes(bytes(1 << 20))
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def answer_with(stream: io.BufferedReader, room: Path, _limits: object) -> list[Path]:
    (room / "scan.h5").mkdir()
    return [room / "scan.h5"]


def answer_with_names_outside(stream: io.BufferedReader, room: Path, _limits: object) -> list[Path]:
    return [Path("/etc/passwd")]


def answer_with_another(path: Path, room: Path) -> list[Path]:
    return [Path("/etc/passwd")]


@pytest.mark.parametrize(
    ("what", "error"),
    [(leave_something_and_die, ProcessLost), (answer_with, DamagedScan), (answer_with_names_outside, DamagedScan)],
)
def test_whatever_a_process_does_its_folder_goes(readers, into, monkeypatch, what, error):
    monkeypatch.setattr("raki.prepare.unpacking._unpack_stream", what)
    with pytest.raises(error):
        unpack_within(io.BytesIO(b""), 0, into, within=readers.contained)
    assert not list(into.iterdir())


def test_a_process_can_name_no_file_that_it_was_not_given(readers, scan, into, monkeypatch):
    monkeypatch.setattr("raki.prepare.unpacking._open_local", answer_with_another)
    with pytest.raises(DamagedScan, match="named other files"):
        open_within(scan, into, within=readers.contained)


def test_a_link_that_a_process_left_is_not_followed(tmp_path):
    def fill():
        with room_for(tmp_path / "prepared") as part:
            part.symlink_to("/etc/passwd")

    with pytest.raises(DamagedScan, match="something else than a plain file"):
        fill()
    assert not list(tmp_path.iterdir())


def test_what_a_file_may_cost_is_in_proportion_to_it(monkeypatch):
    monkeypatch.setattr("raki.sandbox.allowance.memory_limit", lambda: 8 << 30)
    small, large = Allowance.for_size(3_000_000), Allowance.for_size(10_000_000_000)
    assert small.seconds <= 60
    assert small.memory_bytes < 2 << 30
    assert small.file_bytes < 256 << 20
    # The decompression worker's task has 8 GiB.
    assert large.memory_bytes == 6 << 30
    assert Allowance.for_packed(10_000_000_000, DEFAULT_LIMITS.n_bytes).memory_bytes < 2 << 30


def test_a_stream_that_takes_too_much_computing_is_damage(readers, into, monkeypatch):
    monkeypatch.setattr(Allowance, "for_packed", lambda *_: Allowance(seconds=1))
    monkeypatch.setattr("raki.prepare.unpacking._unpack_stream", compute_for_ever)
    with pytest.raises(PermanentError, match="more than 1 s of computing"):
        unpack_within(io.BytesIO(b""), 0, into, within=readers.contained)


def compute_for_ever(stream: io.BufferedReader, room: Path, _limits: object) -> list[Path]:
    while True:
        pass
