"""A month's bill, event by event, beside what `raki cost` says: scans, machines and objects as they come and go.

Nothing here is a formula of `infra.costs`: machines are billed by the second that the simulated fleet has them, objects
by the time for which they lie in S3, everything else by the hour or by its count. Only the list of prices is shared.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.arrivals import DAY_S, HOUR_S, WEEKEND, Arrival, arrivals
from benchmarks.fleet import Fleet
from benchmarks.fleet_now import Now
from benchmarks.fleet_parts import Scan, Times, decompress_s, reconstruct_s
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from infra.costs.course import HOSPITAL
from infra.costs.estimate import Estimate, Workload, estimate
from infra.costs.fixed import (
    ALARMS,
    DASHBOARDS,
    KEYS,
    LOG_GB,
    METRICS,
    SECRETS,
    interface_endpoints,
)
from infra.costs.price_list import read_prices
from infra.costs.prices import Prices
from infra.deployment import Deployment

MONTH_S = 730 * HOUR_S
FULL_DAYS = 730 / 24 * (5 + 2 * WEEKEND) / 7
"""Working days that a month's scans make, a day of the weekend being a part of one."""
K_SPACE_RATIO, RESULTS_RATIO = 3, 0.1
PART_BYTES = 8 << 20
RESULT_FILES = 9
WITHIN = 0.1
"""Of the simulated bill, how far `raki cost` may be off in total."""

DEPLOYMENTS: dict[str, dict[str, object]] = {
    "minimal": {"raki:profile": "minimal"},
    "minimal, one GPU on demand": {"raki:profile": "minimal", "raki:surge": 1},
    "research, FSx": {"raki:profile": "research"},
}


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One month under one deployment."""

    deployment: str
    scans_a_day: int
    scans: int
    simulated: dict[str, float]
    """US dollars, by part."""
    estimated: dict[str, float]

    @property
    def off(self) -> float:
        """The estimate's total over the simulated one, less one."""
        return sum(self.estimated.values()) / sum(self.simulated.values()) - 1


def bill(
    output: Output = RESULTS,
    scans_a_day: Annotated[list[int] | None, typer.Option(min=1, help="In the mean over a week.")] = None,
    deployment: Annotated[list[str] | None, typer.Option(help=f"Of {'; '.join(DEPLOYMENTS)}.")] = None,
    seed: Annotated[int, typer.Option(help="Of the month.")] = 21,
    run_minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="Minutes of a GPU for a scan, in the mean; when left out, as `scaling`."),
    ] = None,
) -> None:
    """A month billed event by event, beside `raki cost`, part by part."""
    found = []
    for load in scans_a_day or [10, 200]:
        for name in deployment or list(DEPLOYMENTS):
            found.append(compare(name, load, seed=seed, run_minutes=run_minutes))
            _show(found[-1])
    facts = {"seed": seed, "times_s": asdict(Times()), "within": WITHIN}
    facts |= {"months": [asdict(one) | {"off": one.off} for one in found]}
    write_record(output, "bill", facts, lambda path: _draw(found, path))


def compare(name: str, load: int, *, seed: int, run_minutes: float | None = None) -> Compared:
    """Simulates a month and bills it, and asks the formulas for one of the same scans."""
    deployment = Deployment.from_context(DEPLOYMENTS[name])
    month = [one for one in arrivals(load, seed=seed, weeks=5) if one.at_s < MONTH_S]
    usual_s = mean(reconstruct_s(one.gb) for one in month)
    scale = 1.0 if run_minutes is None else run_minutes * 60 / usual_s
    decisions = Now(
        max_workers=deployment.max_decompression_workers,
        max_jobs=deployment.max_reconstruction_jobs,
        surge=deployment.surge,
        is_told=True,
        week=arrivals(load, seed=seed + 1000),
    )
    fleet = Fleet(
        decisions,
        month,
        seed=seed,
        times=Times(),
        most_spot=deployment.spot_gpus,
        reconstructing_s=lambda gb: scale * reconstruct_s(gb),
    ).run()
    prices = read_prices().numbers
    workload = workload_of(month, load, run_minutes=scale * usual_s / 60)
    return Compared(
        deployment=name,
        scans_a_day=load,
        scans=len(month),
        simulated=_machines(fleet, deployment, prices)
        | _objects(fleet.scans, deployment, prices)
        | _by_hour(deployment, prices),
        estimated=_parts(estimate(deployment, workload, prices)),
    )


