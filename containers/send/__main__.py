"""Sends the images of finished results to the site's picture archive (PACS), as a scanner does: C-STORE."""

import logging
import ssl
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from tempfile import NamedTemporaryFile, TemporaryDirectory, gettempdir
from typing import Any

import boto3
from botocore.client import BaseClient

from containers import command_line, health
from raki.destination import Destination
from raki.errors import RakiError, Superseded, TooLarge, TransientError
from raki.manifest import MANIFEST
from raki.results.sending import PacsBusy, PacsClosed, PacsRefused, PacsUnreachable, send, tls_context
from raki.service import metrics
from raki.service.lease import Consumer, Heartbeat, Message
from raki.service.messages import NotUnderstood, completed
from raki.service.objects import read_manifest
from raki.service.process import Terminated, run_container
from raki.service.record import Reached, ScanRecord, State
from raki.service.sending import (
    Overtaken,
    Sendings,
    attempt,
    digest_of,
    fetch_images,
    images_of,
    is_too_old,
    wait_before_next,
)
from raki.service.settings import SendSettings, from_environment

LOG = logging.getLogger("raki.send")

BEATS_PER_LEASE = 3
OF_THE_ARCHIVE = (PacsBusy, PacsRefused, PacsUnreachable)
OWN_MIB = 256
"""Of the task's memory: what the program takes for itself, whatever it sends."""


class Sender:
    """Works on one message at a time, for as long as it is left running."""

    def __init__(
        self,
        settings: SendSettings,
        destination: Destination,
        *,
        note_alive: Callable[[], None] = lambda: None,
        jitter: Random | None = None,
    ) -> None:
        self._destination = destination
        self._memory_bytes = (settings.memory_mib - OWN_MIB) << 20
        self._s3: BaseClient = boto3.client("s3")
        self._consumer = Consumer(boto3.client("sqs"), settings.send_queue_url, settings.send_dead_letters_url)
        self._sendings = Sendings(boto3.client("dynamodb"), settings.ledger_table)
        self._note_alive = note_alive
        self._jitter = jitter or Random()  # noqa: S311 - it spreads waits

    def run(self) -> None:
        """Receives messages until stopped."""
        while True:
            self.step(wait_s=20)

    def step(self, *, wait_s: int) -> bool:
        """Sees to the next message; False when none came within `wait_s` seconds.

        Raises:
            Terminated: the process is told to stop; the message is given back.
        """
        self._note_alive()
        message = self._consumer.receive(wait_s=wait_s)
        if message is None:
            return False
        try:
            with Heartbeat(partial(self._beat, message), self._consumer.lease_s / BEATS_PER_LEASE):
                self._take(message)
        except Terminated:
            self._consumer.give_back(message, after_s=0)
            raise
        except Exception:  # AWS's fault, or ours: whoever looks after the alarm finds this
            LOG.exception("message not handled")
            metrics.emit("sent later", {"SendRetries": 1})
            self._put_off_or_bury(message)
        return True

    def _beat(self, message: Message) -> None:
        self._consumer.extend(message)
        self._note_alive()

    def _take(self, message: Message) -> None:
        """Sends the result that a message speaks of, or notes why that isn't there."""
        try:
            bucket, key = completed(message.body)
        except NotUnderstood:
            LOG.exception("message not understood")
            self._consumer.bury(message)
            return
        folder = key.removesuffix(f"/{MANIFEST}")
        manifest = read_manifest(self._s3, bucket, folder)
        if manifest is None or not images_of(manifest):
            LOG.info("nothing to send")
            self._consumer.delete(message)
            return
        scan_id = manifest["scan_id"]
        try:
            record = self._sendings.require_current(manifest)
            self._send(record, manifest, bucket, folder)
        except (Overtaken, Superseded):
            LOG.info("not to be sent any more", extra={"scan_id": scan_id})
        except (*OF_THE_ARCHIVE, TooLarge) as error:
            self._failed(message, manifest, error)
            return
        except TransientError:
            LOG.info("not to be sent yet", extra={"scan_id": scan_id})
            self._put_off_or_bury(message)
            return
        self._consumer.delete(message)

    def _send(self, record: ScanRecord, manifest: dict[str, Any], bucket: str, folder: str) -> None:
        """Sends a result unless the archive has it.

        Raises:
            Overtaken, Superseded, TransientError, PacsRefused, TooLarge
        """
        to, scan_id, before = str(self._destination), record.scan_id, record.sending
        if before and before.reached is Reached.SENT and before.digest == digest_of(manifest, to):
            LOG.info("sent already", extra={"scan_id": scan_id})
            return

        def go_on(*_sent: object) -> None:
            self._sendings.require_current(manifest)

        with TemporaryDirectory() as scratch:
            files = fetch_images(self._s3, bucket, folder, manifest, Path(scratch))
            # Another version may take the folder over at any moment: from the next file on nothing of this one is sent.
            go_on()
            send(files, self._destination, progress=go_on, memory_bytes=self._memory_bytes)
        done = attempt(manifest, to, Reached.SENT)
        self._sendings.note(record, done)
        seconds = max(0.0, (done.at - record.entered_at[State.RECONSTRUCTED]).total_seconds())
        measured = {"Sent": 1, "SendSeconds": round(seconds, 3)}
        metrics.emit("sent", measured, scan_id=scan_id, n_files=len(files))

    def _failed(self, message: Message, manifest: dict[str, Any], error: RakiError) -> None:
        """Gives a message back for a while, or up where no waiting helps. What the archive says is in no log."""
        is_refused = isinstance(error, PacsRefused | TooLarge) and not isinstance(error, PacsClosed)
        reached = Reached.GIVEN_UP if is_refused or is_too_old(message.sent_at_s, time.time()) else Reached.WAITS
        scan_id, failure_class = manifest["scan_id"], error.failure_class
        self._note(manifest, reached, error.sentence)
        if reached is Reached.GIVEN_UP:
            metrics.emit("not sent", {"SendFailures": 1}, scan_id=scan_id, failure_class=failure_class)
            self._consumer.bury(message)
        else:
            metrics.emit("sent later", {"SendRetries": 1}, scan_id=scan_id, failure_class=failure_class)
            self._put_off(message)

    def _note(self, manifest: dict[str, Any], reached: Reached, reason: str) -> None:
        try:
            record = self._sendings.require_current(manifest)
        except (Overtaken, Superseded, TransientError):
            return  # it has begun anew: what is noted there is of its next run
        self._sendings.note(record, attempt(manifest, str(self._destination), reached, reason))

    def _put_off_or_bury(self, message: Message) -> None:
        """What the archive has no part in is noted in no scan, but doesn't come again for ever either."""
        if is_too_old(message.sent_at_s, time.time()):
            metrics.emit("not sent", {"SendFailures": 1})
            self._consumer.bury(message)
        else:
            self._put_off(message)

    def _put_off(self, message: Message) -> None:
        self._consumer.give_back(message, after_s=wait_before_next(message.n_received, self._jitter))


