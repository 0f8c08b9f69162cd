"""What an operator asks and does, by the ledger: the same on AWS and in the local cloud."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from raki.errors import RakiError, Superseded, TransientError
from raki.manifest import MANIFEST
from raki.names import is_scan
from raki.service import objects
from raki.service.bookkeeping import Bookkeeping
from raki.service.deployment import Deployment
from raki.service.interventions import Interventions, show_cancelled
from raki.service.jobs import end_job, has_in_hand
from raki.service.ledger import Ledger
from raki.service.messages import ScanArrived, alias_of, completion, notification
from raki.service.record import ENDED, HAS_RESULT, Outlet, Reached, ScanRecord, Sending, State
from raki.service.renewal import KEPT, Renewal
from raki.service.scan_paths import SIDES, NoSuchScan, find_scan, key_on_share
from raki.service.scheduling import depth
from raki.service.standing import find_standing

READ_BACK_BYTES = 64 << 20
"""What may be read again to say which scan it is."""
CLOCKS = timedelta(minutes=5)
"""By how much the clocks of S3, of the workers and of the logs may differ."""


class NotPossible(RakiError):
    """The scan isn't in a state in which this can be done."""

    exit_code = 33


class Refused(RakiError):
    """AWS refuses: a permission is missing, or a service can't be reached."""

    exit_code = 34


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A file that was put into the raw bucket."""

    key: str
    scan_id: str | None
    """None of a file of options, or of one that waits for the file that it belongs to."""


@contextmanager
def operating(deployment: Deployment) -> "Iterator[Operator]":
    """An operator of the deployment, for whom what AWS refuses is a sentence.

    Raises:
        Refused: AWS did.
    """
    try:
        yield Operator(deployment)
    except ClientError as error:
        told = error.response["Error"]
        raise Refused(f"AWS refuses {error.operation_name}: {told['Code']}: {told.get('Message', '')}") from error
    except BotoCoreError as error:
        raise Refused(f"AWS can't be reached: {error}") from error


class Operator:
    """One deployment's, with the permissions of who asks. Raises botocore's ClientError where AWS refuses."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        dynamodb = self._client("dynamodb")
        self.ledger = Ledger(dynamodb, deployment.ledger_table)
        self._interventions = Interventions(dynamodb, deployment.ledger_table)
        self._books = Bookkeeping(dynamodb, deployment.ledger_table)

    def _client(self, name: str) -> BaseClient:
        return self.deployment.connect(name)

    @cached_property
    def _s3(self) -> BaseClient:
        return self._client("s3")

    def scans(self, *, states: Iterable[State] = (), prefix: str = "") -> list[ScanRecord]:
        """Those in one of the states, below a folder of the share, the last to arrive first."""
        wanted = set(states)
        found = [
            record
            for record in self.ledger.scans()
            if (not wanted or record.state in wanted) and _is_below(record, prefix.strip("/"))
        ]
        return sorted(found, key=lambda record: record.entered_at[State.ARRIVED], reverse=True)

    def n_not_taken_up(self) -> int:
        """How many messages wait in the ingest queue: of most of their files the ledger knows nothing yet."""
        return depth(self._client("sqs"), self.deployment.ingest_queue_url).waiting

    def image_renewed(self) -> datetime | None:
        """When the GPU instances' image was last renewed; None where it never was, as in the local cloud."""
        done_s = Renewal.from_json(self._books.kept(KEPT)).done_s
        return datetime.fromtimestamp(done_s, UTC) if done_s else None

    def find(self, named: str, *, enters: bool = False) -> ScanRecord:
        """The scan of this path or id; see `find_scan`.

        Args:
            named: as there.
            enters: whether a file of this path that was dropped, and that nobody has taken up yet, is entered.

        Raises:
            NoSuchScan, AmbiguousScan
        """
        try:
            return find_scan(named, self.ledger.scans(), self.is_current)
        except NoSuchScan:
            record = self._enter(named) if enters else None
            if record is None:
                raise
            return record

    def is_current(self, record: ScanRecord) -> bool:
        """Whether it is this version whose result stands in the folder, or will."""
        try:
            self.ledger.check_current(record)
        except (Superseded, TransientError):
            return False
        return True

    def versions(self, record: ScanRecord) -> list[ScanRecord]:
        """All versions of the scan's file, the newest first."""
        found = [other for other in self.ledger.scans() if other.raw_key == record.raw_key]
        return sorted(found, key=lambda other: other.entered_at[State.ARRIVED], reverse=True)

    def quality(self, record: ScanRecord) -> dict[str, Any]:
        """What the result says of itself: method, acceleration, held-out error and such; empty where there is none."""
        manifest = objects.read_manifest(self._s3, self.deployment.results_bucket, record.results_folder)
        if not manifest or manifest["scan_id"] != record.scan_id or manifest["outcome"] != "reconstructed":
            return {}
        key = f"{record.results_folder}/provenance.json"
        try:
            facts = json.loads(self._s3.get_object(Bucket=self.deployment.results_bucket, Key=key)["Body"].read())
        except self._s3.exceptions.NoSuchKey:
            return {}  # another run's files are being put there
        scan, verdict = facts["scan"], facts["verdict"] or {}
        named = {name: scan[name] for name in ("n_slices", "n_coils", "acceleration", "net_acceleration")}
        measured = {name: value for name, value in verdict.items() if name != "warnings"}
        return {
            "method": facts["method"],
            **named,
            **measured,
            "g_factor": facts["g_factor"],
            "warnings": verdict.get("warnings", []),
            "remarks": manifest["remarks"],
        }

    def log_lines(self, record: ScanRecord) -> list[dict[str, Any]]:
        """The structured lines that name the scan, of all stages and Lambdas, in their order."""
        logs = self._client("logs")
        since = min(record.entered_at.values()) - CLOCKS
        found: list[dict[str, Any]] = []
        for group in self.deployment.log_groups:
            try:
                found += self._lines_of(logs, group, record.scan_id, since)
            except logs.exceptions.ResourceNotFoundException:
                continue  # the local cloud makes a group with its first line
        return sorted(found, key=lambda line: str(line["time"]))

    def _lines_of(self, logs: BaseClient, group: str, scan_id: str, since: datetime) -> Iterator[dict[str, Any]]:
        """A term in quotes is found in text of any form: CloudWatch Logs User Guide, "Filter pattern syntax"."""
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, filterPattern=f'"{scan_id}"', startTime=int(since.timestamp() * 1000)
        )
        for page in pages:
            for event in page["events"]:
                try:
                    line = json.loads(event["message"])
                except ValueError:
                    continue
                if line.get("scan_id") == scan_id:
                    yield {**line, "log_group": group, "log_stream": event["logStreamName"]}

    def retry(self, record: ScanRecord, *, anew: bool = False) -> None:
        """Sets a failed scan going again, and the sending or import of one whose images aren't where they belong.

        Args:
            anew: has one reconstructed anew that has its result; that stands in the folder until the new one comes.

        Raises:
            NotPossible: it hasn't ended so, another version has its place, its file is gone, or it moved just now.
        """
        if (
            not anew
            and record.state in HAS_RESULT
            and (self.deployment.send_queue_url or self.deployment.import_queue_url)
        ):
            self._announce_again(record)
            return
        if record.state is not State.FAILED and not (anew and record.state in HAS_RESULT):
            raise NotPossible(
                f"the scan is {record.state}; only a failed one is set going again, and with --anew one that has its "
                "result"
            )
        if not self.is_current(record):
            raise NotPossible("a newer version of the file has this one's place; nothing is left to do for this one")
        standing = self._standing(record.raw_key)
        if standing is None:
            raise NotPossible("the raw file stands there no more; drop it again")
        if standing.is_archived:
            raise NotPossible("the raw file lies in S3's archive; have it restored, then try again")
        if standing.scan_id(self.deployment.scan_id_key) != record.scan_id and not self.ledger.has_seen(standing):
            raise NotPossible(
                "another version of the file, or of what belongs to it, stands there by now: that one is taken up by "
                "itself"
            )
        if not self._interventions.restart(record):
            raise NotPossible("the scan has moved since it was looked at; look again")
        # Noted first: what is noted and not announced, the reconciliation announces.
        body = notification(self.deployment.raw_bucket, record.raw_key, at=datetime.now(UTC))
        self._client("sqs").send_message(QueueUrl=self.deployment.ingest_queue_url, MessageBody=body)

    def _announce_again(self, record: ScanRecord) -> None:
        """To where its images aren't, at once, whatever wait there may be before the next try by itself."""
        outlets = {
            Outlet.ARCHIVE: (self.deployment.send_queue_url, self.deployment.pacs),
            Outlet.HEALTHIMAGING: (self.deployment.import_queue_url, self.deployment.data_store),
        }
        queues = [url for outlet, (url, to) in outlets.items() if url and not _has_it(record.noted(outlet), to)]
        if not queues:
            raise NotPossible(f"the scan is {record.state}, and {_where_it_is(record)}")
        if not self.is_current(record):
            raise NotPossible("a newer version of the file has this one's place; that one's images are sent")
        body = completion(self.deployment.results_bucket, f"{record.results_folder}/{MANIFEST}")
        for url in queues:
            self._client("sqs").send_message(QueueUrl=url, MessageBody=body)

    def cancel(self, record: ScanRecord, *, now: bool = False) -> str | None:
        """Ends a scan that waits or is worked on, and says so on the share; its raw file is kept.

        Args:
            now: ends the GPU job that has the scan in hand, too. The other scans that it has begin that stage again.
                Else it goes on with these, and leaves this one at its next step.

        Returns:
            The id of the job that was ended, or None.

        Raises:
            NotPossible: it has ended, or its result is just being put on the share.
        """
        held = self.ledger.get(record.scan_id) if now else None
        if not self._interventions.cancel(record.scan_id):
            raise NotPossible(_why_not_cancelled(self.ledger.get(record.scan_id)))
        try:
            return end_job(self._client("batch"), held) if held and has_in_hand(held) else None
        finally:  # who ends within the job leaves nothing behind it
            if self.is_current(record):
                show_cancelled(self._s3, self.deployment.results_bucket, self.ledger, record)

    def submit(self, file: Path, folder: str = "", *, replace: bool = False) -> Submitted:
        """Puts a file into the raw bucket, from where it goes the way of one that was dropped on the share.

        Raises:
            NoSuchFolder: there can be no such folder on a share, or it is left alone there.
            NotPossible: another file stands there under this name.
        """
        key = key_on_share(folder, file.name)
        if not replace and self._head(key):
            raise NotPossible(f"'{key}' stands on the share already: name another folder (--to), or say --force")
        self._s3.upload_file(str(file), self.deployment.raw_bucket, key)
        return Submitted(key=key, scan_id=self._scan_id(key) if is_scan(key) else None)

    def _scan_id(self, key: str) -> str | None:
        """That of what stands there now; None while something that belongs to it is missing, or only who reads it can
        tell whether it is one that is known."""
        standing = self._standing(key)
        if standing and not standing.content and standing.n_bytes <= READ_BACK_BYTES:
            standing = self._standing(key, reads=True)
        if standing is None or not all(standing.companions) or not standing.content:
            return None
        scan_id = standing.scan_id(self.deployment.scan_id_key)
        may_be_known = self.ledger.known_contents(key, standing.n_bytes) and self.ledger.get(scan_id) is None
        return None if may_be_known else scan_id

    def _enter(self, named: str) -> ScanRecord | None:
        """Enters a file into the ledger that was dropped, but that no worker has taken up yet; None where none is."""
        path = named.replace("\\", "/").strip("/")
        for key in (path, *(path.partition(f"{side}/")[2] for side in SIDES if f"{side}/" in path)):
            if is_scan(key) and self._head(key):
                return self._entered(key)
        return None

    def _entered(self, key: str) -> ScanRecord | None:
        deployment = self.deployment
        alias = alias_of(deployment.raw_bucket, key, deployment.scan_id_key) if deployment.takes_identity_out else None

        def look() -> tuple[str, ScanArrived] | None:
            standing = self._standing(key, reads=True)
            return (standing.scan_id(deployment.scan_id_key), standing) if standing else None

        entered = self.ledger.arrive(key, look, alias=alias)
        return entered[0] if entered else None

    def _standing(self, key: str, *, reads: bool = False) -> ScanArrived | None:
        bucket = self.deployment.raw_bucket
        named = ScanArrived(bucket=bucket, key=key, etag="", version_id=None, n_bytes=0, at=datetime.now(UTC))
        return find_standing(self._s3, named, reads=reads)

    def _head(self, key: str) -> bool:
        try:
            self._s3.head_object(Bucket=self.deployment.raw_bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
        return True


def _has_it(noted: Sending | None, to: str) -> bool:
    return noted is not None and noted.reached is Reached.SENT and noted.to == to


def _where_it_is(record: ScanRecord) -> str:
    """In words, of a result whose images are wherever they belong."""
    words = []
    if (sent := record.sending) and sent.reached is Reached.SENT:
        words.append(
            f"its images were sent to {sent.to} at {sent.at:%Y-%m-%d %H:%M} UTC; `raki send` sends those of a folder "
            "once more"
        )
    if (imported := record.importing) and imported.reached is Reached.SENT:
        words.append(f"HealthImaging has its images since {imported.at:%Y-%m-%d %H:%M} UTC")
    return ", and ".join(words)


def _why_not_cancelled(record: ScanRecord | None) -> str:
    if record is None:
        return "the ledger knows this scan no more; nothing is left to cancel"
    if record.state in ENDED.values():
        return f"the scan is {record.state} already; nothing is left to cancel"
    return "the scan's result is being put on the share at this moment; it is too late to cancel it"


def _is_below(record: ScanRecord, prefix: str) -> bool:
    return any(path.startswith(prefix) for path in (record.raw_key, record.results_folder))
