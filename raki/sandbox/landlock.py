"""Which files a process may open, and no others (Landlock, Linux 5.13); from later versions on no TCP and no signals.

Linux kernel documentation, "Landlock: unprivileged access control",
https://docs.kernel.org/userspace-api/landlock.html.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""The same numbers on all processors."""
PR_SET_NO_NEW_PRIVS = 38
ASK_FOR_VERSION = 1
PATH_BENEATH = 1

WRITE_FILE, READ_FILE, READ_DIR = 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE = 1 << 13, 1 << 14
READS = READ_FILE | READ_DIR
WRITES = READS | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
OF_A_FILE = WRITE_FILE | READ_FILE | TRUNCATE
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights over files each version knows; those from 5 on know 16."""
BIND_AND_CONNECT_TCP = 0b11
ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


def version() -> int:
    """That of this kernel; 0 where it has no Landlock, or not switched on."""
    return max(0, _libc().syscall(CREATE_RULESET, None, 0, ASK_FOR_VERSION))


def confine(*, readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """From now on this thread, and all that come of it, open nothing but what lies in these files and folders.

    Raises:
        OSError: the kernel refused; see errno.
    """
    known = version()
    handled = (1 << RIGHTS.get(known, 16)) - 1
    network = BIND_AND_CONNECT_TCP if known >= 4 else 0
    scopes = ABSTRACT_SOCKETS_AND_SIGNALS if known >= 6 else 0
    attributes = struct.pack("<QQQ", handled, network, scopes)[: 8 if known < 4 else 16 if known < 6 else 24]
    libc = _libc()
    rules = _checked(libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for paths, rights in ((readable, READS), (writable, WRITES)):
            for path in paths:
                _allow(rules, path, rights & handled)
        _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(RESTRICT_SELF, rules, 0))
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # what isn't there needs no leave
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= OF_A_FILE
        _checked(_libc().syscall(ADD_RULE, rules, PATH_BENEATH, struct.pack("=Qi", rights, place), 0))
    finally:
        os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(answer: int) -> int:
    if answer < 0:
        raise OSError(ctypes.get_errno(), "the kernel didn't confine the process to its files")
    return answer
