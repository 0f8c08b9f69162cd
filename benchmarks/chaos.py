"""`python -m benchmarks chaos`: the whole service under faults, and what may never come of them."""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import h5py
import typer
from rich.table import Table

from benchmarks.chaos_faults import APP, FaultyRequests, Signals
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from infra.local.cloud import LocalCloud, LocalSettings
from infra.local.command import CONTEXT
from infra.local.deploy.synth import synthesise
from raki.errors import Superseded
from raki.phantom.simulation import simulate_scan
from raki.service.ledger import Ledger, ScanRecord, State
from raki.service.messages import notification

SETTINGS = {**CONTEXT, "raki:method": "zero_filled", "raki:maps": "false"}
SPEED = 60.0
N_CONTENTS = 6
KINDS_OF_DROPS = ("as it is",) * 6 + ("replaced", "back again", "removed", "no scan")
POISON = ("{", "[]", '{"Records": [{}]}', "\x00", '{"scan_id": 1}')
POLL_S = 0.5


def chaos(
    scans: Annotated[int, typer.Option(min=1, help="Files that are dropped.")] = 60,
    faults: Annotated[int, typer.Option(min=0, help="Faults, of all kinds together.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed makes the same plan.")] = 0,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to wait for the end.")] = 15.0,
    outage_s: Annotated[float, typer.Option(min=0, help="S3 doesn't answer for so long, in the middle.")] = 0.0,
    poison: Annotated[int, typer.Option(min=0, help="Messages that nobody can understand, at the beginning.")] = 0,
    output: Output = RESULTS,
) -> None:
    """Drops scans into the local cloud while everything around it fails; counts what was lost, broken or left."""
    plan = Plan(scans=scans, faults=faults, seed=seed, outage_s=outage_s, poison=poison)
    with TemporaryDirectory() as folder:
        found = run(plan, Path(folder), patience_s=minutes * 60)
    _show(found)
    write_record(output, "chaos", found.facts())
    if found.broken:
        raise typer.Exit(1)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is dropped and what goes wrong."""

    scans: int
    faults: int
    seed: int
    outage_s: float = 0.0
    poison: int = 0


@dataclass(kw_only=True)
class Outcome:
    """What came of it."""

    injected: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    seconds_after_outage: float | None = None
    broken: list[str] = field(default_factory=list)
    """Each promise that was not kept, and where."""

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}


def run(plan: Plan, folder: Path, *, patience_s: float) -> Outcome:
    """Carries a plan out in `folder`."""
    os.environ["AWS_SDK_UA_APP_ID"] = APP
    requests = FaultyRequests(plan.seed, share=0.2)
    try:
        with requests.installed(), _running(folder) as cloud:
            return Storm(plan, cloud, requests, folder).rage(patience_s)
    finally:
        del os.environ["AWS_SDK_UA_APP_ID"]


@contextmanager
def _running(folder: Path) -> Iterator[LocalCloud]:
    work = folder / "work"
    assembly = synthesise(work / "cdk.out", context=SETTINGS)
    settings = LocalSettings(share=folder / "share", work=work, assembly=assembly, speed=SPEED)
    with LocalCloud(settings) as cloud:
        cloud.deploy()
        yield cloud


class Storm:
    """One run: undisturbed scans for comparison, then all the others under faults, then what is left to be seen."""

    def __init__(self, plan: Plan, cloud: LocalCloud, requests: FaultyRequests, folder: Path) -> None:
        self._plan = plan
        self._cloud = cloud
        self._requests = requests
        self._signals = Signals(plan.seed, cloud.endpoint)
        self._random = Random(plan.seed)
        self._share = folder / "share"
        self._outcome = Outcome()
        self._standing: dict[str, int | None] = {}
        """Which content stands under each key at the end; None for what is no scan."""
        self._contents = list(_contents(folder))
        outputs = cloud.client("cloudformation").describe_stacks(StackName="RakiStorage")["Stacks"][0]["Outputs"]
        self._outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}
        self._ledger = Ledger(cloud.client("dynamodb"), self._outputs["LedgerTable"])

    @cached_property
    def _queues(self) -> list[str]:
        urls = self._cloud.client("sqs").list_queues()["QueueUrls"]
        return [url for url in urls if "DeadLetters" not in url and "Notices" not in url]

    def rage(self, patience_s: float) -> Outcome:
        """The whole of it."""
        for number, content in enumerate(self._contents):
            self._put(f"undisturbed/{number}.h5", number, content)
        self._wait(patience_s, what="undisturbed scans")
        expected = [self._image(f"undisturbed/{number}") for number in range(len(self._contents))]
        began_s = time.monotonic()
        self._fly(patience_s)
        self._outcome.seconds = time.monotonic() - began_s
        self._outcome.injected += self._requests.counts + self._signals.counts
        self._check(expected)
        return self._outcome

    def _fly(self, patience_s: float) -> None:
        n_signals, n_messages = self._plan.faults // 5, self._plan.faults // 5
        self._requests.left = self._plan.faults - n_signals - n_messages
        drops = [self._random.choice(KINDS_OF_DROPS) for _ in range(self._plan.scans)]
        steps = [*(("drop", kind) for kind in drops), *n_signals * [("signal", "")], *n_messages * [("message", "")]]
        self._random.shuffle(steps)
        for _ in range(self._plan.poison):
            self._poison()
        for number, (step, kind) in enumerate(steps):
            if step == "drop":
                self._drop(f"site/{number}.h5", kind)
            elif step == "signal":
                self._signals.strike()
            else:
                self._disturb_messages()
            if self._plan.outage_s and number == len(steps) // 2:
                self._outage()
            time.sleep(self._random.random() * 0.4)
        returned_s = time.monotonic()
        # What is left of them falls on what is still under way; then it is calm.
        self._wait(patience_s, what="scans under faults", until_calm=True)
        if self._plan.outage_s:
            self._outcome.seconds_after_outage = time.monotonic() - returned_s

    def _outage(self) -> None:
        self._requests.gone = "s3"
        time.sleep(self._plan.outage_s)
        self._requests.gone = ""

    def _drop(self, key: str, kind: str) -> None:
        self._outcome.dropped[kind] += 1
        first, second = self._random.sample(range(len(self._contents)), 2)
        if kind == "no scan":
            self._put(key, None, self._random.randbytes(3000))
            return
        self._put(key, first, self._contents[first])
        if kind in ("replaced", "back again"):
            self._pause()
            self._put(key, second, self._contents[second])
        if kind == "back again":
            self._pause()
            self._put(key, first, self._contents[first])
        if kind == "removed":
            self._pause()
            self._cloud.client("s3").delete_object(Bucket=self._outputs["RawBucket"], Key=key)
            del self._standing[key]

    def _pause(self) -> None:
        time.sleep(self._random.choice([0.0, 0.002, 0.05, 2.0]))

    def _put(self, key: str, number: int | None, content: bytes) -> None:
        """Into the bucket, as the gateway does: there it has its notification."""
        self._cloud.client("s3").put_object(Bucket=self._outputs["RawBucket"], Key=key, Body=content)
        self._standing[key] = number

    def _disturb_messages(self) -> None:
        kind = self._random.choice(("announced again", "poison", "refused refresh"))
        if kind == "announced again" and self._standing:
            key = self._random.choice(sorted(self._standing))
            (queue,) = (url for url in self._queues if "Ingest" in url)
            body = notification(self._outputs["RawBucket"], key, at=datetime.now(UTC), etag="0" * 32)
            self._cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
        elif kind == "poison":
            self._poison()
        else:
            self._requests.gone = "refresh"
            time.sleep(0.5)
            self._requests.gone = ""
        self._outcome.injected[kind] += 1

    def _poison(self) -> None:
        queue = self._random.choice(self._queues)
        self._cloud.client("sqs").send_message(QueueUrl=queue, MessageBody=self._random.choice(POISON))

    def _wait(self, patience_s: float, *, what: str, until_calm: bool = False) -> None:
        deadline_s = time.monotonic() + patience_s
        while waiting := self._not_ended():
            if time.monotonic() > deadline_s:
                states = Counter(str(record.state) if record else "unknown" for record in waiting.values())
                lost = f"{len(waiting)} never ended, {dict(states)}: {sorted(waiting)[:5]}"
                self._outcome.broken.append(f"{what}: {lost}")
                return
            if until_calm and time.monotonic() > deadline_s - patience_s / 2:
                self._requests.left = 0
            time.sleep(POLL_S)

    def _not_ended(self) -> dict[str, ScanRecord | None]:
        """Files that stand, whose newest version hasn't come to its end on the share."""
        records: dict[str, list[ScanRecord]] = {}
        for record in self._ledger.scans():
            records.setdefault(record.raw_key, []).append(record)
        waiting: dict[str, ScanRecord | None] = {}
        for key, number in self._standing.items():
            found = records.get(key, [])
            ended = [one for one in found if State.DELIVERED in one.entered_at and self._is_shown(one)]
            still = [one for one in found if one.state not in (State.DELIVERED, State.FAILED)]
            is_right = not still and ended and (number is None or self._shown_content(ended[0]) is not None)
            if not is_right:
                waiting[key] = next(iter(still or found), None)
        return waiting

    def _is_shown(self, record: ScanRecord) -> bool:
        manifest = self._manifest(record.results_folder)
        return manifest is not None and manifest["scan_id"] == record.scan_id

    def _shown_content(self, record: ScanRecord) -> str | None:
        return self._image(record.results_folder)

    def _manifest(self, folder: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self._share / "results" / folder / "manifest.json").read_text())
        except (OSError, ValueError):
            return None
        return found

    def _image(self, folder: str) -> str | None:
        """A digest of the image's pixels on the share."""
        path = self._share / "results" / folder / "image.h5"
        try:
            with h5py.File(path) as file:
                return hashlib.sha256(file["dataset/image_0/data"][()].tobytes()).hexdigest()
        except (OSError, KeyError):
            return None

    def _check(self, expected: list[str | None]) -> None:
        broken = self._outcome.broken
        records = list(self._ledger.scans())
        for record in records:
            self._outcome.ended[f"{record.state} {record.failure_class or ''}".strip()] += 1
            sound = self._standing.get(record.raw_key) is not None
            replaced = record.failure_class in (Superseded.__name__, "Removed")
            if sound and record.state is State.FAILED and not replaced:
                broken.append(f"a sound scan failed: {record.failure_class}: {record.failure}")
        for key, number in self._standing.items():
            folder = key.removesuffix(".h5")
            manifest = self._manifest(folder)
            if manifest is None:
                broken.append(f"{key} has no manifest")
                continue
            self._check_folder(folder, manifest)
            if number is not None and self._image(folder) != expected[number]:
                broken.append(f"{key} shows another image than that of its content")
        self._check_raw()
        self._check_leftovers()

    def _check_folder(self, folder: str, manifest: dict[str, Any]) -> None:
        """The manifest, the objects and the files on the share are the same."""
        listed = {entry["name"]: entry["sha256"] for entry in manifest["files"]}
        pages = self._cloud.client("s3").list_objects_v2(Bucket=self._outputs["ResultsBucket"], Prefix=f"{folder}/")
        objects = {entry["Key"].rpartition("/")[2] for entry in pages.get("Contents", [])} - {"manifest.json"}
        place = self._share / "results" / folder
        shown = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in place.iterdir() if file.is_file()}
        shown.pop("manifest.json", None)
        if objects != set(listed) or shown != listed:
            self._outcome.broken.append(f"{folder}: manifest, objects and share differ")

    def _check_raw(self) -> None:
        s3 = self._cloud.client("s3")
        for key, number in self._standing.items():
            content = s3.get_object(Bucket=self._outputs["RawBucket"], Key=key)["Body"].read()
            if number is not None and content != self._contents[number]:
                self._outcome.broken.append(f"the raw bytes of {key} have changed")

    def _check_leftovers(self) -> None:
        sqs, s3 = self._cloud.client("sqs"), self._cloud.client("s3")
        deadline_s = time.monotonic() + 60
        for url in self._queues:
            while left := _n_messages(sqs, url):
                if time.monotonic() > deadline_s:
                    self._outcome.broken.append(f"{left} messages are left in {url.rpartition('/')[2]}")
                    break
                time.sleep(POLL_S)
        for bucket in ("RawBucket", "ResultsBucket"):
            if s3.list_multipart_uploads(Bucket=self._outputs[bucket]).get("Uploads"):
                self._outcome.broken.append(f"an upload to {bucket} was never finished")


def _n_messages(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][name]) for name in names)


def _contents(folder: Path) -> Iterator[bytes]:
    for number in range(N_CONTENTS):
        path = folder / f"{number}.h5"
        simulate_scan(path, n_slices=1, n_coils=2, matrix=24, acceleration=2, n_acs_lines=8, seed=number)
        yield path.read_bytes()
        path.unlink()


def _show(found: Outcome) -> None:
    table = Table(title=f"{sum(found.injected.values())} faults, {found.seconds:.0f} s", title_justify="left")
    for heading in ("what", "kind", "number"):
        table.add_column(heading, justify="right" if heading == "number" else "left")
    for what in ("dropped", "injected", "ended"):
        for kind, number in sorted(getattr(found, what).items()):
            table.add_row(what, kind, str(number))
    CONSOLE.print(table)
    for line in found.broken:
        CONSOLE.print(f"BROKEN: {line}", style="red", highlight=False, markup=False)
    if not found.broken:
        CONSOLE.print("every promise was kept")
