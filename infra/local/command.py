"""`raki local`: the whole service on this machine, until stopped, or once for the files given."""

import json
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from infra.local.cloud import LocalCloud
    from infra.local.journal import Event
    from raki.service.ledger import Ledger
    from raki.service.record import ScanRecord, State

CONSOLE = Console()
GATEWAY_ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"
CONTEXT = {
    "raki:gateway_arn": GATEWAY_ARN,
    "raki:gateway_on_ec2": "false",
    "raki:share_clients": "127.0.0.1/32",
    "raki:smb_guests_from_anywhere": "true",
    # A network as the profile has it: this machine has no zones, and no VPC of the site's own.
    **dict.fromkeys(("raki:egress", "raki:vpc_cidr", "raki:vpc_id", "raki:vpc_subnets", "raki:zones"), ""),
}
"""Settings that can't be those of cdk.json: this machine's gateway, who may mount it, and the network."""
OF_THE_EXTRA = ("aws_cdk", "awscrt", "awslambdaric", "boto3", "moto", "watchdog")
"""The packages that `.[local]` adds."""
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
    smb: Annotated[bool, typer.Option("--smb", help="Serve the share by SMB too, where Samba is installed.")] = False,
    smb_port: Annotated[int, typer.Option(help="Port of --smb; any free one when left out.")] = 0,
    pacs: Annotated[str, typer.Option(help="Send results to this picture archive too: AETITLE@HOST:PORT.")] = "",
    models: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="A store of models, as `raki models` has it: scans may name these."
        ),
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Deploy nothing: leave it to `cdk deploy`.")] = False,
) -> None:
    """Run the whole service on this machine: drop scans into SHARE/raw, find results in SHARE/results.

    The stacks, Lambdas, workers and jobs are the ones that AWS would run; moto stands in for AWS. Ctrl-C ends it.
    """
    _need_the_extra()
    if once != bool(files) or (once and empty):
        raise typer.BadParameter("--once needs at least one file, files need --once, and neither goes with --empty")
    if empty:
        _need_nothing_deployed(pacs=pacs, smb=smb, models=models)
    if pacs:
        _need_an_archive(pacs)
    assembly = work.resolve() / ("cdk.deployed" if empty else "cdk.out")
    if not empty:
        _synthesise(assembly, _settings(pacs, models))
    began_s, all_have_images = time.time(), True
    with ExitStack() as stack:
        cloud = stack.enter_context(_running(share.resolve(), work.resolve(), assembly, speed=speed, port=port))
        if empty:
            _say_how_to_deploy(cloud, assembly)
        else:
            _deploy(cloud, models)
            if smb:
                stack.enter_context(_by_smb(share.resolve(), work.resolve(), smb_port))
        CONSOLE.print(f"AWS endpoint {cloud.endpoint}, logs in {_short(work / 'logs')}", style="dim", soft_wrap=True)
        if not files:
            _say_where(share)
            _wait_for_interrupt(None if empty else cloud)
        else:
            all_have_images = _drop_and_wait(cloud, share.resolve(), files)
    if not empty:
        _tell_of_alarms(work, assembly, began_s)
    if not all_have_images:
        sys.exit(1)


def _need_the_extra() -> None:
    from raki.commands.operating import NotInstalled

    if missing := [name for name in OF_THE_EXTRA if not find_spec(name)]:
        raise NotInstalled(
            f"the command raki local lacks {', '.join(missing)}: pip install --editable '.[local]' in the checkout"
        )


def _need_nothing_deployed(*, pacs: str, smb: bool, models: Path | None) -> None:
    for asked, needs in (
        (pacs, "--pacs needs a sender"),
        (smb, "--smb needs the shares"),
        (models, "--models needs jobs"),
    ):
        if asked:
            raise typer.BadParameter(f"{needs}, and --empty deploys none")


def _need_an_archive(pacs: str) -> None:
    from raki.destination import Destination

    try:
        Destination.parse(pacs)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _settings(pacs: str, models: Path | None) -> dict[str, str]:
    """Those of the command line, for the stacks."""
    from infra.local.deploy.models import PLACE

    return ({"raki:pacs": pacs} if pacs else {}) | ({"raki:models": PLACE} if models else {})


def _deploy(cloud: "LocalCloud", models: Path | None) -> None:
    from infra.local.deploy.models import put_store

    with _step("Deploying them"):
        cloud.deploy()
    for name in put_store(models, cloud.client("s3")) if models else ():
        CONSOLE.print(f"Model {name}", soft_wrap=True, highlight=False)


