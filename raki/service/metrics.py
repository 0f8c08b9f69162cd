"""What the service measures of itself, in CloudWatch's embedded metric format: no call, a few members of a log line.

CloudWatch makes metrics of each line that has the member `_aws`, whether a Lambda wrote it or a container. A dimension
has few values, and none of them names a scan, a file or a patient. A metric without dimensions stands for the whole
deployment. Which code says what:

- `stage.Stage`: StageSeconds, WaitingSeconds, Retries, BusySeconds, IdleSeconds, Failures, Scans without a result
- `ledger.Ledger`: Entered
- containers.decompress: RawBytes
- containers.send: Sent, SendSeconds, SendRetries, SendFailures
- containers.compact: Compactions, CompactionSeconds, CompactionFailures
- lambdas.import_results: Imported, ImportRetries, ImportFailures
- lambdas.scale_decompression, each minute: Waiting, InFlight, BacklogPerTask, RunningWorkers, DesiredWorkers
- lambdas.dispatch_reconstruction, each minute: Waiting, InFlight, UnfinishedJobs, SubmittedJobs; RunnableSeconds
  where a job waits too long
- lambdas.renew_instances, each day: ImageAgeDays
- lambdas.refresh_gateway: delivered Scans, ScanSeconds
- lambdas.reconcile: Remedies, failed and superseded Scans, Failures; of what nobody took: SendFailures, ImportFailures

Amazon CloudWatch User Guide, "Specification: Embedded metric format".
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, NamedTuple

from raki.errors import RakiError

LOG = logging.getLogger("raki.metrics")

NAMESPACE = "raki"


class Unit(StrEnum):
    """Those of CloudWatch's units that occur here."""

    BYTES = "Bytes"
    COUNT = "Count"
    SECONDS = "Seconds"


class Metric(NamedTuple):
    """A metric's unit and the names of its dimensions."""

    unit: Unit
    dimensions: tuple[str, ...] = ()


# Values of the dimensions. Stage: "decompressing", "reconstructing". State: the values of `ledger.State`.
# FailureClass: the names of the permanent errors of `raki.errors` that are failures.
# Cause: the values of `blocked.Cause`.
# Outcome: "delivered", "failed", "superseded", "noted"; see `RakiError.outcome`.
METRICS: Mapping[str, Metric] = {
    # One value a scan and stage
    "StageSeconds": Metric(Unit.SECONDS, ("Stage",)),  # of work, where it succeeded
    "WaitingSeconds": Metric(Unit.SECONDS, ("Stage",)),  # from arrived or prepared until the stage first took it up
    "Retries": Metric(Unit.COUNT, ("Stage",)),  # attempts that failed for a passing reason
    "Entered": Metric(Unit.COUNT, ("State",)),  # a scan that is tried again enters its stage again
    # One value a scan
    "RawBytes": Metric(Unit.BYTES),
    "ScanSeconds": Metric(Unit.SECONDS),  # from the drop on the share until the result can be seen there
    "Scans": Metric(Unit.COUNT, ("Outcome",)),
    "Failures": Metric(Unit.COUNT, ("FailureClass",)),
    "Remedies": Metric(Unit.COUNT),  # a scan that stood still was set going again
    # One value a result and try, where a picture archive is to have them
    "Sent": Metric(Unit.COUNT),
    "SendSeconds": Metric(Unit.SECONDS),  # from reconstructed until the archive has all of it
    "SendRetries": Metric(Unit.COUNT),  # the archive couldn't be reached, or didn't take it now
    "SendFailures": Metric(Unit.COUNT),  # given up: refused for what it is, or not taken for days
    # One value a result and job, where HealthImaging is to have them
    "Imported": Metric(Unit.COUNT),
    "ImportRetries": Metric(Unit.COUNT),  # no job could be started
    "ImportFailures": Metric(Unit.COUNT),  # a job failed or left images out, or none could be started for days
    # One value a compaction of the catalogue
    "Compactions": Metric(Unit.COUNT),  # that ended well
    "CompactionSeconds": Metric(Unit.SECONDS),  # of these
    "CompactionFailures": Metric(Unit.COUNT),
    # Of each worker's and each job's life, by and by: with each scan, and at the end. The sum is what is paid for, but
    # for the start; BusySeconds / (BusySeconds + IdleSeconds) of "reconstructing" is the time that GPUs have work.
    "BusySeconds": Metric(Unit.SECONDS, ("Stage",)),
    "IdleSeconds": Metric(Unit.SECONDS, ("Stage",)),
    # Each day
    "ImageAgeDays": Metric(Unit.COUNT),  # of the GPU instances, since the newest was last taken
    # Each minute
    "Waiting": Metric(Unit.COUNT, ("Stage",)),
    "InFlight": Metric(Unit.COUNT, ("Stage",)),
    "BacklogPerTask": Metric(Unit.COUNT),
    "RunningWorkers": Metric(Unit.COUNT),
    "DesiredWorkers": Metric(Unit.COUNT),
    "UnfinishedJobs": Metric(Unit.COUNT),
    "SubmittedJobs": Metric(Unit.COUNT),
    "RunnableSeconds": Metric(Unit.SECONDS, ("Cause",)),  # of the job that has waited longest for an instance
}


