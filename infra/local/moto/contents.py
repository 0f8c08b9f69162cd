"""Where S3's objects lie: in files of the work folder. moto joins the parts of an object in memory, several times over.

A temporary folder is often memory itself, so none is used. The files have no names: whatever ends the process, nothing
is left of them. All parts of an upload are written to one file, one after the other as they come, and stay there: the
object is a list of places in it, and a process can't have as many files open as an upload may have parts.
"""

import base64
import hashlib
import io
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryFile
from types import SimpleNamespace
from typing import Any, NamedTuple

from awscrt import checksums

from infra.local.moto.parts import Replacement, find
from infra.local.moto.state import Model

PIECE_BYTES = 256 << 10
Checksum = tuple[str, str, int] | None


class Place(NamedTuple):
    """Some bytes of a file."""

    first: int
    n_bytes: int


class Content(io.RawIOBase):
    """An object, or a part of one, as the bytes of a file that stand at some places of it, in this order.

    Args:
        file: a descriptor, of which a copy is kept: it stays good when whoever owns it closes it.
    """

    def __init__(self, file: int, places: Sequence[Place]) -> None:
        super().__init__()
        self.places = list(places)
        self.n_bytes = sum(place.n_bytes for place in places)
        self._file = os.dup(file)
        self._at = 0

    def copy(self) -> "Content":
        """Another one, which stays good when this one is closed."""
        return Content(self._file, self.places)

    def at(self, first: int, n_bytes: int) -> bytes:
        """Up to `n_bytes` bytes from the one at `first` on, and at least one of them where there is any."""
        for place in self.places:
            if first < place.n_bytes:
                return os.pread(self._file, min(n_bytes, place.n_bytes - first), place.first + first)
            first -= place.n_bytes
        return b""

    def fileno(self) -> int:
        """The file, which holds other bytes too."""
        return self._file

    def readable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Counted from the beginning; nobody asks for it otherwise."""
        assert whence == os.SEEK_SET
        self._at = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer`, at least in part; 0 at the end."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def read(self, size: int = -1) -> bytes:
        """All that is left, or up to `size` bytes. Whoever asks for many has no room made for them first."""
        if size < 0:
            return self.readall()
        piece = self.at(self._at, min(size, PIECE_BYTES))
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Lets go of the file, which ends with its last holder."""
        if not self.closed:
            os.close(self._file)
        super().close()


class Upload:
    """The file that the parts of one upload are written to."""

    def __init__(self, folder: Path) -> None:
        with TemporaryFile(dir=folder) as file:
            self._whole = Content(file.fileno(), [])
        self._lock = threading.Lock()
        self._n_bytes = 0

    def add(self, pieces: Iterable[bytes], n_bytes: int) -> Content:
        """Writes a part of `n_bytes` bytes behind all others."""
        with self._lock:
            place = Place(self._n_bytes, n_bytes)
            self._n_bytes += n_bytes
        at = place.first
        for piece in pieces:
            rest = memoryview(piece)
            while rest:  # the system stops at 2 GiB by itself, and a part may have 5
                n_written = os.pwrite(self._whole.fileno(), rest, at)
                at, rest = at + n_written, rest[n_written:]
        return Content(self._whole.fileno(), [place])


def replacements(folder: Path, received: Callable[[], Content | None]) -> list[Replacement]:
    """What of moto's S3 is replaced.

    Args:
        folder: holds the objects' files; made where it is missing.
        received: the part that the request of this thread brought, where it is in the upload's file already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        ("moto.s3.models:FakeKey.__init__", lambda original: _in_files_of(folder, original)),
        ("moto.s3.models:FakeMultipart.complete", _joined_in_place),
        ("moto.s3.models:FakeMultipart.__init__", lambda original: _with_a_file(folder, original)),
        ("moto.s3.models:FakeMultipart.set_part", lambda original: _into_that_file(received, original)),
    ]


def open_content(key: Model) -> Content:
    """An object's content for reading; it stays good when the object is replaced or deleted."""
    with key.lock:
        if isinstance(key._value_buffer, Content):
            return key._value_buffer.copy()
        key._value_buffer.rollover()
        key._value_buffer.flush()
        return Content(key._value_buffer.fileno(), [Place(0, key.contentsize)])


