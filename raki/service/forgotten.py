"""Results that nobody took to an outlet beside the share, because the event or the message of them was lost.

Each of the steps may be taken twice: an outlet knows what it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from botocore.client import BaseClient

from raki.errors import Superseded, TransientError
from raki.manifest import MANIFEST
from raki.service import metrics, objects
from raki.service.ledger import Ledger
from raki.service.messages import completion
from raki.service.reconciliation import AGAIN, MAX_REMEDIES, OVERDUE, STILL
from raki.service.record import HAS_RESULT, Outlet, Reached, ScanRecord, Sending, State
from raki.service.sending import GIVEN_UP_AFTER, Sendings, attempt, images_of

AT_AN_END = (Reached.SENT, Reached.GIVEN_UP)
NOBODY_CAME = (
    "The result was announced {} times, and nobody took it up. Does what sends it run, and does it get its messages?"
)


class Redress(StrEnum):
    """What is done about a result that was forgotten."""

    ANNOUNCE = "announce to {}"
    GIVE_UP = "give up for {}"


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What is known of an outlet's queue."""

    url: str
    made_at: datetime
    """When the outlet was set up: its queue comes and goes with the setting."""
    has_messages: bool
    """Waiting or held."""

    @classmethod
    def seen(cls, sqs: BaseClient, url: str) -> "Queue":
        """As SQS tells of it."""
        counted = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        told = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[*counted, "CreatedTimestamp"])["Attributes"]
        return cls(
            url=url,
            made_at=datetime.fromtimestamp(float(told["CreatedTimestamp"]), UTC),
            has_messages=any(int(told[name]) for name in counted),
        )


def is_forgotten(record: ScanRecord, noted: Sending | None, outlet: Outlet, queue: Queue, now: datetime) -> bool:
    """Whether a result should have reached the outlet, or been tried, and no message speaks of it.

    One that ended before the outlet was set up is none of its; one older than what is tried at all isn't begun anew.
    """
    if record.state not in HAS_RESULT or (noted and noted.reached in AT_AN_END):
        return False
    ended = record.entered_at[State.RECONSTRUCTED]
    if ended < queue.made_at or now - ended > GIVEN_UP_AFTER:
        return False
    announced = record.announced.get(outlet)
    if announced and now - announced.at < AGAIN:
        return False
    # A job may take its time, and says when it has ended; that it does is not promised.
    may_come = queue.has_messages or (noted is not None and noted.reached is Reached.STARTED)
    last = max([ended, *([noted.at] if noted else []), *([announced.at] if announced else [])])
    return now - last > (OVERDUE if may_come else STILL)


class Forgotten:
    """Finds such results for one outlet in a round of the reconciliation, and announces them as EventBridge does."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        to: str,
        queue: Queue,
        s3: BaseClient,
        sqs: BaseClient,
        sendings: Sendings,
        ledger: Ledger,
        results_bucket: str,
    ) -> None:
        self._outlet, self._to, self._queue = outlet, to, queue
        self._s3, self._sqs, self._bucket = s3, sqs, results_bucket
        self._sendings, self._ledger = sendings, ledger

    def includes(self, record: ScanRecord, now: datetime) -> bool:
        """Whether this result is one, by what the ledger has of it."""
        return is_forgotten(record, record.noted(self._outlet), self._outlet, self._queue, now)

    def treat(self, record: ScanRecord, now: datetime) -> str | None:
        """What was done; None where there is nothing to do: it has no images, or another version has its folder."""
        try:
            self._ledger.check_current(record)
        except (Superseded, TransientError):
            return None
        manifest = objects.read_manifest(self._s3, self._bucket, record.results_folder)
        if not manifest or manifest["scan_id"] != record.scan_id or not images_of(manifest):
            return None
        announced = record.announced.get(self._outlet)
        if announced and announced.n >= MAX_REMEDIES:
            return self._give_up(record, manifest, announced.n)
        # Noted first: of two rounds that see it, one acts.
        if not self._sendings.note_announced(record, self._outlet, now):
            return None
        body = completion(self._bucket, f"{record.results_folder}/{MANIFEST}")
        self._sqs.send_message(QueueUrl=self._queue.url, MessageBody=body)
        return Redress.ANNOUNCE.format(self._outlet)

    def _give_up(self, record: ScanRecord, manifest: Mapping[str, Any], n: int) -> str | None:
        over = attempt(manifest, self._to, Reached.GIVEN_UP, NOBODY_CAME.format(n))
        if not self._sendings.note(record, over, self._outlet):
            return None
        failure = {Outlet.ARCHIVE: "SendFailures", Outlet.HEALTHIMAGING: "ImportFailures"}[self._outlet]
        metrics.emit("given up", {failure: 1}, scan_id=record.scan_id)
        return Redress.GIVE_UP.format(self._outlet)
