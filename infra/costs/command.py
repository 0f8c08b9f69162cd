"""`raki cost`: what the service costs on AWS, by the scan and by the month."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from infra.costs.course import HOSPITAL, evenly
from infra.costs.estimate import Workload, estimate
from infra.costs.prices import PricesError
from infra.deployment import CROSS_REGION, NEW, OFF, PROFILES, Deployment
from infra.gpus import INSTANCE_TYPES as INSTANCES

CONSOLE = Console()
BACKUPS = (OFF, "vault", CROSS_REGION)
ANY_VAULT = "arn:aws:backup:eu-west-1:000000000000:backup-vault:any"
"""Which one it is costs the same."""


def cost(
    scans_per_day: Annotated[int, typer.Option(min=1, help="Scans on a day on which there are scans.")],
    gb: Annotated[float, typer.Option(help="Size of a scan as it is dropped on the share, in GB.")],
    profile: Annotated[str, typer.Option(help=f"One of {', '.join(PROFILES)}; all of them when left out.")] = "",
    days_per_month: Annotated[float, typer.Option(min=1, max=31, help="Days with scans in a month.")] = 21,
    hours_per_day: Annotated[
        float | None,
        typer.Option(
            min=1, max=24, help="Hours in which a day's scans come, evenly. When left out: by a hospital's day."
        ),
    ] = None,
    k_space_ratio: Annotated[float, typer.Option(min=0, help="Size of a decompressed scan, by that of the raw.")] = 3,
    results_ratio: Annotated[float, typer.Option(min=0, help="Size of a scan's results, by that of the raw.")] = 0.1,
    k_space_days: Annotated[float, typer.Option(min=0, help="Days for which decompressed scans are kept.")] = 2,
    raw_versions: Annotated[
        int, typer.Option(min=1, help="Copies of a raw scan in S3: a gateway writes each file twice.")
    ] = 2,
    decompress_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes that a worker works on a scan; its start and idle time come on top.")
    ] = 1,
    run_minutes: Annotated[float, typer.Option(min=0.1, help="Minutes of a GPU for a scan; measure your own.")] = 10,
    boot_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes until a new GPU instance works, the pull of its image among them.")
    ] = 5,
    idle_minutes: Annotated[
        float, typer.Option(min=1, help="Minutes until Batch ends an instance that has no job; AWS names no time.")
    ] = 3,
    scans_per_boot: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Scans that share one boot. When left out: what comes while an instance is there.",
        ),
    ] = None,
    retry_rate: Annotated[
        float, typer.Option(min=0, help="Runs lost with a spot instance and repeated, by the scan.")
    ] = 0.05,
    instance: Annotated[
        str, typer.Option(help=f"GPU instance: {', '.join(INSTANCES)}; the dearest first.")
    ] = "g5.xlarge",
    gateway_on_ec2: Annotated[
        bool, typer.Option("--gateway-on-ec2", help="Count a gateway in AWS instead of one on the site's own host.")
    ] = False,
    imported_gb: Annotated[
        float, typer.Option(min=0, help="DICOM images of a scan that go into HealthImaging, in GB; 0: none do.")
    ] = 0,
    catalogue: Annotated[
        bool, typer.Option("--catalogue", help="Count the daily compaction of the catalogue, as with raki:catalogue.")
    ] = False,
    backup: Annotated[str, typer.Option(help=f"As the setting raki:backup: {', '.join(BACKUPS)}.")] = OFF,
    prices: Annotated[Path | None, typer.Option(help="A file of prices instead of the package's prices.toml.")] = None,
    as_json_text: Annotated[bool, typer.Option("--json", help="Print everything as JSON, without rounding.")] = False,
) -> None:
    """Estimate what the service costs on AWS: each scan, each month, and both together, for each profile.

    An estimate from list prices; the bill and its cost explorer say what it was.
    """
    from infra.costs.price_list import read_prices
    from infra.costs.table import as_json, as_table, notes

    if gb <= 0:
        raise typer.BadParameter(f"{gb:g} GB is no size of a scan; it has to be more than 0", param_hint="--gb")
    workload = Workload(
        scans_per_day=scans_per_day,
        days_per_month=days_per_month,
        course=evenly(hours_per_day) if hours_per_day is not None else HOSPITAL,
        raw_gb=gb,
        raw_versions=raw_versions,
        prepared_gb=gb * k_space_ratio,
        prepared_days=k_space_days,
        results_gb=gb * results_ratio,
        imported_gb=imported_gb,
        decompress_minutes=decompress_minutes,
        run_minutes=run_minutes,
        boot_minutes=boot_minutes,
        idle_minutes=idle_minutes,
        scans_per_boot=scans_per_boot,
        retry_rate=retry_rate,
        instance=_one_of(instance, INSTANCES, "--instance"),
    )
    if not all(math.isfinite(value) for value in asdict(workload).values() if isinstance(value, float)):
        raise typer.BadParameter("nan and inf are no sizes, days or minutes; plain numbers are needed")
    try:
        price_list = read_prices(prices)
    except PricesError as error:
        raise typer.BadParameter(str(error), param_hint="--prices") from None
    names = [_one_of(profile, tuple(PROFILES), "--profile")] if profile else list(PROFILES)
    asked = {**_backup(_one_of(backup, BACKUPS, "--backup")), "raki:catalogue": catalogue}
    deployments = [
        _deployment(name, asked, gateway_on_ec2=gateway_on_ec2, healthimaging=imported_gb > 0) for name in names
    ]
    estimates = [estimate(deployment, workload, price_list.numbers) for deployment in deployments]
    if as_json_text:
        typer.echo(json.dumps(as_json(estimates, workload, price_list), indent=2))
        return
    CONSOLE.print(as_table(estimates, workload))
    for note in notes(estimates, workload, price_list):
        CONSOLE.print(escape(note), highlight=False)


def _one_of(value: str, names: tuple[str, ...], option: str) -> str:
    if value not in names:
        raise typer.BadParameter(f"{value} is not among {', '.join(names)}", param_hint=option)
    return value


def _backup(kind: str) -> dict[str, str]:
    elsewhere = {"raki:backup_copy_to": ANY_VAULT} if kind == CROSS_REGION else {}
    return {"raki:backup": kind, **elsewhere}


def _deployment(profile: str, asked: dict[str, Any], *, gateway_on_ec2: bool, healthimaging: bool) -> Deployment:
    # Whom the gateway's share admits costs nothing, but a gateway can't be deployed without it.
    gateway = {"raki:gateway_on_ec2": True, "raki:share_clients": "192.168.0.0/16"} if gateway_on_ec2 else {}
    imports = {"raki:healthimaging": NEW} if healthimaging else {}
    return Deployment.from_context({"raki:profile": profile, **asked, **gateway, **imports})
