"""Of S3's ways with versions and their notices those that moto lacks, and that a scan's identity has to bear.

Under SSE-KMS an object's ETag says nothing of its content (Amazon S3 API Reference, "Object", ETag). An object that
comes without a checksum gets CRC64NVME of all of it, and copies keep theirs (Amazon S3 User Guide, "Checking object
integrity in Amazon S3"). A notice names the version and comes at least once, in no order (same guide, "Event message
structure" and "Amazon S3 Event Notifications").
"""

import base64
import threading
import uuid
from collections.abc import Callable
from random import Random
from typing import Any

import flask

from infra.local.moto.contents import digest, open_content
from infra.local.moto.parts import Replacement
from infra.local.moto.state import Model

DEFAULT_CHECKSUM = "CRC64NVME"
SHARE_OF_LATE, SHARE_OF_DOUBLE = 0.3, 0.2
LATE_S = 0.5


def replacements(*, nuisances: bool) -> list[Replacement]:
    """What of moto's S3 is replaced, on top of what `contents.replacements` replaces.

    Args:
        nuisances: notices come late, twice and out of order far more often than AWS's do.
    """
    always: list[Replacement] = [
        ("moto.s3.models:FakeKey.__init__", _with_an_etag_of_its_own),
        ("moto.s3.models:S3Backend.head_object", _with_a_checksum),
        ("moto.s3.models:S3Backend.copy_object", _from_its_file),
        ("moto.s3.notifications:_get_s3_event", _of_a_version),
    ]
    unruly: list[Replacement] = [("moto.s3.notifications:_send_sqs_message", _late_and_twice)]
    return always + (unruly if nuisances else [])


def _with_an_etag_of_its_own(original: Callable[..., None]) -> Callable[..., None]:
    """moto has MD5's of the content, which can't be had of an encrypted object."""

    def create(key: Model, *args: Any, **kwargs: Any) -> None:
        original(key, *args, **kwargs)
        key._etag = uuid.uuid4().hex

    return create


def _with_a_checksum(original: Callable[..., Model]) -> Callable[..., Model]:
    """moto adds none by itself."""

    def head_object(*args: Any, **kwargs: Any) -> Model:
        key = original(*args, **kwargs)
        if key is not None and key.checksum_algorithm is None:
            with open_content(key) as content:
                key.checksum_value = base64.b64encode(digest(DEFAULT_CHECKSUM, content)).decode()
            key.checksum_algorithm, key.checksum_type = DEFAULT_CHECKSUM, "FULL_OBJECT"
        return key

    return head_object


def _from_its_file(original: Callable[..., None]) -> Callable[..., None]:
    """moto copies by way of memory."""

    class Source:
        """The object as moto looks at it; its content becomes the copy's."""

        def __init__(self, key: Model) -> None:
            self._key, self.value = key, open_content(key)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._key, name)

    def copy_object(backend: Model, src_key: Model, *args: Any, **kwargs: Any) -> None:
        original(backend, Source(src_key), *args, **kwargs)

    return copy_object


def _of_a_version(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto's notices don't say which version they are of, nor who wrote it."""

    def event(event_name: str, bucket: Model, key: Model, notification_id: str) -> Any:
        notice = original(event_name, bucket, key, notification_id)
        (record,) = notice["Records"]
        record["userIdentity"] = {"principalId": f"AWS:{_key_id()}:local"}
        if bucket.is_versioned:
            record["s3"]["object"]["versionId"] = key.version_id
        return notice

    return event


def _key_id() -> str:
    """Of the request that is being answered; a gateway's is the unique id of its role."""
    signed = flask.request.headers.get("Authorization", "") if flask.has_request_context() else ""
    return signed.partition("Credential=")[2].partition("/")[0]


def _late_and_twice(original: Callable[..., None]) -> Callable[..., None]:
    """moto's come once, at once and in order."""
    chance = Random(0)  # noqa: S311 - it shuffles

    def send(*arguments: Any) -> None:
        for _ in range(1 + (chance.random() < SHARE_OF_DOUBLE)):
            if chance.random() < SHARE_OF_LATE:
                late = threading.Timer(LATE_S, original, arguments)
                late.daemon = True
                late.start()
            else:
                original(*arguments)

    return send
