"""What may never come of any fault: each promise by its name, and where it was broken."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.chaos_plan import NO_SCAN, POISON
from benchmarks.chaos_service import Service
from raki.errors import Removed, Superseded
from raki.service.ledger import ScanRecord, State

REPLACED = (Superseded.__name__, Removed.__name__)
S = State
LEGAL: Mapping[str, tuple[str, ...]] = {
    "": (S.ARRIVED,),
    S.ARRIVED: (S.DECOMPRESSING, S.FAILED),
    S.DECOMPRESSING: (S.DECOMPRESSING, S.PREPARED, S.FAILED),
    S.PREPARED: (S.PREPARED, S.RECONSTRUCTING, S.FAILED, S.ARRIVED),
    S.RECONSTRUCTING: (S.RECONSTRUCTING, S.RECONSTRUCTED, S.FAILED, S.ARRIVED),
    S.RECONSTRUCTED: (S.RECONSTRUCTED, S.DELIVERED, S.FAILED, S.ARRIVED),
    S.DELIVERED: (S.ARRIVED,),
    S.FAILED: (S.ARRIVED,),
}
"""Which states may follow each. Back to arrived goes what is dropped again, or set going again; a stage is entered
again by whoever tries the scan again, and noted again as done where the answer to the first note was lost."""


@dataclass(kw_only=True)
class Truth:
    """What was dropped, and what stands in the end."""

    contents: list[bytes]
    images: list[str] = field(default_factory=list)
    """Of each sound content, from the undisturbed run."""
    standing: dict[str, int] = field(default_factory=dict)
    """Which content stands under each key."""
    dropped: set[tuple[str, int]] = field(default_factory=set)
    """Every version that ever stood."""


class Promises:
    """Checks a service that is at rest."""

    def __init__(self, service: Service, truth: Truth) -> None:
        self._service = service
        self._truth = truth
        self._records = service.records()
        self._ids = {key: service.scan_id(key, truth.contents[number]) for key, number in truth.standing.items()}
        self._sound = {
            service.scan_id(key, truth.contents[number]) for key, number in truth.dropped if number != NO_SCAN
        }

    def broken(self) -> dict[str, list[str]]:
        """By promise, a sentence for each time that it wasn't kept."""
        promises: dict[str, Callable[[], Iterator[str]]] = {
            "every standing version has ended, once": self._all_ended,
            "no sound scan failed": self._no_sound_scan_failed,
            "raw bytes are as they were dropped": self._raw_is_unchanged,
            "manifest = objects = files on the share": self._shown_is_listed,
            "images are those of an undisturbed run": self._images_are_the_same,
            "the newest version's result stands": self._newest_stands,
            "the states are a path of the state machine": self._histories_are_legal,
            "queues are empty": self._queues_are_empty,
            "nothing but poison is a dead letter": self._only_poison_is_dead,
            "no unfinished upload or file": self._nothing_is_unfinished,
        }
        return {name: list(check()) for name, check in promises.items()}

    def _all_ended(self) -> Iterator[str]:
        for key, scan_id in self._ids.items():
            record = self._records.get(scan_id)
            if record is None or not self._service.is_shown(record):
                yield f"{key}: {record.state if record else 'not in the ledger'}, and not shown"
        for record in self._records.values():
            last = self._service.requests.history[record.scan_id][-1:]
            if record.state not in (S.DELIVERED, S.FAILED) or last != [record.state]:
                yield f"{record.raw_key}: {record.state}, last written {last}"

    def _no_sound_scan_failed(self) -> Iterator[str]:
        standing = set(self._ids.values())
        for record in self._records.values():
            spared = record.failure_class in REPLACED and record.scan_id not in standing
            if record.state is S.FAILED and record.scan_id in self._sound and not spared:
                yield f"{record.raw_key}: {record.failure_class}: {record.failure}"

    def _raw_is_unchanged(self) -> Iterator[str]:
        s3, bucket = self._service.cloud.client("s3"), self._service.outputs["RawBucket"]
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        found = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        if found != set(self._truth.standing):
            yield f"other files than were dropped: {sorted(found ^ set(self._truth.standing))[:5]}"
        for key in found & set(self._truth.standing):
            content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            if content != self._truth.contents[self._truth.standing[key]]:
                yield key

    def _shown_is_listed(self) -> Iterator[str]:
        s3, bucket = self._service.cloud.client("s3"), self._service.outputs["ResultsBucket"]
        for folder in sorted({record.results_folder for record in self._records.values()}):
            manifest = self._service.manifest(folder)
            listed = {entry["name"]: entry["sha256"] for entry in manifest.get("files", [])}
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/")
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
            objects = {
                key.removeprefix(f"{folder}/"): _digest(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
                for key in keys
            }
            place = self._service.results / folder
            shown = {file.name: _digest(file.read_bytes()) for file in place.glob("*")}
            if objects != shown:
                yield f"{folder}: objects {sorted(objects)}, on the share {sorted(shown)}"
            objects.pop("manifest.json", None)
            if objects != listed:
                yield f"{folder}: objects {sorted(objects)}, in the manifest {sorted(listed)}"

    def _images_are_the_same(self) -> Iterator[str]:
        for key, number in self._truth.standing.items():
            if number != NO_SCAN and self._service.image(self._folder(key)) != self._truth.images[number]:
                yield f"{key}: another image than that of content {number}"

    def _newest_stands(self) -> Iterator[str]:
        for key, scan_id in self._ids.items():
            if (found := self._service.manifest(self._folder(key)).get("scan_id")) != scan_id:
                yield f"{key}: the share shows scan {found}, {scan_id} stands"

    def _histories_are_legal(self) -> Iterator[str]:
        for scan_id, states in self._service.requests.history.items():
            steps = zip(["", *states], states, strict=False)
            if odd := [f"{before} -> {after}" for before, after in steps if after not in LEGAL[before]]:
                yield f"scan {scan_id}: {', '.join(odd)} in {', '.join(states)}"

    def _queues_are_empty(self) -> Iterator[str]:
        for queue in self._service.queues:
            if not queue.endswith("-dead") and (n_left := self._service.n_messages(queue)):
                yield f"{n_left} in {queue}"

    def _only_poison_is_dead(self) -> Iterator[str]:
        sqs = self._service.cloud.client("sqs")
        for queue, url in self._service.queues.items():
            while queue.endswith("-dead"):
                dead = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3600).get(
                    "Messages", []
                )
                if not dead:
                    break
                yield from (f"{queue}: {message['Body'][:200]}" for message in dead if message["Body"] not in POISON)

    def _nothing_is_unfinished(self) -> Iterator[str]:
        s3 = self._service.cloud.client("s3")
        for bucket in ("RawBucket", "ResultsBucket"):
            if uploads := s3.list_multipart_uploads(Bucket=self._service.outputs[bucket]).get("Uploads"):
                yield f"{len(uploads)} uploads to {bucket}"
        yield from (str(file) for file in (self._service.folder / "share").rglob(".raki-*"))

    def _folder(self, key: str) -> str:
        record: ScanRecord | None = self._records.get(self._ids[key])
        return record.results_folder if record else key.removesuffix(".h5")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
