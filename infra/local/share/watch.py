"""Finds out when a file on the share is complete, and uploads it."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from infra.local.share.folder import ShareFolder, Version

# A file that nobody was seen to open or close counts as complete when it hasn't changed for this long ...
SETTLED_S = 2.0
# ... and one that somebody still holds open, when nothing has been written for this long.
OPEN_PATIENCE_S = 60.0
SCAN_INTERVAL_S = 1.0
# watchdog says so of folders that are made within one another at once, and then does the right thing.
warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A file that isn't uploaded, and since when it is as it is."""

    version: Version
    since_s: float


class ClosedFiles(FileSystemEventHandler):
    """Collects what the operating system says about opened, closed and moved files, where it says it at all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Path, int] = {}
        self._complete: list[Path] = []

    def on_opened(self, event: FileSystemEvent) -> None:  # noqa: D102
        with self._lock:
            path = Path(str(event.src_path))
            self._open[path] = self._open.get(path, 0) + 1

    def on_closed(self, event: FileSystemEvent) -> None:  # noqa: D102
        self._closed(Path(str(event.src_path)), written=True)

    def on_closed_no_write(self, event: FileSystemEvent) -> None:  # noqa: D102
        self._closed(Path(str(event.src_path)), written=False)

    def on_moved(self, event: FileSystemEvent) -> None:  # noqa: D102
        self._closed(Path(str(event.src_path)), written=False)
        with self._lock:
            self._complete.append(Path(str(event.dest_path)))

    def take_complete(self) -> list[Path]:
        """The files that were closed after writing, or moved here, since the last call."""
        with self._lock:
            complete, self._complete = self._complete, []
            return [path for path in dict.fromkeys(complete) if path not in self._open]

    def is_open(self, path: Path) -> bool:
        """Whether somebody was seen to open the file and not to close it."""
        with self._lock:
            return path in self._open

    def _closed(self, path: Path, *, written: bool) -> None:
        with self._lock:
            n_open = self._open.pop(path, 0) - 1
            if n_open > 0:
                self._open[path] = n_open
            if written:
                self._complete.append(path)


class Watcher:
    """Uploads what is complete on one share."""

    def __init__(self, folder: ShareFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self._clock = clock
        self._events = ClosedFiles()
        self._sightings: dict[Path, Sighting] = {}
        self._next_scan_s = 0.0
        self._observer = Observer()
        self._observer.schedule(self._events, str(folder.path), recursive=True)
        self._observer.daemon = True
        self._observer.start()

    def step(self) -> None:
        """Uploads the files that have been completed since the last call."""
        for path in self._events.take_complete():
            self._upload(path)
        if self._clock() >= self._next_scan_s:
            self._next_scan_s = self._clock() + SCAN_INTERVAL_S
            self.folder.hide_removed()
            for path in list(self._settled()):
                self._upload(path)

    def close(self) -> None:
        """Ends the watching."""
        self._observer.stop()
        self._observer.join(1.0)

    def _upload(self, path: Path) -> None:
        if path.is_relative_to(self.folder.path) and self.folder.needs_upload(path):
            self.folder.upload(path)
        self._sightings.pop(path, None)

    def _settled(self) -> Iterator[Path]:
        """What the operating system is silent about: files from before the start, platforms without such events."""
        now_s = self._clock()
        seen: dict[Path, Sighting] = {}
        for path in self.folder.path.rglob("*"):
            version = Version.of(path)
            if version is None:
                continue
            if not self.folder.needs_upload(path):
                self.folder.update_attributes(path)
                continue
            before = self._sightings.get(path)
            unchanged = before is not None and before.version == version
            seen[path] = before if before and unchanged else Sighting(version=version, since_s=now_s)
            patience_s = OPEN_PATIENCE_S if self._events.is_open(path) else SETTLED_S
            if now_s - seen[path].since_s >= patience_s:
                yield path
        self._sightings = seen
