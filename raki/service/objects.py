"""Scans and results as S3 objects: streamed in, published whole."""

import hashlib
import io
import json
import mimetypes
import shutil
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError, FlexibleChecksumError

from raki.errors import Removed, Superseded, TransientError, UnsupportedScan
from raki.manifest import MANIFEST, entry, manifest
from raki.service.ledger import ScanRecord
from raki.service.messages import ScanArrived


class HashingReader(io.RawIOBase):
    """An object's body as a file that can only be read on, its length and SHA-256 counted on the way."""

    def __init__(
        self, s3: BaseClient, scan: ScanArrived, *, progress: Callable[[int], None] = lambda _n_bytes: None
    ) -> None:
        """Opens the object, if it is still the one that was announced; `progress` is told of each piece read.

        Raises:
            Superseded: another object stands there by now.
            Removed: none does.
        """
        super().__init__()
        self._s3, self._bucket = s3, scan.bucket
        self._body = open_body(s3, scan.bucket, scan.key, scan.etag)
        self._sha256 = hashlib.sha256()
        self._progress = progress
        self.n_bytes = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fills `buffer` from the body; 0 at the end.

        Raises:
            TransientError: all is read, and it isn't what S3's checksum stands for.
        """
        try:
            chunk = self._body.read(len(buffer))
        except FlexibleChecksumError as error:
            raise TransientError(
                f"the object's bytes don't have the checksum that S3 states for them ({error}): what was sent is not "
                "what was stored; read it again"
            ) from None
        buffer[: len(chunk)] = chunk
        self._sha256.update(chunk)
        self.n_bytes += len(chunk)
        self._progress(len(chunk))
        return len(chunk)

    def drain(self) -> None:
        """Reads what is left, as an archive's padding."""
        while self.read(1 << 20):
            pass

    @property
    def sha256(self) -> str:
        """Of all that was read so far, in hexadecimal."""
        return self._sha256.hexdigest()

    def read_on(self, key: str, etag: str, into: Path) -> None:
        """Reads another object of the same bucket into a file, counted as if it came behind.

        Raises:
            Superseded: another object stands there by now, or none; the scan that it belongs to is another one then.
        """
        try:
            self._body = open_body(self._s3, self._bucket, key, etag)
        except Removed:
            raise Superseded(
                "A file that belongs to this one was removed before it could be read. What stands there is worked on."
            ) from None
        with into.open("xb") as file:
            shutil.copyfileobj(self, file, 1 << 20)


def open_body(s3: BaseClient, bucket: str, key: str, etag: str) -> Any:
    """The body of one version.

    Raises:
        Superseded: another one stands there by now.
        Removed: none does.
        UnsupportedScan: it is archived.
    """
    try:
        return s3.get_object(Bucket=bucket, Key=key, IfMatch=f'"{etag}"')["Body"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("PreconditionFailed", "412"):
            raise Superseded(
                "The file was replaced before it could be read. The version that stands there is worked on."
            ) from None
        if code in ("NoSuchKey", "404"):
            raise Removed(
                "The file was removed before it could be read. If that was a mistake, drop it again."
            ) from None
        if code == "InvalidObjectState":
            raise UnsupportedScan(
                "the file lies in S3's archive, from where it can't be read at once; have it restored, then drop it "
                "again"
            ) from None
        raise


def tag_reconstructed(s3: BaseClient, bucket: str, key: str, *, version_id: str | None = None) -> bool:
    """Tags what the bucket's lifecycle may archive, or remove, now that its result is safe; False where it's gone."""
    version = {"VersionId": version_id} if version_id else {}
    tags = {"TagSet": [{"Key": "raki", "Value": "reconstructed"}]}
    try:
        s3.put_object_tagging(Bucket=bucket, Key=key, Tagging=tags, **version)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchVersion"):
            raise
        return False
    return True


def read_start(s3: BaseClient, bucket: str, key: str, *, n_bytes: int) -> bytes | None:
    """The first bytes of an object, so many or all there are; None where no object is."""
    try:
        with closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            start: bytes = body.read(n_bytes)
            return start
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise


def publish(
    s3: BaseClient,
    bucket: str,
    record: ScanRecord,
    files: Iterable[Path],
    *,
    outcome: str,
    remarks: Iterable[str] = (),
    go_on: Callable[[], None] = lambda: None,
    seal: Callable[[], None] = lambda: None,
) -> None:
    """Uploads a scan's files into its results folder and `manifest.json` last; removes every earlier run's other files.

    The manifest lists name, size and SHA-256 of each, and what was remarked on the scan, as that a part of it is
    missing. It is the only object that anything waits for. `go_on` is called
    before each change, `seal` before the manifest is written; each raises where that shall not be done.
    """
    folder = record.results_folder
    listing = []
    for file in files:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        arguments = {"ContentType": kind, "StorageClass": "INTELLIGENT_TIERING"}
        go_on()
        s3.upload_file(str(file), bucket, f"{folder}/{file.name}", ExtraArgs=arguments)
        listing.append(entry(file, file.name))
    for stale in _published(s3, bucket, folder) - {listed["name"] for listed in listing}:
        go_on()
        s3.delete_object(Bucket=bucket, Key=f"{folder}/{stale}")
    seal()
    content = manifest(listing, outcome=outcome, scan_id=record.scan_id, remarks=remarks)
    s3.put_object(
        Bucket=bucket,
        Key=f"{folder}/{MANIFEST}",
        Body=json.dumps(content, indent=2).encode(),
        ContentType="application/json",
    )


def _published(s3: BaseClient, bucket: str, folder: str) -> set[str]:
    """The files that stand in a scan's folder, its manifest apart; what lies deeper may be another scan's.

    All are ours: nobody else writes to this bucket, and no two files on the share have the same folder. An earlier
    manifest doesn't name those of a run that ended before it wrote one.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/", Delimiter="/")
    found = {entry["Key"].removeprefix(f"{folder}/") for page in pages for entry in page.get("Contents", [])}
    return found - {MANIFEST, ""}


def read_manifest(s3: BaseClient, bucket: str, folder: str) -> dict[str, Any] | None:
    """The manifest that stands in a results folder, or None."""
    try:
        body = s3.get_object(Bucket=bucket, Key=f"{folder}/{MANIFEST}")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None
        raise
    manifest: dict[str, Any] = json.loads(body)
    return manifest