def workload_of(month: Sequence[Arrival], load: int, *, run_minutes: float) -> Workload:
    """What somebody tells `raki cost` who knows his scans in the mean, and how long his machines take to start."""
    times, gb = Times(), mean(one.gb for one in month)
    starting = (times.instance_boot, times.placement, times.image_pull, times.job_start)
    return Workload(
        scans_per_day=round(load * 7 / (5 + 2 * WEEKEND)),
        days_per_month=FULL_DAYS,
        course=HOSPITAL,
        raw_gb=gb,
        raw_versions=2,
        prepared_gb=gb * K_SPACE_RATIO,
        prepared_days=2,
        results_gb=gb * RESULTS_RATIO,
        imported_gb=0,
        decompress_minutes=mean(decompress_s(one.gb) for one in month) / 60,
        run_minutes=run_minutes,
        boot_minutes=sum(map(mean, starting)) / 60,
        idle_minutes=mean(times.own_scale_in) / 60,
        scans_per_boot=None,
        retry_rate=0.0,
        instance="g5.xlarge",
    )


def _machines(fleet: Fleet, deployment: Deployment, prices: Prices) -> dict[str, float]:
    """By the second, at least a minute each: AWS Fargate pricing; Amazon EC2 On-Demand pricing, Linux."""
    arm = deployment.worker_architecture == "arm64"
    vcpu = prices.fargate_arm_vcpu_hour if arm else prices.fargate_x86_vcpu_hour
    memory = prices.fargate_arm_gb_hour if arm else prices.fargate_x86_gb_hour
    task_hour = 2 * vcpu + 8 * memory + (200 - prices.fargate_disk_free_gb) * prices.fargate_disk_gb_hour
    on_demand, every = _billed_hours(fleet.bill.on_demand_s), _billed_hours(fleet.bill.instance_s)
    disk_hour = 100 * prices.gateway_disk_gb_month / 730
    spot_hour = prices.g5_xlarge_hour * prices.spot_factor
    gpu = on_demand * prices.g5_xlarge_hour + (every - on_demand) * spot_hour + every * disk_hour
    return {"decompression": _billed_hours(fleet.bill.task_s) * task_hour, "GPU": gpu}


def _billed_hours(seconds: Sequence[float]) -> float:
    return sum(max(60.0, one) for one in seconds) / HOUR_S


def _objects(scans: Sequence[Scan], deployment: Deployment, prices: Prices) -> dict[str, float]:
    """Each object from when it is written until the lifecycle takes it away; requests by the part; gateway; egress."""
    raw = prepared = results = requests = 0.0
    for scan in scans:
        gb, at_s = scan.arrival.gb, scan.arrival.at_s
        # The gateway writes the data, then the same with its metadata, and the first version is replaced.
        first_s = midnight_after(at_s + 1 + DAY_S) - at_s
        last_s = midnight_after(at_s + 1 + deployment.archive_after_days * DAY_S) - at_s - 1
        raw += gb * (first_s + last_s) / MONTH_S * prices.s3_standard_gb_month
        kept_s = midnight_after(scan.prepared_s + deployment.keep_prepared_days * DAY_S) - scan.prepared_s
        prepared += K_SPACE_RATIO * gb * kept_s / MONTH_S * prices.s3_standard_gb_month
        results += RESULTS_RATIO * gb * prices.s3_tiering_gb_month
        results += RESULT_FILES / 1000 * prices.s3_tiering_thousand_month
        sizes = [gb, K_SPACE_RATIO * gb, RESULTS_RATIO * gb]
        puts = sum(map(_puts, sizes)) + RESULT_FILES + 1  # and the second version, which S3 copies
        gets = sum(math.ceil(size * 1e9 / PART_BYTES) for size in sizes)
        requests += (puts * prices.s3_put_thousand + gets * prices.s3_get_thousand) / 1000
        requests += 2 / 1000 * prices.deep_archive_transition_thousand
    dropped = sum(scan.arrival.gb for scan in scans)
    written = max(0.0, dropped - prices.gateway_free_gb) * prices.gateway_gb
    left = max(0.0, RESULTS_RATIO * dropped - prices.egress_free_gb) * prices.egress_gb
    return {
        "k-space in S3": prepared,
        "raw in S3": raw,
        "results in S3": results,
        "requests": requests,
        "gateway": min(prices.gateway_most_month, written),
        "egress": left,
    }


