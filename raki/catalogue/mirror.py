"""A bucket's catalogue on the local disk, brought up to date: what has not changed is not read again."""

import hashlib
import os
from pathlib import Path

from raki.catalogue.errors import NoCatalogue
from raki.catalogue.index import FOLDER, INDEX
from raki.catalogue.schema import ROWS_FILE
from raki.manifest import MANIFEST


def local_copy(place: str | Path) -> Path:
    """The folder in which rows, parts, labels and masks of `s3://bucket/prefix` now lie as they do there.

    Raises:
        NoCatalogue: boto3 isn't installed, or there is no such bucket.
    """
    from raki.service import mirrored

    bucket, prefix = parts_of(place)
    root = cache_folder() / hashlib.sha256(f"{bucket}/{prefix}".encode()).hexdigest()[:24]
    root.mkdir(parents=True, exist_ok=True)
    try:
        mirrored.bring(bucket, prefix, root, is_wanted=_is_wanted, is_marker=lambda key: key.endswith(MANIFEST))
    except mirrored.Unreachable as error:
        raise NoCatalogue(str(error)) from None
    return root


def put_back(place: str | Path, root: Path, before: frozenset[str]) -> None:
    """Puts what was written into the bucket, the index behind the parts, and takes away what is no longer there.

    Args:
        before: as `files_of` told it when the copy was brought up to date.
    """
    from raki.service import mirrored

    bucket, prefix = parts_of(place)
    mirrored.put(bucket, prefix, root, folder=FOLDER, last=f"{FOLDER}/{INDEX}", before=before)


def files_of(root: Path) -> frozenset[str]:
    """What a copy of the catalogue's folder holds."""
    from raki.service import mirrored

    return mirrored.files_of(root, FOLDER)


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
