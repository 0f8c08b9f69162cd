"""The ledger: one DynamoDB item a scan, which says where it is, who works on it and how it ended.

Every change is one conditional write, so that stages may run twice on the same message, at the same time or
after a crash, and the scan still ends in one state. Items whose key starts with `#` are bookkeeping, no scans.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from raki.errors import RakiError, Superseded
from raki.service.messages import ScanArrived


class State(StrEnum):
    """Where a scan is. `delivered` and `failed` are the ends."""

    ARRIVED = "arrived"
    DECOMPRESSING = "decompressing"
    PREPARED = "prepared"
    RECONSTRUCTING = "reconstructing"
    RECONSTRUCTED = "reconstructed"
    DELIVERED = "delivered"
    FAILED = "failed"


ORDER = list(State)
"""A scan only moves on in this order, but for a dropped file that is tried anew."""

BEFORE = {State.DECOMPRESSING: State.ARRIVED, State.RECONSTRUCTING: State.PREPARED}
"""The state from which a stage takes a scan up."""


class Claim(StrEnum):
    """What came of the attempt to take a scan up."""

    GRANTED = "granted"
    BUSY = "busy"
    """Another worker holds an unexpired lease: come back later."""
    OVER = "over"
    """The scan is past this stage: the message is a duplicate."""


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """One scan as the ledger knows it."""

    scan_id: str
    state: State
    raw_key: str
    results_folder: str
    n_bytes: int
    failure_class: str | None = None
    failure: str | None = None
    entered_at: dict[State, datetime] = field(default_factory=dict)
    """When the scan last entered each state."""


class Ledger:
    """Reads and writes the table. Raises botocore's ClientError where DynamoDB refuses for any other reason."""

    def __init__(self, client: BaseClient, table: str) -> None:
        self._client = client
        self._table = table

    def arrive(self, scan_id: str, scan: ScanArrived) -> ScanRecord:
        """Enters a scan, once; a scan that failed is taken up anew when its file was dropped again since."""
        folder = self._claim_folder(scan, scan_id)
        dropped = scan.at.astimezone(UTC).isoformat()
        again = "attribute_not_exists(scan_id) OR (#state = :failed AND failed_at < :dropped)"
        values = {":failed": State.FAILED, ":dropped": dropped}
        item = {
            "scan_id": scan_id,
            "state": State.ARRIVED,
            "raw_bucket": scan.bucket,
            "raw_key": scan.key,
            "results_folder": folder,
            "n_bytes": scan.n_bytes,
            "arrived_at": dropped,
        }
        self._conditionally(
            "put_item",
            Item=_serialised(item),
            ConditionExpression=again,
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=_serialised(values),
        )
        record = self.get(scan_id)
        assert record is not None
        return record

    def claim(self, scan_id: str, stage: State, *, owner: str, lease_s: int) -> Claim:
        """Takes a scan up for `stage`, or takes it over where the last owner's lease ran out."""
        taken = self._update(
            scan_id,
            {"state": stage, f"{stage}_at": _now(), "owner": owner, "lease_until": _in(lease_s)},
            condition="#state = :before OR (#state = :stage AND (lease_until < :now OR #owner = :owner))",
            values={":before": BEFORE[stage], ":stage": stage, ":now": int(time.time()), ":owner": owner},
        )
        if taken:
            return Claim.GRANTED
        record = self.get(scan_id)
        # A request may overtake the note that its scan is prepared: that is early, not over.
        early = record and ORDER.index(record.state) <= ORDER.index(stage)
        return Claim.BUSY if early else Claim.OVER

    def renew(self, scan_id: str, *, owner: str, lease_s: int) -> bool:
        """Extends a lease; False when somebody else has taken the scan over."""
        return self._update(
            scan_id, {"lease_until": _in(lease_s)}, condition="#owner = :owner", values={":owner": owner}
        )

    def release(self, scan_id: str, *, owner: str) -> None:
        """Gives a scan back at once, so that the next worker need not wait for the lease to end."""
        self._update(scan_id, {"lease_until": 0}, condition="#owner = :owner", values={":owner": owner})

    def finish(self, scan_id: str, state: State, *, owner: str) -> bool:
        """Ends the owner's stage in `state`; False when somebody else has taken the scan over."""
        return self._update(
            scan_id,
            {"state": state, f"{state}_at": _now(), "lease_until": 0},
            condition="#owner = :owner AND NOT #state IN (:failed, :delivered)",
            values={":owner": owner, ":failed": State.FAILED, ":delivered": State.DELIVERED},
        )

    def fail(self, scan_id: str, error: RakiError) -> None:
        """Ends a scan as failed, unless it has a result already."""
        self._update(
            scan_id,
            {
                "state": State.FAILED,
                "failed_at": _now(),
                "failure_class": error.failure_class,
                "failure": error.sentence,
                "lease_until": 0,
            },
            condition="NOT #state IN (:reconstructed, :delivered, :failed)",
            values={":reconstructed": State.RECONSTRUCTED, ":delivered": State.DELIVERED, ":failed": State.FAILED},
        )

    def deliver(self, scan_id: str) -> bool:
        """Notes that the share shows the result; a failed scan, whose error page is shown, stays failed.

        False when the scan has not ended yet: its files can be seen a moment before the ledger knows of them.
        """
        now = _now()
        return self._update(
            scan_id,
            {"state": State.DELIVERED, "delivered_at": now},
            condition="#state = :reconstructed",
            values={":reconstructed": State.RECONSTRUCTED},
        ) or self._update(
            scan_id,
            {"delivered_at": now},
            condition="#state IN (:failed, :delivered)",
            values={":failed": State.FAILED, ":delivered": State.DELIVERED},
        )

    def check_current(self, record: ScanRecord) -> None:
        """Raises Superseded when a newer version of the file has taken over the results folder."""
        item = self._item(_folder_key(record.results_folder))
        if item and item["current"] != record.scan_id:
            raise Superseded(
                "A newer version of this file was dropped while this one was being worked on. "
                "The newer version's result stands in the folder; nothing is left to do."
            )

    def get(self, scan_id: str) -> ScanRecord | None:
        """The scan's record, read consistently; None when the ledger doesn't know it."""
        item = self._item(scan_id)
        return _record(item) if item else None

    def scans(self) -> Iterator[ScanRecord]:
        """All scans, in no order."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True):
            items = (_deserialised(item) for item in page["Items"])
            yield from (_record(item) for item in items if not item["scan_id"].startswith("#"))

    def count_quiet_poll(self, name: str, *, quiet: bool) -> int:
        """How often in a row, this time included, the poller `name` found nothing to do."""
        answer = self._client.update_item(
            TableName=self._table,
            Key=_serialised({"scan_id": f"#quiet:{name}"}),
            UpdateExpression="ADD polls :one" if quiet else "SET polls = :zero",
            ExpressionAttributeValues=_serialised({":one": 1} if quiet else {":zero": 0}),
            ReturnValues="ALL_NEW",
        )
        return int(_deserialised(answer["Attributes"])["polls"])

    def _claim_folder(self, scan: ScanArrived, scan_id: str) -> str:
        """The results folder: the key less its endings, or the whole key where another file has that folder.

        `scan.h5` and `scan.tar.gz` in one folder are two scans; their images must never mix.
        """
        folder, whole = results_folder(scan.key), scan.key
        dropped = scan.at.astimezone(UTC).isoformat()
        for candidate in (folder, whole):
            mine = {"raw_key": scan.key, "current": scan_id, "dropped_at": dropped}
            self._update(
                _folder_key(candidate),
                mine,
                condition="attribute_not_exists(scan_id) OR (raw_key = :key AND dropped_at < :dropped)",
                values={":key": scan.key, ":dropped": dropped},
            )
            item = self._item(_folder_key(candidate))
            if item and item["raw_key"] == scan.key:
                return candidate
        raise AssertionError("a key is its own folder's only owner")

    def _item(self, key: str) -> dict[str, Any] | None:
        answer = self._client.get_item(TableName=self._table, Key=_serialised({"scan_id": key}), ConsistentRead=True)
        return _deserialised(answer["Item"]) if "Item" in answer else None

    def _update(self, key: str, changes: dict[str, Any], *, condition: str, values: dict[str, Any]) -> bool:
        names = {f"#{name}": name for name in changes} | {
            f"#{name}": name for name in ("state", "owner") if f"#{name}" in condition
        }
        setting = ", ".join(f"#{name} = :set_{name}" for name in changes)
        return self._conditionally(
            "update_item",
            Key=_serialised({"scan_id": key}),
            UpdateExpression=f"SET {setting}",
            ConditionExpression=condition,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=_serialised(values | {f":set_{name}": value for name, value in changes.items()}),
        )

    def _conditionally(self, call: str, **arguments: Any) -> bool:
        try:
            getattr(self._client, call)(TableName=self._table, **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


ENDINGS = (".gz", ".tgz", ".tar", ".zip", ".zst", ".xz", ".h5", ".hdf5", ".mrd", ".dat")


def results_folder(raw_key: str) -> str:
    """The path on the share of a scan's results: its own path less the endings of archives and formats."""
    folder, _, name = raw_key.rpartition("/")
    while (stem := _without_ending(name)) != name:
        name = stem
    return f"{folder}/{name}" if folder else name


def _without_ending(name: str) -> str:
    for ending in ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def _folder_key(folder: str) -> str:
    return f"#folder:{folder}"


def _record(item: dict[str, Any]) -> ScanRecord:
    entered = {state: datetime.fromisoformat(item[f"{state}_at"]) for state in State if f"{state}_at" in item}
    return ScanRecord(
        scan_id=item["scan_id"],
        state=State(item["state"]),
        raw_key=item["raw_key"],
        results_folder=item["results_folder"],
        n_bytes=int(item["n_bytes"]),
        failure_class=item.get("failure_class"),
        failure=item.get("failure"),
        entered_at=entered,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _in(seconds: int) -> int:
    return int(time.time()) + seconds


def _serialised(values: dict[str, Any]) -> dict[str, Any]:
    serialise = TypeSerializer().serialize
    return {name: serialise(str(value) if isinstance(value, StrEnum) else value) for name, value in values.items()}


def _deserialised(item: dict[str, Any]) -> dict[str, Any]:
    deserialise = TypeDeserializer().deserialize
    return {name: deserialise(value) for name, value in item.items()}
