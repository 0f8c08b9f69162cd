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
from queue import Full, Queue
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import MaximumLengthNotification

from raki.destination import Destination
from raki.errors import RakiError, TooLarge, TransientError

CONNECT_S, ANSWER_S = 10.0, 60.0
"""How long a connection may take, and an answer on it: an archive writes a file to its disk before it answers."""
LEAST_BYTES_A_SECOND = 250_000
"""The time for an answer begins when a file is queued, not when it has left: each has as much more as it takes then."""
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""How a file may be encoded on its way, in the order of preference: raki writes the first, which then goes as it is."""
COPIES_TO_ENCODE = 3
"""How many times a file is held in memory at once that has to be encoded anew: as read, as written, as handed on."""
LARGEST_PART = 128 << 10
"""Bytes of a file that are handed on in one piece, where an archive takes larger ones or doesn't say how large."""
PARTS_AHEAD = 32
"""How many may wait for the network."""
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
    files: Sequence[Path],
    destination: Destination,
    *,
    progress: Callable[[Sent], None] = lambda _sent: None,
    memory_bytes: int | None = None,
) -> list[Sent]:
    """Sends DICOM files one after another on one association.

    Nothing is taken back where it ends early: send all of them again, and those that arrived are known by their UIDs.
    A file goes from the disk to the network piece by piece, whatever its size, unless the archive takes another
    encoding alone.

    Args:
        files: as raki wrote them; at least one.
        progress: is told of each file that the archive has.
        memory_bytes: what there is for a file that has to be encoded anew; None: nobody has reckoned.

    Raises:
        PacsUnreachable: no connection, no answer in time, or one that broke off.
        PacsBusy: it has no room for an image, or takes no association at the moment.
        PacsRefused: the archive refuses an image; the sentence has its answer.
        PacsClosed: it refuses us, or a kind of image.
        TooLarge: the archive takes another encoding alone, and a file is too large to be brought into it; none is sent.
    """
    metas = {path: read_file_meta_info(path) for path in files}
    kinds = sorted({str(meta.MediaStorageSOPClassUID) for meta in metas.values()})
    sent: list[Sent] = []
    with _association(destination, kinds) as association:
        as_they_are = {path for path, meta in metas.items() if _takes(association, meta)}
        for path in files:
            if path not in as_they_are:
                _require_memory(path, destination, memory_bytes)
        for path in files:
            status = _store(association, path, destination, len(sent), len(files), as_it_is=path in as_they_are)
            sent.append(Sent(path=path, status=status))
            progress(sent[-1])
    return sent


def _takes(association: Association, meta: Dataset) -> bool:
    """Whether the archive takes a file as it is encoded."""
    wanted = (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    return any(
        (context.abstract_syntax, context.transfer_syntax[0]) == wanted for context in association.accepted_contexts
    )


def _require_memory(path: Path, destination: Destination, memory_bytes: int | None) -> None:
    needed = COPIES_TO_ENCODE * path.stat().st_size
    if memory_bytes is not None and needed > memory_bytes:
        raise TooLarge(
            f"{destination} takes no Explicit VR Little Endian, and to encode {path.name} in another way takes "
            f"{needed >> 20} MiB of memory, of which there are {memory_bytes >> 20}; have it take Explicit VR Little "
            "Endian, with which a file may have any size"
        )


def _store(
    association: Association, path: Path, destination: Destination, n_before: int, n_files: int, *, as_it_is: bool
) -> int:
    """The archive's answer to one file, if it has taken it."""
    association.dimse_timeout = ANSWER_S + path.stat().st_size / LEAST_BYTES_A_SECOND
    try:
        answer = _ask(association, path, as_it_is=as_it_is) if association.is_established else None
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


def _ask(association: Association, path: Path, *, as_it_is: bool) -> Dataset:
    if not as_it_is:
        return association.send_c_store(pydicom.dcmread(path))
    # A setting of the whole library, which nobody else shall find changed.
    before, _config.STORE_SEND_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET, True
    try:
        return association.send_c_store(path)
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = before


class _Ahead(Queue[Any]):
    """What waits for the network, a few parts of a file at most.

    pynetdicom's own queue takes all of a file as fast as the disk yields it, however slow the archive. What is put here
    waits for its turn, and is dropped where the connection is lost.
    """

    def __init__(self, provider: DULServiceProvider) -> None:
        super().__init__(maxsize=PARTS_AHEAD)
        self._provider = provider

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: ARG002
        while self._provider.is_alive() and self._provider.state_machine.current_state != "Sta1":  # which is: idle
            try:
                super().put(item, timeout=0.1)
            except Full:
                continue
            return


def _hold_little(association: Association) -> None:
    """Sees to it that of a file little is in memory, and that an archive which reads no further is given up.

    Without a limit of the socket's own its thread would wait for ever, and so would who ends the association.
    """
    provider = association.dul
    provider.to_provider_queue = _Ahead(provider)
    if provider.socket and provider.socket.socket:
        provider.socket.socket.settimeout(ANSWER_S)
    for item in association.acceptor.user_information:
        if isinstance(item, MaximumLengthNotification):
            # 0 is: of any length (PS3.8, D.1).
            item.maximum_length_received = min(item.maximum_length_received or LARGEST_PART, LARGEST_PART)


@contextmanager
def _association(destination: Destination, kinds: Sequence[str]) -> Iterator[Association]:
    caller = ApplicationEntity(ae_title=destination.calling)
    caller.connection_timeout = CONNECT_S
    caller.acse_timeout = caller.dimse_timeout = ANSWER_S
    # An association is idle while a large file is made ready for it; an answer has a limit of its own.
    caller.network_timeout = None
    for kind in kinds:
        for syntax in SYNTAXES:  # by themselves, or the archive would choose one of them for us
            caller.add_requested_context(kind, syntax)
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
    taken = {context.abstract_syntax for context in association.accepted_contexts}
    if refused := [UID(kind).name for kind in kinds if association.rejected_contexts and kind not in taken]:
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
    _hold_little(association)
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    association.release()
