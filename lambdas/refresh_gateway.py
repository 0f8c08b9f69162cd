"""Makes finished results appear on the share: one cache refresh for all scans that ended since the last one."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError

from raki.service import log, metrics
from raki.service.bookkeeping import Bookkeeping
from raki.service.ledger import Ledger, State
from raki.service.messages import NotUnderstood, manifests
from raki.service.settings import RefreshSettings, from_environment

LOG = log.configure()
GATEWAY = boto3.client("storagegateway")
S3 = boto3.client("s3")
DYNAMODB = boto3.client("dynamodb")
SQS = boto3.client("sqs")

MAX_FOLDERS = 50
"""What one RefreshCache call takes."""


def folders_to_refresh(manifest_keys: Iterable[str], is_shown: Callable[[str], bool]) -> list[str]:
    """The folders to name in a RefreshCache call, which refreshes what lies below them too.

    A gateway looks again only into folders that it knows: for each result that is the nearest one above it which it
    was asked to look into before, in the end the root. A folder within another one of the list is left out; beyond
    the call's limit the whole share is refreshed.
    """
    known = {next(folder for folder in folders_above(key) if is_shown(folder)) for key in manifest_keys}
    outermost = sorted(
        f"/{folder}"
        for folder in known
        if not any(folder != other and (not other or folder.startswith(f"{other}/")) for other in known)
    )
    return outermost if len(outermost) <= MAX_FOLDERS else ["/"]


def folders_above(manifest_key: str) -> list[str]:
    """The folders that hold a scan's results folder, innermost first; the root is the empty string."""
    parts = manifest_key.split("/")[:-2]
    return ["/".join(parts[:depth]) for depth in range(len(parts), -1, -1)]


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Refreshes once for the whole batch, then notes each scan as delivered; names the messages to be tried again.

    Each message stands for itself. One that can't be understood is buried; Lambda deletes it with those that are done.
    """
    settings = from_environment(RefreshSettings)
    ledger = Ledger(DYNAMODB, settings.ledger_table)
    books = Bookkeeping(DYNAMODB, settings.ledger_table)
    spoken_of = _read(event["Records"], settings.refresh_dead_letters_url)
    places = [place for places in spoken_of.values() for place in places]
    if settings.results_share_arn and not _refresh(settings.results_share_arn, places, books):
        _put_off(event["Records"], settings)
        return _failed(spoken_of)
    return _failed(name for name, places in spoken_of.items() if not _deliver_all(ledger, places))


def _read(records: Iterable[dict[str, Any]], dead_letters_url: str) -> dict[str, list[tuple[str, str]]]:
    """Bucket and key of the manifests that each message speaks of; what can't be read is buried."""
    found = {}
    for record in records:
        try:
            found[record["messageId"]] = manifests(record["body"])
        except NotUnderstood:
            LOG.exception("message not understood")
            SQS.send_message(QueueUrl=dead_letters_url, MessageBody=record["body"])
    return found


def _put_off(records: Iterable[dict[str, Any]], settings: RefreshSettings) -> None:
    """Lets messages come again when the gateway takes the next refresh, and not only when their lease is over."""
    for record in records:
        with suppress(ClientError):  # it comes again all the same
            SQS.change_message_visibility(
                QueueUrl=settings.refresh_queue_url,
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=settings.refresh_spacing_s,
            )


def _failed(messages: Iterable[str]) -> dict[str, Any]:
    """AWS Lambda developer guide, "Reporting batch item failures"."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in messages]}


def _deliver_all(ledger: Ledger, places: Iterable[tuple[str, str]]) -> bool:
    """Whether all of a message's scans are noted; what fails for one message is no other's matter."""
    try:
        return all(_deliver(ledger, *place) for place in places)
    except Exception:
        LOG.exception("not delivered")
        return False


def _stands(bucket: str, key: str) -> bool:
    """Whether a manifest is there to be shown. A folder of which nothing is, the gateway doesn't learn of.

    Noted as shown all the same, it would be named in the next refresh, and what comes into it stay unseen for good.
    """
    try:
        S3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        return error.response["Error"]["Code"] not in ("404", "NoSuchKey")
    return True


def _refresh(share_arn: str, places: Iterable[tuple[str, str]], books: Bookkeeping) -> bool:
    """Whether the gateway took the call: it refuses one that comes too soon after another, and a share it lost."""
    keys = [key for bucket, key in places if _stands(bucket, key)]
    if not keys:
        return True
    folders = folders_to_refresh(keys, books.is_shown)
    try:
        GATEWAY.refresh_cache(FileShareARN=share_arn, FolderList=folders, Recursive=True)
    except GATEWAY.exceptions.InvalidGatewayRequestException as error:
        reason = error.response.get("error", {}).get("errorCode")
        LOG.info("refresh postponed", extra={"n_scans": len(keys), "reason": reason})
        return False
    for folder in {folder for key in keys for folder in folders_above(key)}:
        books.note_shown(folder)
    LOG.info("refreshed", extra={"n_scans": len(keys), "n_folders": len(folders)})
    return True


def _deliver(ledger: Ledger, bucket: str, key: str) -> bool:
    """Notes a scan's end; a manifest that was removed since has nothing to deliver."""
    try:
        manifest = json.loads(S3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except S3.exceptions.NoSuchKey:
        LOG.warning("a manifest is gone")
        return True
    scan_id = manifest["scan_id"]
    before = ledger.get(scan_id)
    delivered = ledger.deliver(scan_id)
    if before is not None and before.state is State.RECONSTRUCTED and delivered:
        seconds = (datetime.now(UTC) - before.entered_at[State.ARRIVED]).total_seconds()
        measured = {"Scans": 1, "ScanSeconds": max(0.0, round(seconds, 3))}
        metrics.emit("delivered", measured, Outcome="delivered", scan_id=scan_id)
    else:
        LOG.info("seen again, or an error's page" if delivered else "not ended yet", extra={"scan_id": scan_id})
    return delivered
