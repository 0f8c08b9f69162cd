"""UploadPart straight into the upload's file, piece by piece; moto holds each part in memory, more than once."""

import base64
import hashlib
import io
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from infra.local.moto import state
from infra.local.moto.contents import PIECE_BYTES, Content, Upload

_CHECKSUM_HEADER = "HTTP_X_AMZ_CHECKSUM_"
Environ = dict[str, Any]


class WrongChecksum(Exception):
    """What came isn't what was sent; the message says by which checksum."""

    def to_xml(self) -> bytes:
        """The body of S3's answer. Amazon S3 API reference, "Error responses": BadDigest."""
        return f"<?xml version='1.0'?><Error><Code>BadDigest</Code><Message>{self}</Message></Error>".encode()


class Parts:
    """Takes the bodies of parts from requests, and hands them to moto's model of the upload."""

    def __init__(self) -> None:
        self._in_hand = threading.local()

    @contextmanager
    def received(self, environ: Environ) -> Iterator[Environ]:
        """The request that moto is to answer: without its body, where it is a part that is stored already.

        Whatever is rarer than a plain body of known length is left to moto.

        Raises:
            WrongChecksum: the body isn't what its checksum stands for.
            ConnectionError: the client left in the middle of it.
        """
        upload = _upload_of(environ)
        if upload is None:
            yield environ
            return
        self._in_hand.part = _store(environ, upload)
        try:
            yield environ | {"CONTENT_LENGTH": "0", "wsgi.input": io.BytesIO()}
        finally:
            self._in_hand.part = None

    def take(self) -> Content | None:
        """The part of the request that this thread answers."""
        part: Content | None = getattr(self._in_hand, "part", None)
        return part


def _upload_of(environ: Environ) -> Upload | None:
    if environ["REQUEST_METHOD"] != "PUT" or "HTTP_X_AMZ_COPY_SOURCE" in environ or not environ.get("CONTENT_LENGTH"):
        return None
    if environ.get("HTTP_X_AMZ_CONTENT_SHA256", "").startswith("STREAMING-") or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    query = parse_qs(environ.get("QUERY_STRING", ""))
    if not {"partNumber", "uploadId"} <= set(query):
        return None
    return state.upload(environ["PATH_INFO"].lstrip("/").partition("/")[0], query["uploadId"][0])


def _store(environ: Environ, upload: Upload) -> Content:
    n_bytes = int(environ["CONTENT_LENGTH"])
    sums = _Sums(environ)

    def pieces() -> Iterator[bytes]:
        left = n_bytes
        while left:
            piece = environ["wsgi.input"].read(min(PIECE_BYTES, left))
            if not piece:
                raise ConnectionError(f"the client left with {left} of a part's {n_bytes} bytes unsent")
            left -= len(piece)
            sums.add(piece)
            yield piece

    content = upload.add(pieces(), n_bytes)
    sums.check()
    return content


class _Sums:
    """The checksums that a request names, counted along; those that this Python doesn't know are believed."""

    def __init__(self, environ: Environ) -> None:
        self._stated = {
            name.removeprefix(_CHECKSUM_HEADER): value
            for name, value in environ.items()
            if name.startswith(_CHECKSUM_HEADER)
        }
        self._hashes = {name: hashlib.new(name) for name in self._stated if name in ("SHA1", "SHA256")}
        self._crc = 0

    def add(self, piece: bytes) -> None:
        for digest in self._hashes.values():
            digest.update(piece)
        if "CRC32" in self._stated:
            self._crc = zlib.crc32(piece, self._crc)

    def check(self) -> None:
        found = {name: digest.digest() for name, digest in self._hashes.items()} | {
            "CRC32": self._crc.to_bytes(4, "big")
        }
        for name in found.keys() & self._stated.keys():
            computed = base64.b64encode(found[name]).decode()
            if computed != self._stated[name]:
                raise WrongChecksum(f"the {name} of what came is {computed}, and {self._stated[name]} was announced")
