"""Compaction of a folder or a bucket, whoever else compacts it at the same time.

On a bucket the index is put in the place of the very one that it was made from, or not at all. New parts are there
before it, under names of their own, and those that the index before it named go behind it: one that is killed, or comes
second, leaves what the index names as it is.
"""

import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from raki.catalogue.folder_compaction import Compacted, FolderCompacted, compact_folder
from raki.catalogue.index import FOLDER, INDEX, index_bytes, read_index
from raki.catalogue.mirror import PARTS, Copy, copied
from raki.errors import TransientError

TRIES = 8
LONGEST_WAIT_S = 2.0
LEFT_BEHIND = timedelta(days=1)
"""No compaction takes so long: a part of this age that no index names is of one that was killed."""

__all__ = ["Compacted", "compact"]


def compact(place: str | Path) -> Compacted:
    """Takes all rows that lie beside results, and aren't yet, into the catalogue of a folder or a bucket's prefix.

    Only months in which something changed are written anew. A reader meanwhile has what was before, or what is now. Of
    two at the same time in one folder the second waits; of two on one bucket the second begins again.

    Raises:
        NoCatalogue: there is no such folder or bucket.
        TransientError: on a bucket, others came first each time.
    """
    if not str(place).startswith("s3://"):
        return compact_folder(Path(place)).compacted
    own: dict[str, str | None] = {}
    for tried in range(TRIES):
        if tried:
            time.sleep(LONGEST_WAIT_S * secrets.randbelow(1000) / 1000)
        with copied(place) as copy:
            _remove_left_behind(copy, own)
            done = compact_folder(copy.root, mark=f"-{secrets.token_hex(4)}")
            if _put(copy, done):
                return done.compacted
            own |= dict.fromkeys(set(done.after.parts) - set(done.before.parts), copy.index_etag)
    raise TransientError(f"other compactions of '{place}' came first {TRIES} times in a row; run it again later")


def _remove_left_behind(copy: Copy, own: Mapping[str, str | None]) -> None:
    """Takes parts away that no index names, nor can: of compactions that were killed, and of one that came second.

    Args:
        own: parts that came second -> the index that theirs was to follow. As long as that one stands, a request that
            got lost on the way may still arrive.
    """
    from raki.service import mirrored

    index = read_index(copy.root)
    named = set(_keys(index.parts))
    lost = {key for key, etag in zip(_keys(own), own.values(), strict=True) if etag != copy.index_etag}
    before = datetime.now(UTC) - LEFT_BEHIND
    parts = {key: each for key, each in copy.listed.items() if key.startswith(PARTS) and key not in named}
    if not index.is_damaged:
        gone = [key for key, each in parts.items() if key in lost or each.changed < before]
        mirrored.remove(copy.bucket, copy.prefix, gone)


def _keys(parts: Iterable[str]) -> list[str]:
    return [f"{FOLDER}/{part}" for part in parts]


def _put(copy: Copy, done: FolderCompacted) -> bool:
    """The parts, then the index, then away with what it names no more; False where another index came first."""
    from raki.service import mirrored

    before, after = set(done.before.parts), set(done.after.parts)
    if done.after != done.before:
        mirrored.put(copy.bucket, copy.prefix, copy.root, _keys(after - before))
        index = f"{copy.prefix}{FOLDER}/{INDEX}"
        if not mirrored.replace(copy.bucket, index, index_bytes(done.after), etag=copy.index_etag):
            return False
        mirrored.remove(copy.bucket, copy.prefix, _keys(before - after))
    # Labels that are in two files are one: the new file first.
    mirrored.put(copy.bucket, copy.prefix, copy.root, _keys(done.merged))
    mirrored.remove(copy.bucket, copy.prefix, _keys(each for others in done.merged.values() for each in others))
    return True
