"""All that keeps a process in its place, put up from within and never taken down."""

import ctypes
import resource
import signal
import struct
import sys
import sysconfig
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

from raki.sandbox import landlock, namespaces, seccomp
from raki.sandbox.allowance import Allowance

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
CAPABILITY_VERSION_3 = 0x20080522
WALLS = ("landlock", "namespaces", "seccomp")
"""In this order of preference; one of the first two is enough."""
# Address space is more than memory: libraries reserve it, and files are mapped into it.
RESERVED_BYTES = 4 << 30
MOST_OPEN_FILES = 128
OF_THE_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/sys/devices/system/cpu")
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


def standing() -> tuple[str, ...]:
    """The walls that this machine has."""
    if sys.platform != "linux":
        return ()
    has = {"landlock": landlock.version() > 0, "seccomp": seccomp.is_there()}
    has["namespaces"] = has["landlock"] or namespaces.are_there()
    return tuple(wall for wall in WALLS if has[wall])


def enclose(
    walls: Collection[str], allowance: Allowance, *, reads: Sequence[Path], folder: Path, n_read_bytes: int
) -> None:
    """From now on this process reads these files and folders and Python's own, writes into one folder, and no more.

    No network, no program, no other process, no privilege, and of memory, time, disk and open files what is allowed.

    Args:
        walls: which to put up, of `standing`; limits on what it uses are there on any system.
        n_read_bytes: size of the files, which may all be mapped.

    Raises:
        OSError: a wall that should stand doesn't.
    """
    _limit(allowance, n_read_bytes)
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    readable, writable = [*places_of_python(), *reads], [*map(Path, DEVICES), folder]
    if "landlock" in walls:
        landlock.confine(readable=readable, writable=writable)
    elif "namespaces" in walls:
        namespaces.confine(readable=readable, writable=writable, scratch=folder / ".view")
    _drop_privileges(libc)
    libc.prctl(PR_SET_DUMPABLE, 0)  # nobody looks into it, and it leaves no core
    if "seccomp" in walls:
        seccomp.forbid()


def hide() -> None:
    """From now on no other process of this user looks into this one: not its memory, nor the environment it began with.

    PR_SET_DUMPABLE in prctl(2), and proc(5). For those who hold keys; where other walls are missing this one stands.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


def _limit(allowance: Allowance, n_read_bytes: int) -> None:
    most_bytes = allowance.memory_bytes + RESERVED_BYTES + 2 * n_read_bytes
    for kind, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_DATA, allowance.memory_bytes, allowance.memory_bytes),
        (resource.RLIMIT_AS, most_bytes, most_bytes),
        # At the first the process gets SIGXCPU, which tells what ended it; SIGKILL, at the second, wouldn't.
        (resource.RLIMIT_CPU, allowance.seconds, allowance.seconds + 5),
        (resource.RLIMIT_FSIZE, allowance.file_bytes, allowance.file_bytes),
        (resource.RLIMIT_NOFILE, MOST_OPEN_FILES, MOST_OPEN_FILES),
        # Linux counts threads with processes, and those of all a user's; there seccomp forbids to begin a process.
        *(() if sys.platform == "linux" else ((resource.RLIMIT_NPROC, 0, 0),)),
    ):
        most = resource.getrlimit(kind)[1]
        fitting = (soft, hard) if most == resource.RLIM_INFINITY else (min(soft, most), min(hard, most))
        resource.setrlimit(kind, fitting)


@cache
def places_of_python() -> tuple[Path, ...]:
    """Where Python and the libraries lie, which are loaded when they are needed; never the working folder as such."""
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    places |= {place for place in sys.path if place and Path(place).is_absolute()}
    return tuple(sorted({Path(place).resolve() for place in (*places, *OF_THE_SYSTEM)}))


def _drop_privileges(libc: ctypes.CDLL) -> None:
    """capset(2): no capability is left, not even root's."""
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    if libc.capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), "privileges could not be dropped")
