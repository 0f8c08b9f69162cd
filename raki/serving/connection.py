"""One client's connection: bytes in, as many as are asked for and in time; whole messages out."""

import socket
import struct
import time
from contextlib import suppress

from raki.errors import TransientError
from raki.formats.ismrmrd.messages import MessageKind, text_message

BLOCK_BYTES = 1 << 18
LINGER_S = 5.0
"""How long bytes of a client are thrown away that hasn't noticed yet that it was refused."""


class ClientGone(TransientError):
    """Nobody is there any more to be told anything."""


class Connection:
    """What `raki.formats.ismrmrd.messages.ByteSource` is, on a socket, which it closes at the end.

    Args:
        patience_s: the time for a whole message, in seconds, in either direction: a byte now and then is not enough.
    """

    def __init__(self, peer: socket.socket, *, patience_s: float) -> None:
        self._socket, self._patience_s = peer, patience_s
        self._ahead = memoryview(b"")
        self._n_read = 0
        self.begin_message()

    def begin_message(self) -> None:
        """From now on the time for a message runs."""
        self._deadline_s = time.monotonic() + self._patience_s

    def read(self, n_bytes: int, /) -> bytes:
        """So many bytes, fewer only where the client has ended the stream. Memory is taken as they come.

        Raises:
            TransientError: they didn't come in time.
        """
        taken = bytearray()
        while len(taken) < n_bytes:
            if not self._ahead and not self._receive():
                break
            part = self._ahead[: n_bytes - len(taken)]
            self._ahead = self._ahead[len(part) :]
            taken += part
        self._n_read += len(taken)
        return bytes(taken)

    def peek(self) -> bool:
        """Waits for the first byte, and says whether there is one. Raises as `read`."""
        return bool(self._ahead) or self._receive()

    def tell(self) -> int:
        """How many bytes were read so far."""
        return self._n_read

    def _receive(self) -> bool:
        try:
            self._socket.settimeout(max(self._deadline_s - time.monotonic(), 1e-3))
            self._ahead = memoryview(self._socket.recv(BLOCK_BYTES))
        except TimeoutError:
            raise TransientError(
                f"no whole message came from the client for {self._patience_s:g} s, after {self._n_read} bytes; it has "
                "to send its lines and its closing message without such a pause: send the scan again"
            ) from None
        except OSError:  # reset by the client, or closed by the server that ends
            return False
        return bool(self._ahead)

    def send(self, message: bytes) -> None:
        """Sends a whole message.

        Raises:
            ClientGone: the client doesn't take it in time, or is gone.
        """
        try:
            self._socket.settimeout(self._patience_s)
            self._socket.sendall(message)
        except OSError:
            raise ClientGone("the client took no answer; nobody is told") from None

    def say(self, sentence: str) -> None:
        """Sends a text. Raises as `send`."""
        self.send(text_message(MessageKind.TEXT, sentence))

    def finish(self, *, refused: bool) -> None:
        """Sends the closing message and closes; one that was refused has a little time to notice. Never raises."""
        with suppress(ClientGone, OSError):
            self.send(struct.pack("<H", MessageKind.CLOSE))
            self._socket.shutdown(socket.SHUT_WR)
            ends_s = time.monotonic() + (LINGER_S if refused else 0.0)
            # Bytes that were never read would make of the end a reset, which can overtake what was said.
            while (left_s := ends_s - time.monotonic()) > 0:
                self._socket.settimeout(left_s)
                if not self._socket.recv(BLOCK_BYTES):
                    break
        self.close()

    def close(self) -> None:
        """Ends it at once, from any thread: whoever reads finds the end of the stream. Never raises."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