def embedded(values: Mapping[str, int | float], members: Mapping[str, Any], *, at_ms: int) -> dict[str, Any]:
    """A log line's members and those that make metrics of it; without values it stays a plain line.

    Args:
        values: by name, as in `METRICS`.
        members: the value of each dimension that one of these metrics has, and whatever else the line says.
        at_ms: when it was measured, in milliseconds since 1970.

    Raises:
        ValueError: there is no such metric, or one of its dimensions is missing.
    """
    if not values:
        return dict(members)
    if unknown := values.keys() - METRICS.keys():
        raise ValueError(f"no such metric: {', '.join(sorted(unknown))}; those that there are stand in METRICS")
    dimension_sets = sorted({METRICS[name].dimensions for name in values})
    if missing := {name for names in dimension_sets for name in names} - members.keys():
        raise ValueError(f"{', '.join(sorted(values))}: the dimension {', '.join(sorted(missing))} is missing")
    directives = [
        {
            "Namespace": NAMESPACE,
            "Dimensions": [list(names)],
            "Metrics": [
                {"Name": name, "Unit": METRICS[name].unit} for name in values if METRICS[name].dimensions == names
            ],
        }
        for names in dimension_sets
    ]
    return {**members, **values, "_aws": {"Timestamp": at_ms, "CloudWatchMetrics": directives}}


def emit(event: str, values: Mapping[str, int | float], **members: object) -> None:
    """Logs `event` with its metrics, their dimensions, and what else is to be said, as a scan's id."""
    LOG.info(event, extra=embedded(values, members, at_ms=int(time.time() * 1000)))


def ended(scan_id: str, error: RakiError) -> None:
    """Counts a scan that ended without a result: failed, or replaced by a newer version, or none that has one."""
    if error.outcome == "failed":
        failure_class = error.failure_class
        emit("ended", {"Scans": 1, "Failures": 1}, Outcome="failed", FailureClass=failure_class, scan_id=scan_id)
    else:
        emit("ended", {"Scans": 1}, Outcome=error.outcome, scan_id=scan_id)


class Occupation:
    """How much of its life a worker is at work."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._since_s = time.monotonic()
        self._is_at_work = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Counts the block as work, and the time since the last one as none."""
        idle_s = self._lap()
        self._is_at_work = True
        try:
            yield
        finally:
            self._is_at_work = False
            emit("worked", {"BusySeconds": self._lap(), "IdleSeconds": idle_s}, Stage=self._stage)

    def end(self) -> None:
        """Counts the time since the last work, or of that which the end cuts off in another thread."""
        name = "BusySeconds" if self._is_at_work else "IdleSeconds"
        emit("ended", {name: self._lap()}, Stage=self._stage)

    def _lap(self) -> float:
        before_s, self._since_s = self._since_s, time.monotonic()
        return round(self._since_s - before_s, 3)
