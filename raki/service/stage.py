"""What every stage does around its own work: claim, keep alive, report, give back. At least once, safe twice."""

import logging
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from botocore.client import BaseClient

from raki.errors import PermanentError, RakiError, Superseded, WorkerLost
from raki.service.lease import Consumer, Heartbeat, Message
from raki.service.ledger import Claim, Ledger, ScanRecord, State
from raki.service.objects import publish, write_error_report

LOG = logging.getLogger("raki.stage")

BEATS_PER_LEASE = 3
DELIVERIES_KEPT_TO_RECORD_A_FAILURE = 2


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


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of one process: which state it works in, and where it reports."""

    state: State
    consumer: Consumer
    ledger: Ledger
    s3: BaseClient
    results_bucket: str
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")

    def attend(self, message: Message, scan_id: str, work: Callable[[ScanRecord], None]) -> bool:
        """Does `work` on a scan if it is this worker's turn; True when the message has served its purpose.

        A permanent error ends the scan with a report on the share. Whatever else goes wrong gives the message
        back; when that has happened on every delivery but the last few, the scan ends with a report as well.
        """
        claim = self.ledger.claim(scan_id, self.state, owner=self.owner, lease_s=self.consumer.lease_s)
        if claim is not Claim.GRANTED:
            LOG.info("not taken up", extra={"scan_id": scan_id, "stage": self.state, "claim": claim})
            if claim is Claim.BUSY:
                self.consumer.give_back(message, after_s=self.consumer.lease_s // BEATS_PER_LEASE)
            return claim is Claim.OVER
        record = self.ledger.get(scan_id)
        assert record is not None
        LOG.info("taken up", extra={"scan_id": scan_id, "stage": self.state, "delivery": message.n_deliveries})
        try:
            with Heartbeat(lambda: self._beat(message, scan_id), self.consumer.lease_s / BEATS_PER_LEASE):
                self._check_deliveries(message)
                work(record)
        except PermanentError as error:
            self._fail(record, error)
        except Terminated:
            self._give_back(message, scan_id, after_s=0)
            raise
        except Exception:
            LOG.exception("attempt failed", extra={"scan_id": scan_id, "stage": self.state})
            self._give_back(message, scan_id, after_s=min(2**message.n_deliveries, self.consumer.lease_s))
            return False
        return True

    def _check_deliveries(self, message: Message) -> None:
        n_tries = self.consumer.max_deliveries - DELIVERIES_KEPT_TO_RECORD_A_FAILURE
        if message.n_deliveries > n_tries:
            raise WorkerLost(
                f"The scan was tried {n_tries} times, and each time its worker was lost or met a passing fault. "
                "The operator finds the cause in the logs under the scan id."
            )

    def _beat(self, message: Message, scan_id: str) -> None:
        self.ledger.renew(scan_id, owner=self.owner, lease_s=self.consumer.lease_s)
        self.consumer.extend(message)

    def _give_back(self, message: Message, scan_id: str, *, after_s: int) -> None:
        self.ledger.release(scan_id, owner=self.owner)
        self.consumer.give_back(message, after_s=after_s)

    def _fail(self, record: ScanRecord, error: RakiError) -> None:
        LOG.warning("failed", extra={"scan_id": record.scan_id, "failure_class": error.failure_class})
        if not isinstance(error, Superseded):
            with TemporaryDirectory() as scratch:
                report = write_error_report(Path(scratch), record, error)
                publish(self.s3, self.results_bucket, record, report, outcome="failed")
        self.ledger.fail(record.scan_id, error)
