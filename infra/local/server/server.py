"""One server on 127.0.0.1 for the whole cloud: a router in front of moto's application."""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from infra.local.deploy.custom_resources import REPLY_PATH, Replies
from infra.local.moto.receiving import Parts as ObjectParts
from infra.local.moto.receiving import WrongChecksum
from infra.local.moto.streaming import stream_object
from infra.local.run.protection import AGENT_PATH, Protections
from infra.local.share.gateway import InvalidGatewayRequest, StorageGateway
from infra.local.share.lustre import OPERATIONS, FileSystems, InvalidFileSystemRequest

Environ = dict[str, Any]
Json = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

_OK = "200 OK"
_GATEWAY_TARGET = "StorageGateway_20130630."
_FSX_TARGETS = {f"AWSSimbaAPIService_v20180301.{operation}": operation for operation in OPERATIONS}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the server answers by itself, in front of moto."""

    file_systems: FileSystems
    gateway: StorageGateway
    object_parts: ObjectParts
    protections: Protections
    replies: Replies


class Router:
    """Answers what moto lacks and passes the rest on."""

    def __init__(self, moto: Wsgi, parts: Parts) -> None:
        self._moto = moto
        self._parts = parts

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:  # noqa: D102 - WSGI
        answered = self._answer(environ)
        if answered is not None:
            return _respond(start_response, *answered)
        streamed = stream_object(self._moto, environ, start_response)
        if streamed is not None:
            return streamed
        try:
            with self._parts.object_parts.received(environ) as request:
                return self._moto(request, start_response)
        except WrongChecksum as wrong:
            return _send(start_response, "400 Bad Request", "application/xml", wrong.to_xml())

    def _answer(self, environ: Environ) -> tuple[str, Json] | None:
        """Status and body, or None where moto is to answer."""
        parts, path = self._parts, environ["PATH_INFO"]
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        try:
            if target.startswith(_GATEWAY_TARGET):
                return _OK, parts.gateway.answer(target.removeprefix(_GATEWAY_TARGET), _json_of(environ))
            if target in _FSX_TARGETS:
                return _OK, parts.file_systems.answer(_FSX_TARGETS[target], _json_of(environ))
        except (InvalidFileSystemRequest, InvalidGatewayRequest) as refusal:
            return "400 Bad Request", refusal.to_json()
        if path.startswith(REPLY_PATH):
            parts.replies.put(path.removeprefix(REPLY_PATH), _json_of(environ))
            return _OK, {}
        if path.startswith(AGENT_PATH):
            return parts.protections.answer(environ["REQUEST_METHOD"], path.removeprefix(AGENT_PATH), _body(environ))
        return None


class Server:
    """The running server."""

    def __init__(self, port: int, parts: Parts, log_file: Path) -> None:
        _log_to(log_file)
        router = Router(DomainDispatcherApplication(create_backend_app), parts)
        self._server = make_server("127.0.0.1", port, router, threaded=True, request_handler=MotoRequestHandler)
        self._server.handle_error = _note_lost_connection  # type: ignore[assignment, method-assign]
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Ends the serving; requests under way are cut off."""
        self._server.shutdown()
        self._thread.join(2.0)
        self._server.server_close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the socket, closed under it
            self._server.serve_forever(poll_interval=0.1)


def _log_to(path: Path) -> None:
    """Errors only, into a file: a line a request would drown everything else, and a worker that is stopped or killed in
    the middle of a request is no news for the terminal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger("werkzeug")
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = [logging.FileHandler(path, encoding="utf-8", delay=True)]


def _note_lost_connection(_request: Any, _client_address: Any) -> None:
    logging.getLogger("werkzeug").exception("a connection ended in the middle of a request")


def _body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def _json_of(environ: Environ) -> Json:
    request: Json = json.loads(_body(environ) or b"{}")
    return request


def _respond(start_response: StartResponse, status: str, answer: Json) -> Iterable[bytes]:
    return _send(start_response, status, "application/x-amz-json-1.1", json.dumps(answer).encode())


def _send(start_response: StartResponse, status: str, kind: str, body: bytes) -> Iterable[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
