"""What stages tell each other: facts in the past tense, small enough to log, enough to rerun a stage from."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from raki.names import image_of_noise, is_scan, lead_of


class NotUnderstood(ValueError):
    """A message that says nothing to its reader, however often it comes: a case for the dead letters."""


@dataclass(frozen=True, kw_only=True)
class ScanArrived:
    """An object stands in the raw bucket. Read from S3's own notification, or from a file gateway's."""

    bucket: str
    key: str
    etag: str
    """Of the version to read; empty where the notification was of a file that belongs to it."""
    version_id: str | None
    n_bytes: int
    at: datetime
    written_by: str = ""
    """The principal, as S3's notice names it."""
    companions: tuple[str, ...] = ()
    """The ETags of the files that belong to it; empty where one isn't there."""
    noise_key: str = ""
    noise_etag: str = ""
    """Of the noise scan beside it; empty where there is none."""
    content: str = ""
    """What the bytes of all these files are known by, whichever versions hold them; empty in what was announced only.
    See `raki.service.standing`."""
    is_archived: bool = False
    """The file can't be read unless somebody has it restored."""
    asked: str | None = None
    """Digest of the file of options beside it, or of nothing; None where nobody has looked."""

    @property
    def versions(self) -> str:
        """Which version of each file it is; another one may hold the same bytes."""
        noise = [self.noise_key.rpartition("/")[2] + self.noise_etag] if self.noise_key else []
        return "+".join([self.etag, *self.companions, *noise])

    def scan_id(self, hash_key: str) -> str:
        """An opaque id, the same for every version of the same content under the same key.

        A keyed hash: who sees an id, in a log or a metric, can't find its path by hashing likely ones. A scan of two
        files is another one when either is, and so is one that has got a noise scan beside it.
        """
        return scan_id_of(self.bucket, self.key, self.content or self.versions, hash_key)


def alias_of(bucket: str, key: str, hash_key: str) -> str:
    """What stands for a file's name: the same for all its versions, and of no use to who lacks the deployment's key."""
    identity = "\n".join(["name", bucket, key])
    return hmac.new(hash_key.encode(), identity.encode(), hashlib.sha256).hexdigest()[:20]


def scan_id_of(bucket: str, key: str, content: str, hash_key: str) -> str:
    """The id of the scan that an object is; see `ScanArrived.scan_id`."""
    identity = "\n".join([bucket, key, content])
    return hmac.new(hash_key.encode(), identity.encode(), hashlib.sha256).hexdigest()[:20]


def arrivals(body: str) -> list[ScanArrived]:
    """The scans in one message of the ingest queue: S3's event notification, or a file gateway's of an upload.

    A file without which a scan isn't whole speaks for that scan: it may be what was waited for. One that is named as
    the noise scan of another speaks for both.

    Empty for S3's test event, for folders, whose keys end in a slash, for what is left alone beside scans, and for
    files of options, which count when a scan is taken up. S3 encodes keys as a form does, a gateway doesn't.

    Amazon S3 User Guide, "Event message structure"; Amazon S3 File Gateway user guide, "Getting notified about file
    operations".

    Raises:
        NotUnderstood: the message is neither.
    """
    try:
        event = json.loads(body)
        if event.get("Event") == "s3:TestEvent":
            return []
        if event.get("source") == "aws.storagegateway":
            found = _uploaded(event)
        else:
            found = [arrival for record in event["Records"] for arrival in _arrivals(record)]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotUnderstood(f"the message is no notice of an object: {type(error).__name__} {error}") from None
    return [scan for scan in found if is_scan(scan.key)]


def notification(bucket: str, key: str, *, at: datetime, etag: str = "", n_bytes: int = 0) -> str:
    """A message that speaks of an object as S3's own event notification does, as far as `arrivals` reads it.

    Amazon S3 User Guide, "Event message structure".
    """
    described = {"key": quote_plus(key, safe="/"), "eTag": etag, "size": n_bytes}
    s3 = {"bucket": {"name": bucket}, "object": described}
    return json.dumps({"Records": [{"eventTime": at.isoformat(), "s3": s3}]})


def _arrivals(record: dict[str, Any]) -> list[ScanArrived]:
    s3 = record["s3"]
    announced = ScanArrived(
        bucket=s3["bucket"]["name"],
        key=unquote_plus(s3["object"]["key"]),
        etag=s3["object"].get("eTag", "").strip('"'),
        version_id=s3["object"].get("versionId"),
        n_bytes=int(s3["object"].get("size", 0)),
        at=datetime.fromisoformat(record["eventTime"]),
        written_by=str(record.get("userIdentity", {}).get("principalId", "")),
    )
    return _spoken_of(announced)


def _uploaded(event: dict[str, Any]) -> list[ScanArrived]:
    detail = event["detail"]
    announced = ScanArrived(
        bucket=str(detail["bucket-name"]),
        key=str(detail["object-key"]),
        etag="",
        version_id=None,
        n_bytes=int(detail.get("object-size", 0)),
        at=datetime.fromisoformat(event["time"]),
    )
    return _spoken_of(announced)


def _spoken_of(announced: ScanArrived) -> list[ScanArrived]:
    """The scans that a file is, or belongs to."""
    others = [key for key in (lead_of(announced.key), image_of_noise(announced.key)) if key]
    belonging = [replace(announced, key=key, etag="", version_id=None, n_bytes=0) for key in others]
    return belonging if lead_of(announced.key) else [announced, *belonging]


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


def completed(body: str) -> tuple[str, str]:
    """Bucket and key of the manifest that a message of the send queue speaks of: EventBridge's event of an object.

    Unlike in S3's own notifications the key is as it is, and not encoded. Amazon S3 User Guide, "EventBridge event
    message structure".

    Raises:
        NotUnderstood: the message is no such event.
    """
    try:
        detail = json.loads(body)["detail"]
        return str(detail["bucket"]["name"]), str(detail["object"]["key"])
    except (KeyError, TypeError, ValueError) as error:
        raise NotUnderstood(f"the message is no event of an object: {type(error).__name__} {error}") from None


def completion(bucket: str, key: str) -> str:
    """A message that speaks of a manifest as EventBridge does, as far as `completed` reads it."""
    return json.dumps({"detail": {"bucket": {"name": bucket}, "object": {"key": key}}})


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
    """What the scan's own `raki.toml` asks for, unless the ledger says so; the deployment's settings say the rest.
    Requests from before it could ask for anything are without."""

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
