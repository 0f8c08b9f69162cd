"""What each part of the service costs, in US dollars. Pure arithmetic: quantities and prices in, one amount out."""

from dataclasses import dataclass
from math import ceil, exp
from typing import Literal

from infra.costs.prices import Prices

HOURS_PER_MONTH = 730
"""AWS's own figure for what runs all month."""
DAYS_PER_MONTH = 365 / 12
SHORTEST_MINUTES = 1
"""What Fargate and EC2 bill at least."""
OCCUPANCY = 0.95
"""Part of its time that a machine is at work where there is work for several, as the dispatcher has it."""
OWN_MACHINE_MINUTES = 3.75
"""A scan that takes longer doesn't wait for another's machine: of two such the dispatcher starts a second one."""
BUSY_MINUTES = 600
"""For so long a stretch of work for several machines lasts."""
MIDNIGHT_DAYS = 0.5
"""What a lifecycle rule's days last longer in the mean: they end at the midnight that follows (Amazon S3 User Guide,
"Lifecycle configuration elements", "Lifecycle rules: Based on an object's age")."""
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


@dataclass(frozen=True, kw_only=True)
class Minutes:
    """What is paid of a machine for a scan, by what it does meanwhile."""

    work: float
    start: float
    """Boot, pull of the image, start of the program: its share of each."""
    idle: float
    """Waiting for another scan, and for being ended."""

    @property
    def total(self) -> float:
        """All together."""
        return self.work + self.start + self.idle


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A kind of machine that is started for scans and ended when there are none."""

    work: float
    """Minutes a scan."""
    start: float
    """Minutes that are paid before the first scan."""
    stays: float
    """Minutes without a scan after which it is gone; they are paid."""
    most: int
    """How many there may be."""

    @property
    def has_several(self) -> bool:
        """Whether a scan has a machine started for it rather than wait for another's."""
        return self.work >= OWN_MACHINE_MINUTES and self.most > 1


def minutes_a_scan(machine: Machine, *, per_minute: float, at_once: float = 1) -> Minutes:
    """What is paid of a machine for a scan, where scans come by chance, `per_minute` in the mean, so many at a time."""
    if machine.has_several:
        return _with_machines_of_their_own(machine, per_minute=per_minute)
    if per_minute * machine.work > OCCUPANCY:
        return _with_as_many_as_are_needed(machine, per_minute=per_minute)
    return _with_one(machine, per_minute=per_minute, at_once=at_once)


def _with_one(machine: Machine, *, per_minute: float, at_once: float) -> Minutes:
    """A queue with setup and delayed shut-off.

    M/G/1, arrivals of groups of m, rate λ; work S a scan, start B, stay K: one start serves
    m (λB + exp(λK)) / (1 - mλS) scans, and between groups the machine is idle for (exp(λK) - 1) / λ in all.

    Setup: Gandhi, Harchol-Balter, Adan 2010, Perform Eval 67:1123-1138, doi:10.1016/j.peva.2010.07.004. The shut-off is
    the same argument of renewal: of the times until the next group exp(-λK) are longer than K.
    """
    groups = per_minute / at_once
    kept = exp(groups * machine.stays)
    scans = at_once * (groups * machine.start + kept) / (1 - per_minute * machine.work)
    idle = (kept - 1) / groups
    return Minutes(work=machine.work, start=machine.start / scans, idle=idle / scans)


def _with_as_many_as_are_needed(machine: Machine, *, per_minute: float) -> Minutes:
    """More work than one machine can do has several for a busy stretch, started once."""
    load = per_minute * machine.work
    there = max(load, min(machine.most, ceil(load / OCCUPANCY)))
    begun = there / (per_minute * BUSY_MINUTES)
    idle = there / per_minute - machine.work + begun * machine.stays
    return Minutes(work=machine.work, start=begun * machine.start, idle=idle)


