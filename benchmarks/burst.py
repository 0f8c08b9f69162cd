"""`python -m benchmarks burst`: many scans dropped at once into the local cloud, and where their time goes."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.chaos_faults import MODULES, processes
from benchmarks.memory import peak_bytes
from benchmarks.plots import plot_stages
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from infra.local.cloud import LocalCloud, LocalSettings
from infra.local.command import CONTEXT, stage_seconds
from infra.local.deploy.synth import synthesise
from raki.phantom.simulation import simulate_scan
from raki.service.ledger import Ledger, ScanRecord, State

POLL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of a burst."""

    scans_a_minute: float
    """From the first drop until the last was delivered."""
    seconds_by_stage: dict[str, list[float]]
    idle_share: float
    """Of the devices' time, from the first scan that had one to the last."""
    peak_bytes: dict[str, int]
    """By kind of process, of the one that held the most."""


def burst(
    scans: Annotated[int, typer.Option(min=1, help="Files that are dropped at once.")] = 100,
    slices: Annotated[int, typer.Option(min=1, help="Of each scan.")] = 1,
    coils: Annotated[int, typer.Option(min=1, help="Of each scan.")] = 4,
    matrix: Annotated[int, typer.Option(min=24, help="Lines and samples of each slice.")] = 64,
    output: Output = RESULTS,
) -> None:
    """Many scans at once through the whole service on this machine: scans a minute, seconds by stage, memory."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        assembly = synthesise(folder / "work" / "cdk.out", context=CONTEXT)
        scan = folder / "scan.h5"
        simulate_scan(scan, n_slices=slices, n_coils=coils, matrix=matrix, acceleration=2, n_acs_lines=16, seed=0)
        settings = LocalSettings(share=folder / "share", work=folder / "work", assembly=assembly)
        with LocalCloud(settings) as cloud:
            cloud.deploy()
            found = run(cloud, folder, scan.read_bytes(), scans)
    _show(found)
    medians = {stage: median(seconds) for stage, seconds in found.seconds_by_stage.items()}
    asked = {"scans": scans, "slices": slices, "coils": coils, "matrix": matrix}
    title = f"{scans} scans at once: {found.scans_a_minute:.0f} a minute; the middle one's time"
    write_record(output, "burst", asked | asdict(found), lambda path: plot_stages(medians, title, path))


def run(cloud: LocalCloud, folder: Path, content: bytes, n_scans: int) -> Found:
    """Drops so many files of this content, each under its own name, and waits until all are delivered.

    Raises:
        RuntimeError: a scan failed, of which the share shows a page sooner than a result.
    """
    (stack,) = cloud.client("cloudformation").describe_stacks(StackName="RakiStorage")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    ledger = Ledger(cloud.client("dynamodb"), outputs["LedgerTable"])
    peaks: defaultdict[str, int] = defaultdict(int)
    began_s = time.monotonic()
    for number in range(n_scans):
        cloud.client("s3").put_object(Bucket=outputs["RawBucket"], Key=f"{number}.h5", Body=content)
    while len(ended := [scan for scan in ledger.scans() if State.DELIVERED in scan.entered_at]) < n_scans:
        for kind, n_bytes in _memory(cloud.endpoint):
            peaks[kind] = max(peaks[kind], n_bytes)
        time.sleep(POLL_S)
    minutes = (time.monotonic() - began_s) / 60
    if failed := [scan for scan in ended if scan.failure]:
        raise RuntimeError(f"{len(failed)} of {n_scans} scans failed, the first with: {failed[0].failure}")
    return Found(
        scans_a_minute=n_scans / minutes,
        seconds_by_stage=_by_stage(ended),
        idle_share=idle_share(_logs(folder / "work" / "logs")),
        peak_bytes=dict(peaks) | {"the local cloud": peak_bytes() or 0},
    )


def idle_share(logs: Iterable[Iterable[dict[str, Any]]]) -> float:
    """The part of their time that devices stood idle between two scans, from the log of each job."""
    busy_s = idle_s = 0.0
    for lines in logs:
        worked = [line for line in lines if line.get("event") == "worked" and line.get("Stage") == State.RECONSTRUCTING]
        busy_s += sum(line["BusySeconds"] for line in worked)
        # Before its first scan a job waits for that, and is not behind.
        idle_s += sum(line["IdleSeconds"] for line in worked[1:])
    return idle_s / (busy_s + idle_s)


def _by_stage(ended: Iterable[ScanRecord]) -> dict[str, list[float]]:
    found = defaultdict(list)
    for scan in ended:
        for stage, seconds in stage_seconds(scan).items():
            found[stage].append(seconds)
    return dict(found)


def _memory(endpoint: str) -> Iterator[tuple[str, int]]:
    for pid in processes(endpoint, at_work=True):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        for kind in set(MODULES) & set(command):
            yield kind.decode(), peak_bytes(pid) or 0


def _logs(folder: Path) -> Iterator[list[dict[str, Any]]]:
    for path in sorted(folder.glob("batch-*.log")):
        yield [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def _show(found: Found) -> None:
    table = Table("stage", "median s", "most s", title=f"{found.scans_a_minute:.1f} scans a minute")
    for stage, seconds in found.seconds_by_stage.items():
        table.add_row(stage, f"{median(seconds):.2f}", f"{max(seconds):.2f}")
    CONSOLE.print(table)
    CONSOLE.print(f"devices idle between scans: {100 * found.idle_share:.0f} %")
    for kind, n_bytes in found.peak_bytes.items():
        CONSOLE.print(f"{kind}: {n_bytes / 2**20:.0f} MiB at most", highlight=False)
