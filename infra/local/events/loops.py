"""The things that the cloud does again and again, each in a thread of its own."""

import threading
import time
import traceback
from collections.abc import Callable

from infra.local.journal import Journal


class Loops:
    """Calls functions at intervals until `close`. An exception ends one call, never the loop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def every(self, interval_s: float, name: str, step: Callable[[], None]) -> None:
        """Calls `step` now and `interval_s` seconds after each return."""
        thread = threading.Thread(target=self._run, args=(interval_s, name, step), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Ends all loops; a call that hangs is waited for two seconds at most, all together."""
        self._stop.set()
        deadline = time.monotonic() + 2.0
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, interval_s: float, name: str, step: Callable[[], None]) -> None:
        reported = ""
        while not self._stop.is_set():
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other scans still need the loop
                # The same failure again and again is one line.
                if not self._stop.is_set() and repr(error) != reported:
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    self._journal.note("error", f"{name}: {error!r} at {where.filename}:{where.lineno}")
                reported = repr(error)
            self._stop.wait(interval_s)
