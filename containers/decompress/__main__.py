"""Takes scans off the ingest queue: streams, unpacks, reads, cleans and sorts each, and asks for its reconstruction."""

import hashlib
import io
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.client import BaseClient

from containers import command_line, health
from raki.archive import Limits
from raki.errors import RakiError, Removed, Superseded, TransientError, UnsupportedScan
from raki.names import LEADS, OPTIONS_FILE, companions_of
from raki.options import LARGEST_FILE_BYTES, read_options
from raki.prepare import prepare, unpack_within
from raki.sandbox import Readers, contained, hide
from raki.service import handover, metrics
from raki.service.folders import options_keys
from raki.service.lease import Consumer, Message
from raki.service.ledger import Ledger, ScanRecord, State
from raki.service.messages import ReconstructionRequested, ScanArrived, alias_of, arrivals
from raki.service.objects import HashingReader, read_start, tag_reconstructed
from raki.service.process import run_container
from raki.service.protection import Protection
from raki.service.record import HAS_RESULT
from raki.service.settings import DecompressSettings, from_environment
from raki.service.stage import Stage
from raki.service.standing import digest, find_standing, fingerprint

LOG = logging.getLogger("raki.decompress")

COPYING = timedelta(minutes=15)
"""For how long a file waits for the other one that belongs to it."""
MAX_REPLACEMENTS = 10
"""How often in a row a file may be replaced while it is taken up."""
# The raw and the prepared scan lie on the task's disk of 200 GB together.
LIMITS = Limits(n_bytes=80 << 30)
# Of the scan id, which is a keyed hash: as much as DICOM's fields hold.
TOKEN_LENGTH = 32
# What each reader would load by itself beside its format.
LOADED = ("raki.prepare", "raki.formats:formats", "numpy.fft", "numpy.ma")
Within = Callable[..., Any]


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
        done = [self._attend(message, arrival) for arrival in arrivals(message.body) if not self._is_early(arrival)]
        return all(done)

    def _is_early(self, arrival: ScanArrived) -> bool:
        """Whether S3 speaks of what a gateway wrote, which may be a part of a file only, or its data without the rest.

        The gateway's own notice comes once the file hasn't changed for a while. One that is lost is made up for by the
        reconciliation. Amazon S3 File Gateway user guide, "Getting notified about file operations". A role's session
        acts as its unique id, a colon and the session's name: AWS IAM User Guide, "IAM JSON policy elements:
        Principal", table of `aws:userid`.
        """
        role = self._settings.gateway_role
        return role is not None and role in arrival.written_by

    def _attend(self, message: Message, arrival: ScanArrived) -> bool:
        """Works on what stands in the bucket, be it what the message speaks of or what has replaced that.

        Whoever finds a version replaced sees to its successor at once: its own message may be used up already.
        """
        for _ in range(MAX_REPLACEMENTS):
            with self._stage.looking(message):
                arrived = self._ledger.arrive(arrival.key, lambda: self._look(arrival), alias=self._alias(arrival))
            if arrived is None:
                return self._end_removed(message, arrival)
            record, scan = arrived
            scan_id = record.scan_id
            if record.state in HAS_RESULT:
                self._note_duplicate(record, scan)
                return True
            if record.state is State.RECONSTRUCTING and scan.asked not in (None, record.asked):
                self._stage.consumer.give_back(message, after_s=self._stage.consumer.lease_s)
                return False  # when it has ended it is made anew, by the other options
            if not self._stage.attend(message, scan_id, partial(self._decompress, scan)):
                return False
            ended = self._ledger.get(scan_id)
            # One that got its folder back while it was being ended as superseded isn't ended, and is still in hand.
            has_it = ended and ended.state is State.DECOMPRESSING and ended.owner == self._stage.owner
            if ended and ended.failure_class == Removed.__name__:
                self._ledger.forget_versions(arrival.key)
            if ended is None or not (has_it or ended.failure_class == Superseded.__name__):
                return True
        raise TransientError("the file is replaced faster than it can be read")

    def _end_removed(self, message: Message, arrival: ScanArrived) -> bool:
        """Ends what waits for a file that stands there no more; True when the message has served its purpose."""

        def removed(_record: ScanRecord) -> None:
            raise Removed("The file was removed before it could be read. If that was a mistake, drop it again.")

        scan_id = self._last(arrival)
        if scan_id is None:
            LOG.info("removed before it was taken up")
            return True
        return self._stage.attend(message, scan_id, removed)

    def _look(self, arrival: ScanArrived) -> tuple[str, ScanArrived] | None:
        for _ in range(MAX_REPLACEMENTS):
            try:
                standing = find_standing(self._s3, arrival, progress=self._stage.watchdog.step)
                if standing is None:
                    return None
                # What is archived can't be made anew, whatever is asked for.
                asked = None if standing.is_archived else _digest(self._options_beside(arrival))
                return self._identified(standing), replace(standing, asked=asked)
            except (Superseded, Removed):
                continue  # while it was read
        raise TransientError("the file is replaced faster than it can be looked at")

    def _identified(self, standing: ScanArrived) -> str:
        """The id of the scan whose bytes stand there.

        One that nobody has seen under S3's own checksum may be known all the same, if it has the size of one that is:
        that is read for its digest. What is archived can't be; only what was reconstructed is.
        """
        scan_id = standing.scan_id(self._settings.scan_id_key)
        if self._ledger.get(scan_id) is not None:
            return scan_id
        if standing.is_archived:
            return self._last(standing) or scan_id
        known = self._ledger.known_contents(standing.key, standing.n_bytes)
        if not known:
            return scan_id
        sha256 = digest(self._s3, standing.bucket, standing.key, standing.etag, progress=self._stage.watchdog.step)
        return known.get(fingerprint(standing, sha256), scan_id)

    def _last(self, arrival: ScanArrived) -> str | None:
        """The id of the scan that was seen last under a file's name."""
        return self._ledger.current(arrival.key, alias=self._alias(arrival))

    def _note_duplicate(self, record: ScanRecord, standing: ScanArrived) -> None:
        """What stands there holds the bytes of a scan that has its result: it may be archived."""
        LOG.info("known already", extra={"scan_id": record.scan_id})
        tag_reconstructed(self._s3, standing.bucket, standing.key, version_id=standing.version_id)

    def _alias(self, scan: ScanArrived) -> str | None:
        """A file's name may be its patient's."""
        settings = self._settings
        return alias_of(scan.bucket, scan.key, settings.scan_id_key) if settings.deidentify else None

    def _decompress(self, arrival: ScanArrived, record: ScanRecord) -> None:
        prepared_key = f"scans/{record.scan_id}.h5"
        with TemporaryDirectory() as scratch:
            body = HashingReader(self._s3, arrival, progress=self._stage.step)
            stream = io.BufferedReader(body, 1 << 20)
            raw = unpack_within(stream, arrival.n_bytes, Path(scratch), limits=LIMITS, within=self._read_within)
            body.drain()
            own = fingerprint(arrival, body.sha256)
            raw += self._companions(arrival, record, raw, body)
            noise = self._noise(arrival, Path(scratch), body)
            beside = self._options_beside(arrival)
            options = read_options(_own_options(Path(scratch), beside))
            prepared = Path(scratch) / "prepared"
            token = record.scan_id[:TOKEN_LENGTH] if self._settings.deidentify else None
            with self._stage.watchdog.paused():  # it limits its own time
                prepare(raw, prepared, noise=noise, token=token, within=self._read_within)
            for file in (*raw, *([noise] if noise else [])):
                file.unlink()  # the disk needs to hold it no longer than this
            place = self._settings.prepared_bucket, prepared_key
            handover.upload(self._s3, prepared, *place, progress=self._stage.step)
        request = ReconstructionRequested(
            scan_id=record.scan_id,
            prepared_bucket=self._settings.prepared_bucket,
            prepared_key=prepared_key,
            raw_version_id=arrival.version_id,
            raw_sha256=body.sha256,
            raw_n_bytes=body.n_bytes,
            options=options,
        )
        # Asked for first, noted second: a crash in between asks twice, which does no harm; never is never.
        self._sqs.send_message(QueueUrl=self._settings.reconstruct_queue_url, MessageBody=request.to_json())
        self._ledger.note_content(arrival.key, sha256=own, n_bytes=arrival.n_bytes, scan_id=record.scan_id)
        owner, asked = self._stage.owner, _digest(beside)
        self._ledger.finish(record.scan_id, State.PREPARED, owner=owner, options=options, asked=asked)
        metrics.emit("prepared", {"RawBytes": body.n_bytes}, scan_id=record.scan_id)

    def _companions(self, arrival: ScanArrived, record: ScanRecord, raw: list[Path], body: HashingReader) -> list[Path]:
        """The files beside the scan's on the share without which it isn't whole, each by its own path.

        Raises:
            TransientError: one isn't there yet.
            UnsupportedScan: it hasn't come within the time that copying takes, or is larger than the disk allows.
        """
        found = []
        _require_room(arrival)
        for key, etag in zip(companions_of(arrival.key), arrival.companions, strict=True):
            suffix = PurePosixPath(key).suffix
            into = raw[0].with_suffix(suffix.lower())
            if len(raw) > 1 or raw[0].suffix not in LEADS.values() or into.exists():
                continue  # an archive brings all that belongs to it
            if not etag:
                raise _lacking(suffix, record)
            body.read_on(key, etag, into)
            found.append(into)
        return found

    def _noise(self, arrival: ScanArrived, scratch: Path, body: HashingReader) -> Path | None:
        """The noise scan that lies beside the file.

        Raises:
            UnsupportedScan: they are larger than the disk allows.
        """
        if not arrival.noise_key:
            return None
        _require_room(arrival)
        into = scratch / "beside-noise"
        body.read_on(arrival.noise_key, arrival.noise_etag, into)
        return into

    def _options_beside(self, arrival: ScanArrived) -> bytes:
        """The content of the file of options beside the scan as it stands now."""
        for key in options_keys(arrival.key):
            found = read_start(self._s3, arrival.bucket, key, n_bytes=LARGEST_FILE_BYTES + 1)
            if found is not None:
                return found
        return b""


