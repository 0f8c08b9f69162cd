"""Makes finished results appear on the share: one cache refresh for all scans that ended since the last one."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import Any

import boto3
from botocore.exceptions import ClientError

from raki.service import log, metrics
from raki.service.bookkeeping import Bookkeeping
from raki.service.folders import STATUS_FOLDER, STATUS_KEY
from raki.service.ledger import Ledger, State
from raki.service.messages import NotUnderstood, manifests
from raki.service.settings import RefreshSettings, from_environment
from raki.service.status_page import MOST, status_page

LOG = log.configure()
GATEWAY = boto3.client("storagegateway")
S3 = boto3.client("s3")
DYNAMODB = boto3.client("dynamodb")
SQS = boto3.client("sqs")

MAX_FOLDERS = 50
"""What one RefreshCache call takes."""
AS_A_RESULT = f"{STATUS_FOLDER}/./."
"""The page's folder as that of a scan in it would be named: it comes into view with results, and asks for no refresh of
its own."""
REFRESHED = "refreshed"
CLOCKS_S = 5.0
"""By how much the clocks of S3, which tells whole seconds, and of Lambda may differ."""


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

    What was put off because the gateway was busy needs no refresh of its own, if one came meanwhile for the others.
    Each message stands for itself. One that can't be understood is buried; Lambda deletes it with those that are done.
    """
    settings = from_environment(RefreshSettings)
    ledger = Ledger(DYNAMODB, settings.ledger_table)
    books = Bookkeeping(DYNAMODB, settings.ledger_table)
    spoken_of = _read(event["Records"], settings.refresh_dead_letters_url)
    with_status = [AS_A_RESULT] if _write_status(settings.results_bucket, ledger) else []
    share = settings.results_share_arn
    unseen = _unseen(spoken_of, books) if share else {}
    if share and unseen and not _refresh(share, [*unseen.values(), with_status], books):
        _put_off((record for record in event["Records"] if record["messageId"] in unseen), settings)
        spoken_of = {name: places for name, places in spoken_of.items() if name not in unseen}
    else:
        unseen = {}
    return _failed([*unseen, *(name for name, places in spoken_of.items() if not _deliver_all(ledger, places))])


def _write_status(bucket: str, ledger: Ledger) -> bool:
    """Whether the page of the last scans is there, as of now; without it results are delivered all the same."""
    try:
        now = datetime.now(UTC)
        page = status_page(ledger.last_scans(now, MOST), now)
        S3.put_object(Bucket=bucket, Key=STATUS_KEY, Body=page.encode(), ContentType="text/html; charset=utf-8")
    except Exception:
        LOG.exception("status page not written")
        return False
    return True


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


def _unseen(spoken_of: Mapping[str, Iterable[tuple[str, str]]], books: Bookkeeping) -> dict[str, list[str]]:
    """The keys of the manifests, by message, that no refresh so far can have shown."""
    kept = books.kept(REFRESHED)
    last = json.loads(kept) if kept else {"folders": [], "at_s": 0.0}
    found = {}
    for name, places in spoken_of.items():
        written = {key: _written_at_s(bucket, key) for bucket, key in places}
        keys = [key for key, at_s in written.items() if at_s is not None and not _has_shown(last, key, at_s)]
        if keys:
            found[name] = keys
    return found


def _has_shown(refresh: dict[str, Any], key: str, at_s: float) -> bool:
    above = {f"/{folder}" for folder in folders_above(key)}
    return at_s + CLOCKS_S < refresh["at_s"] and not above.isdisjoint(refresh["folders"])


def _written_at_s(bucket: str, key: str) -> float | None:
    """When a manifest was written, in seconds since 1970; None where none stands, and nothing is to be shown.

    A folder of which nothing is, the gateway doesn't learn of. Noted as shown all the same, it would be named in the
    next refresh, and what comes into it stay unseen for good.
    """
    try:
        written_at: datetime = S3.head_object(Bucket=bucket, Key=key)["LastModified"]
    except ClientError as error:
        return None if error.response["Error"]["Code"] in ("404", "NoSuchKey") else inf
    return written_at.timestamp()


def _refresh(share_arn: str, unseen: Iterable[list[str]], books: Bookkeeping) -> bool:
    """Whether the gateway took the call: it refuses one that comes too soon after another, and a share it lost."""
    keys = [key for keys in unseen for key in keys]
    folders = folders_to_refresh(keys, books.is_shown)
    at_s = time.time()
    try:
        GATEWAY.refresh_cache(FileShareARN=share_arn, FolderList=folders, Recursive=True)
    except GATEWAY.exceptions.InvalidGatewayRequestException as error:
        reason = error.response.get("error", {}).get("errorCode")
        LOG.info("refresh postponed", extra={"n_scans": len(keys), "reason": reason})
        return False
    books.keep(REFRESHED, json.dumps({"folders": folders, "at_s": at_s}))
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
