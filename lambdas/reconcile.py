"""Finds scans that nothing will move any more, files that the ledger never saw and results that nobody sent on.

Runs twice an hour and sets them going again. It asks for what S3 and the stages would have asked for; the work is
theirs.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from raki.errors import PermanentError, RakiError, Removed, StoodStill, Superseded, TransientError
from raki.manifest import MANIFEST
from raki.names import companions_of, is_scan, noise_beside
from raki.service import log, metrics, objects, pages
from raki.service.forgotten import Forgotten, Queue
from raki.service.ledger import Ledger, ScanRecord, State
from raki.service.messages import ScanArrived, notification
from raki.service.pages import Told
from raki.service.reconciliation import Remedy, Surroundings, has_stood_still, is_lost, remedy
from raki.service.record import ENDED, Outlet
from raki.service.scheduling import PATIENT, depth
from raki.service.sending import Sendings
from raki.service.settings import ReconcileSettings, from_environment
from raki.service.standing import find_standing

LOG = log.configure()
S3 = boto3.client("s3", config=PATIENT)
SQS = boto3.client("sqs", config=PATIENT)
DYNAMODB = boto3.client("dynamodb", config=PATIENT)

YOUNG = timedelta(days=2)
"""Files older than this have been looked for before."""
GIVEN_UP = (
    "The scan stood still {} times, with nobody at work on it and no message left, and starting it again didn't help. "
    "The operator finds the cause in the logs under the scan id."
)
GONE = "The file was removed before it could be read. A file that was removed by mistake can be dropped again."


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Puts right what is lost; counts by remedy."""
    reconciler = Reconciler(from_environment(ReconcileSettings), Clients(s3=S3, sqs=SQS, dynamodb=DYNAMODB))
    counts = dict(Counter(reconciler.run(datetime.now(UTC))))
    LOG.info("reconciled", extra={"remedies": counts})
    return counts


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What a round talks to."""

    s3: BaseClient
    sqs: BaseClient
    dynamodb: BaseClient


class Reconciler:
    """Goes over the ledger and the raw bucket."""

    def __init__(self, settings: ReconcileSettings, clients: Clients) -> None:
        self._settings = settings
        self._s3, self._sqs = clients.s3, clients.sqs
        self._ledger = Ledger(clients.dynamodb, settings.ledger_table)
        self._sendings = Sendings(clients.dynamodb, settings.ledger_table)

    def run(self, now: datetime) -> Iterator[str]:
        """The name of each remedy, as it is applied; one that fails is logged and leaves the others their turn."""
        queues = {
            State.DECOMPRESSING: self._settings.ingest_queue_url,
            State.RECONSTRUCTING: self._settings.reconstruct_queue_url,
        }
        has_messages = {stage: depth(self._sqs, url).total > 0 for stage, url in queues.items()}
        around = Surroundings(now=now, has_messages=has_messages)
        outlets = list(self._outlets())
        for record in self._ledger.scans():
            if is_lost(record, around):
                yield from self._tried(record.scan_id, partial(self._treat, record))
            for outlet in outlets:
                if outlet.includes(record, now):
                    yield from self._tried(record.scan_id, partial(outlet.treat, record, now))
        for key in self._unseen(around):
            yield from self._tried("", partial(self._enter, key))

    def _outlets(self) -> Iterator[Forgotten]:
        """Where results go beside the share, each with its queue as it is now."""
        known = {
            Outlet.ARCHIVE: (self._settings.pacs, self._settings.send_queue_url),
            Outlet.HEALTHIMAGING: (self._settings.data_store_id, self._settings.import_queue_url),
        }
        for outlet, (to, queue_url) in known.items():
            if to and queue_url:
                try:
                    queue = Queue.seen(self._sqs, queue_url)
                except ClientError:  # the scans have their turn all the same
                    LOG.exception("an outlet's queue can't be seen")
                    continue
                yield Forgotten(
                    outlet,
                    to=to,
                    queue=queue,
                    s3=self._s3,
                    sqs=self._sqs,
                    sendings=self._sendings,
                    ledger=self._ledger,
                    results_bucket=self._settings.results_bucket,
                )

    def _tried(self, scan_id: str, act: Callable[[], str | None]) -> Iterator[str]:
        try:
            done = act()
        except ClientError:
            LOG.exception("not set going again", extra={"scan_id": scan_id})
            return
        if done:
            metrics.emit("set going again", {"Remedies": 1}, remedy=done, scan_id=scan_id)
            yield done

    def _treat(self, record: ScanRecord) -> str | None:
        if record.state not in ENDED.values() and (superseded := self._superseded(record)):
            self._end(record, superseded)
            return Remedy.END
        chosen = remedy(record, shown_outcome=self._shown_outcome(record))
        over = chosen in (Remedy.START_OVER, Remedy.GIVE_UP)
        # Noted first, if the scan still stands as it was seen: of two rounds that see it, one acts.
        if chosen is None or not self._ledger.take_in_hand(record, starts_over=over):
            return None
        match chosen:
            case Remedy.ANNOUNCE | Remedy.START_OVER:
                self._announce(record)
            case Remedy.GIVE_UP:
                self._end(record, StoodStill(GIVEN_UP.format(record.n_remedies)))
            case Remedy.REPORT:
                self._write_page(record, Told(record))
            case Remedy.SHOW:
                key = f"{record.results_folder}/{MANIFEST}"
                self._send(self._settings.refresh_queue_url, self._settings.results_bucket, key)
        return chosen

    def _superseded(self, record: ScanRecord) -> Superseded | None:
        """Where another version has the folder, which nobody who took that one up may have told this one."""
        try:
            self._ledger.check_current(record)
        except Superseded as error:
            return error
        except TransientError:
            pass
        return None

    def _announce(self, record: ScanRecord) -> None:
        """As S3 does, whatever version stands there now; a file that is gone ends the scan, with a sentence."""
        place = self._settings.raw_bucket, record.raw_key
        try:
            self._s3.head_object(Bucket=place[0], Key=place[1])
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            self._end(record, Removed(GONE))
        else:
            self._send(self._settings.ingest_queue_url, *place)

    def _end(self, record: ScanRecord, error: PermanentError) -> None:
        if not isinstance(error, Superseded):
            self._write_page(record, error)
        seen = record.n_owners if isinstance(error, Superseded) else None
        if self._ledger.fail(record.scan_id, error, n_owners=seen):
            metrics.ended(record.scan_id, error)

    def _write_page(self, record: ScanRecord, error: RakiError) -> None:
        """On the share, unless the folder is another version's by now."""
        try:
            self._ledger.check_current(record)
        except (Superseded, TransientError):
            return
        with TemporaryDirectory() as scratch:
            files = pages.write_error_report(Path(scratch), record, error)
            objects.publish(self._s3, self._settings.results_bucket, record, files, outcome="failed")

    def _shown_outcome(self, record: ScanRecord) -> str | None:
        manifest = objects.read_manifest(self._s3, self._settings.results_bucket, record.results_folder)
        return manifest["outcome"] if manifest and manifest["scan_id"] == record.scan_id else None

    def _unseen(self, around: Surroundings) -> Iterator[str]:
        """Keys of files that have stood in the raw bucket for a while, but not for long, in versions it hasn't seen.

        While the ingest queue has messages, most such files merely wait for their turn.
        """
        bucket = self._settings.raw_bucket
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                stood = around.now - entry["LastModified"]
                waits_for_long = stood < YOUNG and has_stood_still(stood, State.DECOMPRESSING, around)
                if is_scan(entry["Key"]) and waits_for_long:
                    standing = self._standing(entry)
                    if standing and not self._ledger.has_seen(standing):
                        yield entry["Key"]

    def _standing(self, entry: dict[str, Any]) -> ScanArrived | None:
        """What an entry of the bucket's listing is; where other files belong to it, as it stands with them."""
        listed = ScanArrived(
            bucket=self._settings.raw_bucket,
            key=entry["Key"],
            etag=entry["ETag"].strip('"'),
            version_id=None,
            n_bytes=entry["Size"],
            at=entry["LastModified"],
        )
        if not (companions_of(listed.key) or noise_beside(listed.key)):
            return listed
        try:
            return find_standing(self._s3, listed, reads=False)
        except (Superseded, Removed):
            return None  # just now: it is announced as what came instead

    def _enter(self, key: str) -> str:
        self._send(self._settings.ingest_queue_url, self._settings.raw_bucket, key)
        return Remedy.ENTER

    def _send(self, queue_url: str, bucket: str, key: str) -> None:
        self._sqs.send_message(QueueUrl=queue_url, MessageBody=notification(bucket, key, at=datetime.now(UTC)))
