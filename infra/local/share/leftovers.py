"""What an earlier local cloud left on a share: files that it did not finish, results that no bucket knows any more."""

import contextlib
import fcntl
import json
import shutil
import time
from pathlib import Path
from typing import IO, Any

from raki.manifest import MANIFEST

PREFIX = ".raki-"
SUFFIX = ".part"
# Folders of this kind are those of `raki.whole_file`, whose programs hold no lock.
STALE_AFTER_S = 3600.0


def hold(part: IO[bytes]) -> None:
    """Marks an unfinished file as one that is being written, for as long as it is open."""
    fcntl.flock(part, fcntl.LOCK_EX)


def clear(share: Path) -> None:
    """Removes the unfinished files that nobody holds, and unfinished folders that nobody has touched for an hour."""
    for path in sorted(share.rglob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):  # somebody else was quicker, or it isn't ours to remove
            if path.is_dir() and not path.is_symlink():
                if time.time() - max(found.stat().st_mtime for found in (path, *path.iterdir())) > STALE_AFTER_S:
                    shutil.rmtree(path)
            elif path.name.endswith(SUFFIX) and _is_free(path):
                path.unlink()


def listed(share: Path) -> dict[str, set[str]]:
    """The files that the manifests on a share list, by folder; all from its root, folders with a slash."""
    found = {}
    for manifest in share.rglob(MANIFEST):
        folder = manifest.parent.relative_to(share).as_posix() + "/"
        found[folder] = {folder + name for name in _names(manifest)}
    return found


def _names(manifest: Path) -> set[str]:
    try:
        entries: Any = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        return {entry["name"] for entry in entries if Path(entry["name"]).name == entry["name"]}
    except (OSError, LookupError, TypeError, ValueError):
        return set()  # not one of ours, and neither is what it lists


def _is_free(file: Path) -> bool:
    with file.open("rb") as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
