"""What each part of the service costs, in US dollars. Pure arithmetic: quantities and prices in, one amount out."""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from infra.costs.prices import Prices

HOURS_PER_MONTH = 730
"""AWS's own figure for what runs all month."""
DAYS_PER_MONTH = 365 / 12
SHORTEST_MINUTES = 1
"""What Fargate and EC2 bill at least."""
PART_MB = 8
"""Size of the parts that large objects are moved in: boto3's own, and taken for the gateway's too."""
LEAST_READ_GB = 0.01
"""Of a question to Athena, that is billed at least."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Size of a Fargate task."""

    vcpus: float
    memory_gb: float
    disk_gb: float
    architecture: Literal["x86_64", "arm64"]


def fargate(task: Task, minutes: float, prices: Prices) -> float:
    """One task: hours * (vCPU * price + GB * price + (disk - free disk) * price), from the pull of its image."""
    arm = task.architecture == "arm64"
    vcpu = prices.fargate_arm_vcpu_hour if arm else prices.fargate_x86_vcpu_hour
    memory = prices.fargate_arm_gb_hour if arm else prices.fargate_x86_gb_hour
    disk_gb = max(0.0, task.disk_gb - prices.fargate_disk_free_gb)
    hourly = task.vcpus * vcpu + task.memory_gb * memory + disk_gb * prices.fargate_disk_gb_hour
    return _billed_hours(minutes) * hourly


def instance(run_minutes: float, boot_minutes: float, hourly: float, *, retry_rate: float = 0) -> float:
    """One scan on a GPU: hours (run + its share of the boot) * price * (1 + retries a scan)."""
    return _billed_hours(run_minutes + boot_minutes) * hourly * (1 + retry_rate)


def stored(gb: float, days: float, gb_month: float) -> float:
    """Objects kept for a while: GB * months * price."""
    return gb * days / DAYS_PER_MONTH * gb_month


def tiered(gb: float, objects: int, months: float, prices: Prices) -> float:
    """Objects in Intelligent-Tiering: months * (GB * price + objects * monitoring), while they are being read."""
    return months * (gb * prices.s3_tiering_gb_month + objects / 1000 * prices.s3_tiering_thousand_month)


def archived(gb: float, months: float, prices: Prices) -> float:
    """Objects in Deep Archive: GB * months * price."""
    return gb * months * prices.deep_archive_gb_month


def image_set(gb: float, gb_month: float, prices: Prices) -> float:
    """A month of one image set in HealthImaging: GB, at least the smallest that is billed, * price."""
    return max(gb, prices.healthimaging_least_mb / 1000) * gb_month if gb else 0


def restored(gb: float, prices: Prices, *, bulk: bool) -> float:
    """Objects got back from Deep Archive for once: GB * price of the slower or the faster way."""
    return gb * (prices.deep_archive_bulk_restore_gb if bulk else prices.deep_archive_restore_gb)


def question(gb: float, prices: Prices) -> float:
    """One question to the catalogue by Athena: GB that it reads, at least the least that is billed, * price."""
    return max(gb, LEAST_READ_GB) / 1000 * prices.athena_tb


def requests(*, put_gb: float, get_gb: float, puts: int, transitions: int, prices: Prices) -> float:
    """Requests to S3: (parts of what is written + other PUTs) * price + parts read * price + objects archived * price.

    `puts` are the requests beside the parts: objects that are small, and the gateway's second version of a file.
    """
    return (
        (_parts(put_gb) + puts) * prices.s3_put_thousand
        + _parts(get_gb) * prices.s3_get_thousand
        + transitions * prices.deep_archive_transition_thousand
    ) / 1000


def gateway(gb_month: float, prices: Prices) -> float:
    """A month of writing through one gateway: (GB - free GB) * price, up to the most that AWS asks for a gateway."""
    return min(prices.gateway_most_month, max(0.0, gb_month - prices.gateway_free_gb) * prices.gateway_gb)


def egress(gb_month: float, prices: Prices) -> float:
    """A month of results that leave AWS for the site: (GB - free GB) * price."""
    return max(0.0, gb_month - prices.egress_free_gb) * prices.egress_gb


def fsx(gb: float, hours: float, gb_month: float) -> float:
    """A file system for as long as it exists, used or not: GB * price * hours / 730."""
    return gb * gb_month * hours / HOURS_PER_MONTH


def endpoints(count: int, zones: int, gb: float, prices: Prices) -> float:
    """A month of interface endpoints: count * zones * 730 h * price + GB through them * price."""
    return count * zones * HOURS_PER_MONTH * prices.endpoint_zone_hour + gb * prices.endpoint_gb


def nat(count: int, gb: float, prices: Prices) -> float:
    """A month of NAT gateways: count * 730 h * (price + its public address) + GB through them * price."""
    return count * HOURS_PER_MONTH * (prices.nat_hour + prices.public_address_hour) + gb * prices.nat_gb


def gateway_host(disk_gb: float, prices: Prices) -> float:
    """A month of an EC2 instance that is the gateway: 730 h * price + GB of disk * price."""
    return HOURS_PER_MONTH * prices.gateway_instance_hour + disk_gb * prices.gateway_disk_gb_month


def monitoring(*, metrics: int, alarms: int, dashboards: int, log_gb: float, prices: Prices) -> float:
    """A month of watching: metrics * price + alarms * price + dashboards * price + GB of logs * price."""
    return (
        metrics * prices.metric_month
        + alarms * prices.alarm_month
        + dashboards * prices.dashboard_month
        + log_gb * prices.logs_gb
    )


def _billed_hours(minutes: float) -> float:
    return max(SHORTEST_MINUTES, minutes) / 60


def _parts(gb: float) -> int:
    return ceil(gb * 1024 / PART_MB)
