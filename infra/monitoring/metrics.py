"""The metrics that are watched: those that the stages write of themselves, what follows from them, and AWS's own.

`raki.service.metrics` says when each of the stages' is written. Its names stand here once more because infra
imports none of the code that it describes; a test compares both lists.
"""

from collections.abc import Mapping

from aws_cdk import Duration, Fn
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_fsx as fsx

from infra.costs.estimate import WORKER
from infra.costs.formulas import Task, fargate
from infra.costs.price_list import read_prices
from infra.deployment import Deployment

NAMESPACE = "raki"

STAGES = ("decompressing", "reconstructing")
STATES = ("arrived", "decompressing", "prepared", "reconstructing", "reconstructed", "delivered", "failed")
OUTCOMES = ("delivered", "failed", "superseded", "noted")
FAILURE_CLASSES = (
    "BadModel",
    "BrokenPlugin",
    "DamagedScan",
    "ModelMismatch",
    "NoCalibration",
    "NoSuchModel",
    "NotAScan",
    "OutageTooLong",
    "StoodStill",
    "TooLarge",
    "UnsafeArchive",
    "UnsupportedScan",
    "WorkerLost",
    "WrongOptions",
)
CAUSES = ("Capacity", "Environment", "Limit", "Misfit", "Quota", "Unknown")
VALUES: Mapping[str, tuple[str, ...]] = {
    "Cause": CAUSES,
    "FailureClass": FAILURE_CLASSES,
    "Outcome": OUTCOMES,
    "Stage": STAGES,
    "State": STATES,
}
"""What each dimension may say."""

METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "BacklogPerTask": ("Count", ()),
    "BusySeconds": ("Seconds", ("Stage",)),
    "CompactionFailures": ("Count", ()),
    "CompactionSeconds": ("Seconds", ()),
    "Compactions": ("Count", ()),
    "DesiredWorkers": ("Count", ()),
    "Entered": ("Count", ("State",)),
    "Failures": ("Count", ("FailureClass",)),
    "IdleSeconds": ("Seconds", ("Stage",)),
    "ImageAgeDays": ("Count", ()),
    "ImportFailures": ("Count", ()),
    "ImportRetries": ("Count", ()),
    "Imported": ("Count", ()),
    "InFlight": ("Count", ("Stage",)),
    "RawBytes": ("Bytes", ()),
    "Remedies": ("Count", ()),
    "Retries": ("Count", ("Stage",)),
    "RunnableSeconds": ("Seconds", ("Cause",)),
    "RunningWorkers": ("Count", ()),
    "ScanSeconds": ("Seconds", ()),
    "Scans": ("Count", ("Outcome",)),
    "SendFailures": ("Count", ()),
    "SendRetries": ("Count", ()),
    "SendSeconds": ("Seconds", ()),
    "Sent": ("Count", ()),
    "StageSeconds": ("Seconds", ("Stage",)),
    "SubmittedJobs": ("Count", ()),
    "UnfinishedJobs": ("Count", ()),
    "Waiting": ("Count", ("Stage",)),
    "WaitingSeconds": ("Seconds", ("Stage",)),
}
"""Unit and dimensions of each."""

FIVE_MINUTES = Duration.minutes(5)
HOUR = Duration.hours(1)
DAY = Duration.days(1)


def metric(
    name: str, statistic: str, *, label: str | None = None, period: Duration = FIVE_MINUTES, **dimensions: str
) -> cloudwatch.Metric:
    """One of our own metrics.

    Raises:
        ValueError: nobody writes such a metric; a misspelt one would stay empty without a word.
    """
    if name not in METRICS:
        raise ValueError(f"no stage writes a metric {name}; those that there are stand in METRICS")
    if tuple(dimensions) != METRICS[name][1]:
        raise ValueError(f"{name} has the dimensions {METRICS[name][1]}; it was asked for by {tuple(dimensions)}")
    if unknown := [value for key, value in dimensions.items() if value not in VALUES[key]]:
        raise ValueError(f"{name} has no {unknown[0]}; it has {', '.join(VALUES[next(iter(dimensions))])}")
    return cloudwatch.Metric(
        dimensions_map=dimensions or None,
        label=label,
        metric_name=name,
        namespace=NAMESPACE,
        period=period,
        statistic=statistic,
    )


def free_space(file_system: fsx.LustreFileSystem) -> cloudwatch.Metric:
    """Free bytes of a file system's fullest storage target: each file lies on one target."""
    return cloudwatch.Metric(
        dimensions_map={"FileSystemId": file_system.file_system_id},
        label="free",
        metric_name="FreeDataStorageCapacity",
        namespace="AWS/FSx",
        period=FIVE_MINUTES,
        statistic="Minimum",
    )


def of_gateway(statistic: str, gateway_arn: str) -> cloudwatch.MathExpression:
    """A metric of a gateway by its id alone: the other dimension, its name, is the site's to change.

    Args:
        statistic: as in `MAX(CachePercentDirty)`.
        gateway_arn: may be known at deployment only.
    """
    gateway_id = Fn.select(1, Fn.split("/", gateway_arn))
    words = (
        *("SELECT", statistic),
        *("FROM", 'SCHEMA("AWS/StorageGateway", GatewayId, GatewayName)'),
        *("WHERE", f"GatewayId = '{gateway_id}'"),
    )
    return cloudwatch.MathExpression(expression=" ".join(words), period=FIVE_MINUTES)


def gpu_busy_share() -> cloudwatch.MathExpression:
    """Percentage of the life of GPU jobs in which they had a scan; an instance's start is not in it."""
    return cloudwatch.MathExpression(
        expression="100 * busy / (busy + FILL(idle, 0))",
        label="of the time of GPU jobs, without their start",
        period=HOUR,
        using_metrics={
            "busy": metric("BusySeconds", "Sum", period=HOUR, Stage="reconstructing"),
            "idle": metric("IdleSeconds", "Sum", period=HOUR, Stage="reconstructing"),
        },
    )


def cost_per_scan(deployment: Deployment) -> list[cloudwatch.MathExpression]:
    """Seconds of a day's GPU jobs and workers by their prices, over the scans that ended with an image on that day.

    Twice, since whether a GPU was had on spot only the bill says: both are for the dearest type that a job may get.
    """
    prices = read_prices()
    worker_hour = fargate(Task(**WORKER, architecture=deployment.worker_architecture), 60, prices.numbers)
    on_demand = prices.numbers.g5_xlarge_hour
    seconds = {
        f"{kind}_{stage}": metric(name, "Sum", period=DAY, Stage=stage)
        for stage in STAGES
        for kind, name in (("busy", "BusySeconds"), ("idle", "IdleSeconds"))
    }
    scans = metric("Scans", "Sum", period=DAY, Outcome="delivered")
    workers, gpus = (f"(FILL(busy_{stage}, 0) + FILL(idle_{stage}, 0))" for stage in STAGES)
    return [
        cloudwatch.MathExpression(
            expression=f"({gpus} * {gpu_hour:.6g} + {workers} * {worker_hour:.6g}) / 3600 / scans",
            label=f"GPU {kind}, prices of {prices.region}, {prices.read}",
            period=DAY,
            using_metrics={**seconds, "scans": scans},
        )
        for kind, gpu_hour in (("on demand", on_demand), ("on spot", on_demand * prices.numbers.spot_factor))
    ]
