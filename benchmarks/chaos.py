"""`python -m benchmarks chaos`: the whole service under faults, and what may never come of them."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.chaos_faults import processes, strike
from benchmarks.chaos_plan import N_SOUND, POISON, QUEUES, SIGNALS, WEIGHTS, Plan, Step, draw
from benchmarks.chaos_promises import Promises, Truth
from benchmarks.chaos_service import Service, contents, running
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from infra.local.command import CONTEXT
from infra.local.deploy.synth import synthesise
from raki.service.ledger import State
from raki.service.messages import notification

SETTINGS = {**CONTEXT, "raki:method": "zero_filled", "raki:maps": "false"}
POLL_S = 1.0
ROUND_S = 10.0
"""Between two rounds of the reconciler, once all is dropped."""
LEFT_S = 5.0


@dataclass(kw_only=True)
class Outcome:
    """What came of a plan."""

    injected: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    remedies: Counter[str] = field(default_factory=Counter)
    broken: dict[str, list[str]] = field(default_factory=dict)
    """By promise, where it wasn't kept."""
    dropping_s: float = 0.0
    delivering_s: float = 0.0
    """From the first drop until everything was delivered."""
    after_outage_s: float | None = None
    """From the end of the long outage until everything was delivered."""
    waits_s: list[float] = field(default_factory=list)
    """From the drop of each standing file to its delivery."""

    @property
    def is_kept(self) -> bool:
        return not any(self.broken.values())


def chaos(
    scans: Annotated[int, typer.Option(min=1, help="Files that are dropped.")] = 300,
    faults: Annotated[int, typer.Option(min=0, help="Faults, of all kinds together.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same plan.")] = 0,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long to wait for the end.")] = 12.0,
    kind: Annotated[list[str] | None, typer.Option(help=f"Faults of these kinds alone: {', '.join(WEIGHTS)}.")] = None,
    outage_s: Annotated[float, typer.Option(min=0, help="In the middle S3 is gone for so long.")] = 0.0,
    poison: Annotated[int, typer.Option(min=0, help="Messages that nobody understands, before the first drop.")] = 0,
    output: Output = RESULTS,
) -> None:
    """Drops scans into the local cloud while everything around it fails; names each promise that isn't kept."""
    plan = draw(scans, faults, seed, kind or WEIGHTS)
    with TemporaryDirectory() as name:
        folder = Path(name)
        assembly = synthesise(folder / "work" / "cdk.out", context=SETTINGS)
        found = run(plan, folder, assembly, patience_s=minutes * 60, outage_s=outage_s, poison=poison)
    _show(plan, found)
    asked = {"scans": scans, "faults": faults, "seed": seed, "outage_s": outage_s, "poison": poison}
    write_record(output, "chaos", {**asked, "planned": plan.kinds, **vars(found)})
    if not found.is_kept:
        raise typer.Exit(1)


