"""An estimate as people read it, and as programs do."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from infra.costs import formulas
from infra.costs.course import HOSPITAL
from infra.costs.estimate import Estimate, Workload
from infra.costs.price_list import PriceList

Amount = Callable[[Estimate], float]
NOT_COUNTED = (
    "tax, discounts, free allowances but those of the gateway and of traffic to the internet, container insights, "
    "object-level audit, what development needs, DynamoDB, SQS, Lambda, images, KMS requests"
)


def as_table(estimates: Sequence[Estimate], workload: Workload) -> Table:
    """A column for each profile; what a scan costs, what a month costs, and what both come to."""
    table = Table(title="US dollars", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("each scan")
    for one in estimates:
        table.add_column(one.profile, justify="right")
    _add(table, estimates, _scan_rows(workload), digits=4)
    _head(table, "each month, scans or none")
    _add(table, estimates, FIXED_ROWS, digits=2)
    _head(table, f"with {workload.scans_per_day} scans a day, {workload.scans:g} a month")
    _add(table, estimates, MONTH_ROWS, digits=2)
    _add(table, estimates, SHARE_ROWS, digits=4)
    _head(table, "kept for good")
    _add(table, estimates, KEPT_ROWS, digits=4)
    _add(table, estimates, GROWTH_ROWS, digits=2)
    return table


def as_json(estimates: Sequence[Estimate], workload: Workload, price_list: PriceList) -> dict[str, Any]:
    """Everything that the table says, in US dollars without rounding."""
    return {
        "prices": {"region": price_list.region, "read": price_list.read, "to_check": price_list.to_check},
        "workload": asdict(workload),
        "profiles": {
            one.profile: {
                "each_scan": asdict(one.scan) | {"gpu_on_demand": one.on_demand_gpu, "total": one.scan.total},
                "each_month": asdict(one.fixed) | {"total": one.fixed.total},
                "month": one.month,
                "month_on_demand": one.on_demand_month,
                "scan": one.month / one.scans,
                "scan_on_demand": one.on_demand_month / one.scans,
                "archive_month_a_scan": one.archive_month,
                "results_month_a_scan": one.results_month,
                "healthimaging_month_a_scan": one.healthimaging_month,
                "backup_month_a_scan": one.backup_month,
                "growth_a_month": one.growth,
                "most_at_once": {"gpus": one.most_gpus, "usd_an_hour": one.most_hour},
                "gpu_minutes_a_scan": asdict(one.gpu_minutes) | {"on_demand_share": one.on_demand_share},
                "gpu_hours_a_day": {"needed": one.gpu_hours_needed, "there": one.gpu_hours_there},
            }
            for one in estimates
        },
    }


def notes(estimates: Sequence[Estimate], workload: Workload, price_list: PriceList) -> list[str]:
    """What the numbers rest on, in one line, and which of the profiles can't do the work at all."""
    numbers = price_list.numbers
    slow, fast = (formulas.restored(workload.raw_gb, numbers, bulk=bulk) for bulk in (True, False))
    to_check = ", ".join(price_list.to_check) or "none"
    line: tuple[str, ...] = (
        f"Prices of {price_list.region} read {price_list.read}; to be checked: {to_check}.",
        f"Assumed: {_assumptions(workload, price_list)}.",
        f"Restoring a raw scan: {fast:.3f} within 12 h, {slow:.3f} within 48 h.",
        f"A question to the catalogue by Athena that reads 1 GB: {formulas.question(1, numbers):.3f}.",
        f"Not counted: {NOT_COUNTED}.",
    )
    unused = ", ".join(f"{one.profile} {_unused(one):.0%}" for one in estimates)
    most = ", ".join(f"{one.profile} {one.most_gpus}" for one in estimates)
    line += (f"Start and idle time of what is paid of GPUs: {unused}. GPU instances at once, at most: {most}.",)
    return [" ".join(line), *(_too_slow(one) for one in estimates if one.gpu_hours_needed > one.gpu_hours_there)]


def _unused(one: Estimate) -> float:
    return 1 - one.gpu_minutes.work / one.gpu_minutes.total