def _synthesise(assembly: Path, settings: dict[str, str]) -> None:
    from infra.local.deploy.synth import synthesise

    with _step("Synthesising the stacks"):
        synthesise(assembly, context=CONTEXT | settings)


@contextmanager
def _running(share: Path, work: Path, assembly: Path, *, speed: float, port: int) -> "Iterator[LocalCloud]":
    from infra.local.cloud import LocalCloud, LocalSettings
    from infra.local.work_folder import WorkFolderInUse

    settings = LocalSettings(share=share, work=work, assembly=assembly, speed=speed, port=port, nuisances=False)
    with ExitStack() as stack:
        try:
            cloud = stack.enter_context(LocalCloud(settings, report=_show))
        except WorkFolderInUse as error:
            raise typer.BadParameter(str(error)) from None
        yield cloud


@contextmanager
def _by_smb(share: Path, work: Path, port: int) -> Iterator[None]:
    from infra.local.run.samba import ADDRESS, NoSamba, served

    try:
        with served(share, ("raw",), ("results",), work / "samba", port) as found:
            CONSOLE.print(f"SMB at //{ADDRESS}/raw and //{ADDRESS}/results, port {found}; a guest's, without password")
            CONSOLE.print(f"  smbclient -N -p {found} //{ADDRESS}/raw -c 'put scan.h5'", soft_wrap=True)
            yield
    except NoSamba as error:
        raise typer.BadParameter(str(error)) from None


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


def _say_where(share: Path) -> None:
    from raki.service.folders import STATUS_KEY

    CONSOLE.print(f"Drop scans into {_short(share / 'raw')}; results appear in {_short(share / 'results')}.")
    CONSOLE.print(f"The last scans at a glance, once one has ended: {_short(share / 'results' / STATUS_KEY)}")


def _say_how_to_deploy(cloud: "LocalCloud", assembly: Path) -> None:
    # Workers and jobs run what stands in the assembly that was deployed.
    CONSOLE.print("Nothing is deployed. In another terminal, with the CDK's command line:")
    settings = " ".join(f"-c {name}={value}" for name, value in CONTEXT.items())
    for command in ("bootstrap aws://123456789012/us-east-1", f"deploy --all --output {assembly} {settings}"):
        CONSOLE.print(f"  AWS_ENDPOINT_URL={cloud.endpoint} CDK_DOCKER=true npx cdk {command}", soft_wrap=True)


def _wait_for_interrupt(cloud: "LocalCloud | None") -> None:
    """Says which states scans enter, until Ctrl-C."""
    CONSOLE.print("Ctrl-C ends the service. In another terminal: raki status --watch")
    try:
        if cloud is None:
            threading.Event().wait()
        else:
            ledger = _ledger(cloud)
            seen: dict[str, tuple[State, datetime]] = {}
            while True:
                _tell_changes(list(ledger.scans()), seen)
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        CONSOLE.print("Stopping")


def _tell_changes(records: "list[ScanRecord]", seen: "dict[str, tuple[State, datetime]]") -> None:
    """A line for each state that a scan has entered; of a failure with its sentence."""
    from raki.commands.scan_tables import change_of
    from raki.service.situation import changed

    for record in changed(records, seen):
        at = record.entered_at[record.state].astimezone().strftime("%H:%M:%S")
        CONSOLE.print(f"{at} ", change_of(record, datetime.now(UTC)), soft_wrap=True, highlight=False)


def _ledger(cloud: "LocalCloud") -> "Ledger":
    from raki.service.ledger import Ledger

    return Ledger(cloud.client("dynamodb"), _outputs(cloud)["LedgerTable"])


