"""What a process that read a stranger's file has written: it may be in the stranger's hands."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from raki.errors import DamagedScan


def taken_out(written: Path, target: Path) -> Path:
    """Moves a file out of the folder that a process could write to; returns where it is now.

    Raises:
        DamagedScan: it is none, or a link or a pipe.
    """
    try:
        kind = written.lstat().st_mode
    except OSError:
        kind = 0
    if not stat.S_ISREG(kind):
        raise DamagedScan("reading the file wrote something else than a plain file; export the scan again")
    return written.replace(target)


@contextmanager
def room_for(target: Path) -> Iterator[Path]:
    """A path of the target's name in a folder of its own beside it, for a process to write to.

    At the end of the block all files there go to the target's folder, the target last. If the block raises, and even if
    the process was killed, nothing stays.
    """
    with TemporaryDirectory(prefix=".raki-", dir=target.parent) as room:
        part = Path(room) / target.name
        yield part
        for other in sorted(Path(room).glob(f"{target.stem}.*")):
            if other != part:
                taken_out(other, target.parent / other.name)
        taken_out(part, target)