def run(
    plan: Plan, folder: Path, assembly: Path, *, patience_s: float, outage_s: float = 0.0, poison: int = 0
) -> Outcome:
    """Carries a plan out in `folder`."""
    with running(folder, assembly) as service:
        storm = Storm(service, patience_s)
        outcome = storm.rage(plan, outage_s=outage_s, poison=poison)
        endpoint = service.cloud.endpoint
    deadline_s = time.monotonic() + LEFT_S
    while (left := processes(endpoint, at_work=False)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    outcome.broken["no process is left"] = [f"{len(left)} processes outlived the cloud"] if left else []
    return outcome


class Storm:
    """One run: undisturbed scans for comparison, then all the others under faults, then what is to be seen."""

    def __init__(self, service: Service, patience_s: float) -> None:
        self._service = service
        self._patience_s = patience_s
        self.truth = Truth(contents=contents(service.folder, N_SOUND))
        self._outcome = Outcome()
        self._dropped_at: dict[str, datetime] = {}

    def rage(self, plan: Plan, *, outage_s: float, poison: int) -> Outcome:
        """The whole of it."""
        for number in range(N_SOUND):
            self._put(f"undisturbed/{number}.h5", number)
        self._wait("undisturbed")
        self.truth.images = [self._service.image(f"undisturbed/{number}") for number in range(N_SOUND)]
        began_s = time.monotonic()
        for number in range(poison):
            self._send(QUEUES[number % len(QUEUES)], POISON[number % len(POISON)])
        self._service.requests.spoil(plan)
        returned_s = self._fly(plan, outage_s)
        self._outcome.dropping_s = time.monotonic() - began_s
        self._wait("under faults", reconciles=True)
        self._outcome.delivering_s = time.monotonic() - began_s
        if outage_s:
            self._outcome.after_outage_s = time.monotonic() - returned_s
        self._outcome.injected += self._service.requests.counts
        self._look()
        return self._outcome

    def _fly(self, plan: Plan, outage_s: float) -> float:
        """Takes the plan's steps; returns when S3 comes back."""
        returned_s = 0.0
        for number, step in enumerate(plan.steps):
            if outage_s and number == len(plan.steps) // 2:
                self._service.requests.refuse("s3", outage_s)
                returned_s = time.monotonic() + outage_s
            time.sleep(step.pause_s)
            if step.kind == "drop":
                self._drop(step)
            elif self._disturb(step):
                self._outcome.injected[step.kind] += 1
        time.sleep(max(0.0, returned_s - time.monotonic()))
        return returned_s

    def _drop(self, step: Step) -> None:
        self._outcome.dropped += 1
        for turn, number in enumerate(step.contents):
            time.sleep(step.gap_s if turn else 0)
            self._put(step.key, number)
        if step.is_removed:
            time.sleep(step.gap_s)
            self._service.cloud.client("s3").delete_object(Bucket=self._service.outputs["RawBucket"], Key=step.key)
            del self.truth.standing[step.key]
            self._outcome.injected["removed at once"] += 1
        elif len(step.contents) > 1:
            self._outcome.injected["A-B-A" if len(step.contents) == 3 else "replaced at once"] += 1

    def _put(self, key: str, number: int) -> None:
        self._dropped_at[key] = datetime.now(UTC)
        self._service.put(key, self.truth.contents[number])
        self.truth.standing[key] = number
        self.truth.dropped.add((key, number))

    def _disturb(self, step: Step) -> bool:
        """Does what a step says; False where there was nothing to do it to."""
        if step.kind in SIGNALS:
            return strike(step, self._service.cloud.endpoint)
        queue = QUEUES[int(step.pick * len(QUEUES))]
        if step.kind == "queue purged":
            return self._service.purge(queue)
        acts: dict[str, Callable[[], None]] = {
            "announced again": lambda: self._announce(step),
            "announced late": lambda: self._announce(step),
            "poison": lambda: self._send(queue, step.text),
            "S3 gone": lambda: self._service.requests.refuse("s3", step.seconds),
            "refresh refused": lambda: self._service.requests.refuse("refresh", step.seconds),
        }
        acts[step.kind]()
        return True

    def _announce(self, step: Step) -> None:
        """As S3 did for that content, once more; late is what speaks of a version that was replaced since."""
        bucket, content = self._service.outputs["RawBucket"], self.truth.contents[step.contents[0]]
        at = self._dropped_at[step.key]
        self._send("Ingest", notification(bucket, step.key, at=at, n_bytes=len(content)))

    def _send(self, queue: str, body: str) -> None:
        self._service.cloud.client("sqs").send_message(QueueUrl=self._service.queues[queue], MessageBody=body)

    def _wait(self, what: str, *, reconciles: bool = False) -> None:
        """Until everything has come to its end, at rest, or for as long as patience lasts."""
        began_s = told_s = round_s = time.monotonic()
        while waiting := self._still():
            now_s = time.monotonic()
            if now_s - began_s > self._patience_s:
                return
            if now_s - began_s > self._patience_s / 2:
                self._service.requests.calm()
            if reconciles and now_s - round_s > ROUND_S:
                self._outcome.remedies += self._service.reconcile()
                round_s = now_s
            if now_s - told_s > 30:
                CONSOLE.print(f"{what}: {now_s - began_s:.0f} s, {waiting}", style="dim", highlight=False)
                told_s = now_s
            time.sleep(POLL_S)

    def _still(self) -> str:
        """What is still to come; empty when the service is at rest."""
        records = self._service.records()
        ids = {key: self._service.scan_id(key, self.truth.contents[n]) for key, n in self.truth.standing.items()}
        n_waiting = sum(one not in records or not self._service.is_shown(records[one]) for one in ids.values())
        n_under_way = sum(record.state not in (State.DELIVERED, State.FAILED) for record in records.values())
        n_messages = sum(self._service.n_messages(queue) for queue in QUEUES)
        n_left = self._service.requests.n_left
        if not n_waiting + n_under_way + n_messages + n_left:
            return ""
        return (
            f"{n_waiting} files wait, {n_under_way} scans under way, {n_messages} messages, {n_left} requests to spoil"
        )

    def _look(self) -> None:
        records = self._service.records()
        for record in records.values():
            self._outcome.ended[" ".join(filter(None, (record.state, record.failure_class)))] += 1
        for key, number in self.truth.standing.items():
            found = records.get(self._service.scan_id(key, self.truth.contents[number]))
            if found and State.DELIVERED in found.entered_at and not key.startswith("undisturbed/"):
                waited = found.entered_at[State.DELIVERED] - self._dropped_at[key]
                self._outcome.waits_s.append(round(waited.total_seconds(), 1))
        self._outcome.broken = Promises(self._service, self.truth).broken()


def _show(plan: Plan, found: Outcome) -> None:
    table = Table("kind of fault", "planned", "injected", title=f"{found.dropped} files", title_justify="left")
    for kind, number in sorted(plan.kinds.items(), key=lambda one: list(WEIGHTS).index(one[0])):
        table.add_row(kind, str(number), str(found.injected[kind]))
    table.add_row("in all", str(plan.kinds.total()), str(found.injected.total()), style="bold")
    CONSOLE.print(table)
    promises = Table("promise", "broken")
    for name, places in found.broken.items():
        promises.add_row(name, str(len(places)) if places else "", style="red" if places else "")
    CONSOLE.print(promises)
    for name, places in found.broken.items():
        for place in places[:10]:
            CONSOLE.print(f"{name}: {place}", style="red", highlight=False, markup=False, soft_wrap=True)
    CONSOLE.print(f"ended: {dict(found.ended)}; remedies: {dict(found.remedies)}", highlight=False, soft_wrap=True)
    waits = sorted(found.waits_s) or [0.0]
    told = ", ".join(f"{name} {waits[int(part * (len(waits) - 1))]:.0f}" for name, part in QUANTILES.items())
    CONSOLE.print(
        f"dropped in {found.dropping_s:.0f} s, all delivered after {found.delivering_s:.0f} s; waits s: {told}"
    )
    if found.after_outage_s is not None:
        CONSOLE.print(f"all delivered {found.after_outage_s:.0f} s after S3 had come back")


QUANTILES = {"p50": 0.5, "p95": 0.95, "most": 1.0}
