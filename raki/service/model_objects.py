"""Models in a bucket: `PREFIX/NAME/VERSION/` with the same three files as in a folder. What they hold is checked by
`raki.models`, which reads them from the folder that they come to."""

import hashlib
from pathlib import Path

import boto3
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from raki.errors import BadModel, NoSuchModel, TransientError

FILES = ("weights.safetensors", "README.md", "model.json")
"""The description last: who finds it finds the others."""
LARGEST_BYTES = 4 << 30
"""Of one file: more are no weights of kernels."""
ABSENT = ("404", "NoSuchKey", "NotFound")


def client(profile: str | None) -> BaseClient:
    """S3, by the account and region of the environment, or of a profile."""
    return boto3.Session(profile_name=profile).client("s3")


def versions(s3: BaseClient, bucket: str, prefix: str) -> list[str]:
    """Those of the model under `PREFIX/NAME/`, the newest first."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    try:
        found = [each["Prefix"][len(prefix) : -1] for page in pages for each in page.get("CommonPrefixes", ())]
    except (ClientError, BotoCoreError) as error:
        raise _named(error, bucket) from None
    numbers = [each for each in found if each and all(part.isdecimal() for part in each.split("."))]
    return sorted(numbers, key=lambda each: [int(part) for part in each.split(".")], reverse=True)


def newest(s3: BaseClient, bucket: str, prefix: str) -> str | None:
    """The newest version of the model under `PREFIX/NAME/`; None where there is none."""
    return next(iter(versions(s3, bucket, prefix)), None)


def download(s3: BaseClient, bucket: str, prefix: str, folder: Path) -> None:
    """Brings the files of one version into a folder, which is made.

    Raises:
        NoSuchModel: one isn't there.
        BadModel: one is far too large.
        TransientError: the bucket can't be read now.
    """
    folder.mkdir(parents=True)
    for name in FILES:
        try:
            if s3.head_object(Bucket=bucket, Key=prefix + name)["ContentLength"] > LARGEST_BYTES:
                raise BadModel(f"{name} of the model has more than {LARGEST_BYTES >> 30} GiB")
            s3.download_file(bucket, prefix + name, str(folder / name))
        except (ClientError, BotoCoreError) as error:
            raise _named(error, bucket, prefix + name) from None


def place_of(address: str) -> tuple[str, str]:
    """Bucket and prefix, with its slash, of s3://BUCKET/PREFIX."""
    bucket, _, prefix = address.removeprefix("s3://").strip("/").partition("/")
    return bucket, f"{prefix}/" if prefix else ""


def bring(s3: BaseClient, address: str, name: str, version: str | None, digest: str | None, root: Path) -> None:
    """Brings a model from s3://BUCKET/PREFIX into a store's folder: a version, the newest, or the one of a digest.

    Raises:
        NoSuchModel: there is none.
        BadModel, TransientError: as of `download`.
    """
    bucket, prefix = place_of(address)
    own = f"{prefix}{name}/"
    found = [version] if version else versions(s3, bucket, own)
    for each in found if digest else found[:1]:
        folder = root / name / each
        download(s3, bucket, f"{own}{each}/", folder)
        if digest is None or hashlib.sha256((folder / "model.json").read_bytes()).hexdigest() == digest:
            return
    if not found:
        raise NoSuchModel(f"there is no model {name} at s3://{bucket}/{prefix}: push it first, or name another")


def upload(s3: BaseClient, bucket: str, prefix: str, folder: Path) -> None:
    """Puts the files of one version under `PREFIX/NAME/VERSION/`.

    Raises:
        BadModel: another model stands there.
        TransientError: the bucket can't be written now.
    """
    own = (folder / "model.json").read_bytes()
    try:
        there = s3.get_object(Bucket=bucket, Key=f"{prefix}model.json")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ABSENT:
            raise _named(error, bucket) from None
        there = own
    except BotoCoreError as error:
        raise _named(error, bucket) from None
    if there != own:
        raise BadModel(f"another model stands at s3://{bucket}/{prefix}; give this one the next version")
    try:
        for name in FILES:
            s3.upload_file(str(folder / name), bucket, prefix + name)
    except (ClientError, BotoCoreError) as error:
        raise _named(error, bucket) from None


def _named(error: Exception, bucket: str, key: str = "") -> NoSuchModel | TransientError:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    if code in (*ABSENT, "NoSuchBucket"):
        return NoSuchModel(f"there is no s3://{bucket}/{key}: push the model first, or name another")
    return TransientError(f"the bucket {bucket} can't be used now ({code}); look at its rights and try again")
