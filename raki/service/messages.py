"""What stages tell each other: facts in the past tense, small enough to log, enough to rerun a stage from."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from raki.names import is_options_file

SCRATCH_NAMES = ("thumbs.db", "desktop.ini")
UNFINISHED = (".part", ".tmp", ".crdownload", ".filepart")


class NotUnderstood(ValueError):
    """A message that says nothing to its reader, however often it comes: a case for the dead letters."""


@dataclass(frozen=True, kw_only=True)
class ScanArrived:
    """An object stands in the raw bucket. Read from S3's own notification."""

    bucket: str
    key: str
    etag: str
    version_id: str | None
    n_bytes: int
    at: datetime

    def scan_id(self, hash_key: str) -> str:
        """An opaque id, the same for every notification about the same content under the same key.

        A keyed hash: who sees an id, in a log or a metric, can't find its path by hashing likely ones. The ETag
        stands for the content because a file gateway writes a file's data and its metadata as two versions; of a
        file so large that it went up in parts the two may differ, and it is reconstructed twice.
        """
        return scan_id_of(self.bucket, self.key, self.etag, hash_key)


def scan_id_of(bucket: str, key: str, etag: str, hash_key: str) -> str:
    """The id of the scan that an object is; see `ScanArrived.scan_id`."""
    identity = "\n".join([bucket, key, etag])
    return hmac.new(hash_key.encode(), identity.encode(), hashlib.sha256).hexdigest()[:20]


def arrivals(body: str) -> list[ScanArrived]:
    """The scans in one message of the ingest queue, which holds S3's event notification.

    Empty for S3's test event, for folders, whose keys end in a slash, for scratch files and for files of options, which
    count when a scan is taken up. Keys come form-encoded.

    Raises:
        NotUnderstood: the message is no S3 event notification.
    """
    try:
        event = json.loads(body)
        if event.get("Event") == "s3:TestEvent":
            return []
        found = [_arrival(record) for record in event["Records"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotUnderstood(f"the message is no S3 event notification: {type(error).__name__} {error}") from None
    return [scan for scan in found if is_scan(scan.key)]


def notification(bucket: str, key: str, *, at: datetime, etag: str = "", n_bytes: int = 0) -> str:
    """A message that speaks of an object as S3's own event notification does, as far as `arrivals` reads it.

    Amazon S3 User Guide, "Event message structure".
    """
    described = {"key": quote_plus(key, safe="/"), "eTag": etag, "size": n_bytes}
    s3 = {"bucket": {"name": bucket}, "object": described}
    return json.dumps({"Records": [{"eventTime": at.isoformat(), "s3": s3}]})


def is_scratch(key: str) -> bool:
    """Whether a file on the share is an operating system's or a copying program's and no scan.

    Hidden files, office locks, thumbnails, unfinished copies: they come and go by themselves.
    """
    parts = key.lower().split("/")
    hidden = any(part.startswith((".", "~")) for part in parts)
    return hidden or parts[-1] in SCRATCH_NAMES or parts[-1].endswith(UNFINISHED)


def is_scan(key: str) -> bool:
    """Whether a key of the raw bucket is a scan's, and not a folder's, a scratch file's or one of options."""
    return not (key.endswith("/") or is_scratch(key) or is_options_file(key.rpartition("/")[2]))


def _arrival(record: dict[str, Any]) -> ScanArrived:
    s3 = record["s3"]
    return ScanArrived(
        bucket=s3["bucket"]["name"],
        key=unquote_plus(s3["object"]["key"]),
        etag=s3["object"].get("eTag", "").strip('"'),
        version_id=s3["object"].get("versionId"),
        n_bytes=int(s3["object"].get("size", 0)),
        at=datetime.fromisoformat(record["eventTime"]),
    )


def manifests(body: str) -> list[tuple[str, str]]:
    """Bucket and key of the manifests in one message of the refresh queue; none in S3's test event.

    Raises:
        NotUnderstood: the message is no S3 event notification.
    """
    try:
        event = json.loads(body)
        if event.get("Event") == "s3:TestEvent":
            return []
        places = [(record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]) for record in event["Records"]]
        return [(str(bucket), unquote_plus(key)) for bucket, key in places]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotUnderstood(f"the message is no S3 event notification: {type(error).__name__} {error}") from None


@dataclass(frozen=True, kw_only=True)
class ReconstructionRequested:
    """A prepared scan is complete in its bucket and waits for a GPU."""

    scan_id: str
    prepared_bucket: str
    prepared_key: str
    raw_version_id: str | None
    raw_sha256: str
    raw_n_bytes: int
    options: Mapping[str, str | int | bool] = field(default_factory=dict)
    """What the scan's own `raki.toml` asks for; the deployment's settings say the rest. Requests from before it could
    ask for anything are without."""

    def to_json(self) -> str:
        """The message's body."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ReconstructionRequested":
        """Reads a message's body.

        Raises:
            NotUnderstood: the body is no such message; the text names the field that is unknown or missing.
        """
        try:
            values = dict(json.loads(text))
        except (TypeError, ValueError):
            raise NotUnderstood("the message is no reconstruction request: it holds no JSON object") from None
        names = {field.name for field in fields(cls)}
        odd = (values.keys() - names) | (names - values.keys() - {"options"})
        if odd:
            raise NotUnderstood(
                f"the message is no reconstruction request: unknown or missing {', '.join(sorted(odd))}"
            )
        return cls(**values)
