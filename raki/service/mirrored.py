"""A part of a bucket as files on the local disk, brought up to date and put back."""

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

# Objects are small: what takes time is the way there and back.
_AS_ONE = TransferConfig(use_threads=False)
_HASTE = 16


class Unreachable(Exception):
    """The bucket isn't there, or may not be read; a sentence says why."""


def bring(
    bucket: str, prefix: str, folder: Path, *, is_wanted: Callable[[str], bool], is_marker: Callable[[str], bool]
) -> None:
    """Has the wanted objects below a prefix as files, with their times; files of objects that are gone go.

    Args:
        is_marker: of which it is enough to know that they are there: the file is empty.

    Raises:
        Unreachable: in words of AWS.
    """
    s3 = boto3.client("s3")
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        there = {
            each["Key"].removeprefix(prefix): _state(each)
            for page in pages
            for each in page.get("Contents", [])
            if is_wanted(each["Key"].removeprefix(prefix)) and _is_plain(each["Key"].removeprefix(prefix))
        }

        def fetch(key: str) -> None:
            size, changed = there[key]
            target = folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_marker(key):
                target.touch()
                return
            if target.exists() and (target.stat().st_size, target.stat().st_mtime_ns) == (size, changed):
                return
            s3.download_file(bucket, prefix + key, str(target), Config=_AS_ONE)
            os.utime(target, ns=(changed, changed))

        with ThreadPoolExecutor(_HASTE) as pool:
            list(pool.map(fetch, there))
    except (BotoCoreError, ClientError) as error:
        raise Unreachable(f"the bucket '{bucket}' can't be read: {error}") from None
    for file in folder.rglob("*"):
        if file.is_file() and not file.name.startswith(".") and file.relative_to(folder).as_posix() not in there:
            file.unlink()


def files_of(root: Path, folder: str) -> frozenset[str]:
    """The files in a folder, as keys."""
    return frozenset(
        file.relative_to(root).as_posix()
        for file in (root / folder).rglob("*")
        if file.is_file() and not file.name.startswith(".")
    )


def put(bucket: str, prefix: str, root: Path, *, folder: str, last: str, before: frozenset[str]) -> None:
    """Uploads the files of a folder that the bucket doesn't have as they are, `last` behind all others.

    Args:
        before: the files that were there when the bucket was read: objects of those that are gone since go as well.
            What others have put there meanwhile stays.
    """
    s3 = boto3.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}{folder}/")
    there = {each["Key"].removeprefix(prefix): _state(each) for page in pages for each in page.get("Contents", [])}
    files = {
        key: (found.st_size, found.st_mtime_ns) for key in files_of(root, folder) if (found := (root / key).stat())
    }
    for key in sorted(files, key=lambda key: (key == last, key)):
        if there.get(key) != files[key]:
            s3.upload_file(str(root / key), bucket, prefix + key, Config=_AS_ONE)
    for key in sorted((before & there.keys()) - files.keys()):
        s3.delete_object(Bucket=bucket, Key=prefix + key)


def _is_plain(key: str) -> bool:
    """Whether a key can be the path of a file in a folder, and of none outside it."""
    return all(part not in ("", ".", "..") for part in key.split("/"))


def _state(listed: Mapping[str, Any]) -> tuple[int, int]:
    """Size in bytes and time in ns of an object: S3 tells whole seconds, and the part below says the entity tag apart.

    Two objects of one size that are put under one key within a second are thus two (a file's time is kept to 100 ns
    even on a share).
    """
    tag = int.from_bytes(hashlib.sha256(listed["ETag"].encode()).digest()[:8])
    seconds = int(listed["LastModified"].astimezone(UTC).timestamp())
    return listed["Size"], seconds * 1_000_000_000 + tag % 10_000_000 * 100


def n_bytes_of(bucket: str, key: str) -> int:
    """The size of an object; raises FileNotFoundError where there is none."""
    try:
        return int(boto3.client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"])
    except ClientError as error:
        raise _as_os_error(error, key) from None


def fetch(bucket: str, key: str, target: Path) -> None:
    """An object as a file; raises FileNotFoundError where there is none."""
    try:
        boto3.client("s3").download_file(bucket, key, str(target), Config=_AS_ONE)
    except ClientError as error:
        raise _as_os_error(error, key) from None


def _as_os_error(error: ClientError, key: str) -> OSError:
    code = error.response["Error"]["Code"]
    return FileNotFoundError(f"no object {key}") if code in ("404", "NoSuchKey") else OSError(f"{key}: {code}")
