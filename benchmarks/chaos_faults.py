"""What goes wrong around the service: its requests, its processes, its messages. Everything by one seeded generator."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from infra.local.server.server import Router

APP = "local-cloud"
"""How this process calls itself in its requests: what the local cloud asks of itself is never disturbed."""
MODULES = ("containers.decompress", "containers.reconstruct")
SLOW_S = 1.5
HANG_S = 4.0
REQUEST_KINDS = ("server error", "throttled", "answer lost", "connection reset", "half a body", "slow")
SIGNAL_KINDS = ("SIGTERM", "SIGKILL", "hang")

Environ = dict[str, Any]


class FaultyRequests:
    """A layer in front of the local cloud that spoils requests of workers, jobs and Lambdas while it is armed."""

    def __init__(self, seed: int, share: float) -> None:
        self._random = Random(seed)
        self._lock = threading.Lock()
        self._share = share
        self.counts: Counter[str] = Counter()
        self.left = 0
        """How many are still to be spoilt; none while it is 0."""
        self.gone = ""
        """A service that doesn't answer at all, by its name; a refresh is "refresh"."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Every local cloud that starts within has the layer."""
        original = Router.__call__

        def spoilt(router: Router, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
            return self._answer(lambda: original(router, environ, start), environ, start)

        Router.__call__ = spoilt  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            Router.__call__ = original  # type: ignore[method-assign]

    def _answer(
        self, passed_on: Callable[[], Iterable[bytes]], environ: Environ, start: Callable[..., Any]
    ) -> Iterable[bytes]:
        if f"app/{APP}" in environ.get("HTTP_USER_AGENT", "") or "HTTP_AUTHORIZATION" not in environ:
            return passed_on()
        service = environ["HTTP_AUTHORIZATION"].split("/")[3]
        if self.gone and self.gone in (service, _refresh(environ)):
            self._count(f"{self.gone} gone")
            return _refused(environ, start, service, throttled=False)
        match self._drawn():
            case "server error" | "throttled" as kind:
                answer = _refused(environ, start, service, throttled=kind == "throttled")
            case "connection reset":
                answer = _cut(environ, [])
            case "answer lost":
                answer = _cut(environ, passed_on())
            case "half a body":
                answer = _half(environ, passed_on())
            case "slow":
                time.sleep(SLOW_S)
                answer = passed_on()
            case _:
                answer = passed_on()
        return answer

    def _drawn(self) -> str:
        with self._lock:
            if self.left <= 0 or self._random.random() >= self._share:
                return ""
            self.left -= 1
            kind = self._random.choice(REQUEST_KINDS)
            self.counts[kind] += 1
            return kind

    def _count(self, kind: str) -> None:
        with self._lock:
            self.counts[kind] += 1


def _refresh(environ: Environ) -> str:
    return "refresh" if environ.get("HTTP_X_AMZ_TARGET", "").endswith(".RefreshCache") else ""


def _refused(environ: Environ, start: Callable[..., Any], service: str, *, throttled: bool) -> Iterable[bytes]:
    """As the services say it: S3 in XML, the others in JSON. Amazon S3 API Reference, "Error responses"."""
    if _refresh(environ):
        body = b'{"__type": "InvalidGatewayRequestException", "message": "busy", "error": {"errorCode": "Busy"}}'
        start("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))])
        return [body]
    if service == "s3":
        code = "SlowDown" if throttled else "InternalError"
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>by chaos</Message></Error>".encode()
        kind = "application/xml"
    else:
        code = "ThrottlingException" if throttled else "InternalFailure"
        body, kind = f'{{"__type": "{code}", "message": "by chaos"}}'.encode(), "application/x-amz-json-1.0"
    status = "400 Bad Request" if throttled and service != "s3" else "503 Service Unavailable"
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _cut(environ: Environ, answer: Iterable[bytes]) -> Iterator[bytes]:
    """Nothing reaches the caller; what was asked may have been done."""
    for _ in answer:
        pass
    _hang_up(environ)
    yield b""


def _half(environ: Environ, answer: Iterable[bytes]) -> Iterator[bytes]:
    body = b"".join(answer)
    yield body[: len(body) // 2]
    _hang_up(environ)


def _hang_up(environ: Environ) -> None:
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


class Signals:
    """Ends, kills and stops workers and jobs of one local cloud."""

    def __init__(self, seed: int, endpoint: str) -> None:
        self._random = Random(seed)
        self._endpoint = endpoint
        self.counts: Counter[str] = Counter()

    def strike(self) -> None:
        """One of them, if there is any."""
        found = sorted(processes(self._endpoint))
        if not found:
            return
        pid, kind = self._random.choice(found), self._random.choice(SIGNAL_KINDS)
        self.counts[kind] += 1
        with contextlib.suppress(ProcessLookupError):
            if kind == "hang":
                os.kill(pid, signal.SIGSTOP)
                threading.Timer(HANG_S, _resume, [pid]).start()
            else:
                os.kill(pid, signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)


def _resume(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def processes(endpoint: str) -> list[int]:
    """Ids of the workers and jobs that talk to this cloud."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().split(b"\0")
                if (
                    any(name.encode() in command for name in MODULES)
                    and endpoint.encode() in (folder / "environ").read_bytes().split(b"AWS_ENDPOINT_URL=")[-1]
                ):
                    found.append(int(folder.name))
    return found
