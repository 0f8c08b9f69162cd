"""Scans and results as S3 objects: streamed in, published whole."""

import hashlib
import html
import io
import json
import mimetypes
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError, FlexibleChecksumError

from raki.errors import RakiError, Removed, Superseded, TransientError
from raki.service.ledger import ScanRecord
from raki.service.messages import ScanArrived

MANIFEST = "manifest.json"


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
        try:
            self._body = s3.get_object(Bucket=scan.bucket, Key=scan.key, IfMatch=f'"{scan.etag}"')["Body"]
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
            raise
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

    def drain(self) -> str:
        """Reads what is left (an archive's padding) and returns the SHA-256 of the whole object, in hexadecimal."""
        while self.read(1 << 20):
            pass
        return self._sha256.hexdigest()


def find_standing(s3: BaseClient, arrival: ScanArrived) -> ScanArrived | None:
    """The version of an announced file that stands in the bucket now; None where it was removed.

    S3 gives a reader the newest version from the moment that it was written. Amazon S3 User Guide, "Amazon S3 data
    consistency model". Events of one key could be put in order by their `sequencer`, but not every event has come yet.
    """
    try:
        head = s3.head_object(Bucket=arrival.bucket, Key=arrival.key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    etag = head["ETag"].strip('"')
    # Whole seconds only, unlike the event's time.
    at = max(head["LastModified"], arrival.at) if etag == arrival.etag else head["LastModified"]
    return replace(arrival, etag=etag, version_id=head.get("VersionId"), n_bytes=head["ContentLength"], at=at)


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


def publish(s3: BaseClient, bucket: str, record: ScanRecord, files: Iterable[Path], *, outcome: str) -> None:
    """Uploads a scan's files into its results folder and `manifest.json` last; removes every earlier run's other files.

    The manifest lists name, size and SHA-256 of each. It is the only object that anything waits for.
    """
    folder = record.results_folder
    listing = []
    for file in files:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        arguments = {"ContentType": kind, "StorageClass": "INTELLIGENT_TIERING"}
        s3.upload_file(str(file), bucket, f"{folder}/{file.name}", ExtraArgs=arguments)
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        listing.append({"name": file.name, "n_bytes": file.stat().st_size, "sha256": digest})
    for stale in _published(s3, bucket, folder) - {entry["name"] for entry in listing}:
        s3.delete_object(Bucket=bucket, Key=f"{folder}/{stale}")
    manifest = {
        "scan_id": record.scan_id,
        "outcome": outcome,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": listing,
    }
    s3.put_object(
        Bucket=bucket,
        Key=f"{folder}/{MANIFEST}",
        Body=json.dumps(manifest, indent=2).encode(),
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


def write_error_report(folder: Path, record: ScanRecord, error: RakiError) -> list[Path]:
    """Writes `error.json` for programs and `error.html` for people into `folder`."""
    facts = {
        "scan_id": record.scan_id,
        "failure_class": error.failure_class,
        "failure": error.sentence,
        "failed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    report, page = folder / "error.json", folder / "error.html"
    report.write_text(json.dumps(facts, indent=2), encoding="utf-8")
    escaped = {name: html.escape(value) for name, value in facts.items()}
    name = html.escape(record.raw_key.rpartition("/")[2])
    page.write_text(ERROR_PAGE.substitute(escaped, name=name), encoding="utf-8")
    return [report, page]


# No Jinja, as for the report: this package has to start fast, and imports the standard library and boto3 alone.
ERROR_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Not reconstructed: $name</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.55 system-ui, sans-serif; max-width: 42rem; margin: 12vh auto; padding: 0 1.5rem; }
  h1 { font-size: 1.5rem; margin-bottom: .3rem; }
  .sentence { border-left: 4px solid #c0392b; padding: .3rem 0 .3rem 1rem; font-size: 1.1rem; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin-top: 2rem; }
  dt, footer { opacity: .65; } dd { margin: 0; overflow-wrap: anywhere; }
  footer { margin-top: 3rem; font-size: .85rem; }
</style>
</head>
<body>
<h1>This scan could not be reconstructed</h1>
<p>$name</p>
<p class="sentence">$failure</p>
<p>The raw scan is untouched and kept. After mending the cause, drop the file again to have it tried anew.</p>
<dl>
<dt>Kind of failure</dt><dd>$failure_class</dd>
<dt>When</dt><dd>$failed_at</dd>
<dt>Scan id, for the operator</dt><dd>$scan_id</dd>
</dl>
<footer>raki, for research use only. Not a medical device.</footer>
</body>
</html>
""")