def _assumptions(workload: Workload, price_list: PriceList) -> str:
    parts = (
        f"{workload.raw_gb:g} GB a scan, kept in {workload.raw_versions} versions",
        f"{workload.prepared_gb:g} GB of k-space",
        f"{workload.results_gb:g} GB of results",
        f"{workload.decompress_minutes:g} min of decompression",
        f"{workload.run_minutes:g} min on {workload.instance}, {workload.boot_minutes:g} min of boot that scans share, "
        f"{workload.idle_minutes:g} min until Batch ends an instance without a job",
        f"spot at {price_list.numbers.spot_factor:g} of the price on demand, {workload.retry_rate:.0%} of runs lost",
        f"scans {_when(workload)} on {workload.days_per_month:g} days a month",
    )
    return ", ".join(parts)


def _when(workload: Workload) -> str:
    if workload.course == HOSPITAL:
        return "by a hospital's day"
    return f"evenly over {len(workload.course.parts) * workload.course.minutes / 60:g} h"


def _too_slow(one: Estimate) -> str:
    return (
        f"{one.profile} can't keep up: {one.gpu_hours_needed:.1f} GPU hours a day are needed, and its "
        f"raki:max_reconstruction_jobs allows {one.gpu_hours_there:g}."
    )


def _scan_rows(workload: Workload) -> dict[str, Amount]:
    return {
        "decompression": lambda one: one.scan.decompression,
        "GPU, spot first": lambda one: one.scan.gpu,
        f"k-space in S3, {workload.prepared_days:g} days": lambda one: one.scan.prepared,
        "raw in S3 until archived": lambda one: one.scan.raw,
        "results in S3, first month": lambda one: one.scan.results,
        "gateway": lambda one: one.scan.gateway,
        "egress": lambda one: one.scan.egress,
        "requests to S3": lambda one: one.scan.requests,
        "HealthImaging, first month": lambda one: one.scan.healthimaging,
        "backup, first month of results": lambda one: one.scan.backup,
        "[bold]a scan[/bold]": lambda one: one.scan.total,
        "(GPU, if on demand)": lambda one: one.on_demand_gpu,
    }


FIXED_ROWS: dict[str, Amount] = {
    "interface endpoints": lambda one: one.fixed.endpoints,
    "NAT gateway": lambda one: one.fixed.nat,
    "FSx for Lustre": lambda one: one.fixed.fsx,
    "keys and a secret": lambda one: one.fixed.keys,
    "warm GPUs, on demand": lambda one: one.fixed.warm_gpus,
    "gateway on EC2": lambda one: one.fixed.gateway_host,
    "sender to the picture archive": lambda one: one.fixed.sender,
    "compaction of the catalogue": lambda one: one.fixed.compaction,
    "metrics, alarms, dashboard, logs": lambda one: one.fixed.monitoring,
    "[bold]fixed[/bold]": lambda one: one.fixed.total,
}
MONTH_ROWS: dict[str, Amount] = {
    "[bold]a month[/bold]": lambda one: one.month,
    "a month, GPUs on demand": lambda one: one.on_demand_month,
    "an hour at most, all machines": lambda one: one.most_hour,
}
SHARE_ROWS: dict[str, Amount] = {
    "[bold]a scan, all in all[/bold]": lambda one: one.month / one.scans,
    "a scan, GPUs on demand": lambda one: one.on_demand_month / one.scans,
}
KEPT_ROWS: dict[str, Amount] = {
    "archive of a scan, each month": lambda one: one.archive_month,
    "results of a scan, each month": lambda one: one.results_month,
    "its images in HealthImaging": lambda one: one.healthimaging_month,
    "its results in the backup": lambda one: one.backup_month,
}
GROWTH_ROWS: dict[str, Amount] = {"added to each later month's bill": lambda one: one.growth}


def _head(table: Table, text: str) -> None:
    table.add_section()
    table.add_row(f"[italic]{text}[/italic]")


def _add(table: Table, estimates: Sequence[Estimate], rows: dict[str, Amount], *, digits: int) -> None:
    for label, amount in rows.items():
        cells = [amount(one) for one in estimates]
        table.add_row(label, *(f"{cell:,.{digits}f}" if cell else "-" for cell in cells))
