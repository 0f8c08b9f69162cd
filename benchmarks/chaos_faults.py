"""What goes wrong with the service's requests and processes, and a witness of everything that its ledger is told."""

import contextlib
import io
import json
import os
import signal
import socket
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.chaos_plan import Plan, Step
from infra.local.server.server import Router

APP = "chaos"
"""How this process calls itself in its requests: what it and the local cloud ask for is never disturbed."""
MODULES = (b"containers.decompress", b"containers.reconstruct")
SLOW_S = 1.5

Environ = dict[str, Any]
Start = Callable[..., Any]


class Requests:
    """A layer in front of the local cloud that spoils requests of workers, jobs and Lambdas, by and by."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writes = threading.Lock()
        self._planned: deque[tuple[int, str]] = deque()
        self._until_s: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self.history: defaultdict[str, list[str]] = defaultdict(list)
        """The states that each scan entered, by its id: what the ledger's table was made to hold, whoever logged it."""

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Every local cloud that starts within has the layer."""
        original = Router.__call__

        def spoilt(router: Router, environ: Environ, start_response: Start) -> Iterable[bytes]:
            passed_on = partial(self._witness, original, router, environ, start_response)
            return self._answer(passed_on, environ, start_response)

        with patch.object(Router, "__call__", spoilt):
            yield

    def spoil(self, plan: Plan) -> None:
        """From now on, as the plan says."""
        self._planned.extend(plan.requests)

    def calm(self) -> None:
        """No further faults."""
        with self._lock:
            self._planned.clear()
            self._until_s.clear()

    @property
    def n_left(self) -> int:
        """Requests that are still to be spoilt."""
        return len(self._planned)

    def refuse(self, what: str, seconds: float) -> None:
        """Lets a service, or "refresh", be away for a while."""
        with self._lock:
            self._until_s[what] = max(self._until_s.get(what, 0.0), time.monotonic() + seconds)

    def _witness(self, original: Callable[..., Any], router: Router, environ: Environ, start: Start) -> Iterable[bytes]:
        """Passes a request on, and notes the state if it has written one into the ledger."""
        operation = environ.get("HTTP_X_AMZ_TARGET", "").removeprefix("DynamoDB_20120810.")
        if operation not in ("PutItem", "UpdateItem"):
            answer: Iterable[bytes] = original(router, environ, start)
            return answer
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = io.BytesIO(body)
        said: list[str] = []

        def started(status: str, headers: Any, *rest: Any) -> Any:
            said.append(status)
            return start(status, headers, *rest)

        with self._writes:
            written = list(original(router, environ, started))
            scan_id, state = _written(json.loads(body))
            if said[0].startswith("200") and state and not scan_id.startswith("#"):
                self.history[scan_id].append(state)
        return written

    def _answer(self, passed_on: Callable[[], Iterable[bytes]], environ: Environ, start: Start) -> Iterable[bytes]:
        if f"app/{APP}" in environ.get("HTTP_USER_AGENT", "") or "HTTP_AUTHORIZATION" not in environ:
            return passed_on()
        service = environ["HTTP_AUTHORIZATION"].split("/")[3]
        kind = self._drawn(service, is_refresh=environ.get("HTTP_X_AMZ_TARGET", "").endswith(".RefreshCache"))
        refused = partial(_refused, start, service)
        answers: dict[str, Callable[[], Iterable[bytes]]] = {
            "": passed_on,
            "gone": refused,
            "server error": refused,
            "throttled": partial(refused, throttled=True),
            "connection reset": lambda: _cut(environ, refused()),
            "answer lost": lambda: _cut(environ, passed_on()),
            "half a body": lambda: _half(environ, passed_on()),
            "slow body": lambda: _slow(passed_on()),
        }
        return answers[kind]()

    def _drawn(self, service: str, *, is_refresh: bool) -> str:
        with self._lock:
            if time.monotonic() < max(self._until_s.get(service, 0), self._until_s.get("refresh", 0) * is_refresh):
                return "gone"
            if not self._planned:
                return ""
            gap, kind = self._planned.popleft()
            if gap > 0:
                self._planned.appendleft((gap - 1, kind))
                return ""
            self.counts[kind] += 1
            return kind


def _written(request: dict[str, Any]) -> tuple[str, str]:
    """The scan and the state in a request to write an item; without a state where none is written."""
    if "Item" in request:
        return request["Item"]["scan_id"]["S"], request["Item"].get("state", {}).get("S", "")
    state = request.get("ExpressionAttributeValues", {}).get(":set_state", {}).get("S", "")
    return request["Key"]["scan_id"]["S"], state


def _refused(start: Start, service: str, *, throttled: bool = False) -> Iterable[bytes]:
    """As the services say it: S3 in XML, the others in JSON. Amazon S3 API Reference, "Error responses"."""
    if service == "storagegateway":
        body = (
            b'{"__type": "InvalidGatewayRequestException", "message": "", "error": {"errorCode": "ServiceUnavailable"}}'
        )
        status, kind = "400 Bad Request", "application/x-amz-json-1.1"
    elif service == "s3":
        code = "SlowDown" if throttled else "InternalError"
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>by chaos</Message></Error>".encode()
        status, kind = "503 Slow Down" if throttled else "500 Internal Server Error", "application/xml"
    else:
        code = "ThrottlingException" if throttled else "InternalFailure"
        body, kind = f'{{"__type": "{code}", "message": "by chaos"}}'.encode(), "application/x-amz-json-1.0"
        status = "400 Bad Request" if throttled else "500 Internal Server Error"
    start(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _cut(environ: Environ, answer: Iterable[bytes]) -> Iterator[bytes]:
    """Nothing reaches the caller; what was asked has been done."""
    for _ in answer:
        pass
    _hang_up(environ)
    yield b""


def _half(environ: Environ, answer: Iterable[bytes]) -> Iterator[bytes]:
    body = b"".join(answer)
    if len(body) > 1:
        yield body[: len(body) // 2]
    _hang_up(environ)
    yield b""


def _slow(answer: Iterable[bytes]) -> Iterator[bytes]:
    body = b"".join(answer)
    yield body[: len(body) // 2]
    time.sleep(SLOW_S)
    yield body[len(body) // 2 :]


def _hang_up(environ: Environ) -> None:
    with contextlib.suppress(OSError):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


def strike(step: Step, endpoint: str) -> bool:
    """Sends a worker or a job its signal; False where there is none."""
    found = sorted(processes(endpoint, at_work=True))
    if not found:
        return False
    try:
        # A handle, and not a number that may be another process's when the second signal is due.
        process = os.pidfd_open(found[int(step.pick * len(found))])
    except ProcessLookupError:
        return False
    first, _, then = step.kind.partition(", then ")
    _send(process, first)
    if then:
        threading.Timer(step.seconds, _end, [process, then]).start()
    else:
        os.close(process)
    return True


def _end(process: int, name: str) -> None:
    _send(process, name)
    os.close(process)


def _send(process: int, name: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.Signals[name])


def processes(endpoint: str, *, at_work: bool) -> list[int]:
    """Ids of the processes that talk to this cloud: workers and jobs, or all."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = f"AWS_ENDPOINT_URL={endpoint}\0".encode() in (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if told and command != [b""] and (not at_work or any(name in command for name in MODULES)):
                found.append(int(folder.name))
    return found