def _with_machines_of_their_own(machine: Machine, *, per_minute: float) -> Minutes:
    """Where no machine is free, a scan starts one. Those that are free go after K, or are taken before.

    Machines become free as often as scans come, λ; the free ones are a queue of equal rates in and out with patience K,
    which is empty for 1 / (1 + λK) of the time (M/M/1+D). The rest is taken after K / 2 in the mean. At the limit all
    that there may be are at work or wait, without an end.

    Barrer 1957, Oper Res 5:644-649, doi:10.1287/opre.5.5.644.
    """
    starting = 1 / (1 + per_minute * machine.stays)
    start, idle = machine.start * starting, machine.stays * (1 + starting) / 2
    left = max(0.0, machine.most / per_minute - machine.work)
    part = min(1.0, left / (start + idle))
    return Minutes(work=machine.work, start=part * start, idle=part * idle)


def minutes_in_a_burst(machine: Machine, *, burst: float) -> Minutes:
    """What is paid for one of many scans that come at once: none finds a machine free, and each machine goes after."""
    started = min(machine.most, burst) / burst
    return Minutes(work=machine.work, start=started * machine.start, idle=started * machine.stays)


def beyond(n: int, *, mean: float, most: int) -> float:
    """Of machines whose number is by chance `mean`, and never more than `most`, the part that comes after the first n.

    Numbers as in Erlang's loss system: a machine each for what comes, up to the limit.
    """
    weights = [1.0]
    for count in range(1, most + 1):
        weights.append(weights[-1] * mean / count)
    there = sum(count * weight for count, weight in enumerate(weights))
    return sum(max(0, count - n) * weight for count, weight in enumerate(weights)) / there


def fargate(task: Task, minutes: float, prices: Prices) -> float:
    """One task: hours * (vCPU * price + GB * price + (disk - free disk) * price), from the pull of its image."""
    arm = task.architecture == "arm64"
    vcpu = prices.fargate_arm_vcpu_hour if arm else prices.fargate_x86_vcpu_hour
    memory = prices.fargate_arm_gb_hour if arm else prices.fargate_x86_gb_hour
    disk_gb = max(0.0, task.disk_gb - prices.fargate_disk_free_gb)
    hourly = task.vcpus * vcpu + task.memory_gb * memory + disk_gb * prices.fargate_disk_gb_hour
    return _billed_hours(minutes) * hourly


def instance(minutes: float, hourly: float, *, retry_rate: float = 0) -> float:
    """One scan on a GPU: hours (work + its share of start and idle time) * price * (1 + retries a scan)."""
    return _billed_hours(minutes) * hourly * (1 + retry_rate)


def disk(gb: float, prices: Prices) -> float:
    """An hour of an instance's own volume: GB * price / 730."""
    return gb * prices.gateway_disk_gb_month / HOURS_PER_MONTH


def stored(gb: float, days: float, gb_month: float) -> float:
    """Objects kept until a rule of so many days deletes or archives them: GB * months * price."""
    return gb * (days + MIDNIGHT_DAYS) / DAYS_PER_MONTH * gb_month


def tiered(gb: float, objects: int, months: float, prices: Prices) -> float:
    """Objects in Intelligent-Tiering: months * (GB * price + objects * monitoring), while they are being read."""
    return months * (gb * prices.s3_tiering_gb_month + objects / 1000 * prices.s3_tiering_thousand_month)


def archived(gb: float, months: float, prices: Prices) -> float:
    """Objects in Deep Archive: GB * months * price."""
    return gb * months * prices.deep_archive_gb_month


def image_set(gb: float, gb_month: float, prices: Prices) -> float:
    """A month of one image set in HealthImaging: GB, at least the smallest that is billed, * price."""
    return max(gb, prices.healthimaging_least_mb / 1000) * gb_month if gb else 0


def backed_up(gb: float, days: float, prices: Prices, *, elsewhere: bool) -> float:
    """In a vault of AWS Backup: GB * days / 30.4 * price; in another region's too: as much again and GB * transfer."""
    here = gb * days / DAYS_PER_MONTH * prices.backup_gb_month
    return here + (here + gb * prices.backup_copied_gb if elsewhere else 0)


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
