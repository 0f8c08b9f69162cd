"""Whatever a file does to the process that reads it, the caller goes on with one clear error."""

import ctypes
import os
import signal
import time

import pytest

from raki.errors import DamagedScan, NotAScan, TransientError
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


def test_a_result_and_an_error_come_back():
    assert contained(double, 21, allowance=ENOUGH) == 42
    with pytest.raises(NotAScan, match="no"):
        contained(refuse, allowance=ENOUGH)


@pytest.mark.parametrize(
    ("fault", "error", "named"),
    [
        (crash, DamagedScan, "SIGSEGV"),
        (devour, DamagedScan, "memory"),
        (killed, TransientError, "from outside"),
    ],
)
def test_a_crash_is_one_clear_error(fault, error, named):
    with pytest.raises(error, match=named):
        contained(fault, allowance=ENOUGH)


def test_a_hang_ends():
    with pytest.raises(DamagedScan, match="longer than 3 s"):
        contained(sleep_for_ever, allowance=Allowance(seconds=3))
