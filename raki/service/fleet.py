"""How many machines there should be: pure decisions, which Lambdas carry out and `python -m benchmarks scaling` judges.

Two kinds of machines work on scans: decompression workers, which start in less than a minute, and GPU instances, which
take minutes and cost three times as much. Decisions go by seconds of work: how long a scan takes is learnt.
How each number was chosen stands in benchmarks/README.md.
"""

from dataclasses import dataclass
from math import ceil

from raki.service.scheduling import QueueDepth

DECOMPRESS_S = 15.0
RECONSTRUCT_S = 60.0
"""What a scan takes, until the ledger knows better."""

WORKER_BACKLOG_S = 60.0
"""Work that a worker may have before it: for more, another one is there soon enough to help."""
WORKER_QUIET_POLLS = 2
"""For so many minutes in a row fewer have to be enough before some go. SQS's counts are right only a minute after the
last change (Amazon SQS API Reference, GetQueueAttributes), so one poll proves nothing."""

INSTANCE_START_S = 330.0
"""From a job's submission to its first scan, where no instance is there."""
START_COST_S = 450.0
"""What starting an instance and ending it again costs, in seconds of an instance: boot, pull of the image, start of the
program, and the while until Batch ends it."""
JOB_BACKLOG_S = 120.0
"""Within how long the work that is left when new instances are there is to be done."""
OCCUPANCY = 0.95
"""Part of its time that a GPU is to be at work, where there is work for several."""
LONG_WAIT_S = 600.0
"""Beyond it a queue may have more machines than in ordinary times: as many as see to it within this time."""
PATIENT_S = 600.0
"""How long a job waits that will be needed again before a new one would have paid."""
IMPATIENT_S = 20.0
"""How long one waits that won't: one receive, for the scan that is just being prepared."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a stage has to reckon with."""

    seconds_a_scan: float
    """Of work, in the mean."""
    scans_a_second: float
    """That will arrive."""

    @property
    def machines(self) -> float:
        """How many the work keeps busy all the time."""
        return self.scans_a_second * self.seconds_a_scan


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How many machines of a kind there may be."""

    most: int
    """In ordinary times."""
    most_ever: int
    """However long the queue."""

    def now(self, work_s: float) -> int:
        """With `work_s` seconds of work to be done."""
        return min(self.most_ever, max(self.most, ceil(work_s / LONG_WAIT_S)))


def desired_workers(
    queue: QueueDepth, *, seconds_a_scan: float, current: int, quiet_polls: int, limits: Limits, is_deploying: bool
) -> int:
    """How many decompression workers there should be.

    Messages in flight count: they are scans being worked on. ECS chooses itself which workers it stops, but never one
    that has a scan in hand, for those are protected; so the number falls while others are at work, by half of what is
    too many each time. While a deployment is replacing workers it doesn't fall, for the old ones are counted too.
    """
    most = limits.now(queue.total * seconds_a_scan)
    needed = min(most, needed_workers(queue, seconds_a_scan=seconds_a_scan))
    current = min(current, limits.most_ever)
    if needed >= current or is_deploying or quiet_polls < WORKER_QUIET_POLLS:
        return max(needed, current)
    return needed + (current - needed) // 2


def needed_workers(queue: QueueDepth, *, seconds_a_scan: float) -> int:
    """How many would see to the queue within a backlog's time, whatever there may be."""
    return max(min(1, queue.total), ceil(queue.total * seconds_a_scan / WORKER_BACKLOG_S))


def jobs_to_submit(n_scans: int, *, load: Load, unfinished_jobs: int, is_kept_warm: bool, limits: Limits) -> int:
    """How many more GPU jobs to submit.

    A job takes scans until none comes for a while. `n_scans` are all that wait for a GPU or will once prepared: an
    instance that is started now is there by then. Another instance pays if there will be work left when it is; and
    where arrivals keep several at work, they are there before the queue is long.

    A job that Batch cancels for want of an instance is submitted anew at once, on purpose: it has waited out its time
    limit in the queue first, so that this makes no more jobs than the limit in that time, which cost nothing; an
    instance may be there any minute, and nobody else would ask for it.
    """
    work_s = n_scans * load.seconds_a_scan
    left_s = work_s - unfinished_jobs * INSTANCE_START_S
    wanted = unfinished_jobs
    if left_s > JOB_BACKLOG_S * unfinished_jobs:
        # A scan is one job's: of those that take minutes, more jobs than scans would find nothing to do.
        wanted = max(unfinished_jobs, min(n_scans, ceil(left_s / JOB_BACKLOG_S)))
    wanted = max(wanted, min(1, n_scans), int(is_kept_warm))
    if load.machines > 1:
        wanted = max(wanted, steady_jobs(load))
    # Under a steady load the queue is to stay short, and says nothing of how many jobs that takes.
    most = min(limits.most_ever, max(limits.now(work_s), steady_jobs(load)))
    return max(0, min(most, wanted) - unfinished_jobs)


def steady_jobs(load: Load) -> int:
    """How many jobs the arrivals keep at work, or are worth being kept for the next one."""
    if load.machines > OCCUPANCY:
        return ceil(load.machines / OCCUPANCY)
    return int(load.scans_a_second * START_COST_S > 1)


def patience_s(*, load: Load, unfinished_jobs: int, is_kept_warm: bool) -> float:
    """How long a job without work is to wait for some: as long as waiting costs less than a start.

    Arrivals don't remember how long ago the last one was. So a job whose next scan is expected within what a start
    costs waits on, and another one goes at once.
    """
    return PATIENT_S if unfinished_jobs <= max(steady_jobs(load), int(is_kept_warm)) else IMPATIENT_S
