"""`raki local`: the whole service on this machine, until stopped, or once for the files given."""

import json
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from infra.local.cloud import LocalCloud
    from infra.local.journal import Event
    from raki.service.ledger import ScanRecord

CONSOLE = Console()
GATEWAY_ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"
CONTEXT = {"raki:gateway_arn": GATEWAY_ARN, "raki:share_clients": "127.0.0.1/32"}
"""The deployment's settings where they can't be those of cdk.json: this machine's gateway, and who may mount it."""
POLL_S = 0.3
GENERATED_NAME = re.compile(r"Raki\w+-(\w+?)[0-9A-F]{8}-\w+")
"""CloudFormation's names carry stack, path, hash and a random part; a person reads the path."""
QUIET_EVENTS = {"lambda", "not modelled", "started", "deployed"}
"""In the log only: two Lambdas run every few seconds."""


def local(
    files: Annotated[list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="Scans for --once.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Drop FILES, wait for their results, and end.")] = False,
    share: Annotated[Path, typer.Option(help="The folder that stands for the network share.")] = Path("share"),
    work: Annotated[Path, typer.Option(help="Logs and scratch of the local cloud.")] = Path(".raki-local"),
    speed: Annotated[
        float, typer.Option(min=1, help="How much faster than on AWS schedules and time limits run.")
    ] = 20,
    port: Annotated[int, typer.Option(help="Port of the AWS endpoint; any free one when left out.")] = 0,
    empty: Annotated[bool, typer.Option("--empty", help="Deploy nothing: leave it to `cdk deploy`.")] = False,
) -> None:
    """Run the whole service on this machine: drop scans into SHARE/raw, find results in SHARE/results.

    The stacks, Lambdas, workers and jobs are the ones that AWS would run; moto stands in for AWS. Ctrl-C ends it.
    """
    if once != bool(files) or (once and empty):
        raise typer.BadParameter("--once needs at least one file, files need --once, and neither goes with --empty")
    assembly = work.resolve() / ("cdk.deployed" if empty else "cdk.out")
    if not empty:
        _synthesise(assembly)
    with _running(share.resolve(), work.resolve(), assembly, speed=speed, port=port) as cloud:
        if empty:
            _say_how_to_deploy(cloud, assembly)
        else:
            with _step("Deploying them"):
                cloud.deploy()
        CONSOLE.print(f"AWS endpoint {cloud.endpoint}, logs in {_short(work / 'logs')}", style="dim", soft_wrap=True)
        if not files:
            CONSOLE.print(f"Drop scans into {_short(share / 'raw')}; results appear in {_short(share / 'results')}.")
            _wait_for_interrupt()
        elif not _drop_and_wait(cloud, share.resolve(), files):
            sys.exit(1)


def _synthesise(assembly: Path) -> None:
    from infra.local.deploy.synth import synthesise

    with _step("Synthesising the stacks"):
        synthesise(assembly, context=CONTEXT)


@contextmanager
def _running(share: Path, work: Path, assembly: Path, *, speed: float, port: int) -> "Iterator[LocalCloud]":
    from infra.local.cloud import LocalCloud, LocalSettings

    work.mkdir(parents=True, exist_ok=True)
    settings = LocalSettings(share=share, work=work, assembly=assembly, speed=speed, port=port)
    with LocalCloud(settings, report=_show) as cloud:
        yield cloud


@contextmanager
def _step(name: str) -> Iterator[None]:
    began = time.monotonic()
    with CONSOLE.status(f"{name} …"):
        yield
    CONSOLE.print(f"{name}: {time.monotonic() - began:.1f} s")


def _show(event: "Event") -> None:
    if event.what not in QUIET_EVENTS:
        at = event.at.astimezone().strftime("%H:%M:%S")
        detail = GENERATED_NAME.sub(r"\1", event.detail)
        line = f"{at}  {event.what}: {detail}"
        CONSOLE.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def _say_how_to_deploy(cloud: "LocalCloud", assembly: Path) -> None:
    # Workers and jobs run what stands in the assembly that was deployed.
    CONSOLE.print("Nothing is deployed. In another terminal, with the CDK's command line:")
    settings = " ".join(f"-c {name}={value}" for name, value in CONTEXT.items())
    for command in ("bootstrap aws://123456789012/us-east-1", f"deploy --all --output {assembly} {settings}"):
        CONSOLE.print(f"  AWS_ENDPOINT_URL={cloud.endpoint} CDK_DOCKER=true npx cdk {command}", soft_wrap=True)


