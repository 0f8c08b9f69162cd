"""Makes finished results appear on the share: one cache refresh for all scans that ended since the last one."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

import boto3

from raki.service import log, metrics
from raki.service.bookkeeping import Bookkeeping
from raki.service.ledger import Ledger, State
from raki.service.settings import RefreshSettings, from_environment

LOG = log.configure()
GATEWAY = boto3.client("storagegateway")
S3 = boto3.client("s3")
DYNAMODB = boto3.client("dynamodb")

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
    """Refreshes once for the whole batch, then notes each scan as delivered; names the messages to be tried again."""
    settings = from_environment(RefreshSettings)
    ledger = Ledger(DYNAMODB, settings.ledger_table)
    manifests = {record["messageId"]: _manifests(record["body"]) for record in event["Records"]}
    keys = [key for found in manifests.values() for _, key in found]
    books = Bookkeeping(DYNAMODB, settings.ledger_table)
    if keys and settings.results_share_arn and not _refresh(settings.results_share_arn, keys, books):
        return {"batchItemFailures": [{"itemIdentifier": message} for message in manifests]}
    delivered = {message: [_deliver(ledger, *place) for place in found] for message, found in manifests.items()}
    return {"batchItemFailures": [{"itemIdentifier": name} for name, all_of in delivered.items() if not all(all_of)]}


def _refresh(share_arn: str, keys: list[str], books: Bookkeeping) -> bool:
    """Whether the gateway took the call: it refuses one that comes too soon after another, and a share it lost."""
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


def _manifests(body: str) -> list[tuple[str, str]]:
    """Bucket and key of the manifests that one of S3's notifications speaks of."""
    records = json.loads(body).get("Records", [])
    return [(entry["s3"]["bucket"]["name"], unquote_plus(entry["s3"]["object"]["key"])) for entry in records]


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
