"""Submits GPU jobs for the scans that wait and those to be expected. Runs each minute, and when a file is dropped."""

import time
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from botocore.exceptions import ClientError

from raki.service import log, metrics
from raki.service.blocked import LONG_S, Finding, Runnable, diagnose
from raki.service.bookkeeping import Bookkeeping
from raki.service.fleet import INSTANCE_START_S, RECONSTRUCT_S, Limits, Load, jobs_to_submit, patience_s
from raki.service.forecast import Forecast
from raki.service.ledger import Ledger, State
from raki.service.scheduling import PATIENT, QueueDepth, depth, expected, is_poll, schedule
from raki.service.settings import DispatchSettings, from_environment

LOG = log.configure()
BATCH = boto3.client("batch", config=PATIENT)
DYNAMODB = boto3.client("dynamodb")
QUOTAS = boto3.client("service-quotas", config=PATIENT)
SQS = boto3.client("sqs")

NAME = "dispatch_reconstruction"
TURN_S = 30
"""As long as it may run."""
STALLED_AFTER_S = 300
GPU_QUOTAS = ("L-DB2E81BA", "L-3819A6DF")
"""Of EC2: "Running On-Demand G and VT instances", "All G and VT Spot Instance Requests"."""
UNFINISHED = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Counts messages and unfinished jobs, submits those that are lacking, and says how long idle ones are to wait.

    Jobs that get no further count as none.
    """
    settings = from_environment(DispatchSettings)
    books = Bookkeeping(DYNAMODB, settings.ledger_table)
    # Two that count at the same time would submit the same jobs twice. Who comes too late leaves it to the next minute.
    if not books.take_turn(NAME, for_s=TURN_S):
        return {}
    try:
        return schedule(
            SQS,
            settings.reconstruct_queue_url,
            lambda queue: _dispatch(queue, settings, books, n_expected=expected(event), polled=is_poll(event)),
            stage=State.RECONSTRUCTING,
        )
    finally:
        books.end_turn(NAME)


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


def _dispatch(
    queue: QueueDepth, settings: DispatchSettings, books: Bookkeeping, *, n_expected: int, polled: bool
) -> dict[str, int]:
    ledger, now_s = Ledger(DYNAMODB, settings.ledger_table), time.time()
    # A scan that is only being prepared will need a GPU by the time that one has started.
    n_unprepared = max(n_expected, depth(SQS, settings.ingest_queue_url).total)
    forecast = _observe(ledger, books, now_s, n_unprepared)
    load = Load(
        seconds_a_scan=ledger.pace(State.RECONSTRUCTING).seconds_a_scan(otherwise=RECONSTRUCT_S),
        scans_a_second=forecast.scans_a_second(now_s, ahead_s=INSTANCE_START_S),
    )
    is_warm = forecast.is_worth_keeping_warm(now_s, ahead_s=INSTANCE_START_S, hours_a_day=settings.warm_hours_a_day)
    jobs = {status: _jobs(settings.job_queue, status) for status in UNFINISHED}
    unfinished = _count_jobs(jobs, books, now_s)
    submit = jobs_to_submit(
        n_unprepared + queue.total,
        load=load,
        unfinished_jobs=unfinished,
        is_kept_warm=is_warm,
        limits=Limits(most=settings.max_jobs, most_ever=settings.surge_jobs),
    )
    for _ in range(submit):
        BATCH.submit_job(jobName="reconstruct", jobDefinition=settings.job_definition, jobQueue=settings.job_queue)
    waits_s = patience_s(load=load, unfinished_jobs=unfinished + submit, is_kept_warm=is_warm)
    books.keep("patience_s", f"{waits_s:.0f}")
    if polled:
        _watch(settings, jobs["RUNNABLE"], books, now_s)
    return {"UnfinishedJobs": unfinished, "SubmittedJobs": submit}


def _count_jobs(jobs: dict[str, list[dict[str, Any]]], books: Bookkeeping, now_s: float) -> int:
    """Unfinished jobs but for those that hang, which are ended."""
    hung = stalled(jobs["RUNNING"], books.last_alive_s, now_s=now_s)
    for job_id in hung:
        LOG.warning("a job that gets no further is ended", extra={"job": job_id})
        BATCH.terminate_job(jobId=job_id, reason=f"no sign of progress for {STALLED_AFTER_S} s")
    return sum(len(found) for found in jobs.values()) - len(hung)


def _watch(settings: DispatchSettings, jobs: list[dict[str, Any]], books: Bookkeeping, now_s: float) -> None:
    """Measures for how long a job has waited for an instance, where that is too long, and says why.

    What is decided doesn't depend on it, so that nothing that Batch refuses to say here stops anything.
    """
    try:
        kept = books.kept("runnable")
        runnable = Runnable(kept, jobs, now_s=now_s)
        if runnable.is_changed:
            books.keep("runnable", runnable.to_json())
        job_id, waited_s = runnable.longest(now_s=now_s)
        if waited_s > LONG_S:
            (job,) = [one for one in jobs if one["jobId"] == job_id]
            found = _diagnosed(settings, job.get("statusReason", ""))
            members = {"Cause": found.cause, "reason": found.reason, "job": job_id}
            metrics.emit("a job waits for an instance", {"RunnableSeconds": round(waited_s)}, **members)
    except ClientError:
        LOG.exception("why a job waits can't be seen")


def _diagnosed(settings: DispatchSettings, reason: str) -> Finding:
    (queue,) = BATCH.describe_job_queues(jobQueues=[settings.job_queue])["jobQueues"]
    names = [one["computeEnvironment"] for one in queue["computeEnvironmentOrder"]]
    environments = BATCH.describe_compute_environments(computeEnvironments=names)["computeEnvironments"]
    allowed = [QUOTAS.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"] for code in GPU_QUOTAS]
    return diagnose(reason, queue, environments, vcpus_allowed=allowed, vcpus_needed=settings.instance_vcpus)


def _observe(ledger: Ledger, books: Bookkeeping, now_s: float, n_unprepared: int) -> Forecast:
    """The forecast with what has come by now: all that were ever prepared, and those that wait for it."""
    kept = books.kept("forecast")
    before = Forecast.from_json(kept) if kept else Forecast()
    forecast = before.observed(now_s, ledger.pace(State.DECOMPRESSING).n + n_unprepared)
    books.keep("forecast", forecast.to_json())
    return forecast


def _jobs(job_queue: str, status: str) -> list[dict[str, Any]]:
    pages = BATCH.get_paginator("list_jobs").paginate(jobQueue=job_queue, jobStatus=status)
    return [job for page in pages for job in page["jobSummaryList"]]
