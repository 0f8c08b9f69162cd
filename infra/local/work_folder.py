"""The work folder: one local cloud's at a time, and cleared of what a killed one left in it."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.account import KEY_ID, REGION, SECRET
from raki.service.deployment import ADDRESS_FILE

OF_ONE_RUN = ("containers", "fsx", "functions", "objects")
"""Folders that mean nothing once their cloud is gone: who knew what is in them was its memory."""


class WorkFolderInUse(Exception):
    """Another local cloud runs in the folder."""


@contextmanager
def announced(folder: Path, endpoint: str, share: Path) -> Iterator[None]:
    """For the block the folder tells commands of this machine how to reach the cloud, and where its share is."""
    file = folder / ADDRESS_FILE
    address = {
        "endpoint_url": endpoint,
        "region_name": REGION,
        "aws_access_key_id": KEY_ID,
        "aws_secret_access_key": SECRET,
        "share": str(share),
    }
    file.write_text(json.dumps(address), encoding="utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Has the folder for the block, at the start of which nothing of an earlier cloud is in it but logs.

    Raises:
        WorkFolderInUse: another one has it. The system lets go for one that is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkFolderInUse(
                f"another local cloud runs in {folder}: end it first, or give this one a folder of its own (--work)"
            ) from None
        for name in OF_ONE_RUN:
            shutil.rmtree(folder / name, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)
