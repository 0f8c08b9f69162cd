"""The gateway's notices of uploaded files: one event a file, once nobody has written to it for the settling time."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.local.envelope import service_event

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Upload:
    resources: list[str]
    bucket: str
    prefix: str
    key: str
    n_bytes: int
    at: datetime
    due_s: float


class UploadNotices:
    """Waits for files to settle and tells of them.

    Args:
        fire: takes the events, in EventBridge's form.
        speed: how many times shorter than asked for the settling time is.
        clock: seconds, from any beginning.
    """

    def __init__(
        self, fire: Callable[[Json], None], *, speed: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fire = fire
        self._speed = speed
        self._clock = clock
        self._lock = threading.Lock()
        self._settling: dict[tuple[str, str], _Upload] = {}

    def uploaded(self, arn: str, share: Json, key: str, n_bytes: int) -> None:
        """A file of the share has become an object. One that was settling begins anew.

        Args:
            share: the request that made the share; its NotificationPolicy says whether anything is told.
        """
        settling_s = _settling_time_s(share)
        if settling_s is None:
            return
        bucket, _, prefix = share["LocationARN"].partition(":::")[2].partition("/")
        upload = _Upload(
            resources=[arn, share["GatewayARN"], f"arn:aws:s3:::{bucket}"],
            bucket=bucket,
            prefix=prefix,
            key=key,
            n_bytes=n_bytes,
            at=datetime.now(UTC),
            due_s=self._clock() + settling_s / self._speed,
        )
        with self._lock:
            self._settling[arn, key] = upload

    def step(self) -> None:
        """Tells of the files that have settled since the last call."""
        with self._lock:
            settled = [name for name, upload in self._settling.items() if self._clock() >= upload.due_s]
            uploads = [self._settling.pop(name) for name in settled]
        for upload in uploads:
            self._fire(_event(upload))


def _settling_time_s(share: Json) -> float | None:
    """None where the share's policy asks for no notices."""
    upload = json.loads(share.get("NotificationPolicy") or "{}").get("Upload")
    return None if upload is None else float(upload["SettlingTimeInSeconds"])


def _event(upload: _Upload) -> Json:
    """S3 File Gateway user guide, "Getting notified about file operations"; `event-time` and `set-id` as gateways send
    them besides."""
    detail = {
        "bucket-name": upload.bucket,
        "event-time": datetime.now(UTC).isoformat(),
        "event-type": "object-upload-complete",
        "modification-time": upload.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "object-key": upload.key,
        "object-size": upload.n_bytes,
        "prefix": upload.prefix,
        "set-id": str(uuid.uuid4()),
    }
    return service_event("aws.storagegateway", "Storage Gateway Object Upload Event", upload.resources, detail)
