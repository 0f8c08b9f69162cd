"""Ends a process whose work gets no further: its lease ends with it, and its place goes to another."""

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from raki.errors import TransientError

LOG = logging.getLogger("raki.watchdog")


class Watchdog:
    """Told of each step of the work, asked by the heartbeat whether there was one lately.

    A process that stands still as a whole, stopped or with its interpreter locked, isn't helped by a thread of its own:
    it sends no heartbeat, by which its lease ends, and others see that it has none.

    Args:
        limit_s: the longest that a single step may take, in seconds.
        end: ends the process at once, as nothing that waits for its threads could.
    """

    def __init__(self, limit_s: float = 600.0, end: Callable[[int], None] = os._exit) -> None:
        self._limit_s = limit_s
        self._end = end
        self._last_step_s = time.monotonic()
        self._n_paused = 0
        self._lock = threading.Lock()

    def step(self, *_what: object) -> None:
        """Something got done. Takes what callbacks are told, and ignores it."""
        self._last_step_s = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around one step that has a limit of its own."""
        with self._lock:
            self._n_paused += 1
        try:
            yield
        finally:
            self.step()
            with self._lock:
                self._n_paused -= 1

    def is_stalled(self) -> bool:
        """Whether the last step was too long ago."""
        return not self._n_paused and time.monotonic() - self._last_step_s > self._limit_s

    def check(self) -> bool:
        """Ends the process if its work is stalled, after a look at where each thread stands; whether it gets on."""
        if not self.is_stalled():
            return True
        LOG.error("no progress, ending the process", extra={"limit_s": self._limit_s})
        faulthandler.dump_traceback()
        self._end(TransientError.exit_code)
        return False
