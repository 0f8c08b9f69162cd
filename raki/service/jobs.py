"""The GPU job that has a scan in hand, ended for good."""

import time
from datetime import UTC, datetime
from typing import Any

from botocore.client import BaseClient

from raki.service.record import ScanRecord, State

ENDS_S, LOOK_S = 60.0, 1.0
"""How long a terminated job is given to end, and between two looks. Its container has 30 seconds from the signal on:
Amazon ECS container agent configuration, `ECS_CONTAINER_STOP_TIMEOUT`."""


def has_in_hand(record: ScanRecord) -> bool:
    """Whether a job is at work on the scan; one that gave it back, to try again later, is at work on others."""
    return record.state is State.RECONSTRUCTING and record.lease_until_s > datetime.now(UTC).timestamp()


def end_job(batch: BaseClient, record: ScanRecord) -> str | None:
    """Ends the job that took the scan up last, and sees it end: what it still wrote then is written.

    Returns:
        The job's id; None where it has ended by itself, or was no job.

    Raises:
        ClientError: Batch refuses.
    """
    job_id = record.owner.rpartition("-")[0]
    if not _is_running(batch, job_id):
        return None
    batch.terminate_job(jobId=job_id, reason="raki cancel --now")
    deadline_s = time.monotonic() + ENDS_S
    while _is_running(batch, job_id) and time.monotonic() < deadline_s:
        time.sleep(LOOK_S)
    return job_id


def _is_running(batch: BaseClient, job_id: str) -> bool:
    jobs: list[dict[str, Any]] = batch.describe_jobs(jobs=[job_id])["jobs"]
    return any(job["status"] not in ("SUCCEEDED", "FAILED") for job in jobs)