def destination_of(settings: SendSettings) -> Destination:
    """The archive that the settings name.

    Raises:
        ValueError, OSError: they name none, or the certificates are none.
        ClientError: the secret with our own can't be read.
    """
    tls = None
    if settings.pacs_tls:
        trusted = Path(gettempdir()) / "trusted.pem" if settings.pacs_trusted else None
        if trusted and settings.pacs_trusted:
            trusted.write_text(settings.pacs_trusted)
        tls = tls_context(trusted=trusted)
        if settings.pacs_certificate:
            _show_certificate(tls, settings.pacs_certificate)
    return Destination.parse(settings.pacs, calling=settings.pacs_calling, tls=tls)


def _show_certificate(tls: ssl.SSLContext, secret: str) -> None:
    """Has our own certificate shown to the archive. OpenSSL reads files alone: this one is there for that moment.

    Raises:
        ValueError: the secret holds none; nothing of what it holds is said.
    """
    held = boto3.client("secretsmanager").get_secret_value(SecretId=secret).get("SecretString", "")
    with NamedTemporaryFile("w", suffix=".pem") as file:  # its owner's alone
        file.write(held)
        file.flush()
        try:
            tls.load_cert_chain(file.name, password="")
        except ssl.SSLError:
            raise ValueError(
                f"the secret {secret} is no certificate with its private key: both are needed, one behind the other, "
                "as PEM, the key without a passphrase"
            ) from None


def main() -> int:
    """The container's entry point. Being stopped is how a sender ends."""
    command_line.parse("send", __doc__, SendSettings)
    return run_container(_work, exit_code_when_stopped=0)


def _work() -> None:
    settings = from_environment(SendSettings)
    Sender(settings, destination_of(settings), note_alive=health.note_alive).run()


if __name__ == "__main__":
    sys.exit(main())
