"""CloudFormation's custom resources: their real Python handler runs, and its reply comes back to the server."""

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

REPLY_PATH = "/_local/custom-resource/"
_REPLY_PATIENCE_S = 5.0

Json = dict[str, Any]


class CustomResourceFailed(Exception):
    """The handler answered FAILED, or not at all."""


class Replies:
    """What handlers have sent to their ResponseURL."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._replies: dict[str, Json] = {}

    def put(self, request_id: str, reply: Json) -> None:
        """Takes a reply in."""
        with self._arrived:
            self._replies[request_id] = reply
            self._arrived.notify_all()

    def take(self, request_id: str) -> Json | None:
        """The reply, waited for a little; None where none comes."""
        with self._arrived:
            self._arrived.wait_for(lambda: request_id in self._replies, _REPLY_PATIENCE_S)
            return self._replies.pop(request_id, None)


def run_handler(
    invoke: Callable[[str, Json], tuple[bytes, bool]], replies: Replies, endpoint: str, request: Json
) -> Json:
    """Sends a Create or Update request to the handler and returns its reply.

    moto answers a custom resource in the background, so that nothing can be read from it and creation races with the
    reply; CloudFormation waits, and so does this.

    Args:
        invoke: calls a function, by ARN, with an event; returns the payload and whether it is an error.
        request: the event without ResponseURL and RequestId.

    Raises:
        CustomResourceFailed: the handler reported FAILED, ended with an error, or sent no reply.
    """
    request_id = str(uuid.uuid4())
    properties = _as_text(request["ResourceProperties"])
    event = {
        **request,
        "RequestId": request_id,
        "ResourceProperties": properties,
        "ResponseURL": f"{endpoint}{REPLY_PATH}{request_id}",
    }
    payload, failed = invoke(properties["ServiceToken"], event)
    reply = None if failed else replies.take(request_id)
    if reply is None:
        raise CustomResourceFailed(f"its handler sent no reply: {payload.decode(errors='replace')[:1000]}")
    if reply.get("Status") != "SUCCESS":
        raise CustomResourceFailed(f"its handler reported {reply.get('Status')}: {reply.get('Reason')}")
    return reply


def _as_text(value: object) -> Any:
    """CloudFormation hands every scalar to a custom resource as text."""
    if isinstance(value, dict):
        return {name: _as_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)
