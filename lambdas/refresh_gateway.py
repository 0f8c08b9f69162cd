"""Makes finished results appear on the share: one cache refresh for all scans that ended since the last one."""

import json
from typing import Any
from urllib.parse import unquote_plus

import boto3

from raki.service import log
from raki.service.ledger import Ledger
from raki.service.settings import RefreshSettings, from_environment

LOG = log.configure()
GATEWAY = boto3.client("storagegateway")
S3 = boto3.client("s3")
DYNAMODB = boto3.client("dynamodb")

MAX_FOLDERS = 50
"""What one RefreshCache call takes."""


def folders_to_refresh(manifest_keys: list[str]) -> list[str]:
    """The folders to name in a RefreshCache call, which refreshes what lies below them too.

    The scan's own folder is new and the gateway doesn't know it yet: its parent is what has to be looked at again.
    A folder within another one of the list is left out; beyond the call's limit the whole share is refreshed.
    """
    parents = {f"/{key}".rsplit("/", 2)[0] or "/" for key in manifest_keys}
    outermost = sorted(
        folder
        for folder in parents
        if not any(folder != other and folder.startswith(f"{other.rstrip('/')}/") for other in parents)
    )
    return outermost if len(outermost) <= MAX_FOLDERS else ["/"]


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Refreshes once for the whole batch, then notes each scan as delivered; names the messages to be tried again."""
    settings = from_environment(RefreshSettings)
    manifests = {record["messageId"]: _manifests(record["body"]) for record in event["Records"]}
    keys = [key for found in manifests.values() for _, key in found]
    if keys and settings.results_share_arn != "none":
        folders = folders_to_refresh(keys)
        try:
            GATEWAY.refresh_cache(FileShareARN=settings.results_share_arn, FolderList=folders, Recursive=True)
        except GATEWAY.exceptions.InvalidGatewayRequestException as error:
            # Another refresh is under way or was a moment ago: the whole batch comes again.
            LOG.info("refresh postponed", extra={"n_scans": len(keys), "reason": error.response["Error"]["Code"]})
            return {"batchItemFailures": [{"itemIdentifier": message} for message in manifests]}
        LOG.info("refreshed", extra={"n_scans": len(keys), "n_folders": len(folders)})
    ledger = Ledger(DYNAMODB, settings.ledger_table)
    delivered = {message: [_deliver(ledger, *place) for place in found] for message, found in manifests.items()}
    return {"batchItemFailures": [{"itemIdentifier": name} for name, all_of in delivered.items() if not all(all_of)]}


def _manifests(body: str) -> list[tuple[str, str]]:
    """Bucket and key of the manifests that one of S3's notifications speaks of."""
    records = json.loads(body).get("Records", [])
    return [(entry["s3"]["bucket"]["name"], unquote_plus(entry["s3"]["object"]["key"])) for entry in records]


def _deliver(ledger: Ledger, bucket: str, key: str) -> bool:
    manifest = json.loads(S3.get_object(Bucket=bucket, Key=key)["Body"].read())
    delivered = ledger.deliver(manifest["scan_id"])
    LOG.info("delivered" if delivered else "not ended yet", extra={"scan_id": manifest["scan_id"]})
    return delivered
