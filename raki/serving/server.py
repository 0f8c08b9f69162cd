"""The server: threads that each take a client, its lines, and send it its images; one scan is computed at a time.

A scan lies in a folder of its own, which is gone when its client is, whatever happens. What the lines mean is read in
the sandbox, as that of any raw file. Whoever can reach the port can use it: nobody is asked who they are.
"""

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from raki.errors import RakiError, TransientError
from raki.images import Reconstruction, reconstruct_as
from raki.memory import reconstruct_within
from raki.models.choosing import chosen_model
from raki.options import Chosen, Value, choose
from raki.prepare import prepare
from raki.sandbox import Readers
from raki.scan.prepared import open_prepared
from raki.serving.connection import ClientGone, Connection
from raki.serving.images import Pixels, image_messages, remarks_on
from raki.serving.spool import receive

LOG = logging.getLogger("raki.serve")

READING = ("raki.prepare", "raki.formats:formats")
"""What a process that reads files loads beforehand; see `raki.sandbox.Readers`."""
LOOK_S = 0.2
"""Between two looks whether the server is to end."""
MOST_WAITING = 16
"""Clients whose connection the kernel holds until a thread is free."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may take."""

    at_once: int = field(default_factory=lambda: min(os.cpu_count() or 1, 8))
    """Clients that are heard at a time; the next ones wait."""
    most_bytes: int = 20 * 10**9
    """Of one scan, on the disk."""
    patience_s: float = 60.0
    """For a whole message, either way."""


class Server:
    """Listens from when it is made. `serve` works until `stop`.

    Args:
        port: 0 for any that is free; see `address`.
        options: what the operator sets of `raki.options`; a client's configuration may ask for something else.
        device: a torch device; found when left out.
        scratch: where scans lie while they are worked on; by default the folder for temporary files.

    Raises:
        OSError: it can't listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: Limits,
        options: Mapping[str, Value],
        pixels: Pixels = Pixels.UINT16,
        device: str | None = None,
        scratch: Path | None = None,
    ) -> None:
        self._limits, self._options, self._pixels, self._scratch = limits, options, pixels, scratch
        self._reconstruct: Callable[..., Reconstruction] = partial(reconstruct_as, device=device)
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        self._listener = socket.create_server((host, port), family=family, backlog=MOST_WAITING)
        self._listener.settimeout(LOOK_S)
        self._stopping = threading.Event()
        self._computing = threading.Lock()
        self._open = set[Connection]()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        host, port, *_ = self._listener.getsockname()
        return host, port

    def end_on_signals(self) -> None:
        """Has Ctrl-C and SIGTERM end it. Only the main thread can ask for that."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stop())

    def serve(self) -> None:
        """Returns after `stop`, when every client's folder is gone."""
        with TemporaryDirectory(prefix="raki-serve-", dir=self._scratch) as folder, self._listener:
            threads = [threading.Thread(target=self._work, args=[Path(folder)]) for _ in range(self._limits.at_once)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def stop(self) -> None:
        """Ends the server and all connections, from any thread or signal handler. A slice that is computed goes on."""
        self._stopping.set()
        for connection in tuple(self._open):
            connection.close()

    def _work(self, folder: Path) -> None:
        """Takes one client after another. The readers are this thread's: they would end with another one."""
        with Readers(READING) as readers:
            while not self._stopping.is_set():
                with suppress(TimeoutError, OSError):
                    peer, _ = self._listener.accept()
                    self._attend(Connection(peer, patience_s=self._limits.patience_s), readers, folder)

    def _attend(self, connection: Connection, readers: Readers, folder: Path) -> None:
        """A client from its first byte to the closing message, whatever it sends."""
        scan_id, began_s, refused = secrets.token_hex(8), monotonic(), True
        self._open.add(connection)
        if self._stopping.is_set():  # which had not seen this one
            connection.close()
        try:
            with TemporaryDirectory(dir=folder) as own:
                self._answer(connection, readers, Path(own), scan_id)
            refused = False
        except ClientGone:
            LOG.warning("client gone", extra={"scan_id": scan_id})
        except RakiError as error:
            why = {"class": error.failure_class, "seconds": round(monotonic() - began_s, 3)}
            LOG.warning("refused", extra={"scan_id": scan_id, **why})
            with suppress(ClientGone):
                connection.say(error.sentence)
        except Exception:  # one client's defect is no other's
            LOG.exception("a defect", extra={"scan_id": scan_id})
            with suppress(ClientGone):
                connection.say("The scan met an error of raki's own, which was logged for its developers.")
        finally:
            connection.finish(refused=refused)
            self._open.discard(connection)

    def _answer(self, connection: Connection, readers: Readers, folder: Path, scan_id: str) -> None:
        spool, prepared = folder / "scan.mrd", folder / "prepared"
        received = receive(connection, spool, most_bytes=self._limits.most_bytes)
        if received is None:
            return
        began_s = monotonic()
        counts = {"n_acquisitions": received.n_acquisitions, "n_bytes": received.n_bytes}
        LOG.info("received", extra={"scan_id": scan_id, **counts})
        chosen = choose({"server": self._options, **received.options})
        prepare([spool], prepared, within=readers.contained)
        spool.unlink()
        result = self._images(prepared, chosen)
        for remark in (*received.remarks, *remarks_on(result)):
            connection.say(remark)
        for n_sent, message in enumerate(image_messages(result, self._pixels)):
            connection.send(message)
            if n_sent == 0:
                LOG.info("first image", extra={"scan_id": scan_id, "seconds": round(monotonic() - began_s, 3)})
        LOG.info("sent", extra={"scan_id": scan_id, "n_images": len(result.result), "method": result.method})

    def _images(self, prepared: Path, chosen: Chosen) -> Reconstruction:
        """One scan at a time has the processor or the GPU, and the memory: their slices keep all cores at work."""
        while not self._computing.acquire(timeout=LOOK_S):
            self._require_going(None, 0.0)
        try:
            with open_prepared(prepared) as scan:
                brought = chosen_model(chosen, scan)
                return reconstruct_within(
                    brought.chosen, scan, self._require_going, self._reconstruct, model=brought.model
                )
        finally:
            self._computing.release()

    def _require_going(self, _stage: str | None, _fraction: float) -> None:
        if self._stopping.is_set():
            raise TransientError("the server was ended; send the scan again when it is back")
