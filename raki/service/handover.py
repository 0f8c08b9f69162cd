"""The prepared scan on its way from one stage to the next: an object that carries its digest, and FSx's copy of it."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from botocore.client import BaseClient

LOG = logging.getLogger("raki.handover")

DIGEST = "sha256"
"""The object's metadata in which its SHA-256 stands, in hexadecimal."""


def upload(
    s3: BaseClient, file: Path, bucket: str, key: str, *, progress: Callable[[int], None] = lambda _n_bytes: None
) -> None:
    """Puts a prepared scan into its bucket; `progress` is told of each piece."""
    s3.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": {DIGEST: _digest(file)}}, Callback=progress)


def find(s3: BaseClient, bucket: str, key: str, mirror: Path) -> Path | None:
    """The file of the folder `mirror` that is the object as it is now, or None.

    FSx for Lustre brings in new and changed objects when it gets round to it, and not without fail: a file may be
    missing, or be that of an earlier attempt, of the same size even. Nobody waits for it, since downloading takes no
    longer. Reading all of it for its digest is no waste either: from then on it lies in memory.
    """
    head = s3.head_object(Bucket=bucket, Key=key)
    file = mirror / key
    try:
        if file.stat().st_size == head["ContentLength"] and _digest(file) == head["Metadata"].get(DIGEST):
            return file
    except OSError as error:
        LOG.info("no copy of the prepared scan", extra={"reason": type(error).__name__})
        return None
    LOG.info("no copy of the prepared scan", extra={"reason": "another one stands there"})
    return None


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
