"""A bucket's catalogue on the local disk, brought up to date: what has not changed is not read again."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from raki.catalogue.errors import NoCatalogue
from raki.catalogue.index import FOLDER, INDEX
from raki.catalogue.schema import ROWS_FILE
from raki.manifest import MANIFEST

if TYPE_CHECKING:
    from raki.service.mirrored import Listed

PARTS = f"{FOLDER}/slices/"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """What a bucket had at one moment."""

    root: Path
    """The folder in which rows, parts, labels and masks lie as they do there."""
    bucket: str
    prefix: str
    listed: Mapping[str, "Listed"]
    """Index, parts and labels."""

    @property
    def index_etag(self) -> str | None:
        """Entity tag of the index; None where there is none."""
        index = self.listed.get(f"{FOLDER}/{INDEX}")
        return index.etag if index else None


@contextmanager
def copied(place: str | Path) -> Iterator[Copy]:
    """A copy of `s3://bucket/prefix` that nobody else on this machine changes meanwhile.

    Raises:
        NoCatalogue: boto3 isn't installed, or there is no such bucket.
    """
    from raki.service import mirrored

    bucket, prefix = parts_of(place)
    root = cache_folder() / hashlib.sha256(f"{bucket}/{prefix}".encode()).hexdigest()[:24]
    root.mkdir(parents=True, exist_ok=True)
    wanted = mirrored.Wanted(
        is_wanted=_is_wanted,
        is_marker=lambda key: key.endswith(MANIFEST),
        together=(f"{FOLDER}/{INDEX}", f"{FOLDER}/labels/", PARTS),
        may_stay=lambda key: key.startswith(PARTS),
    )
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            listed = mirrored.bring(bucket, prefix, root, wanted)
        except mirrored.Unreachable as error:
            raise NoCatalogue(str(error)) from None
        yield Copy(root=root, bucket=bucket, prefix=prefix, listed=listed)


def cache_folder() -> Path:
    """Where copies of buckets' catalogues are kept, for whoever is logged in alone."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raki" / "catalogue"


def _is_wanted(key: str) -> bool:
    name = key.rpartition("/")[2]
    return name in (ROWS_FILE, MANIFEST) or key.startswith(f"{FOLDER}/")


def parts_of(place: str | Path) -> tuple[str, str]:
    """Bucket and prefix, which ends in a slash where it isn't empty."""
    bucket, _, prefix = str(place).removeprefix("s3://").partition("/")
    if not bucket:
        raise NoCatalogue(f"'{place}' names no bucket; write s3://bucket or s3://bucket/prefix")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
