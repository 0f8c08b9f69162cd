"""Whatever a file does to the process that reads it, the caller goes on with one clear error."""

import contextlib
import ctypes
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from raki.errors import DamagedScan, NotAScan, TransientError
from raki.prepare import Readers
from raki.prepare.containment import Allowance, contained

ENOUGH = Allowance(seconds=60, memory_bytes=1 << 30)


def double(number):
    return 2 * number


def refuse():
    raise NotAScan("no")


def crash():
    ctypes.string_at(0)


def sleep_for_ever():
    time.sleep(1000)


def devour():
    hoard = [bytearray(1 << 28) for _ in range(100)]
    return len(hoard)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def readers():
    with Readers(["raki.prepare"]) as ready:
        yield ready


@pytest.fixture(params=["begun anew", "from one that is ready"])
def run(request, readers):
    return contained if request.param == "begun anew" else readers.contained


def test_a_result_and_an_error_come_back(run):
    assert run(double, 21, allowance=ENOUGH) == 42
    with pytest.raises(NotAScan, match="no"):
        run(refuse, allowance=ENOUGH)


@pytest.mark.parametrize(
    ("fault", "error", "named"),
    [
        (crash, DamagedScan, "SIGSEGV"),
        (devour, DamagedScan, "memory"),
        (killed, TransientError, "from outside"),
    ],
)
def test_a_crash_is_one_clear_error(run, fault, error, named):
    with pytest.raises(error, match=named):
        run(fault, allowance=ENOUGH)
    assert run(double, 1, allowance=ENOUGH) == 2


def test_a_hang_ends(run):
    with pytest.raises(DamagedScan, match="longer than 3 s"):
        run(sleep_for_ever, allowance=Allowance(seconds=3))


def open_files():
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[int(descriptor.name)] = str(descriptor.readlink())
    return found


def what_it_remembers():
    global SECRET
    before, SECRET = SECRET, "of an earlier scan"
    return before


def parent():
    return os.getppid()


SECRET = ""


def test_a_reader_has_nothing_of_its_caller_and_nothing_of_another_reader(readers, monkeypatch, tmp_path):
    monkeypatch.setattr("tests.prepare.test_containment.SECRET", "a key to the account")
    with socket.socket() as connection, (tmp_path / "open").open("w") as file:
        for each in (connection, file):
            os.set_inheritable(each.fileno(), True)
        with Readers(["raki.prepare"]) as later:  # begun while they are open
            found = later.contained(open_files, allowance=ENOUGH)
    # Standard streams apart, pipes of its own: no file, and no socket, which the way to its caller would be too.
    kinds = {name.partition(":")[0] for number, name in found.items() if number > 2}
    assert {kind for kind in kinds if not kind.startswith(("/dev/", "/proc/"))} == {"pipe"}
    assert readers.contained(what_it_remembers, allowance=ENOUGH) == ""
    assert readers.contained(what_it_remembers, allowance=ENOUGH) == ""


def test_when_what_readers_begin_from_is_killed_one_scan_is_tried_again(readers):
    os.kill(readers.contained(parent, allowance=ENOUGH), signal.SIGKILL)
    with contextlib.suppress(TransientError):  # unless the end was noticed before
        readers.contained(double, 21, allowance=ENOUGH)
    assert readers.contained(double, 21, allowance=ENOUGH) == 42
