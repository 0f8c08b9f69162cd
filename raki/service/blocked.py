"""Why a GPU job gets no instance: what AWS Batch says of the job, its queue and its compute environments.

AWS Batch User Guide, "Jobs stuck in a RUNNABLE status": the reasons, and that a quota of EC2 instances has none.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LONG_S = 900
"""Beyond it a job's wait isn't the start of an instance any more, which takes five or six minutes."""


class Cause(StrEnum):
    """What a job waits for; each has an alarm that says what to do."""

    CAPACITY = "Capacity"
    """No instance of any of the types is to be had in the zone."""
    ENVIRONMENT = "Environment"
    """A queue or compute environment is invalid or off, or Batch lacks a permission."""
    LIMIT = "Limit"
    """As many instances run as there may be."""
    MISFIT = "Misfit"
    """No allowed instance is large enough for a job."""
    QUOTA = "Quota"
    """The account may not run one more instance of the family."""
    UNKNOWN = "Unknown"


_CAUSES: Mapping[str, Cause] = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": Cause.CAPACITY,
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": Cause.MISFIT,
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": Cause.MISFIT,
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS": Cause.ENVIRONMENT,
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED": Cause.ENVIRONMENT,
    "ACTION_REQUIRED": Cause.ENVIRONMENT,
}
"""How the documented reasons begin. UNDETERMINED is the one that says nothing."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A cause and AWS's own words for it."""

    cause: Cause
    reason: str


class Runnable:
    """Since when each job has been seen to wait: its own times are those of its creation, also when it is tried again.

    Args:
        kept: what `to_json` made of it a minute ago, if anything.
    """

    def __init__(self, kept: str | None, jobs: Iterable[Mapping[str, Any]], *, now_s: float) -> None:
        before: dict[str, float] = json.loads(kept) if kept else {}
        self._since_s = {job["jobId"]: before.get(job["jobId"], now_s) for job in jobs}
        self.is_changed = self._since_s != before

    def to_json(self) -> str:
        """For the next minute."""
        return json.dumps({job_id: round(since_s) for job_id, since_s in self._since_s.items()})

    def longest(self, *, now_s: float) -> tuple[str | None, float]:
        """The job that has waited longest, and for how many seconds."""
        if not self._since_s:
            return None, 0.0
        job_id = min(self._since_s, key=lambda one: self._since_s[one])
        return job_id, now_s - self._since_s[job_id]


def diagnose(
    job_reason: str,
    queue: Mapping[str, Any],
    environments: Sequence[Mapping[str, Any]],
    *,
    vcpus_allowed: Sequence[float],
    vcpus_needed: int,
) -> Finding:
    """The cause, from what is most certain to what is only likely.

    Args:
        job_reason: the job's `statusReason`, empty where Batch gives none.
        queue: as DescribeJobQueues has it.
        environments: the queue's, as DescribeComputeEnvironments has them.
        vcpus_allowed: the account's quotas of the markets that are known.
        vcpus_needed: what an instance takes of them.
    """
    used = [one for one in environments if one["state"] == "ENABLED"]
    if words := _out_of_order(queue, used):
        return Finding(cause=Cause.ENVIRONMENT, reason=words)
    for beginning, cause in _CAUSES.items():
        if job_reason.startswith(beginning):
            return Finding(cause=cause, reason=job_reason)
    if all(_is_full(one["computeResources"]) for one in used):
        return Finding(cause=Cause.LIMIT, reason="each compute environment has as many vCPUs as it may")
    if vcpus_allowed and max(vcpus_allowed) < vcpus_needed:
        words = f"quotas of {', '.join(f'{value:g}' for value in vcpus_allowed)} vCPU, an instance has {vcpus_needed}"
        return Finding(cause=Cause.QUOTA, reason=words)
    return Finding(cause=Cause.UNKNOWN, reason=job_reason or "AWS Batch gives no reason")


def _out_of_order(queue: Mapping[str, Any], used: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong with the queue or one of the environments that are switched on; empty if nothing is."""
    if queue["state"] != "ENABLED" or queue["status"] != "VALID":
        return _joined(f"job queue {queue['state']}, {queue['status']}", queue.get("statusReason"))
    for one in used:
        if one["status"] == "INVALID":
            words = f"compute environment {one['computeEnvironmentName']} INVALID"
            return _joined(words, one.get("statusReason"))
    return "" if used else "all compute environments are disabled"


def _is_full(resources: Mapping[str, Any]) -> bool:
    return bool(resources.get("desiredvCpus", 0) >= resources["maxvCpus"])


def _joined(words: str, reason: str | None) -> str:
    return f"{words}: {reason}" if reason else words
