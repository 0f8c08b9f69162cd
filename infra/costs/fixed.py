"""What a deployment costs each month, scans or none."""

from dataclasses import astuple, dataclass

from infra.costs import formulas
from infra.costs.prices import Prices
from infra.deployment import Deployment
from infra.network.endpoints import INTERFACE_ENDPOINTS

KEYS = 2
"""Of the storage stack: one for data, one for operations."""
SECRETS = 1
"""The key of the scan ids."""
METRICS = 54
"""Metrics of our own, each value of a dimension one: all that there can be, though CloudWatch bills only used ones."""
ALARMS = 34
"""At most: with a gateway and a file system."""
ARCHIVE_METRICS, ARCHIVE_ALARMS = 4, 4
"""What there is of both beside these, where a picture archive is sent the results."""
IMPORT_METRICS, IMPORT_ALARMS = 3, 7
"""The same, where results are imported into HealthImaging."""
DASHBOARDS = 1
LOG_GB = 1
"""A month of logs: two Lambdas that run each minute, a few lines a scan, the network's flow logs."""
CATALOGUE_METRICS, CATALOGUE_ALARMS = 3, 2
"""The same, where the catalogue is compacted."""
SENDER = {"vcpus": 0.25, "memory_gb": 2, "disk_gb": 20}
"""What the task asks for that sends results to a picture archive, and runs all the time."""
COMPACTION = {"vcpus": 1, "memory_gb": 8, "disk_gb": 20}
"""What the task asks for that compacts the catalogue."""
COMPACTION_MINUTES = 3
"""Of each, from the pull of its image: an assumption. The rows of a thousand scans of 20 images are taken in in 2 s."""
GATEWAY_DISKS_GB = 80 + 150
"""An appliance's system disk and the smallest cache that AWS allows."""
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


@dataclass(frozen=True, kw_only=True)
class FixedCost:
    """US dollars a month, by part."""

    endpoints: float
    nat: float
    fsx: float
    keys: float
    warm_gpus: float
    gateway_host: float
    sender: float
    compaction: float
    monitoring: float

    @property
    def total(self) -> float:
        """All parts together."""
        return float(sum(astuple(self)))


def fixed_cost(deployment: Deployment, prices: Prices, *, gpu_hour: float) -> FixedCost:
    """What the deployment has running all month. `gpu_hour` is what an hour of its GPU instances costs on demand."""
    count = interface_endpoints(deployment)
    return FixedCost(
        endpoints=formulas.endpoints(count, deployment.n_zones, LOG_GB, prices) if count else 0,
        nat=formulas.nat(1, LOG_GB, prices) if deployment.egress == "nat" else 0,
        fsx=_file_system(deployment, prices),
        keys=KEYS * prices.key_month + SECRETS * prices.secret_month,
        warm_gpus=warm_gpu_hours(deployment) * gpu_hour,
        gateway_host=formulas.gateway_host(GATEWAY_DISKS_GB, prices) if deployment.gateway_on_ec2 else 0,
        sender=_sender(deployment, prices) if deployment.pacs else 0,
        compaction=_compaction(deployment, prices) if deployment.compacts else 0,
        monitoring=_monitoring(deployment, prices),
    )


def interface_endpoints(deployment: Deployment) -> int:
    """How many interface endpoints each zone has; none where a NAT gateway, or the site's own VPC, does their work."""
    if deployment.egress != "endpoints":
        return 0
    # A gateway within the network reaches its own service besides.
    return len(INTERFACE_ENDPOINTS) + int(deployment.gateway_on_ec2)


def warm_gpu_hours(deployment: Deployment) -> float:
    """Hours a month that the deployment's warm GPU instances run, all of them together."""
    hours_a_day = deployment.warm_until - deployment.warm_from
    weeks = formulas.DAYS_PER_MONTH / 7
    return deployment.warm_gpus * hours_a_day * days_a_week(deployment.warm_days) * weeks


def days_a_week(days: str) -> int:
    """How many days `MON-FRI`, `MON,WED` or `SAT-SUN` are.

    Raises:
        ValueError: there is no day of such a name.
    """
    found: set[int] = set()
    for part in days.split(","):
        first, _, last = part.partition("-")
        begin, end = _day(first), _day(last or first)
        found |= {(begin + step) % len(DAYS) for step in range((end - begin) % len(DAYS) + 1)}
    return len(found)


def _day(name: str) -> int:
    if name not in DAYS:
        raise ValueError(f"{name} is no day of the week; one of {', '.join(DAYS)} is needed")
    return DAYS.index(name)


def _sender(deployment: Deployment, prices: Prices) -> float:
    task = formulas.Task(**SENDER, architecture=deployment.worker_architecture)
    return formulas.fargate(task, formulas.HOURS_PER_MONTH * 60, prices)


def _compaction(deployment: Deployment, prices: Prices) -> float:
    task = formulas.Task(**COMPACTION, architecture=deployment.worker_architecture)
    times = formulas.HOURS_PER_MONTH / deployment.catalogue_compaction_h
    return times * formulas.fargate(task, COMPACTION_MINUTES, prices)


def _monitoring(deployment: Deployment, prices: Prices) -> float:
    beside = (
        (bool(deployment.pacs), ARCHIVE_METRICS, ARCHIVE_ALARMS),
        (bool(deployment.healthimaging), IMPORT_METRICS, IMPORT_ALARMS),
        (deployment.compacts, CATALOGUE_METRICS, CATALOGUE_ALARMS),
    )
    return formulas.monitoring(
        metrics=METRICS + sum(metrics for is_there, metrics, _ in beside if is_there),
        alarms=ALARMS + sum(alarms for is_there, _, alarms in beside if is_there),
        dashboards=DASHBOARDS,
        log_gb=LOG_GB,
        prices=prices,
    )


def _file_system(deployment: Deployment, prices: Prices) -> float:
    if deployment.scratch == "nvme":
        return 0
    persistent = deployment.scratch == "fsx-persistent"
    gb_month = prices.fsx_persistent_gb_month if persistent else prices.fsx_scratch_gb_month
    return formulas.fsx(deployment.fsx_gib, formulas.HOURS_PER_MONTH, gb_month)
