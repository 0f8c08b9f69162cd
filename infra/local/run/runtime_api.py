"""The Lambda runtime API for one execution environment, with AWS's own runtime client on the other side.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import json
import queue
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PREFIX = "/2018-06-01/runtime/"


@dataclass(kw_only=True)
class Invocation:
    """One event on its way through a function."""

    event: bytes
    timeout_s: float
    function_arn: str
    taken_s: float | None = None
    """When the runtime took it, by the monotonic clock: the timeout counts from then, not from the runtime's start."""
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answered: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the function returned, or the error that it raised, as JSON."""

    payload: bytes
    failed: bool


class _Server(ThreadingHTTPServer):
    """Says nothing of a runtime that was ended while it waited: its connection breaks, as it should."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Anything else is printed."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class RuntimeApi:
    """Hands invocations to one runtime process and takes its answers."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Invocation] = queue.Queue()
        self._answers: dict[str, Answer] = {}
        self.failed_to_start: Answer | None = None
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="runtime API", daemon=True
        ).start()

    def submit(self, event: object, function_arn: str, timeout_s: float) -> Invocation:
        """Queues an event for the runtime."""
        invocation = Invocation(event=json.dumps(event).encode(), timeout_s=timeout_s, function_arn=function_arn)
        self._waiting.put(invocation)
        return invocation

    def take_answer(self, invocation: Invocation) -> Answer | None:
        """The answer, once `invocation.answered` is set."""
        return self._answers.pop(invocation.request_id, None)

    def next(self) -> Invocation:
        """Blocks until there is an event, and begins its time."""
        invocation = self._waiting.get()
        invocation.taken_s = time.monotonic()
        return invocation

    def accept(self, request_id: str, answer: Answer, current: Invocation | None) -> None:
        """Takes what the runtime sent for the invocation that it holds."""
        if current is not None and current.request_id == request_id:
            self._answers[request_id] = answer
            current.answered.set()

    def close(self) -> None:
        """Ends the serving."""
        self._server.shutdown()
        self._server.server_close()


def _handler_of(api: RuntimeApi) -> type[BaseHTTPRequestHandler]:
    held: dict[str, Invocation] = {}

    class Handler(BaseHTTPRequestHandler):
        """GET invocation/next; POST invocation/ID/response, invocation/ID/error and init/error."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            invocation = api.next()
            held[invocation.request_id] = invocation
            self._send(
                200,
                invocation.event,
                {
                    "Content-Type": "application/json",
                    "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + invocation.timeout_s) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
                },
            )

        def do_POST(self) -> None:
            payload = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind, _, rest = self.path.removeprefix(_PREFIX).partition("/")
            if kind == "init":
                api.failed_to_start = Answer(payload=payload, failed=True)
            else:
                request_id, _, outcome = rest.partition("/")
                api.accept(request_id, Answer(payload=payload, failed=outcome == "error"), held.pop(request_id, None))
            self._send(202, b"", {})

        def log_message(self, *_arguments: object) -> None:
            """Says nothing: the journal tells of invocations."""

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
