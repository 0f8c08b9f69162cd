"""Submits GPU jobs from the depth of the reconstruct queue. Runs each minute, one at a time."""

import time
from collections.abc import Callable, Iterable
from math import ceil
from typing import Any

import boto3

from raki.service import log
from raki.service.bookkeeping import Bookkeeping
from raki.service.ledger import State
from raki.service.scheduling import PATIENT, QueueDepth, schedule
from raki.service.settings import DispatchSettings, from_environment

LOG = log.configure()
BATCH = boto3.client("batch", config=PATIENT)
DYNAMODB = boto3.client("dynamodb")
SQS = boto3.client("sqs")

STALLED_AFTER_S = 300
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
    """Counts messages and unfinished jobs, and submits the difference. Jobs that get no further count as none."""
    settings = from_environment(DispatchSettings)
    return schedule(
        SQS, settings.reconstruct_queue_url, lambda queue: _dispatch(queue, settings), stage=State.RECONSTRUCTING
    )


def stalled(jobs: Iterable[dict[str, Any]], last_alive_s: Callable[[str], int], *, now_s: float) -> list[str]:
    """The ids of the running jobs that should have shown by now that they get on, and haven't.

    A job shows it a few times in each lease, and first when it has loaded its libraries. One that was stopped, or hangs
    as a whole, does no more than hold its instance, up to the timeout of its definition.
    """
    return [
        job["jobId"]
        for job in jobs
        if "startedAt" in job and now_s - max(job["startedAt"] / 1000, last_alive_s(job["jobId"])) > STALLED_AFTER_S
    ]


def _dispatch(queue: QueueDepth, settings: DispatchSettings) -> dict[str, int]:
    jobs = {status: _jobs(settings.job_queue, status) for status in UNFINISHED}
    books = Bookkeeping(DYNAMODB, settings.ledger_table)
    hung = stalled(jobs["RUNNING"], books.last_alive_s, now_s=time.time())
    for job_id in hung:
        LOG.warning("a job that gets no further is ended", extra={"job": job_id})
        BATCH.terminate_job(jobId=job_id, reason=f"no sign of progress for {STALLED_AFTER_S} s")
    unfinished = sum(len(found) for found in jobs.values()) - len(hung)
    submit = jobs_to_submit(
        queue, unfinished_jobs=unfinished, scans_per_job=settings.scans_per_job, max_jobs=settings.max_jobs
    )
    for _ in range(submit):
        BATCH.submit_job(jobName="reconstruct", jobDefinition=settings.job_definition, jobQueue=settings.job_queue)
    return {"UnfinishedJobs": unfinished, "SubmittedJobs": submit}


def _jobs(job_queue: str, status: str) -> list[dict[str, Any]]:
    pages = BATCH.get_paginator("list_jobs").paginate(jobQueue=job_queue, jobStatus=status)
    return [job for page in pages for job in page["jobSummaryList"]]
