"""What every stage does around its own work: claim, keep alive, report, give back. At least once, safe twice."""

import logging
import socket
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from raki.errors import Cancelled, OutageTooLong, PermanentError, RakiError, Superseded, TransientError, WorkerLost
from raki.service import faults, metrics, objects, pages
from raki.service.interventions import CANCELLED, is_cancelled, show_cancelled
from raki.service.lease import Consumer, Heartbeat, Message
from raki.service.ledger import BEFORE, Claim, Ledger, ScanRecord, State
from raki.service.messages import NotUnderstood
from raki.service.process import Terminated
from raki.service.protection import Protection
from raki.service.watchdog import Watchdog

LOG = logging.getLogger("raki.stage")

BEATS_PER_LEASE = 3
MAX_ATTEMPTS = 4
CHECKED_S = 2.0
"""For how long a scan that was this worker's is taken to be so still: it is looked at again before the next file."""
REST_S = 10.0
"""How long a worker that has been at it for long stands idle, unprotected, so that a deployment can replace it."""


class NotYet(Exception):
    """A scan has waited in hand for so long that another worker is to have it."""


@dataclass
class Hand:
    """What a stage is at work on."""

    holds: tuple[Message, str] | None = None
    """The message, and its scan's id."""
    waited_s: float = 0.0
    """How long that had to wait in hand, which isn't work."""
    is_empty_for_good: bool = False
    """Since it had to let go."""
    is_cancelled: bool = False
    """What it holds was cancelled, as the last heartbeat found."""


