"""A model of the machines that work on scans: Fargate's tasks, Batch's jobs and instances.

It decides nothing: `Decisions` are asked each minute, as the Lambdas are, and at each arrival where told of it.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import simpy

from benchmarks.arrivals import Arrival
from benchmarks.fleet_parts import Decisions, Queue, Scan, Times, View, decompress_s, reconstruct_s

MINUTE_S = 60
Steps = Generator[Any, Any, None]


@dataclass(slots=True, eq=False)
class Worker:
    """One Fargate task."""

    since_s: float
    is_idle: bool = False
    is_running: bool = False
    process: Any = None


@dataclass(slots=True, eq=False)
class Instance:
    """One GPU instance; a job fills it."""

    since_s: float
    is_spot: bool = True
    job: "Job | None" = None
    is_up: bool = False
    has_image: bool = False
    idle_since_s: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """One Batch job, which drains the queue."""

    is_running: bool = False
    process: Any = None


@dataclass
class Bill:
    """Seconds that are paid for, and seconds of work."""

    task_s: list[float] = field(default_factory=list)
    instance_s: list[float] = field(default_factory=list)
    on_demand_s: list[float] = field(default_factory=list)
    """Of these, the instances that were had on demand."""


class Fleet:
    """Lets scans arrive, works on them, and keeps count.

    Args:
        most_spot: how many instances may be had on spot, which is tried first; None: all.
        reconstructing_s: seconds of a GPU for a scan of so many GB.
    """

    def __init__(
        self,
        decisions: Decisions,
        arriving: Sequence[Arrival],
        *,
        seed: int,
        times: Times,
        most_spot: int | None = None,
        reconstructing_s: Callable[[float], float] = reconstruct_s,
    ) -> None:
        self._most_spot = decisions.most_jobs if most_spot is None else most_spot
        self._reconstructing_s = reconstructing_s
        self.env = simpy.Environment()
        self._random = Random(seed)
        self._times, self._decisions = times, decisions
        self.ingest, self.reconstruct = Queue(self.env, self._random), Queue(self.env, self._random)
        self.scans = [Scan(one) for one in arriving]
        self._left = len(self.scans)
        self.bill = Bill()
        self._desired = 0
        self._workers: list[Worker] = []
        self._jobs: list[Job] = []
        self._pending: deque[Job] = deque()
        self._instances: list[Instance] = []
        self._over = self.env.event()

    def run(self) -> "Fleet":
        """Until the last scan has its images."""
        self.env.process(self._arrive())
        self.env.process(self._each_minute())
        self.env.run(self._over)
        for worker in self._workers:
            self.bill.task_s.append(self.env.now - worker.since_s)
        for instance in list(self._instances):
            self._end(instance)
        return self

    def _draw(self, bounds: tuple[float, float]) -> float:
        return self._random.uniform(*bounds)

    def _arrive(self) -> Steps:
        for scan in self.scans:
            yield self.env.timeout(scan.arrival.at_s - self.env.now)
            self.env.process(self._notify(scan))

    def _notify(self, scan: Scan) -> Steps:
        yield self.env.timeout(self._draw(self._times.notice))
        self.ingest.put(scan)
        if self._decisions.is_told:
            self._decide()

    def _each_minute(self) -> Steps:
        while True:
            self._decide()
            yield self.env.timeout(MINUTE_S)

    def view(self) -> View:
        return View(
            now_s=self.env.now,
            ingest=self.ingest.depth,
            reconstruct=self.reconstruct.depth,
            workers=self._desired,
            running_workers=sum(worker.is_running for worker in self._workers),
            jobs=len(self._jobs),
            running_jobs=sum(job.is_running for job in self._jobs),
        )

    def _decide(self) -> None:
        view = self.view()
        self._scale(self._decisions.workers(view))
        for _ in range(self._decisions.jobs(view)):
            self._jobs.append(job := Job())
            self._pending.append(job)
        self._place()

    # Fargate

    def _scale(self, desired: int) -> None:
        self._desired = desired
        while len(self._workers) < desired:
            worker = Worker(since_s=self.env.now)
            worker.process = self.env.process(self._work(worker))
            self._workers.append(worker)
        # Whoever has a scan in hand is protected, and goes when it has none.
        free = [one for one in self._workers if one.is_idle or not one.is_running]
        for worker in free[: len(self._workers) - desired]:
            self._stop(worker)
            worker.process.interrupt()

    def _stop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self.bill.task_s.append(self.env.now - worker.since_s)

    def _work(self, worker: Worker) -> Steps:
        try:
            yield self.env.timeout(self._draw(self._times.task_start))
        except simpy.Interrupt:
            return
        worker.is_running = True
        while True:
            message: Any = self.ingest.get()
            if not message.triggered:
                if len(self._workers) > self._desired:
                    self.ingest.leave(message)
                    self._stop(worker)
                    return
                worker.is_idle = True
            try:
                scan = yield message
            except simpy.Interrupt:
                self.ingest.leave(message)
                if message.triggered:  # received in the moment of being stopped, and given back
                    self.ingest.in_flight -= 1
                    self.ingest.put(message.value, first=True)
                return
            worker.is_idle = False
            seconds = decompress_s(scan.arrival.gb)
            yield self.env.timeout(seconds)
            self.ingest.in_flight -= 1
            self._decisions.note("decompressing", seconds)
            scan.prepared_s = self.env.now
            self.reconstruct.put(scan)

    # Batch

    def _place(self) -> None:
        """Gives jobs the instances that are free, and asks for as many as are lacking."""
        free = [one for one in self._instances if one.is_up and one.job is None]
        while free and self._pending:
            instance, job = free.pop(), self._pending.popleft()
            instance.job = job
            job.process = self.env.process(self._run(job, instance))
        booting = sum(not one.is_up for one in self._instances)
        room = self._decisions.most_jobs - len(self._instances)
        for _ in range(min(len(self._pending) - booting, room)):
            on_spot = sum(one.is_spot for one in self._instances)
            self._instances.append(instance := Instance(since_s=self.env.now, is_spot=on_spot < self._most_spot))
            self.env.process(self._live(instance))

    def _live(self, instance: Instance) -> Steps:
        yield self.env.timeout(self._draw(self._times.instance_request))
        instance.since_s = self.env.now
        yield self.env.timeout(self._draw(self._times.instance_boot))
        instance.is_up, instance.idle_since_s = True, self.env.now
        self._place()
        self.env.process(self._scale_in(instance))
        if not instance.is_spot:
            return
        yield self.env.timeout(self._random.expovariate(self._times.interruptions_an_hour / 3600))
        if instance not in self._instances:
            return
        # Told two minutes before; what isn't done by then is given back, and Batch tries the job again.
        self._end(instance)
        if job := instance.job:
            job.process.interrupt()

    def _end(self, instance: Instance) -> None:
        self._instances.remove(instance)
        self.bill.instance_s.append(self.env.now - instance.since_s)
        if not instance.is_spot:
            self.bill.on_demand_s.append(self.env.now - instance.since_s)

    def _scale_in(self, instance: Instance) -> Steps:
        """Ends the instance when it has been without a job for long enough, counted from its last one."""
        since_s = instance.idle_since_s
        keeps_s = self._decisions.keeps_idle_s
        yield self.env.timeout(self._draw(self._times.own_scale_in) if keeps_s is None else keeps_s)
        if instance in self._instances and instance.job is None and instance.idle_since_s == since_s:
            self._end(instance)

    def _run(self, job: Job, instance: Instance) -> Steps:
        message: Any = None  # simpy's events don't say of what
        try:
            yield self.env.timeout(self._draw(self._times.placement))
            if not instance.has_image:
                yield self.env.timeout(self._draw(self._times.image_pull))
                instance.has_image = True
            yield self.env.timeout(self._draw(self._times.job_start))
            job.is_running = True
            while True:
                message = self.reconstruct.get()
                if not message.triggered:
                    idle_since_s = self.env.now
                    while not message.triggered:
                        left_s = self._decisions.patience_s() - (self.env.now - idle_since_s)
                        if left_s < 1e-3:  # the clock's own rounding
                            break
                        yield message | self.env.timeout(min(self._times.poll, left_s))
                    if not message.triggered:
                        self.reconstruct.leave(message)
                        break
                scan: Scan = message.value
                seconds = self._reconstructing_s(scan.arrival.gb)
                yield self.env.timeout(seconds)
                self._finish(scan, seconds)
                message = None
        except simpy.Interrupt:
            self._give_back(job, message)
            return
        self._jobs.remove(job)
        instance.job, instance.idle_since_s = None, self.env.now
        self.env.process(self._scale_in(instance))
        self._place()

    def _finish(self, scan: Scan, seconds: float) -> None:
        scan.done_s = self.env.now
        self.reconstruct.in_flight -= 1
        self._decisions.note("reconstructing", seconds)
        self._left -= 1
        if not self._left:
            self._over.succeed()

    def _give_back(self, job: Job, message: Any) -> None:
        if message is not None:
            self.reconstruct.leave(message)
            if message.triggered:
                self.reconstruct.in_flight -= 1
                self.reconstruct.put(message.value, first=True)
        job.is_running = False
        self._pending.append(job)
        self._place()
