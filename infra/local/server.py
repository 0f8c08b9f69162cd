"""One server on 127.0.0.1 for the whole cloud: a router in front of moto's application."""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from infra.local.custom_resources import REPLY_PATH, Replies
from infra.local.gateway import InvalidGatewayRequest, StorageGateway
from infra.local.streaming import stream_object

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]

_GATEWAY_TARGET = "StorageGateway_20130630."


class Router:
    """Answers what moto lacks and passes the rest on."""

    def __init__(self, moto: Wsgi, gateway: StorageGateway, replies: Replies) -> None:
        self._moto = moto
        self._gateway = gateway
        self._replies = replies

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:  # noqa: D102 - WSGI
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target.startswith(_GATEWAY_TARGET):
            return self._answer_gateway(target.removeprefix(_GATEWAY_TARGET), environ, start_response)
        if environ["PATH_INFO"].startswith(REPLY_PATH):
            self._replies.put(environ["PATH_INFO"].removeprefix(REPLY_PATH), json.loads(_body(environ)))
            return _respond(start_response, "200 OK", b"")
        streamed = stream_object(self._moto, environ, start_response)
        return self._moto(environ, start_response) if streamed is None else streamed

    def _answer_gateway(self, operation: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._gateway.answer(operation, json.loads(_body(environ) or b"{}"))
            status = "200 OK"
        except InvalidGatewayRequest as refusal:
            answer, status = refusal.to_json(), "400 Bad Request"
        return _respond(start_response, status, json.dumps(answer).encode(), "application/x-amz-json-1.1")


class Server:
    """The running server."""

    def __init__(self, port: int, gateway: StorageGateway, replies: Replies, log_file: Path) -> None:
        _log_to(log_file)
        router = Router(DomainDispatcherApplication(create_backend_app), gateway, replies)
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


def _respond(
    start_response: StartResponse, status: str, body: bytes, content_type: str = "text/plain"
) -> Iterable[bytes]:
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
