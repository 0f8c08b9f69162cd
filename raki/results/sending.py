"""DICOM files to a picture archive (PACS) over the network: C-STORE, as scanners send.

Needs pynetdicom (`pip install 'raki-mri[pacs]'`). What is sent again has the UIDs that it had: an archive takes it for
what it has already.

DICOM PS3.4, annex B (Storage Service Class, its statuses in table B.2-1); PS3.7, annex C (status types); PS3.8, table
9-21 (rejected associations); PS3.15, annex B (TLS).
"""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association

from raki.destination import Destination
from raki.errors import RakiError, TransientError

CONNECT_S, ANSWER_S = 10.0, 60.0
"""How long a connection may take, and an answer on it: an archive writes a file to its disk before it answers."""
LEAST_BYTES_A_SECOND = 250_000
"""The time for an answer begins when a file is queued, not when it has left: each has as much more as it takes then."""
PROCESSING_FAILED = 0x0110
DUPLICATE = 0x0111
WARNINGS = range(0xB000, 0xC000)
OUT_OF_RESOURCES = range(0xA700, 0xA800)
REJECTED_FOR_NOW = 0x02


class PacsUnreachable(TransientError):
    """The archive can't be reached, or fell silent: worth another try."""

    exit_code = 42


class PacsBusy(TransientError):
    """The archive answers and can't take the images now, as one whose disk is full: worth another try."""

    exit_code = 44


class PacsRefused(RakiError):
    """The archive answers and doesn't take the images, as they are or from whom they are."""

    exit_code = 43


class PacsClosed(PacsRefused):
    """It doesn't let us in, or takes none of this kind: a matter of how it is set up, which holds for every image."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of one file."""

    path: Path
    status: int
    """The archive's answer."""

    @property
    def words(self) -> str:
        """The answer in words."""
        if self.status == DUPLICATE:
            return "was there already"
        return "stored" if self.status == 0 else f"stored with a warning ({self.status:#06x})"


def tls_context(
    *, trusted: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """What a connection is encrypted with. The archive's certificate has to be of its host's name.

    Args:
        trusted: certificates (PEM) by which the archive's is checked; without it those that the system trusts.
        certificate: our own (PEM), where the archive wants one.
        key: its private key, where that isn't in the same file.

    Raises:
        OSError: a file can't be read, or holds none; ssl.SSLError is one.
    """
    context = ssl.create_default_context(cafile=trusted and str(trusted))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def send(
    files: Sequence[Path], destination: Destination, *, progress: Callable[[Sent], None] = lambda _sent: None
) -> list[Sent]:
    """Sends DICOM files one after another on one association.

    Nothing is taken back where it ends early: send all of them again, and those that arrived are known by their UIDs.

    Args:
        files: as raki wrote them; at least one.
        progress: is told of each file that the archive has.

    Raises:
        PacsUnreachable: no connection, no answer in time, or one that broke off.
        PacsBusy: it has no room for an image, or takes no association at the moment.
        PacsRefused: the archive refuses an image; the sentence has its answer.
        PacsClosed: it refuses us, or a kind of image.
    """
    kinds = sorted({str(pydicom.dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID) for path in files})
    sent: list[Sent] = []
    with _association(destination, kinds) as association:
        for path in files:
            sent.append(Sent(path=path, status=_store(association, path, destination, len(sent), len(files))))
            progress(sent[-1])
    return sent


def _store(association: Association, path: Path, destination: Destination, n_before: int, n_files: int) -> int:
    """The archive's answer to one file, if it has taken it."""
    association.dimse_timeout = ANSWER_S + path.stat().st_size / LEAST_BYTES_A_SECOND
    try:
        answer = association.send_c_store(pydicom.dcmread(path)) if association.is_established else None
    except RuntimeError:  # what pynetdicom raises where the association has ended meanwhile
        answer = None
    if not answer or "Status" not in answer:
        raise PacsUnreachable(
            f"{destination} broke off or gave no answer, having taken {n_before} of {n_files} files; send them again"
        )
    status = int(answer.Status)
    if status in (0, DUPLICATE) or status in WARNINGS:
        return status
    comment = f" ({answer.ErrorComment})" if answer.get("ErrorComment") else ""
    # Archives say that processing failed of faults that pass, too (PS3.7, annex C).
    refusal = PacsBusy if status in OUT_OF_RESOURCES or status == PROCESSING_FAILED else PacsRefused
    raise refusal(
        f"{destination} refuses {path.name} with status {status:#06x}{comment}, having taken {n_before} of {n_files} "
        "files; its log says why"
    )


@contextmanager
def _association(destination: Destination, kinds: Sequence[str]) -> Iterator[Association]:
    caller = ApplicationEntity(ae_title=destination.calling)
    caller.connection_timeout = CONNECT_S
    caller.acse_timeout = caller.dimse_timeout = ANSWER_S
    # An association is idle while a large file is made ready for it; an answer has a limit of its own.
    caller.network_timeout = None
    for kind in kinds:
        caller.add_requested_context(kind, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    encrypted: dict[str, Any] = {"tls_args": (destination.tls, destination.host)} if destination.tls else {}
    try:
        association = caller.associate(destination.host, destination.port, ae_title=destination.title, **encrypted)
    except OSError as error:  # a name that nobody knows
        raise PacsUnreachable(
            f"there is no connection to {destination} ({error.strerror or error}); is its name right?"
        ) from None
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = answer.reason_str if answer else "no reason"
        if answer and answer.result == REJECTED_FOR_NOW:
            raise PacsBusy(f"{destination} takes no association at the moment ({reason}); try again later")
        raise PacsClosed(
            f"{destination} refuses to be called by {destination.calling} ({reason}); the AE titles of both have to be "
            "known there: see --to and --calling"
        )
    # Where it takes none of them at all, pynetdicom ends the association itself.
    if refused := [UID(str(context.abstract_syntax)).name for context in association.rejected_contexts]:
        association.abort()
        raise PacsClosed(
            f"{destination} doesn't take {' and '.join(refused)}; have it allowed there, or send single images "
            "(`raki reconstruct --dicom` writes them, `raki send --single` sends them)"
        )
    if not association.is_established:
        raise PacsUnreachable(
            f"there is no connection to {destination}; is it running, is the port right, does a firewall stand "
            f"between, and does it want {'no ' if destination.tls else ''}TLS?"
        )
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    association.release()
