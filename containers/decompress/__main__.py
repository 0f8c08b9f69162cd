"""Takes scans off the ingest queue: streams, unpacks, reads, cleans and sorts each, and asks for its reconstruction."""

import io
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3
from botocore.client import BaseClient

from containers import command_line, health
from raki.archive import Limits, unpack
from raki.errors import Superseded, TransientError
from raki.formats import formats
from raki.names import OPTIONS_FILE
from raki.options import LARGEST_FILE_BYTES, read_options
from raki.prepare import Readers, contained, prepare
from raki.service import handover, metrics
from raki.service.folders import options_keys
from raki.service.lease import Consumer, Message
from raki.service.ledger import Ledger, ScanRecord, State
from raki.service.messages import ReconstructionRequested, ScanArrived, arrivals
from raki.service.objects import HashingReader, find_standing, read_start
from raki.service.process import run_container
from raki.service.protection import Protection
from raki.service.settings import DecompressSettings, from_environment
from raki.service.stage import Stage

LOG = logging.getLogger("raki.decompress")

MAX_REPLACEMENTS = 10
"""How often in a row a file may be replaced while it is taken up."""
# The raw and the prepared scan lie on the task's disk of 200 GB together.
LIMITS = Limits(n_bytes=80 << 30)
# Of the scan id, which is a keyed hash: as much as DICOM's fields hold.
TOKEN_LENGTH = 32
# What each reader would load by itself beside its format.
LOADED = ("raki.prepare", "numpy.fft", "numpy.ma")
Within = Callable[..., None]


class Worker:
    """Works on one message at a time, for as long as it is left running."""

    def __init__(
        self,
        settings: DecompressSettings,
        protection: Protection,
        *,
        note_alive: Callable[[], None] = lambda: None,
        read_within: Within = contained,
    ) -> None:
        self._settings = settings
        self._read_within = read_within
        self._s3: BaseClient = boto3.client("s3")
        self._sqs: BaseClient = boto3.client("sqs")
        self._ledger = Ledger(boto3.client("dynamodb"), settings.ledger_table)
        self._stage = Stage(
            state=State.DECOMPRESSING,
            consumer=Consumer(self._sqs, settings.ingest_queue_url, settings.ingest_dead_letters_url),
            ledger=self._ledger,
            s3=self._s3,
            results_bucket=settings.results_bucket,
            protection=protection,
            note_alive=note_alive,
        )

    def run(self) -> None:
        """Receives messages until stopped."""
        self._stage.serve(self._handle, wait_s=20, until_empty=False)

    def _handle(self, message: Message) -> bool:
        done = [self._attend(message, arrival) for arrival in arrivals(message.body)]
        return all(done)

    def _attend(self, message: Message, arrival: ScanArrived) -> bool:
        """Works on what stands in the bucket, be it what the message speaks of or what has replaced that.

        Whoever finds a version replaced sees to its successor at once: its own message may be used up already.
        """
        for _ in range(MAX_REPLACEMENTS):
            arrived = self._ledger.arrive(arrival.key, lambda: self._look(arrival))
            scan_id, scan = (arrived[0].scan_id, arrived[1]) if arrived else (self._id_of(arrival), arrival)
            if arrived is None and self._ledger.get(scan_id) is None:
                LOG.info("removed before it was taken up", extra={"scan_id": scan_id})
                return True
            if not self._stage.attend(message, scan_id, partial(self._decompress, scan)):
                return False
            record = self._ledger.get(scan_id)
            if record is None or record.failure_class != Superseded.__name__:
                return True
        raise TransientError("the file is replaced faster than it can be read")

    def _look(self, arrival: ScanArrived) -> tuple[str, ScanArrived] | None:
        standing = find_standing(self._s3, arrival)
        return (self._id_of(standing), standing) if standing else None

    def _id_of(self, scan: ScanArrived) -> str:
        return scan.scan_id(self._settings.scan_id_key)

    def _decompress(self, arrival: ScanArrived, record: ScanRecord) -> None:
        prepared_key = f"scans/{record.scan_id}.h5"
        with TemporaryDirectory() as scratch:
            body = HashingReader(self._s3, arrival, progress=self._stage.watchdog.step)
            raw = unpack(io.BufferedReader(body, 1 << 20), Path(scratch), formats=formats(), limits=LIMITS)
            sha256 = body.drain()
            options = read_options(self._options(arrival, Path(scratch)))
            prepared = Path(scratch) / "prepared"
            token = record.scan_id[:TOKEN_LENGTH] if self._settings.deidentify else None
            with self._stage.watchdog.paused():  # it limits its own time
                prepare(raw, prepared, token=token, within=self._read_within)
            for file in raw:
                file.unlink()  # the disk needs to hold it no longer than this
            place = self._settings.prepared_bucket, prepared_key
            handover.upload(self._s3, prepared, *place, progress=self._stage.watchdog.step)
        request = ReconstructionRequested(
            scan_id=record.scan_id,
            prepared_bucket=self._settings.prepared_bucket,
            prepared_key=prepared_key,
            raw_version_id=arrival.version_id,
            raw_sha256=sha256,
            raw_n_bytes=body.n_bytes,
            options=options,
        )
        # Asked for first, noted second: a crash in between asks twice, which does no harm; never is never.
        self._sqs.send_message(QueueUrl=self._settings.reconstruct_queue_url, MessageBody=request.to_json())
        self._ledger.finish(record.scan_id, State.PREPARED, owner=self._stage.owner)
        metrics.emit("prepared", {"RawBytes": body.n_bytes}, scan_id=record.scan_id)

    def _options(self, arrival: ScanArrived, unpacked: Path) -> bytes:
        """The content of the scan's own file of options as it stands now: in its archive, or else beside it."""
        if (own := unpacked / OPTIONS_FILE).exists():
            return own.read_bytes()
        for key in options_keys(arrival.key):
            found = read_start(self._s3, arrival.bucket, key, n_bytes=LARGEST_FILE_BYTES + 1)
            if found is not None:
                return found
        return b""


def main() -> int:
    """The container's entry point. Being stopped is how a worker ends."""
    command_line.parse("decompress", __doc__, DecompressSettings)
    return run_container(_work, exit_code_when_stopped=0)


def _work() -> None:
    # No setting of the deployment's: ECS itself puts the agent's address into the environment.
    protection = Protection(os.environ.get("ECS_AGENT_URI"))
    with Readers([*LOADED, *(known.recognises.__module__ for known in formats())]) as readers:
        worker = Worker(
            from_environment(DecompressSettings),
            protection,
            note_alive=health.note_alive,
            read_within=readers.contained,
        )
        worker.run()


if __name__ == "__main__":
    sys.exit(main())