def _outputs(cloud: "LocalCloud") -> dict[str, str]:
    found = cloud.client("cloudformation").describe_stacks(StackName="RakiStorage")["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in found}


def _drop_and_wait(cloud: "LocalCloud", share: Path, files: list[Path]) -> bool:
    """Copies the files to the share, waits until each has come to its end there; True when all have images."""
    ledger = _ledger(cloud)
    names = _drop(cloud, share / "raw", _outputs(cloud)["RawBucket"], files)
    dropped = time.monotonic()
    seen: dict[str, tuple[State, datetime]] = {}
    with CONSOLE.status("Waiting for a worker …") as status:
        while True:
            scans = {scan.raw_key: scan for scan in ledger.scans() if scan.raw_key in names}
            _tell_changes(list(scans.values()), seen)
            ended = [scan for scan in scans.values() if _is_on_the_share(scan, share)]
            if len(ended) == len(names):
                break
            status.update(", ".join(f"{name}: {scans[name].state if name in scans else 'dropped'}" for name in names))
            time.sleep(POLL_S)
    for scan in sorted(ended, key=lambda scan: names.index(scan.raw_key)):
        _tell(scan, share)
    CONSOLE.print(f"Dropped to delivered: {time.monotonic() - dropped:.1f} s")
    return not any(_has_failed(scan) for scan in ended)


def _drop(cloud: "LocalCloud", raw: Path, bucket: str, files: list[Path]) -> list[str]:
    """Copies files of options and, once these have arrived, the scans; returns the scans' names."""
    from raki.names import companions_of, image_of_noise, is_options_file, is_scan

    names = [file.name for file in files]
    scans = [name for name in names if is_scan(name)]
    known = {*scans, *(companion for name in scans for companion in companions_of(name))}
    if left_alone := [name for name in names if name not in known and not is_options_file(name)]:
        raise typer.BadParameter(
            f"{left_alone[0]} is left alone on a share: by its name it is a note, unfinished, or a part of another file"
        )
    if len(set(names)) < len(names):
        raise typer.BadParameter("two of the files have the same name; on the share one would replace the other")
    if not scans:
        raise typer.BadParameter(f"{names[0]} holds options and no scan; name a scan too")
    arrived = cloud.client("s3").get_waiter("object_exists")
    # What belongs to another first, and the scan is complete when it arrives.
    for file in sorted(files, key=lambda file: (file.name in scans, not image_of_noise(file.name))):
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


def stage_seconds(scan: "ScanRecord") -> dict[str, float]:
    """How long a delivered scan was in each stage, in seconds."""
    from raki.service.ledger import State

    stages = {
        "waiting for a worker": (State.ARRIVED, State.DECOMPRESSING),
        "decompressing": (State.DECOMPRESSING, State.PREPARED),
        "waiting for a GPU job": (State.PREPARED, State.RECONSTRUCTING),
        "reconstructing": (State.RECONSTRUCTING, State.RECONSTRUCTED),
        "failing": (State.ARRIVED, State.FAILED),
        "delivering to the share": (State.FAILED if scan.failure else State.RECONSTRUCTED, State.DELIVERED),
    }
    at = scan.entered_at
    return {
        name: (at[end] - at[begin]).total_seconds()
        for name, (begin, end) in stages.items()
        if begin in at and end in at
    }


def _tell(scan: "ScanRecord", share: Path) -> None:
    """A table of the scan's stages, and where its report is."""
    from raki.service.ledger import State

    folder = share / "results" / scan.results_folder
    table = Table("stage", "seconds", title=escape(scan.raw_key), title_justify="left", show_footer=True)
    table.columns[1].justify = "right"
    for name, seconds in stage_seconds(scan).items():
        table.add_row(name, f"{seconds:.1f}")
    at = scan.entered_at
    table.columns[0].footer = "in all"
    table.columns[1].footer = f"{(at[State.DELIVERED] - at[State.ARRIVED]).total_seconds():.1f}"
    CONSOLE.print(table)
    if scan.failure:
        colour = "red" if _has_failed(scan) else "dim"
        CONSOLE.print(f"[{colour}]{scan.failure_class}:[/{colour}] {escape(scan.failure)}", highlight=False)
    pages = [page for page in ("report.html", "note.html", "error.html") if (folder / page).exists()]
    CONSOLE.print(_short(folder / (pages or ["manifest.json"])[0]), highlight=False, soft_wrap=True)


def _tell_of_alarms(work: Path, assembly: Path, began_s: float) -> None:
    """Once the programs have ended, so that nothing is missing in their logs."""
    from infra.local.alarms.command import rehearsed, summary

    found = summary(rehearsed(assembly, work / "logs", since_s=began_s))
    CONSOLE.print(f"{found}: raki alarms --work {_short(work.resolve())}", soft_wrap=True, highlight=False)


def _has_failed(scan: "ScanRecord") -> bool:
    from raki.errors import NoiseAlone

    return scan.failure is not None and scan.failure_class != NoiseAlone.__name__


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
