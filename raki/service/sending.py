"""The way of a result to the picture archive, as far as it isn't DICOM: what is to be sent, what is noted, the waits.

The share never waits for it: this has a queue of its own, which the same manifest fills.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from raki.errors import TooLarge, TransientError
from raki.manifest import entry
from raki.service.ledger import Ledger
from raki.service.record import HAS_RESULT, Announced, Outlet, Reached, ScanRecord, Sending, State
from raki.service.table import Table

GIVEN_UP_AFTER = timedelta(days=7)
"""So long a result is tried for; its message stays in the queue for three days more, and another one among the dead
letters for 14. A queue keeps a message for 14 days at most, and one that it moves itself is as old among the dead
letters as it was: Amazon SQS Developer Guide, "Using dead-letter queues in Amazon SQS"."""
FIRST_WAIT_S, LONGEST_WAIT_S = 15.0, 2700.0
"""Between two tries. The longest is short of an hour, of which the alarm looks at each; a message can be put off for 12
hours at most (Amazon SQS API Reference, ChangeMessageVisibility)."""
SAME_RUN = "#arrived_at = :arrived AND #state IN (:reconstructed, :delivered)"
"""In a condition of the table: the scan has its result, and that of the run that was looked at."""


class Overtaken(Exception):
    """The result isn't the one of its folder any more, or never was one: there is nothing to send."""


class Sendings:
    """Notes in the ledger what came of sending. Raises botocore's ClientError where DynamoDB refuses."""

    def __init__(self, client: BaseClient, table: str) -> None:
        self._table = Table(client, table)
        self._ledger = Ledger(client, table)

    def note(self, record: ScanRecord, sending: Sending, outlet: Outlet = Outlet.ARCHIVE) -> bool:
        """False, and nothing is noted, where the scan has begun anew since it was read."""
        return self._table.update(
            record.scan_id,
            {str(outlet): json.dumps({**asdict(sending), "at": sending.at.isoformat()})},
            condition=SAME_RUN,
            values=_values_of_run(record),
        )

    def note_announced(self, record: ScanRecord, outlet: Outlet, now: datetime) -> bool:
        """Notes that a result is announced to an outlet again; False where another has just done so, or it is anew."""
        name, before = f"{outlet}_announced", record.announced.get(outlet)
        return self._table.update(
            record.scan_id,
            {name: _announced(Announced(at=now, n=before.n + 1 if before else 1))},
            condition=f"{SAME_RUN} AND (attribute_not_exists({name}) OR #{name} = :before)",
            values={**_values_of_run(record), ":before": _announced(before) if before else ""},
        )

    def require_current(self, manifest: Mapping[str, Any]) -> ScanRecord:
        """The record of the scan whose result a manifest lists.

        Raises:
            Overtaken: it lists no images; the scan failed or was cancelled.
            Superseded: a newer version has the folder.
            TransientError: the scan hasn't ended yet: its files can be seen a moment before the ledger knows of them,
                and those of an earlier run until it has ended.
        """
        record = self._ledger.get(manifest["scan_id"])
        if manifest["outcome"] != "reconstructed" or record is None or record.state is State.FAILED:
            raise Overtaken
        if record.state not in HAS_RESULT:
            raise TransientError("the scan has not ended yet")
        self._ledger.check_current(record)
        return record


def _values_of_run(record: ScanRecord) -> dict[str, Any]:
    return {
        ":arrived": record.entered_at[State.ARRIVED].isoformat(),
        ":reconstructed": State.RECONSTRUCTED,
        ":delivered": State.DELIVERED,
    }


def _announced(announced: Announced) -> str:
    return json.dumps({"at": announced.at.isoformat(), "n": announced.n})


def images_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of the DICOM files, of all slices each."""
    return [listed for listed in manifest["files"] if PurePosixPath(listed["name"]).match("*.dcm")]


def digest_of(manifest: Mapping[str, Any], to: str) -> str:
    """The same for the same images and archive, in hexadecimal."""
    content = [to, *sorted((listed["name"], listed["sha256"]) for listed in images_of(manifest))]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def fetch_images(s3: BaseClient, bucket: str, folder: str, manifest: Mapping[str, Any], into: Path) -> list[Path]:
    """The DICOM files as the manifest has them.

    Raises:
        TooLarge: they don't fit on the disk; none is fetched.
        TransientError: one is missing or another: a run is just putting its files there.
    """
    needed, free = sum(listed["n_bytes"] for listed in images_of(manifest)), shutil.disk_usage(into).free
    if needed > free:
        raise TooLarge(
            f"the result's images have {needed / 1e9:.1f} GB, and the sender has {free / 1e9:.1f} GB of disk for them; "
            "send them from the share by `raki send`"
        )
    found = []
    for listed in images_of(manifest):
        path = into / PurePosixPath(listed["name"]).name
        try:
            s3.download_file(bucket, f"{folder}/{listed['name']}", str(path))
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            raise TransientError(f"{path.name} isn't there, which the manifest lists") from None
        if entry(path, listed["name"]) != listed:
            raise TransientError(f"{path.name} isn't what the manifest lists")
        found.append(path)
    return found


def attempt(manifest: Mapping[str, Any], to: str, reached: Reached, reason: str = "") -> Sending:
    """What came of a try that has just ended."""
    return Sending(reached=reached, to=to, at=datetime.now(UTC), digest=digest_of(manifest, to), reason=reason)


def is_too_old(sent_at_s: float, now_s: float) -> bool:
    """Whether a message that came into the queue then has been tried for long enough."""
    return now_s - sent_at_s > GIVEN_UP_AFTER.total_seconds()


def wait_before_next(n_tries: int, jitter: Random) -> int:
    """Seconds until the next try: twice as long each time up to a limit, the last half of it left to chance."""
    longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(n_tries - 1, 30))
    return max(1, ceil(longest_s * jitter.uniform(0.5, 1.0)))
