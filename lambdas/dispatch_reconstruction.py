"""Submits GPU jobs from the depth of the reconstruct queue. Runs each minute, one at a time."""

from math import ceil
from typing import Any

import boto3

from raki.service import log
from raki.service.depth import QueueDepth, depth
from raki.service.settings import DispatchSettings, from_environment

LOG = log.configure()
BATCH = boto3.client("batch")
SQS = boto3.client("sqs")

UNFINISHED = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")


def jobs_to_submit(queue: QueueDepth, *, unfinished_jobs: int, scans_per_job: int, max_jobs: int) -> int:
    """How many more jobs to submit.

    A job drains the queue, so one job serves many scans. Messages in flight are in the hands of a job; they count,
    for a job that was lost leaves them behind, but they never call for a job while one is running.
    """
    wanted = min(max_jobs, ceil(queue.total / scans_per_job))
    return max(0, wanted - unfinished_jobs)


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Counts messages and unfinished jobs, and submits the difference."""
    settings = from_environment(DispatchSettings)
    queue = depth(SQS, settings.reconstruct_queue_url)
    unfinished = sum(_count_jobs(settings.job_queue, status) for status in UNFINISHED)
    submit = jobs_to_submit(
        queue, unfinished_jobs=unfinished, scans_per_job=settings.scans_per_job, max_jobs=settings.max_jobs
    )
    for _ in range(submit):
        BATCH.submit_job(jobName="reconstruct", jobDefinition=settings.job_definition, jobQueue=settings.job_queue)
    decision = {
        "waiting": queue.waiting,
        "in_flight": queue.in_flight,
        "unfinished_jobs": unfinished,
        "submitted": submit,
    }
    LOG.info("dispatched" if submit else "unchanged", extra=decision)
    return decision


def _count_jobs(job_queue: str, status: str) -> int:
    pages = BATCH.get_paginator("list_jobs").paginate(jobQueue=job_queue, jobStatus=status)
    return sum(len(page["jobSummaryList"]) for page in pages)
