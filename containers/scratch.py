"""A scan's folder on the scratch disk, which a process that is killed leaves behind and the next one clears away."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

PREFIX = "raki-scan-"


@contextmanager
def scan_folder() -> Iterator[Path]:
    """An empty folder that is removed at the end. It is locked as long as this process lives."""
    with ExitStack() as held:
        yield _locked_folder(held)


def _locked_folder(held: ExitStack) -> Path:
    """One that isn't locked yet may be cleared away by another process as it starts: then another one is made."""
    while True:
        room = TemporaryDirectory(prefix=PREFIX)
        with suppress(FileNotFoundError), ExitStack() as found:
            descriptor = found.enter_context(_opened(Path(room.name)))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            Path(room.name).stat()
            found.callback(room.cleanup)
            held.push(found.pop_all())
            return Path(room.name)
        room.cleanup()


def clear_leftovers() -> int:
    """Removes scans that killed processes left on this disk, which outlives a container; returns how many.

    A folder whose lock nobody holds is nobody's: other jobs on the same disk are left alone.
    """
    removed = 0
    for folder in Path(gettempdir()).glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError, BlockingIOError), _opened(folder) as descriptor:  # gone meanwhile, or in use
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