def _wait_for_interrupt() -> None:
    CONSOLE.print("Ctrl-C ends the service.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        CONSOLE.print("Stopping")


def _drop_and_wait(cloud: "LocalCloud", share: Path, files: list[Path]) -> bool:
    """Copies the files to the share, waits until each has come to its end there; True when all have images."""
    from raki.service.ledger import Ledger

    outputs = {
        output["OutputKey"]: output["OutputValue"]
        for output in cloud.client("cloudformation").describe_stacks(StackName="RakiStorage")["Stacks"][0]["Outputs"]
    }
    ledger = Ledger(cloud.client("dynamodb"), outputs["LedgerTable"])
    names = _drop(cloud, share / "raw", outputs["RawBucket"], files)
    dropped = time.monotonic()
    with CONSOLE.status("Waiting for a worker …") as status:
        while True:
            scans = {scan.raw_key: scan for scan in ledger.scans() if scan.raw_key in names}
            ended = [scan for scan in scans.values() if _is_on_the_share(scan, share)]
            if len(ended) == len(names):
                break
            status.update(", ".join(f"{name}: {scans[name].state if name in scans else 'dropped'}" for name in names))
            time.sleep(POLL_S)
    for scan in sorted(ended, key=lambda scan: names.index(scan.raw_key)):
        _tell(scan, share)
    CONSOLE.print(f"Dropped to delivered: {time.monotonic() - dropped:.1f} s")
    return all(scan.failure is None for scan in ended)


def _drop(cloud: "LocalCloud", raw: Path, bucket: str, files: list[Path]) -> list[str]:
    """Copies files of options and, once these have arrived, the scans; returns the scans' names."""
    from raki.names import is_options_file
    from raki.service.messages import is_scratch

    names = [file.name for file in files]
    scans = [name for name in names if not is_options_file(name)]
    if scratch := [name for name in names if is_scratch(name)]:
        raise typer.BadParameter(f"{scratch[0]} is taken for a hidden or unfinished file on a share; rename it")
    if len(set(names)) < len(names):
        raise typer.BadParameter("two of the files have the same name; on the share one would replace the other")
    if not scans:
        raise typer.BadParameter(f"{names[0]} holds options and no scan; name a scan too")
    arrived = cloud.client("s3").get_waiter("object_exists")
    for file in sorted(files, key=lambda file: file.name in scans):
        shutil.copyfile(file, raw / file.name)
        if file.name not in scans:
            arrived.wait(Bucket=bucket, Key=file.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return scans


def _is_on_the_share(scan: "ScanRecord", share: Path) -> bool:
    from raki.service.ledger import State

    manifest = share / "results" / scan.results_folder / "manifest.json"
    if State.DELIVERED not in scan.entered_at or not manifest.exists():
        return False
    listing = json.loads(manifest.read_text())
    files_are_there = all((manifest.parent / entry["name"]).exists() for entry in listing["files"])
    return files_are_there and bool(listing["scan_id"] == scan.scan_id)


def _tell(scan: "ScanRecord", share: Path) -> None:
    """A table of the scan's stages, and where its report is."""
    from raki.service.ledger import State

    folder = share / "results" / scan.results_folder
    table = Table("stage", "seconds", title=escape(scan.raw_key), title_justify="left", show_footer=True)
    table.columns[1].justify = "right"
    stages = {
        "waiting for a worker": (State.ARRIVED, State.DECOMPRESSING),
        "decompressing": (State.DECOMPRESSING, State.PREPARED),
        "waiting for a GPU job": (State.PREPARED, State.RECONSTRUCTING),
        "reconstructing": (State.RECONSTRUCTING, State.RECONSTRUCTED),
        "failing": (State.ARRIVED, State.FAILED),
        "delivering to the share": (State.FAILED if scan.failure else State.RECONSTRUCTED, State.DELIVERED),
    }
    at = scan.entered_at
    for name, (begin, end) in stages.items():
        if begin in at and end in at:
            table.add_row(name, f"{(at[end] - at[begin]).total_seconds():.1f}")
    table.columns[0].footer = "in all"
    table.columns[1].footer = f"{(at[State.DELIVERED] - at[State.ARRIVED]).total_seconds():.1f}"
    CONSOLE.print(table)
    if scan.failure:
        CONSOLE.print(f"[red]{scan.failure_class}:[/red] {escape(scan.failure)}", highlight=False)
    CONSOLE.print(_short(folder / ("error.html" if scan.failure else "report.html")), highlight=False, soft_wrap=True)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
