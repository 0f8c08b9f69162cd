"""GetObject from the file that holds the object, piece by piece; moto holds the whole body in memory for each read."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from infra.local.moto import state
from infra.local.moto.contents import PIECE_BYTES, Content, open_content

# Below this, moto's own answer is fast enough.
STREAMED_FROM_BYTES = 4 << 20
_ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
_UNDERSTOOD = {"x-id", "versionId"}
_CHECKSUM_HEADERS = "x-amz-checksum-"

Headers = list[tuple[str, str]]


def stream_object(
    moto: Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]],
    environ: dict[str, Any],
    start_response: Callable[..., Any],
) -> Iterator[bytes] | None:
    """Answers a GetObject of a large object, or returns None where moto is to answer.

    Headers, conditions and errors are moto's: it is asked for the object's HEAD, which reads no content. Only one
    simple byte range is understood; whatever is rarer is left to moto as well.
    """
    if not _is_plain_get(environ):
        return None
    status, headers = _head(moto, environ)
    n_bytes = int(_header(headers, "content-length") or 0)
    if not status.startswith("200") or n_bytes < STREAMED_FROM_BYTES:
        return None
    if (_header(headers, "x-amz-storage-class") or "") in _ARCHIVED:
        return None
    byte_range = _byte_range(environ.get("HTTP_RANGE"), n_bytes)
    found = _stored(environ)
    if byte_range is None or found is None:
        return None
    first, last = byte_range
    changed = {"Content-Length": str(last - first + 1)}
    if environ.get("HTTP_RANGE"):
        # The object's checksum is not that of a range.
        headers = [(name, value) for name, value in headers if not name.lower().startswith(_CHECKSUM_HEADERS)]
        changed |= {"Content-Range": f"bytes {first}-{last}/{n_bytes}"}
    elif environ.get("HTTP_X_AMZ_CHECKSUM_MODE") == "ENABLED":
        changed |= _checksum(found)
    replaced = {name.lower() for name in changed}
    kept = [(name, value) for name, value in headers if name.lower() not in replaced]
    start_response("206 Partial Content" if environ.get("HTTP_RANGE") else "200 OK", [*kept, *changed.items()])
    return _pieces(open_content(found), first, last)


def _is_plain_get(environ: dict[str, Any]) -> bool:
    signed_for_s3 = "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", "")
    understood = set(parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)) <= _UNDERSTOOD
    return environ["REQUEST_METHOD"] == "GET" and signed_for_s3 and understood and _bucket_and_key(environ)[1] != ""


def _bucket_and_key(environ: dict[str, Any]) -> tuple[str, str]:
    # WSGI hands bytes of UTF-8 over as Latin-1 characters.
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8")
    bucket, _, key = path.lstrip("/").partition("/")
    return bucket, key


def _head(moto: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> tuple[str, Headers]:
    answer: list[Any] = []

    def keep(status: str, headers: Headers, _error: object = None) -> Callable[[bytes], None]:
        answer[:] = [status, headers]
        return lambda _data: None

    request = {name: value for name, value in environ.items() if name != "HTTP_RANGE"}
    body = moto(request | {"REQUEST_METHOD": "HEAD"}, keep)
    for _ in body:
        pass
    if hasattr(body, "close"):
        body.close()
    return answer[0], answer[1]


def _header(headers: Headers, wanted: str) -> str | None:
    return next((value for name, value in headers if name.lower() == wanted), None)


def _byte_range(header: str | None, n_bytes: int) -> tuple[int, int] | None:
    """First and last byte that are asked for; None for a range that isn't of the plain kind, or empty."""
    if header is None:
        return 0, n_bytes - 1
    plain = re.fullmatch(r"bytes=(\d+)-(\d*)", header)
    if not plain:
        return None
    first, last = int(plain[1]), min(int(plain[2] or n_bytes - 1), n_bytes - 1)
    return (first, last) if first <= last else None


def _stored(environ: dict[str, Any]) -> state.Model:
    """The object that is asked for, or None."""
    version = parse_qs(environ.get("QUERY_STRING", "")).get("versionId")
    return state.stored_object(*_bucket_and_key(environ), version[0] if version else None)


def _checksum(found: state.Model) -> dict[str, str]:
    """The object's checksum as S3 states it; moto's HEAD leaves out that it is one of the parts' checksums.

    A checksum of checksums ends in the number of parts, and a client doesn't hold the content against it (Amazon S3
    user guide, "Checking object integrity": composite checksums).
    """
    if not found.checksum_algorithm:
        return {}
    parts = f"-{found.checksum_parts}" if found.checksum_type == "COMPOSITE" else ""
    stated = {_CHECKSUM_HEADERS + found.checksum_algorithm.lower(): f"{found.checksum_value}{parts}"}
    return stated | ({f"{_CHECKSUM_HEADERS}type": found.checksum_type} if found.checksum_type else {})


def _pieces(content: Content, first: int, last: int) -> Iterator[bytes]:
    with content:
        while first <= last:
            piece = content.at(first, min(PIECE_BYTES, last - first + 1))
            if not piece:
                return
            first += len(piece)
            yield piece
