"""Submits GPU jobs from the depth of the reconstruct queue. Runs each minute, one at a time."""

from math import ceil
from typing import Any

import boto3

from raki.service import log
from raki.service.ledger import State
from raki.service.scheduling import PATIENT, QueueDepth, schedule
from raki.service.settings import DispatchSettings, from_environment

log.configure()
BATCH = boto3.client("batch", config=PATIENT)
SQS = boto3.client("sqs")

UNFINISHED = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")


def jobs_to_submit(queue: QueueDepth, *, unfinished_jobs: int, scans_per_job: int, max_jobs: int) -> int:
    """How many more jobs to submit.

    A job drains the queue, so one job serves many scans. Messages in flight are in the hands of a job; they count,
    for a job that was lost leaves them behind, but they never call for a job while one is running.

    A job that Batch cancels for want of an instance is submitted anew at once, on purpose: it has waited out its time
    limit in the queue first, so that this makes no more than `max_jobs` jobs in that time, which cost nothing; an
    instance may be there any minute, and nobody else would ask for it.
    """
    wanted = min(max_jobs, ceil(queue.total / scans_per_job))
    return max(0, wanted - unfinished_jobs)


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Counts messages and unfinished jobs, and submits the difference."""
    settings = from_environment(DispatchSettings)
    return schedule(
        SQS, settings.reconstruct_queue_url, lambda queue: _dispatch(queue, settings), stage=State.RECONSTRUCTING
    )


def _dispatch(queue: QueueDepth, settings: DispatchSettings) -> dict[str, int]:
    unfinished = sum(_count_jobs(settings.job_queue, status) for status in UNFINISHED)
    submit = jobs_to_submit(
        queue, unfinished_jobs=unfinished, scans_per_job=settings.scans_per_job, max_jobs=settings.max_jobs
    )
    for _ in range(submit):
        BATCH.submit_job(jobName="reconstruct", jobDefinition=settings.job_definition, jobQueue=settings.job_queue)
    return {"UnfinishedJobs": unfinished, "SubmittedJobs": submit}


def _count_jobs(job_queue: str, status: str) -> int:
    pages = BATCH.get_paginator("list_jobs").paginate(jobQueue=job_queue, jobStatus=status)
    return sum(len(page["jobSummaryList"]) for page in pages)