def midnight_after(at_s: float) -> float:
    """When a lifecycle rule acts that is due at `at_s`: Amazon S3 User Guide, "Lifecycle configuration elements"."""
    return math.ceil(at_s / DAY_S) * DAY_S


def _puts(gb: float) -> int:
    """Requests of an upload in parts: begin, each part, end."""
    return math.ceil(gb * 1e9 / PART_BYTES) + 2


def _by_hour(deployment: Deployment, prices: Prices) -> dict[str, float]:
    """What is there all month, hour by hour; what is deployed, tests of the estimate hold to the templates."""
    total = dict.fromkeys(("endpoints", "NAT", "FSx"), 0.0)
    zones = deployment.n_zones
    fsx_gb_month = {
        "nvme": 0.0,
        "fsx-scratch": prices.fsx_scratch_gb_month,
        "fsx-persistent": prices.fsx_persistent_gb_month,
    }[deployment.scratch]
    for _hour in range(730):
        total["endpoints"] += interface_endpoints(deployment) * zones * prices.endpoint_zone_hour
        total["FSx"] += deployment.fsx_gib * fsx_gb_month / 730
        if deployment.egress == "nat":
            total["NAT"] += prices.nat_hour + prices.public_address_hour
    watched = METRICS * prices.metric_month + ALARMS * prices.alarm_month + DASHBOARDS * prices.dashboard_month
    return total | {
        "keys": KEYS * prices.key_month + SECRETS * prices.secret_month,
        "monitoring": watched + LOG_GB * prices.logs_gb,
    }


def _parts(found: Estimate) -> dict[str, float]:
    """The estimate of a month, by the same parts."""
    by_scan = {
        "decompression": found.scan.decompression,
        "GPU": found.scan.gpu,
        "k-space in S3": found.scan.prepared,
        "raw in S3": found.scan.raw,
        "results in S3": found.scan.results,
        "requests": found.scan.requests,
        "gateway": found.scan.gateway,
        "egress": found.scan.egress,
    }
    fixed = {
        "endpoints": found.fixed.endpoints,
        "NAT": found.fixed.nat,
        "FSx": found.fixed.fsx,
        "keys": found.fixed.keys,
        "monitoring": found.fixed.monitoring,
    }
    return {name: usd * found.scans for name, usd in by_scan.items()} | fixed


def _show(one: Compared) -> None:
    table = Table(title=f"{one.deployment}, {one.scans_a_day} scans a day ({one.scans} in the month), USD")
    for column in ("part", "simulated", "raki cost", "off"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, simulated, estimated in _rows(one):
        off = f"{100 * (estimated / simulated - 1):+.0f} %" if simulated else "-"
        table.add_row(name, f"{simulated:.2f}", f"{estimated:.2f}", off)
    CONSOLE.print(table)


def _rows(one: Compared) -> Iterator[tuple[str, float, float]]:
    for name, simulated in one.simulated.items():
        if simulated or one.estimated[name]:
            yield name, simulated, one.estimated[name]
    yield "together", sum(one.simulated.values()), sum(one.estimated.values())


def _draw(found: Sequence[Compared], path: Path) -> None:
    """A pair of bars for each month: simulated and estimated, part upon part."""
    figure = import_module("matplotlib.figure").Figure(figsize=(1.8 * len(found) + 3, 4.2), layout="constrained")
    axes: Any = figure.subplots()
    names = [name for name in found[0].simulated if any(one.simulated[name] or one.estimated[name] for one in found)]
    places = [3 * n + side for n in range(len(found)) for side in (0, 1)]
    below = [0.0] * len(places)
    for name in names:
        heights = [bill[name] / sum(one.simulated.values()) for one in found for bill in (one.simulated, one.estimated)]
        axes.bar(places, heights, bottom=below, label=name)
        below = [before + height for before, height in zip(below, heights, strict=True)]
    axes.set_xticks(
        [3 * n + 0.5 for n in range(len(found))], [f"{one.deployment}\n{one.scans_a_day} a day" for one in found]
    )
    axes.set(ylabel="over the simulated bill", title="left: simulated; right: raki cost")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=150)
