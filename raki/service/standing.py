"""What stands in the bucket under a file's name, and whether its bytes are known already.

A scan is its content under its key. Its versions are none of it: a file gateway writes a file's data and its metadata
as two, and another at each change of times or rights; and under SSE-KMS equal bytes have different ETags (Amazon S3
API Reference, "Object", ETag). S3's own checksum is the same for the same bytes: CRC64NVME of the whole object for
whatever came without one, taken over by copies (Amazon S3 User Guide, "Checking object integrity in Amazon S3"). Where
a client chose a weaker one, or one of parts, the bytes are read, if another scan of that name was as large.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from raki.names import companions_of, noise_beside
from raki.service.messages import ScanArrived
from raki.service.objects import open_body

WHOLE = "FULL_OBJECT"
STRONG = ("ChecksumCRC64NVME", "ChecksumSHA256", "ChecksumSHA512", "ChecksumSHA1", "ChecksumXXHASH128")
"""Of the checksums that S3 keeps those of 64 bits or more: CRC32 may be the same for two scans of one name."""
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
PIECE_BYTES = 1 << 20

Head = Mapping[str, Any]
Progress = Callable[[int], None]


def find_standing(
    s3: BaseClient, arrival: ScanArrived, *, reads: bool = True, progress: Progress = lambda _: None
) -> ScanArrived | None:
    """The version of an announced file that stands in the bucket now, with what belongs to it; None where it's removed.

    S3 gives a reader the newest version from the moment that it was written. Amazon S3 User Guide, "Amazon S3 data
    consistency model". Events of one key could be put in order by their `sequencer`, but not every event has come yet.

    Args:
        reads: whether files that belong to the scan, and have no checksum, are read for their digest; else `content` is
            empty where there are such.
        progress: told of each piece that is read.

    Raises:
        Superseded, Removed: one of these was replaced or removed just now.
    """
    head = head_of(s3, arrival.bucket, arrival.key)
    if head is None:
        return None
    beside = {key: head_of(s3, arrival.bucket, key) for key in companions_of(arrival.key)}
    noises = ((key, head_of(s3, arrival.bucket, key)) for key in noise_beside(arrival.key))
    noise_key, noise = next(((key, found) for key, found in noises if found), ("", None))
    belonging = [(key, found) for key, found in [*beside.items(), (noise_key, noise)] if found]
    there = [head, *(found for _, found in belonging)]
    at = max(found["LastModified"] for found in there)
    etag = _etag(head)
    contents: list[str] | None = [checksum(head) or f"etag:{etag}"]
    for key, found in belonging:  # a noise scan counts by its name too
        known = checksum(found) or (f"etag:{_etag(found)}" if is_archived(found) else "")
        if not known and reads:
            known = digest(s3, arrival.bucket, key, _etag(found), progress=progress)
        contents = [*contents, f"{key.rpartition('/')[2]}:{known}"] if contents and known else None
    return replace(
        arrival,
        etag=etag,
        version_id=head.get("VersionId"),
        n_bytes=sum(found["ContentLength"] for found in there),
        at=max(at, arrival.at) if etag == arrival.etag else at,  # whole seconds only, unlike the event's time
        companions=tuple(_etag(found) if found else "" for found in beside.values()),
        noise_key=noise_key,
        noise_etag=_etag(noise) if noise else "",
        content="+".join(contents or []),
        is_archived=is_archived(head),
    )


def head_of(s3: BaseClient, bucket: str, key: str) -> Head | None:
    """What S3 says of an object, its checksum included; None where none is."""
    try:
        found: Head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    return found


def checksum(head: Head) -> str | None:
    """S3's checksum of a whole object, if it is one that stands for its bytes, with their number; else None.

    CRC64NVME is always one of the whole object.
    """
    for name in STRONG:
        if name in head and (head.get("ChecksumType") == WHOLE or name == "ChecksumCRC64NVME"):
            return f"{name.removeprefix('Checksum')}:{head[name]}:{head['ContentLength']}"
    return None


def is_archived(head: Head) -> bool:
    """Whether an object can't be read until somebody has it restored.

    Amazon S3 API Reference, HeadObject: `x-amz-restore` says of a copy that can be read.
    """
    return head.get("StorageClass") in ARCHIVED and 'ongoing-request="false"' not in head.get("Restore", "")


def fingerprint(scan: ScanArrived, sha256: str) -> str:
    """What a scan's bytes are known by where S3's checksum of its file isn't: by that file's own SHA-256."""
    belonging = scan.content.partition("+")[2]
    return hashlib.sha256(f"{sha256}+{belonging}".encode()).hexdigest()


def digest(s3: BaseClient, bucket: str, key: str, etag: str, *, progress: Progress = lambda _n_bytes: None) -> str:
    """SHA-256 of an object's bytes, in hexadecimal.

    Raises:
        Superseded, Removed: that version stands there no more.
    """
    sha256 = hashlib.sha256()
    with closing(open_body(s3, bucket, key, etag)) as body:
        while piece := body.read(PIECE_BYTES):
            sha256.update(piece)
            progress(len(piece))
    return sha256.hexdigest()


def _etag(head: Head) -> str:
    return str(head["ETag"]).strip('"')
