"""Whatever a file does to the process that reads it, the caller goes on with one clear error."""

import contextlib
import ctypes
import gc
import os
import signal
import socket
import time
from functools import partial
from pathlib import Path

import pytest

from raki.errors import DamagedScan, NotAScan, TransientError
from raki.sandbox import Allowance, Readers, contained

ENOUGH = Allowance(seconds=60, memory_bytes=1 << 30)


def double(number: int) -> int:
    return 2 * number


def refuse() -> None:
    raise NotAScan("no")


def collector() -> tuple[int, int]:
    return gc.get_freeze_count(), int(gc.isenabled())


def crash() -> None:
    ctypes.string_at(0)


def sleep_for_ever() -> None:
    time.sleep(1000)


def devour() -> int:
    hoard = [bytearray(1 << 28) for _ in range(100)]
    return len(hoard)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def readers():
    with Readers(["raki.prepare"]) as ready:
        yield ready


@pytest.fixture(params=["begun anew", "from one that is ready"])
def run(request, readers):
    return contained if request.param == "begun anew" else readers.contained


def length(path: Path, others: list[Path]) -> int:
    return sum(len(file.read_bytes()) for file in (path, *others))


def test_a_path_is_that_of_the_one_who_asks(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [Path("a"), Path("b")]
    for number, file in enumerate(files, 1):
        file.write_bytes(bytes(number))
    assert run(length, files[0], files[1:], allowance=ENOUGH, reads=files) == 3
    assert run(partial(length, files[0], others=files[1:]), allowance=ENOUGH, reads=files) == 3


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
        run(sleep_for_ever, allowance=Allowance(seconds=3, wall_seconds=3))


def fill(folder: Path, n_files: int, n_bytes: int) -> None:
    """Writes files, each within what one file may have, and waits to be ended."""
    for number in range(n_files):
        below = folder / str(number % 7)
        below.mkdir(exist_ok=True)
        (below / str(number)).write_bytes(bytes(n_bytes))
    sleep_for_ever()


@pytest.mark.parametrize(("n_files", "n_bytes"), [(40, 1 << 20), (10_100, 0)], ids=["bytes", "files"])
def test_what_is_written_is_limited_in_all(run, tmp_path, n_files, n_bytes):
    allowance = Allowance(seconds=60, wall_seconds=120, file_bytes=16 << 20)
    with pytest.raises(DamagedScan, match="more than 32 MiB of the disk, or 10000 files"):
        run(fill, tmp_path, n_files, n_bytes, allowance=allowance, folder=tmp_path)
    assert run(double, 21, allowance=ENOUGH) == 42


def fill_and_return(folder: Path) -> None:
    for number in range(3):
        (folder / str(number)).write_bytes(bytes(1 << 20))


def test_what_is_written_is_judged_at_the_end_too(run, tmp_path):
    allowance = Allowance(seconds=60, file_bytes=1 << 20)
    with pytest.raises(DamagedScan, match="of the disk"):
        run(fill_and_return, tmp_path, allowance=allowance, folder=tmp_path)


def test_as_much_as_may_lie_there_stays(run, tmp_path):
    allowance = Allowance(seconds=60, file_bytes=2 << 20)
    run(fill_and_return, tmp_path, allowance=allowance, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def open_files() -> dict[str, str]:
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[descriptor.name] = str(descriptor.readlink())
    return found


def what_it_remembers() -> str:
    global SECRET
    before, SECRET = SECRET, "of an earlier scan"
    return before


def parent() -> int:
    return os.getppid()


SECRET = ""


def test_a_reader_has_nothing_of_its_caller_and_nothing_of_another_reader(readers, monkeypatch, tmp_path):
    monkeypatch.setattr("tests.sandbox.test_readers.SECRET", "a key to the account")
    with socket.socket() as connection, (tmp_path / "open").open("w") as file:
        for each in (connection, file):
            os.set_inheritable(each.fileno(), True)
        with Readers(["raki.prepare"]) as later:  # begun while they are open
            found = later.contained(open_files, allowance=ENOUGH, reads=[Path("/proc")])
    # Standard streams apart, pipes of its own: no file, and no socket, which the way to its caller would be too.
    kinds = {name.partition(":")[0] for number, name in found.items() if int(number) > 2}
    assert {kind for kind in kinds if not kind.startswith(("/dev/", "/proc/"))} == {"pipe"}
    assert readers.contained(what_it_remembers, allowance=ENOUGH) == ""
    assert readers.contained(what_it_remembers, allowance=ENOUGH) == ""


def test_when_what_readers_begin_from_is_killed_one_scan_is_tried_again(readers):
    os.kill(readers.contained(parent, allowance=ENOUGH), signal.SIGKILL)
    with contextlib.suppress(TransientError):  # unless the end was noticed before
        readers.contained(double, 21, allowance=ENOUGH)
    assert readers.contained(double, 21, allowance=ENOUGH) == 42


def test_a_reader_never_searches_what_was_loaded_before_for_garbage():
    with Readers(["raki.errors"]) as readers:
        n_frozen, is_enabled = readers.contained(collector, allowance=ENOUGH)
    assert n_frozen > 1000
    assert is_enabled, "what it makes itself is collected"