def _own_options(unpacked: Path, beside: bytes) -> bytes:
    """The content of the scan's own file of options: in its archive, or else beside it."""
    own = unpacked / OPTIONS_FILE
    return own.read_bytes() if own.exists() else beside


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _require_room(arrival: ScanArrived) -> None:
    if (arrival.companions or arrival.noise_key) and arrival.n_bytes > LIMITS.n_bytes:
        raise UnsupportedScan(f"the files hold more than {LIMITS.n_bytes} bytes together; split the scan")


def _lacking(suffix: str, record: ScanRecord) -> RakiError:
    minutes = COPYING.total_seconds() / 60
    if datetime.now(UTC) - (record.noted_at or record.entered_at[State.ARRIVED]) < COPYING:
        return TransientError(f"the {suffix} that belongs to the file isn't there yet")
    return UnsupportedScan(
        f"a file that needs a {suffix} of the same name beside it came without one, and none has come for "
        f"{minutes:.0f} minutes: copy that too, and the scan is taken up again"
    )


def main() -> int:
    """The container's entry point. Being stopped is how a worker ends."""
    command_line.parse("decompress", __doc__, DecompressSettings)
    return run_container(_work, exit_code_when_stopped=0)


def _work() -> None:
    # No setting of the deployment's: ECS itself puts the agent's address into the environment.
    protection = Protection(os.environ.get("ECS_AGENT_URI"))
    hide()
    with Readers(LOADED) as readers:
        worker = Worker(
            from_environment(DecompressSettings),
            protection,
            note_alive=health.note_alive,
            read_within=readers.contained,
        )
        worker.run()


if __name__ == "__main__":
    sys.exit(main())