def owner_name(job_id: str | None = None) -> str:
    """A name that nobody else has, after the job, where it is one, or else the machine: see `ScanRecord.owner`."""
    return f"{job_id or socket.gethostname()}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of one process: which state it works in, and where it reports."""

    state: State
    consumer: Consumer
    ledger: Ledger
    s3: BaseClient
    results_bucket: str
    owner: str = field(default_factory=owner_name)
    protection: Protection = field(default_factory=Protection)
    """Held from the moment that a message is received until none comes any more."""
    watchdog: Watchdog = field(default_factory=Watchdog)
    """Told by the work of each of its steps."""
    note_alive: Callable[[], None] = lambda: None
    """Tells whoever looks after this process that it gets on; at least as often as a lease is renewed."""
    jitter: Random = field(default_factory=Random)
    """By how much waits differ from each other."""
    hand: Hand = field(default_factory=Hand)

    def serve(self, handle: Callable[[Message], bool], *, wait_s: int, until_empty: bool) -> None:
        """Takes one message after another; with `until_empty` it ends when none has come within `wait_s` seconds."""
        occupation = metrics.Occupation(self.state)
        try:
            while True:
                if message := self.receive(wait_s=wait_s):
                    with occupation.at_work():
                        self.take(message, handle)
                elif until_empty:
                    return
        finally:
            occupation.end()

    def receive(self, *, wait_s: int) -> Message | None:
        """The next message, received under protection, or None, received without."""
        # While scan follows scan a worker would stay protected, and a deployment would wait for it until it fails.
        if self.protection.is_long_held and self.protection.give_up():
            time.sleep(REST_S)
        self._say_alive()
        message = self.consumer.receive(wait_s=wait_s)
        self.watchdog.step()
        if message is None:
            self.protection.give_up()
            return None
        try:
            self.protection.hold()
        except Terminated:
            self.consumer.give_back(message, after_s=0)
            raise
        return message

    def take(self, message: Message, handle: Callable[[Message], bool]) -> None:
        """Hands a message to `handle`, which says whether it has served its purpose.

        One that can't be understood is buried at once; any other whose handling raises comes again.
        """
        try:
            if handle(message):
                self.consumer.delete(message)
        except NotUnderstood:
            LOG.exception("message not understood", extra={"stage": self.state})
            self.consumer.bury(message)
        except Exception:
            LOG.exception("message not handled", extra={"stage": self.state})
            self._give_back(message, after_s=self.consumer.lease_s)

    def looking(self, message: Message) -> AbstractContextManager[object]:
        """Keeps a message while it is found out which scan it speaks of, which may have to be read for that."""

        def beat() -> None:
            if self.watchdog.check():
                self.consumer.extend(message)
                self._say_alive()

        return Heartbeat(beat, self.consumer.lease_s / BEATS_PER_LEASE)

    def attend(self, message: Message, scan_id: str, work: Callable[[ScanRecord], None]) -> bool:
        """Does `work` on a scan if it is this worker's turn; True when the message has served its purpose.

        A permanent error ends the scan with a report on the share. Whatever else goes wrong gives the message
        back: after a fault of the surroundings for hours, else a few times, until that is a permanent error too.

        Raises:
            Terminated: the process is told to stop. The scan is given back, and was no attempt.
        """
        try:
            self.require_in_hand()
        except Terminated:
            self.consumer.give_back(message, after_s=0)
            raise
        claim = self.ledger.claim(scan_id, self.state, owner=self.owner, lease_s=self.consumer.lease_s)
        if claim is not Claim.GRANTED:
            LOG.info("not taken up", extra={"scan_id": scan_id, "stage": self.state, "claim": claim})
            if claim is not Claim.OVER:
                self.consumer.give_back(message, after_s=self._until_free_s(scan_id, claim))
            return claim is Claim.OVER
        record = self.ledger.get(scan_id)
        assert record is not None
        attempt = record.attempts[self.state]
        waited = {"WaitingSeconds": self._waited_s(record)} if attempt == 1 else {}
        metrics.emit("taken up", waited, Stage=self.state, scan_id=scan_id, attempt=attempt)
        self.hand.holds, self.hand.waited_s, self.hand.is_cancelled = (message, scan_id), 0.0, False
        try:
            self.require_in_hand()  # the claim took a moment
            with Heartbeat(lambda: self._beat(message, scan_id), self.consumer.lease_s / BEATS_PER_LEASE):
                self._attempt(record, work)
        except Terminated:
            self.let_go()
            raise
        except NotYet:
            self.ledger.release(scan_id, self.state, owner=self.owner, counts=False)
            self.consumer.give_back(message, after_s=0)
            return False
        except Exception as error:
            if self.hand.is_empty_for_good:
                return False
            LOG.exception("attempt failed", extra={"scan_id": scan_id, "stage": self.state})
            metrics.emit("tried again later", {"Retries": 1}, Stage=self.state, scan_id=scan_id)
            self._try_later(message, record, passing=faults.is_passing(error))
            return False
        finally:
            self.hand.holds = None
        return True

    def let_go(self) -> None:
        """Gives back the scan in hand, which then was no attempt; nothing of it is published any more.

        From whichever thread: the one at work on it may be deep in a library that no signal reaches.
        """
        holds, self.hand.holds, self.hand.is_empty_for_good = self.hand.holds, None, True
        if holds:
            message, scan_id = holds
            self.ledger.release(scan_id, self.state, owner=self.owner, counts=False)
            self.consumer.give_back(message, after_s=0)

    def publish(self, record: ScanRecord, files: Iterable[Path], *, outcome: str, remarks: Iterable[str] = ()) -> None:
        """Puts a scan's files into its results folder, if the folder and the scan are still this worker's.

        Raises:
            Superseded: a newer version of the file has taken over the folder.
            Cancelled: the scan was cancelled.
            TransientError: another worker has taken over the scan.
            Terminated: the scan was let go.
        """
        self._require_own(record)
        earlier = objects.read_manifest(self.s3, self.results_bucket, record.results_folder)
        if earlier and earlier["scan_id"] != record.scan_id:
            # Its own manifest, by which the share's refresh would have known it, is about to go.
            self.ledger.overtake(earlier["scan_id"])
        checked_s = time.monotonic()

        def go_on() -> None:
            """A process that is stopped and continued, or waits for S3 for long, may meanwhile have lost the scan."""
            nonlocal checked_s
            self.require_in_hand()
            if time.monotonic() - checked_s > CHECKED_S:
                self._require_own(record)
                checked_s = time.monotonic()

        def seal() -> None:
            """What is cancelled is never shown, and what is about to be shown can't be cancelled any more."""
            go_on()
            if not self.ledger.seal(record.scan_id, owner=self.owner):
                raise self._loss(record)

        objects.publish(
            *(self.s3, self.results_bucket, record, files), outcome=outcome, remarks=remarks, go_on=go_on, seal=seal
        )

    def step(self, *_what: object) -> None:
        """Something of the scan in hand got done. Takes what callbacks are told, and ignores it.

        Raises:
            Cancelled: the scan was cancelled meanwhile.
        """
        self.watchdog.step()
        if self.hand.is_cancelled:
            raise Cancelled(CANCELLED)

    def require_in_hand(self) -> None:
        """Raises Terminated where the scan was let go."""
        if self.hand.is_empty_for_good:
            raise Terminated

    def _require_own(self, record: ScanRecord) -> None:
        self.require_in_hand()
        self.ledger.check_current(record)
        if not self.ledger.renew(record.scan_id, owner=self.owner, lease_s=self.consumer.lease_s):
            raise self._loss(record)

    def _loss(self, record: ScanRecord) -> RakiError:
        """Why the scan isn't this worker's any more."""
        if is_cancelled(self.ledger, record.scan_id):
            return Cancelled(CANCELLED)
        return TransientError("another worker has taken over the scan")

    def _attempt(self, record: ScanRecord, work: Callable[[ScanRecord], None]) -> None:
        started_s = time.monotonic()
        try:
            if record.attempts[self.state] > MAX_ATTEMPTS:
                raise WorkerLost(
                    f"The scan was tried {MAX_ATTEMPTS} times, and each time its worker was lost or met an error that "
                    "nobody foresaw. The operator finds the cause in the logs under the scan id."
                )
            self._work(record, work)
        except PermanentError as error:
            is_wanted = error.outcome in ("noted", "cancelled")
            level, event = (logging.INFO, error.outcome) if is_wanted else (logging.WARNING, "failed")
            LOG.log(level, event, extra={"scan_id": record.scan_id, "failure_class": error.failure_class})
            self._end(record, self._report(record, error))
        else:
            seconds = round(time.monotonic() - started_s - self.hand.waited_s, 3)
            metrics.emit("stage done", {"StageSeconds": seconds}, Stage=self.state, scan_id=record.scan_id)
            self.ledger.note_work(self.state, seconds)

    def _work(self, record: ScanRecord, work: Callable[[ScanRecord], None]) -> None:
        """Does the work. The last of the tries that the surroundings may spoil raises OutageTooLong."""
        try:
            work(record)
        except Exception as error:
            n_faults = record.faults[self.state] + 1
            if n_faults < faults.MAX_FAULTS or not faults.is_passing(error):
                raise
            since = datetime.now(UTC) - record.ill_since.get(self.state, datetime.now(UTC))
            raise OutageTooLong(
                f"In {n_faults} tries over {since.total_seconds() / 3600:.0f} hours something that the service stands "
                f"on failed, the last time with {type(error).__name__}; the scan itself was not found at fault. When "
                "that is mended, drop the file again."
            ) from error

    def _end(self, record: ScanRecord, error: RakiError) -> None:
        """Ends a scan as failed; one that has ended otherwise meanwhile, or begun anew, isn't counted."""
        seen = record.n_owners if isinstance(error, Superseded) else None
        if self.ledger.fail(record.scan_id, error, owner=self.owner, n_owners=seen):
            metrics.ended(record.scan_id, error)

    def _report(self, record: ScanRecord, error: RakiError) -> RakiError:
        """Puts an error's page on the share; returns the error that the scan ends with."""
        if isinstance(error, Superseded):
            return error
        try:
            if isinstance(error, Cancelled):
                show_cancelled(self.s3, self.results_bucket, self.ledger, record)
            else:
                with TemporaryDirectory() as scratch:
                    self.publish(record, pages.write_error_report(Path(scratch), record, error), outcome="failed")
        except Superseded as superseded:
            return superseded
        except Cancelled as cancelled:  # while its page was written, which then is partly this one
            return self._report(record, cancelled)
        return error

    def _beat(self, message: Message, scan_id: str) -> None:
        """Keeps scan and message for as long as the work gets on."""
        if self.hand.is_empty_for_good or not self.watchdog.check():
            return
        if not self.ledger.renew(scan_id, owner=self.owner, lease_s=self.consumer.lease_s):
            self.hand.is_cancelled = is_cancelled(self.ledger, scan_id)
        self.consumer.extend(message)
        self._say_alive()
        self.protection.hold()

    def _say_alive(self) -> None:
        try:
            self.note_alive()
        except (ClientError, BotoCoreError):
            LOG.warning("nobody could be told that this process gets on", exc_info=True)

    def _waited_s(self, record: ScanRecord) -> float:
        """From the drop on the share, or from the stage before, until the stage took the scan up."""
        waited = record.entered_at[self.state] - record.entered_at[BEFORE[self.state]]
        return max(0.0, round(waited.total_seconds(), 3))  # the drop is on S3's clock, the rest on the workers'

    def _until_free_s(self, scan_id: str, claim: Claim) -> int:
        """When a scan that can't be taken up now can be."""
        record = self.ledger.get(scan_id) if claim is Claim.RESTING else None
        return max(1, record.not_before_s - int(time.time())) if record else self.consumer.lease_s

    def _try_later(self, message: Message, record: ScanRecord, *, passing: bool) -> None:
        """Gives a scan back for a while, of which its other messages learn too.

        An outage may well hit the ledger at the same time. Unless that is told that it was one, it takes the worker
        for lost; so it is told again and again, for as long as the scan is this worker's.
        """
        lease_s = self.consumer.lease_s
        n_failed = record.faults[self.state] + 1 if passing else record.attempts[self.state]
        after_s = faults.wait_before_next(n_failed, lease_s=lease_s, jitter=self.jitter)

        def tell() -> None:
            if passing:
                self.ledger.postpone(record.scan_id, self.state, owner=self.owner, after_s=after_s)
            else:
                self.ledger.release(record.scan_id, self.state, owner=self.owner, counts=True, after_s=after_s)

        faults.persist(tell, lease_s=lease_s, jitter=self.jitter)
        self._give_back(message, after_s=after_s)

    def _give_back(self, message: Message, *, after_s: int) -> None:
        """Lets a message come again; where SQS fails too, it comes by itself when its lease ends."""
        try:
            self.consumer.give_back(message, after_s=after_s)
        except (ClientError, BotoCoreError):
            LOG.warning("message not given back", exc_info=True)
