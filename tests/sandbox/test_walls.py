"""Whoever has taken over a process that reads a file reaches nothing: each attempt, and that it is refused."""

import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from raki.errors import DamagedScan, RakiError, TransientError
from raki.sandbox import WALLS, Allowance, Readers
from raki.sandbox.walls import standing
from raki.service.messages import alias_of
from tests.sandbox import attempts

ALLOWANCE = Allowance(seconds=20, memory_bytes=1 << 30, file_bytes=1 << 20)
ENCLOSURES = {"with Landlock": ("landlock", "seccomp"), "without Landlock": ("namespaces", "seccomp")}


@pytest.fixture(scope="module", params=ENCLOSURES)
def readers(request):
    walls = ENCLOSURES[request.param]
    if not set(walls) <= set(standing()):
        pytest.skip(f"this machine lacks one of {walls}")
    os.environ["A_KEY_TO_THE_ACCOUNT"] = "secret"
    with Readers(["numpy", "raki.formats"], walls=walls) as ready:
        yield ready
    del os.environ["A_KEY_TO_THE_ACCOUNT"]


@pytest.fixture(scope="module")
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@pytest.fixture
def outside(tmp_path):
    (tmp_path / "another.txt").write_text("another patient's")
    (tmp_path / "others").mkdir()
    (tmp_path / "others/scan.h5").touch()
    (tmp_path / "room").mkdir()
    return tmp_path


ATTEMPTS = {
    "connect": lambda place, address: (attempts.connect, *address),
    "send a datagram": lambda place, address: (attempts.send_a_datagram,),
    "read its caller's environment": lambda place, address: (attempts.read, f"/proc/{os.getpid()}/environ"),
    "read its caller's memory": lambda place, address: (attempts.read, f"/proc/{os.getpid()}/maps"),
    "look into its caller": lambda place, address: (attempts.look_into, os.getpid()),
    "execute": lambda place, address: (attempts.execute,),
    "become another program": lambda place, address: (attempts.become_another_program,),
    "fork a hundred times": lambda place, address: (attempts.fork_often,),
    "kill its caller": lambda place, address: (attempts.kill, os.getppid()),
    "write outside its folder": lambda place, address: (attempts.write, str(place / "escaped")),
    "write into its caller's home": lambda place, address: (attempts.write, str(Path.home() / "escaped")),
    "overwrite another's file": lambda place, address: (attempts.write, str(place / "another.txt")),
    "remove another's file": lambda place, address: (attempts.remove, str(place / "another.txt")),
    "write a tebibyte": lambda place, address: (attempts.write_a_tebibyte, str(place / "room")),
    "read another's file": lambda place, address: (attempts.read, str(place / "another.txt")),
    "read the accounts": lambda place, address: (attempts.read, "/etc/passwd"),
    "look what is there": lambda place, address: (attempts.list_folder, str(place / "others")),
    "link to another's file": lambda place, address: (
        attempts.link, str(place / "another.txt"), str(place / "room/link")),
    "make a pipe": lambda place, address: (attempts.make_a_pipe, str(place / "room/pipe")),
    "change a mode": lambda place, address: (attempts.change_mode, str(place / "room")),
    "take privileges": lambda place, address: (attempts.take_privileges,),
    "lift its limits": lambda place, address: (attempts.limits_lifted,),
}  # fmt: skip
REFUSALS = {"PermissionError", "FileNotFoundError", "OSError", "ValueError"}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_is_tried_is_refused(readers, outside, listening, attempt, caplog):
    function, *arguments = ATTEMPTS[attempt](outside, listening)
    with caplog.at_level(logging.ERROR), pytest.raises(DamagedScan, match="nobody foresaw"):
        readers.contained(function, *arguments, allowance=ALLOWANCE, folder=outside / "room")
    assert caplog.records[-1].defect.partition(" at ")[0] in REFUSALS
    assert (outside / "another.txt").read_text() == "another patient's"
    assert {path.name for path in outside.iterdir()} == {"another.txt", "others", "room"}
    assert not (Path.home() / "escaped").exists()
    assert all(path.stat().st_size < 1 << 21 for path in (outside / "room").iterdir())


