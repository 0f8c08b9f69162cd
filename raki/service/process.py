"""A container's process: how it is stopped, and what its exit code says."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from raki.errors import TransientError
from raki.service import log

LOG = logging.getLogger("raki.process")


class Terminated(BaseException):
    """The task or the instance is being stopped (SIGTERM): give back what is in hand and go."""


@contextmanager
def raised_on_sigterm() -> Iterator[None]:
    """Turns SIGTERM into Terminated, raised once, in the main thread, for the length of the block."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        # A second signal must not cut off the giving back, nor turn the exit code into the signal's.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, previous)


def leave(exit_code: int) -> NoReturn:
    """Ends the process, whatever its threads are at.

    One that is deep in a library when the interpreter goes may crash it, and a crash has an exit code of its own.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def run_container(work: Callable[[], None], *, exit_code_when_stopped: int) -> int:
    """What a container's main does around its work; the exit code says whether another attempt makes sense."""
    log.configure()
    with raised_on_sigterm():
        try:
            work()
        except Terminated:
            LOG.info("stopped")
            return exit_code_when_stopped
        except (BotoCoreError, ClientError):
            LOG.exception("AWS could not be reached")
            return TransientError.exit_code
    return 0
