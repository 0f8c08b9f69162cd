"""What goes on between a reader and the one who asked it, until the reader has ended or been ended."""

import errno
import os
import select
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from raki.errors import DamagedScan, TransientError
from raki.sandbox.allowance import Allowance
from raki.sandbox.answers import MOST_BYTES

BLOCK_BYTES = 1 << 20
# Between two looks at the clock and at the folder; and how long the process may take to be gone.
LOOK_S, ENDING_S = 1.0, 60.0
MOST_ENTRIES = 10_000


@runtime_checkable
class Source(Protocol):
    """A stream that is read from start to end."""

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes, and none only at the end."""


class Conversation:
    """What goes on while a reader works: it is fed, it answers, and it comes to an end."""

    def __init__(self, control: socket.socket, answer: int, allowance: Allowance, folder: Path) -> None:
        self._control, self._allowance, self._folder = control, allowance, folder
        self._listening = [answer]
        self._blocks: list[bytes] = []
        self._feeding = list[int]()
        self._ahead = memoryview(b"")

    def run(self, feed: Source | None, into: int | None) -> tuple[bytes, int, str]:
        """Feeds and listens until the process has ended."""
        if into is not None:
            os.set_blocking(into, False)
            self._feeding = [into]
        excess, ended_s = "", 0.0
        last_s = looked_s = time.monotonic()
        try:
            while True:
                if self._feeding and feed is not None and not self._ahead:
                    self._take(feed.read(BLOCK_BYTES))
                heard = [self._control.fileno(), *self._listening]
                readable, writable, _ = select.select(heard, self._feeding, [], LOOK_S)
                now_s = time.monotonic()
                if writable:
                    self._feed()
                    last_s = now_s
                if set(self._listening) & set(readable):
                    self._listen()
                if self._control.fileno() in readable:
                    return self._finish(excess)
                if excess and now_s > ended_s + ENDING_S:
                    raise starter_lost()
                if not excess and now_s >= looked_s + LOOK_S:
                    looked_s = now_s
                    if excess := self._excess(now_s - last_s):
                        ended_s = now_s
                        self._control.sendall(b"end")
        finally:
            self._stop_feeding()

    def _excess(self, waited_s: float) -> str:
        if waited_s > self._allowance.wall_seconds:
            return f"longer than {self._allowance.wall_seconds} s"
        if holds_more(self._folder, self._allowance.disk_bytes):
            return f"more than {self._allowance.disk_bytes >> 20} MiB of the disk, or {MOST_ENTRIES} files"
        return ""

    def _take(self, block: bytes) -> None:
        self._ahead = memoryview(block)
        if not block:
            self._stop_feeding()

    def _feed(self) -> None:
        try:
            self._ahead = self._ahead[os.write(self._feeding[0], self._ahead) :]
        except BrokenPipeError:  # it needs no more of it
            self._stop_feeding()

    def _stop_feeding(self) -> None:
        while self._feeding:
            os.close(self._feeding.pop())

    def _listen(self) -> None:
        block = os.read(self._listening[0], BLOCK_BYTES)
        self._blocks.append(block)
        if not block:
            self._listening.clear()
        if sum(map(len, self._blocks)) > MOST_BYTES:
            raise DamagedScan("reading the file gave a longer answer than any sound file does; export the scan again")

    def _finish(self, excess: str) -> tuple[bytes, int, str]:
        try:
            status = self._control.recv(4)
        except OSError:
            status = b""
        if len(status) < 4:
            raise starter_lost()
        while self._listening:
            self._listen()
        # What it wrote since the last look counts as well.
        return b"".join(self._blocks), struct.unpack("<i", status)[0], excess or self._excess(0.0)


def holds_more(folder: Path, most_bytes: int) -> bool:
    """Whether there is more in a folder than so many bytes, or than `MOST_ENTRIES` files and folders.

    Of the disk only what a file takes there counts: files with holes are small. One that was removed while it is open
    has no name to be found by; of those a process has as many as it may have open files, each within its own limit.
    """
    n_bytes = n_entries = 0
    folders = [folder]
    try:
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        n_bytes += 512 * entry.stat(follow_symlinks=False).st_blocks
                    n_entries += 1
                    if n_bytes > most_bytes or n_entries > MOST_ENTRIES:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
    except FileNotFoundError:  # it is at work in there
        return False
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def starter_lost() -> TransientError:
    """The error for when the process that readers are copies of is gone."""
    return TransientError("the process that readers begin from was ended from outside; try again")