@pytest.mark.skipif(not {"landlock", "seccomp"} <= set(standing()), reason="this machine lacks the walls")
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_the_same_without_walls_is_done(attempt, outside, listening):
    """Or the table above would show nothing."""
    if attempt in ("kill its caller", "write into its caller's home", "look into its caller", "take privileges"):
        pytest.skip("harm is not done to show that it could be")
    if attempt in ("fork a hundred times", "write a tebibyte", "lift its limits"):
        pytest.skip("limits stand on every machine")
    if attempt == "become another program":
        pytest.skip("what it has become gives no answer")
    if attempt in ("read its caller's environment", "read its caller's memory") and os.getuid() == 0:
        pytest.skip("a process without privileges may not look into root's")
    function, *arguments = ATTEMPTS[attempt](outside, listening)
    with Readers(walls=()) as open_readers:
        assert open_readers.contained(function, *arguments, allowance=ALLOWANCE, folder=outside / "room")


def test_what_a_process_answers_is_never_unpickled(readers, tmp_path):
    with pytest.raises(DamagedScan):
        readers.contained(attempts.answer_with_a_pickle, str(tmp_path / "harm"), allowance=ALLOWANCE)
    assert not (tmp_path / "harm").exists()


def test_its_own_environment_holds_no_key(readers):
    assert "A_KEY_TO_THE_ACCOUNT" not in readers.contained(attempts.own_environment, allowance=ALLOWANCE)
    with pytest.raises(RakiError):
        readers.contained(attempts.read, "/proc/self/environ", allowance=ALLOWANCE)


def test_it_reads_and_writes_what_it_may(readers, outside):
    read = readers.contained(attempts.read, str(outside / "another.txt"), allowance=ALLOWANCE, reads=[outside])
    assert read == "another patient's"
    room = outside / "room"
    assert readers.contained(attempts.write, str(room / "result"), allowance=ALLOWANCE, folder=room) == "written"
    assert (room / "result").read_text() == "escaped"


@pytest.mark.parametrize(("attempt", "named"), [(attempts.devour, "memory"), (attempts.compute_for_ever, "2 s of")])
def test_what_takes_more_than_its_share_is_damage(readers, attempt, named):
    allowance = Allowance(seconds=2, memory_bytes=1 << 30)
    with pytest.raises(DamagedScan, match=named):
        readers.contained(attempt, allowance=allowance)


def test_what_the_machine_lacks_is_logged_once(monkeypatch, caplog):
    monkeypatch.setattr("raki.sandbox.readers._STANDING", [])
    monkeypatch.setattr("raki.sandbox.readers.standing", lambda: ("seccomp",))
    for _ in range(2):
        with Readers() as readers:
            readers.contained(attempts.nothing, allowance=ALLOWANCE)
    assert [record.missing for record in caplog.records] == [["landlock", "namespaces"]]
    assert set(WALLS) == {"landlock", "namespaces", "seccomp"}


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_who_holds_keys_is_hidden_from_processes_of_the_same_user():
    """prctl(2), PR_GET_DUMPABLE."""
    code = "import ctypes; from raki.sandbox import hide; hide(); print(ctypes.CDLL(None).prctl(3))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "0\n"


def test_without_a_wall_that_should_stand_nothing_is_read(outside):
    """The file isn't to blame."""
    with Readers(walls=("namespaces",)) as readers, pytest.raises(TransientError, match=r"put up \(ENOENT\)"):
        readers.contained(attempts.nothing, allowance=ALLOWANCE, folder=outside / "missing")


WITHOUT_CAPABILITIES = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
for capability in range(64):
    libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; whoever may not has none that could come back
assert libc.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24)) == 0
held = [line for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm"))]
assert all(int(line.split()[1], 16) == 0 for line in held), held
from raki.sandbox import Allowance, contained
from raki.sandbox.walls import standing
from raki.service.messages import alias_of
allowance = Allowance(seconds=60, memory_bytes=1 << 30)
print(*standing(), contained(alias_of, "bucket", "key", "secret", allowance=allowance))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_the_walls_stand_in_a_container_that_has_every_capability_dropped():
    """As on Fargate: none of Landlock, seccomp and a user's own namespaces asks for one."""
    ran = subprocess.run([sys.executable, "-c", WITHOUT_CAPABILITIES], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-1000:]
    assert ran.stdout.split() == [*standing(), alias_of("bucket", "key", "secret")]