def _in_files_of(folder: Path, original: Callable[..., None]) -> Callable[..., None]:
    """moto has no setting for the folder, and takes no content that isn't in memory."""

    def create(key: Model, name: str, value: bytes | Content, *args: Any, **kwargs: Any) -> None:
        original(key, name, b"", *args, **kwargs)
        key._value_buffer.close()
        if isinstance(value, Content):
            key._value_buffer, key.contentsize = value, value.n_bytes
        else:
            key._value_buffer = SpooledTemporaryFile(key._max_buffer_size, dir=str(folder))  # noqa: SIM115 - moto closes it
            key.value = value

    return create


def without_content(key: Model, _memo: object) -> Model:
    """A copy for a listing of versions, for which moto copies all of their contents as well."""
    described = key.__class__.__new__(key.__class__)
    described.__dict__.update(key.__dict__, _value_buffer=io.BytesIO(), disposed=True, multipart=None)
    return described


def _with_a_file(folder: Path, original: Callable[..., None]) -> Callable[..., None]:
    """moto has a file for each part."""

    def create(multipart: Model, *args: Any, **kwargs: Any) -> None:
        original(multipart, *args, **kwargs)
        multipart.upload = Upload(folder)

    return create


def _into_that_file(received: Callable[[], Content | None], original: Callable[..., Model]) -> Callable[..., Model]:
    """moto takes no part that isn't in memory."""

    def set_part(multipart: Model, number: int, value: bytes) -> Model:
        part = received()
        return original(multipart, number, multipart.upload.add([value], len(value)) if part is None else part)

    return set_part


def _joined_in_place(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto holds five copies of the object in memory meanwhile, and the parts beside it for as long as it lives.

    Which parts there have to be, how large and by which ETags, and what the object's own ETag is, stays moto's to say:
    it is asked with parts that have no content.
    """

    def complete(multipart: Model, body: Iterable[tuple[int, str]]) -> tuple[Content, str, Checksum]:
        listed = list(body)
        hollow = {
            number: SimpleNamespace(etag=part.etag, contentsize=part.contentsize, value=b"")
            for number, part in multipart.parts.items()
        }
        _, etag, _ = original(SimpleNamespace(metadata=multipart.metadata, parts=hollow), iter(listed))
        parts = [multipart.parts[number] for number, _ in listed]
        places = [place for part in parts for place in part._value_buffer.places]
        content = Content(parts[0]._value_buffer.fileno(), places)
        return content, etag, _checksum(multipart, parts, content)

    return complete


def _checksum(multipart: Model, parts: Sequence[Model], content: Content) -> Checksum:
    """None where the client named no algorithm: S3 then takes one of its own, which no client of ours looks at."""
    algorithm = multipart.metadata.get("x-amz-checksum-algorithm")
    if algorithm is None:
        return None
    compute = find("moto.s3.models:compute_checksum")
    builder = find("moto.s3.models:MultipartChecksumBuilder")(algorithm, multipart.metadata.get("x-amz-checksum-type"))
    if builder.checksum_type == "COMPOSITE":
        digests = b"".join(digest(algorithm, part._value_buffer) for part in parts)
        return builder.checksum_type, compute(digests, algorithm).decode(), len(parts)
    return builder.checksum_type, base64.b64encode(digest(algorithm, content)).decode(), 1


def digest(algorithm: str, content: Content) -> bytes:
    """moto computes it too, of what it has in memory."""
    content.seek(0)
    pieces = iter(lambda: content.read(PIECE_BYTES), b"")
    if algorithm == "CRC64NVME":
        return reduce(lambda crc, piece: checksums.crc64nvme(piece, crc), pieces, 0).to_bytes(8, "big")
    if algorithm == "CRC32":
        return reduce(lambda crc, piece: zlib.crc32(piece, crc), pieces, 0).to_bytes(4, "big")
    if algorithm in ("SHA1", "SHA256"):
        digest = hashlib.new(algorithm, usedforsecurity=False)
        for piece in pieces:
            digest.update(piece)
        return digest.digest()
    # Of libraries that may be missing, which moto replaces then; no client of ours asks for these.
    computed: bytes = find("moto.s3.models:compute_checksum")(b"".join(pieces), algorithm, encode_base64=False)
    return computed
