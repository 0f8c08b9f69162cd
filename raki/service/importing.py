"""The way of a result into a data store of AWS HealthImaging: what is imported, by which job, and what came of it.

AWS HealthImaging Developer Guide: "Starting an import job"; "Understanding image sets", by which a second import of the
same SOP instances into a primary image set is its next version; "AWS HealthImaging endpoints and quotas".
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from raki.errors import TransientError
from raki.service.messages import NotUnderstood
from raki.service.sending import digest_of, images_of

MOST_FILES, LARGEST_FILE, MOST_BYTES = 5_000, 4_000_000_000, 10_000_000_000
"""Of one job: files, bytes of each, bytes of all. The first can be raised on request, the others can't."""
JOB_NAME = "raki-{}"
SOURCE = "aws.medical-imaging"
SUMMARY = "job-output-manifest.json"


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A job has ended, well or not. Read from HealthImaging's own event."""

    scan_id: str
    job_id: str


def ended(body: str) -> Ended | None:
    """The job of ours that a message says has ended; None where the message isn't HealthImaging's, or not of ours.

    The same guide, "Using Amazon EventBridge with HealthImaging".

    Raises:
        NotUnderstood: it is HealthImaging's, and of no such form.
    """
    try:
        event = json.loads(body)
        if event.get("source") != SOURCE:
            return None
        detail = event["detail"]
        prefix, _, scan_id = str(detail["jobName"]).partition(JOB_NAME.format(""))
        return Ended(scan_id=scan_id, job_id=str(detail["jobId"])) if scan_id and not prefix else None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotUnderstood(f"the message is no event of a job: {type(error).__name__} {error}") from None


def is_of_healthimaging(body: str) -> bool:
    """Whether HealthImaging sent the event, and not S3."""
    try:
        return bool(json.loads(body).get("source") == SOURCE)
    except (AttributeError, ValueError):
        return False


def why_too_large(manifest: Mapping[str, Any]) -> str | None:
    """A sentence, where a result is beyond what one job takes."""
    sizes = [listed["n_bytes"] for listed in images_of(manifest)]
    for value, most, what in (
        (len(sizes), MOST_FILES, "images"),
        (max(sizes), LARGEST_FILE, "bytes in an image"),
        (sum(sizes), MOST_BYTES, "bytes of images"),
    ):
        if value > most:
            return f"The result has {value} {what}, and a job of HealthImaging takes {most}."
    return None


def client_token(manifest: Mapping[str, Any], data_store: str, n_failed: int) -> str:
    """The same for the same images of the same scan and data store, of which as many jobs have failed.

    HealthImaging answers a token that it knows with the job that it has: it starts none.
    """
    content = [manifest["scan_id"], digest_of(manifest, data_store), n_failed]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a job reads and writes, in a bucket that holds nothing else: a job imports all that its prefix has."""

    bucket: str
    scan_id: str
    token: str

    @property
    def images(self) -> str:
        """The keys of what is imported begin with it."""
        return f"input/{self.scan_id}/{self.token}/"

    @property
    def reports(self) -> str:
        """Those of what HealthImaging says of it."""
        return f"output/{self.scan_id}/{self.token}/"

    def uri(self, prefix: str) -> str:
        """As HealthImaging takes it."""
        return f"s3://{self.bucket}/{prefix}"


def stage_images(s3: BaseClient, bucket: str, folder: str, manifest: Mapping[str, Any], places: Places) -> None:
    """Copies the DICOM files as the manifest has them, within S3.

    Raises:
        TransientError: one is missing or another: a run is just putting its files there.
    """
    for listed in images_of(manifest):
        key = f"{folder}/{listed['name']}"
        try:
            s3.copy_object(
                Bucket=places.bucket,
                CopySource={"Bucket": bucket, "Key": key},
                CopySourceIfMatch=_vouched(s3, bucket, key, listed["sha256"]),
                Key=places.images + PurePosixPath(listed["name"]).name,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "412", "PreconditionFailed"):
                raise
            raise TransientError(f"{listed['name']} isn't there, which the manifest lists") from None


def _vouched(s3: BaseClient, bucket: str, key: str, sha256: str) -> str:
    """The ETag of an object that has this content."""
    found = s3.get_object(Bucket=bucket, Key=key)
    digest = hashlib.sha256()
    with closing(found["Body"]) as body:
        for chunk in body.iter_chunks(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise TransientError("an image isn't what the manifest lists")
    return str(found["ETag"])


def why_not_imported(s3: BaseClient, places: Places, n_images: int) -> str | None:
    """A sentence, where a job that has ended left images out; its state doesn't say so, its summary does.

    Raises:
        TransientError: the summary isn't there.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=places.bucket, Prefix=places.reports)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    key = next((key for key in keys if key.endswith(f"/{SUMMARY}")), None)
    if key is None:
        raise TransientError("the job's summary isn't there")
    with closing(s3.get_object(Bucket=places.bucket, Key=key)["Body"]) as body:
        summary = json.loads(body.read())["jobSummary"]
    n_imported = int(summary["numberOfImportedFiles"])
    if n_imported == n_images:
        return None
    return (
        f"HealthImaging imported {n_imported} of {n_images} images; why, it says for each in "
        f"{places.uri(places.reports)}"
    )
