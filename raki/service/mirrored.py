"""A part of a bucket as files on the local disk, brought up to date and put back."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

# Objects are small: what takes time is the way there and back.
_AS_ONE = TransferConfig(use_threads=False)
_HASTE = 16
_READ_AT_MOST = 8
_DAY_S = 86400


class Unreachable(Exception):
    """The bucket isn't there, or may not be read; a sentence says why."""


class _Changed(Exception):
    """What was listed is another by now."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An object, as a bucket lists it."""

    n_bytes: int
    changed: datetime
    etag: str

    @property
    def state(self) -> tuple[int, int]:
        """Size in bytes and time in ns, which its file gets: S3 tells whole seconds, and the part below says the entity
        tag apart.

        Two objects of one size that are put under one key within a second are thus two (a file's time is kept to 100 ns
        even on a share).
        """
        tag = int.from_bytes(hashlib.sha256(self.etag.encode()).digest()[:8])
        seconds = int(self.changed.astimezone(UTC).timestamp())
        return self.n_bytes, seconds * 1_000_000_000 + tag % 10_000_000 * 100


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of a bucket is brought. All is asked by key, without the prefix."""

    is_wanted: Callable[[str], bool]
    is_marker: Callable[[str], bool]
    """Of which it is enough to know that they are there: the file is empty."""
    together: Sequence[str]
    """How the keys begin that belong together: they are as they all were at one moment."""
    may_stay: Callable[[str], bool]
    """Whose files stay for a day when the object is gone: who reads one still has it."""


def bring(bucket: str, prefix: str, folder: Path, wanted: Wanted) -> Mapping[str, Listed]:
    """Has the wanted objects below a prefix as files, with their times; files of objects that are gone go.

    Returns:
        Of the keys that belong together, how they were listed.

    Raises:
        Unreachable: in words of AWS; or they change faster than they can be read.
    """
    s3 = boto3.client("s3")
    try:
        for _ in range(_READ_AT_MOST):
            with suppress(_Changed):
                return _bring(s3, bucket, prefix, folder, wanted)
    except (BotoCoreError, ClientError) as error:
        raise Unreachable(f"the bucket '{bucket}' can't be read: {error}") from None
    raise Unreachable(f"the catalogue in '{bucket}/{prefix}' changes faster than it can be read; try again")


def _bring(s3: Any, bucket: str, prefix: str, folder: Path, wanted: Wanted) -> Mapping[str, Listed]:
    there = {key: each for key, each in listed(s3, bucket, prefix).items() if wanted.is_wanted(key)}
    with ThreadPoolExecutor(_HASTE) as pool:
        list(pool.map(lambda key: _fetch(s3, bucket, prefix, folder / key, key, there[key], wanted), there))
    # A listing is no picture of one moment: what moves from a page ahead to one behind is in none of them.
    together = {key: each for key, each in there.items() if key.startswith(tuple(wanted.together))}
    if together != {key: each for begin in wanted.together for key, each in listed(s3, bucket, prefix, begin).items()}:
        raise _Changed
    for file in folder.rglob("*"):
        key = file.relative_to(folder).as_posix()
        if key in there or file.name.startswith(".") or not file.is_file():
            continue
        if not (wanted.may_stay(key) and time.time() - file.stat().st_ctime < _DAY_S):
            file.unlink(missing_ok=True)
    return together


def _fetch(s3: Any, bucket: str, prefix: str, target: Path, key: str, each: Listed, wanted: Wanted) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if wanted.is_marker(key):
        target.touch()
        return
    if target.exists() and (target.stat().st_size, target.stat().st_mtime_ns) == each.state:
        return
    try:
        s3.download_file(bucket, prefix + key, str(target), Config=_AS_ONE)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            raise _Changed from None
        raise
    if target.stat().st_size != each.n_bytes:
        raise _Changed
    os.utime(target, ns=(each.state[1], each.state[1]))


def listed(s3: Any, bucket: str, prefix: str, begin: str = "") -> dict[str, Listed]:
    """The objects below a prefix whose keys begin so and can be paths of files, by key without the prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + begin)
    return {
        key: Listed(n_bytes=each["Size"], changed=each["LastModified"], etag=each["ETag"])
        for page in pages
        for each in page.get("Contents", [])
        if _is_plain(key := each["Key"].removeprefix(prefix))
    }


def put(bucket: str, prefix: str, root: Path, keys: Iterable[str]) -> None:
    """Uploads files of a folder."""
    s3 = boto3.client("s3")
    for key in keys:
        s3.upload_file(str(root / key), bucket, prefix + key, Config=_AS_ONE)


def remove(bucket: str, prefix: str, keys: Iterable[str]) -> None:
    """Takes objects away; those that aren't there are none too many."""
    s3 = boto3.client("s3")
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=prefix + key)


def replace(bucket: str, key: str, body: bytes, *, etag: str | None) -> bool:
    """Puts an object in the place of the one with this entity tag, or where there is none; False: another came first.

    Amazon S3 User Guide, "How to prevent object overwrites with conditional writes".
    """
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    try:
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=body, **condition)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"):
            return False
        raise
    return True


def _is_plain(key: str) -> bool:
    """Whether a key can be the path of a file in a folder, and of none outside it."""
    return all(part not in ("", ".", "..") for part in key.split("/"))


class Objects:
    """A bucket's objects, one by one, by one client: to make another takes longer than to fetch most objects."""

    def __init__(self, bucket: str) -> None:
        self._bucket, self._s3 = bucket, boto3.client("s3")

    def n_bytes(self, key: str) -> int:
        """The size of an object; raises FileNotFoundError where there is none."""
        try:
            return int(self._s3.head_object(Bucket=self._bucket, Key=key)["ContentLength"])
        except ClientError as error:
            raise _as_os_error(error, key) from None

    def fetch(self, key: str, target: Path) -> None:
        """An object as a file; raises FileNotFoundError where there is none."""
        try:
            self._s3.download_file(self._bucket, key, str(target), Config=_AS_ONE)
        except ClientError as error:
            raise _as_os_error(error, key) from None


def _as_os_error(error: ClientError, key: str) -> OSError:
    code = error.response["Error"]["Code"]
    return FileNotFoundError(f"no object {key}") if code in ("404", "NoSuchKey") else OSError(f"{key}: {code}")
