"""Files brought to the local disk ahead of their use, within a limit: those used longest ago go first."""

import contextlib
import hashlib
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

from raki.catalogue.mirror import parts_of


@runtime_checkable
class Source(Protocol):
    """Where files come from."""

    def n_bytes(self, key: str) -> int:
        """The size of a file; raises OSError where it can't be had."""
        ...

    def fetch(self, key: str, target: Path) -> None:
        """Brings a file; raises OSError where it can't be had."""
        ...


class Folder:
    """A folder, as of a share that is mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def n_bytes(self, key: str) -> int:
        """The size of a file."""
        return (self._root / key).stat().st_size

    def fetch(self, key: str, target: Path) -> None:
        """Copies a file."""
        shutil.copyfile(self._root / key, target)


class Bucket:
    """What lies below a prefix of a bucket."""

    def __init__(self, place: str) -> None:
        from raki.service import mirrored

        bucket, self._prefix = parts_of(place)
        self._objects = mirrored.Objects(bucket)

    def n_bytes(self, key: str) -> int:
        """The size of an object."""
        return self._objects.n_bytes(self._prefix + key)

    def fetch(self, key: str, target: Path) -> None:
        """Downloads an object."""
        self._objects.fetch(self._prefix + key, target)


def source_at(place: str | Path) -> Source:
    """A folder or `s3://bucket/prefix`."""
    return Bucket(str(place)) if str(place).startswith("s3://") else Folder(Path(place))


class NoRoom(OSError):
    """More is needed at once than the limit allows."""


class Staging:
    """Local copies of files. What was complete when a process was killed is there for the next one.

    Used by one process at a time. A file that is held is never evicted; one that is let go stays until room is needed.
    """

    def __init__(self, folder: Path, source: Source, *, limit_bytes: int, n_at_once: int = 4) -> None:
        """Finds what an earlier process left, the longest unused first, and removes what it left unfinished."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._source, self._limit_bytes = folder, source, limit_bytes
        self._held: dict[str, int] = {}
        self._coming: dict[str, Future[Path]] = {}
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """File -> its size, or what was set aside for it; in the order of use."""
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(n_at_once, thread_name_prefix="raki-staging")
        self.n_fetched = 0
        """Files that came from the source; the others were here."""
        for part in folder.glob("*.part"):
            part.unlink()
        for file in sorted(folder.glob("*.staged"), key=lambda file: file.stat().st_mtime_ns):
            self._sizes[file.name] = file.stat().st_size
        self._make_room(0)

    @property
    def n_bytes(self) -> int:
        """Of all files that are here or on their way."""
        return sum(self._sizes.values())

    def hold(self, key: str, version: str, check: Callable[[Path], None] = lambda _path: None) -> Future[Path]:
        """Begins to bring a file, if it isn't here, and keeps it until `let_go`; the result is its path.

        Args:
            version: what tells one content under the key from another.
            check: raises ValueError where the file isn't what it should be; called once, in the background.

        Raises:
            NoRoom: what is held by now leaves no room for it.
            OSError: it can't be had.
        """
        name = hashlib.sha256(f"{key}\n{version}".encode()).hexdigest()[:40] + ".staged"
        with self._lock:
            if name in self._coming and not self._failed(name):
                self._held[name] = self._held.get(name, 0) + 1
                self._sizes.move_to_end(name)
                return self._coming[name]
            is_here = name in self._sizes and (self._folder / name).exists()
            if not is_here:
                n_bytes = self._source.n_bytes(key)
                self._make_room(n_bytes)
                self._sizes[name] = n_bytes
            self._held[name] = 1
            self._sizes.move_to_end(name)
            if is_here:
                done: Future[Path] = Future()
                done.set_result(self._folder / name)
                self._coming[name] = done
            else:
                self._coming[name] = self._pool.submit(self._fetch, key, name, check)
            return self._coming[name]

    def let_go(self, key: str, version: str) -> None:
        """Ends one hold of a file; its place counts as used just now."""
        name = hashlib.sha256(f"{key}\n{version}".encode()).hexdigest()[:40] + ".staged"
        with self._lock:
            if name not in self._held:
                return
            self._held[name] -= 1
            if self._held[name] == 0:
                del self._held[name]
                if self._failed(name):
                    self._forget(name)
                else:
                    self._sizes.move_to_end(name)
                    with contextlib.suppress(OSError):
                        (self._folder / name).touch()

    def close(self) -> None:
        """Ends what is on its way; what is complete stays."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, key: str, name: str, check: Callable[[Path], None]) -> Path:
        part = self._folder / f"{name}.part"
        try:
            self._source.fetch(key, part)
            check(part)
            part.replace(self._folder / name)
        finally:
            part.unlink(missing_ok=True)
        self.n_fetched += 1
        return self._folder / name

    def _make_room(self, n_bytes: int) -> None:
        unused = [name for name in self._sizes if name not in self._held]
        while self.n_bytes + n_bytes > self._limit_bytes and unused:
            self._forget(unused.pop(0))
        if self.n_bytes + n_bytes > self._limit_bytes:
            raise NoRoom(
                f"{self.n_bytes + n_bytes} bytes are needed at once and {self._limit_bytes} are allowed; allow more, "
                "or mix fewer scans"
            )

    def _forget(self, name: str) -> None:
        self._sizes.pop(name, None)
        self._coming.pop(name, None)
        (self._folder / name).unlink(missing_ok=True)

    def _failed(self, name: str) -> bool:
        coming = self._coming.get(name)
        return coming is not None and coming.done() and (coming.cancelled() or coming.exception() is not None)
