"""What every stage does around its own work: claim, keep alive, report, give back. At least once, safe twice."""

import logging
import signal
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from raki.errors import PermanentError, RakiError, Superseded, TransientError, WorkerLost
from raki.service import log, objects
from raki.service.lease import Consumer, Heartbeat, Message
from raki.service.ledger import Claim, Ledger, ScanRecord, State

LOG = logging.getLogger("raki.stage")

BEATS_PER_LEASE = 3
MAX_ATTEMPTS = 4


class Terminated(BaseException):
    """The task or the instance is being stopped (SIGTERM): give back what is in hand and go."""


@contextmanager
def raised_on_sigterm() -> Iterator[None]:
    """Turns SIGTERM into Terminated, raised once, in the main thread, for the length of the block."""

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        # A second signal must not cut off the giving back, nor turn the exit code into the signal's.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is terminate:
            signal.signal(signal.SIGTERM, previous)


def run_container(work: Callable[[], None], *, exit_code_when_stopped: int) -> int:
    """What a container's main does around its work; the exit code says whether another attempt makes sense."""
    log.configure()
    with raised_on_sigterm():
        try:
            work()
        except Terminated:
            LOG.info("stopped")
            return exit_code_when_stopped
        except (BotoCoreError, ClientError):
            LOG.exception("AWS could not be reached")
            return TransientError.exit_code
    return 0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of one process: which state it works in, and where it reports."""

    state: State
    consumer: Consumer
    ledger: Ledger
    s3: BaseClient
    results_bucket: str
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")

    def serve(self, handle: Callable[[Message], bool], *, wait_s: int, until_empty: bool) -> None:
        """Hands one message after another to `handle`, which says whether the message has served its purpose.

        A message whose handling raises is given back: it comes again, and in the end to the dead letters.
        """
        while True:
            message = self.consumer.receive(wait_s=wait_s)
            if message is None:
                if until_empty:
                    return
                continue
            try:
                if handle(message):
                    self.consumer.delete(message)
            except Exception:
                LOG.exception("message not handled", extra={"stage": self.state})
                self.consumer.give_back(message, after_s=self.consumer.lease_s)

    def attend(self, message: Message, scan_id: str, work: Callable[[ScanRecord], None]) -> bool:
        """Does `work` on a scan if it is this worker's turn; True when the message has served its purpose.

        A permanent error ends the scan with a report on the share. Whatever else goes wrong gives the message
        back; a scan that has been attempted often enough ends with a report as well.
        """
        claim = self.ledger.claim(scan_id, self.state, owner=self.owner, lease_s=self.consumer.lease_s)
        if claim is not Claim.GRANTED:
            LOG.info("not taken up", extra={"scan_id": scan_id, "stage": self.state, "claim": claim})
            if claim is Claim.BUSY:
                self.consumer.give_back(message, after_s=self.consumer.lease_s)
            return claim is Claim.OVER
        record = self.ledger.get(scan_id)
        assert record is not None
        attempt = record.attempts[self.state]
        LOG.info("taken up", extra={"scan_id": scan_id, "stage": self.state, "attempt": attempt})
        try:
            with Heartbeat(lambda: self._beat(message, scan_id), self.consumer.lease_s / BEATS_PER_LEASE):
                self._attempt(record, work)
        except Terminated:
            self._give_back(message, scan_id, after_s=0, counts=False)
            raise
        except Exception:
            LOG.exception("attempt failed", extra={"scan_id": scan_id, "stage": self.state})
            self._give_back(message, scan_id, after_s=min(2**attempt, self.consumer.lease_s), counts=True)
            return False
        return True

    def publish(self, record: ScanRecord, files: Iterable[Path], *, outcome: str) -> None:
        """Puts a scan's files into its results folder, if the folder and the scan are still this worker's.

        Raises:
            Superseded: a newer version of the file has taken over the folder.
            TransientError: another worker has taken over the scan.
        """
        self.ledger.check_current(record)
        if not self.ledger.renew(record.scan_id, owner=self.owner, lease_s=self.consumer.lease_s):
            raise TransientError("another worker has taken over the scan")
        objects.publish(self.s3, self.results_bucket, record, files, outcome=outcome)

    def _attempt(self, record: ScanRecord, work: Callable[[ScanRecord], None]) -> None:
        try:
            if record.attempts[self.state] > MAX_ATTEMPTS:
                raise WorkerLost(
                    f"The scan was tried {MAX_ATTEMPTS} times, and each time its worker was lost or met a passing "
                    "fault. The operator finds the cause in the logs under the scan id."
                )
            work(record)
        except PermanentError as error:
            LOG.warning("failed", extra={"scan_id": record.scan_id, "failure_class": error.failure_class})
            self.ledger.fail(record.scan_id, self._report(record, error))

    def _report(self, record: ScanRecord, error: RakiError) -> RakiError:
        """Puts an error's page on the share; returns the error that the scan ends with."""
        if isinstance(error, Superseded):
            return error
        with TemporaryDirectory() as scratch:
            try:
                self.publish(record, objects.write_error_report(Path(scratch), record, error), outcome="failed")
            except Superseded as superseded:
                return superseded
        return error

    def _beat(self, message: Message, scan_id: str) -> None:
        self.ledger.renew(scan_id, owner=self.owner, lease_s=self.consumer.lease_s)
        self.consumer.extend(message)

    def _give_back(self, message: Message, scan_id: str, *, after_s: int, counts: bool) -> None:
        self.ledger.release(scan_id, self.state, owner=self.owner, counts=counts)
        self.consumer.give_back(message, after_s=after_s)
