"""What a model of the fleet is made of: how long starting takes, scans, what can be seen, who decides, a queue."""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Protocol

import simpy

from benchmarks.arrivals import Arrival
from raki.service.scheduling import QueueDepth


@dataclass(frozen=True, kw_only=True)
class Times:
    """What starting takes and how often it goes wrong, in seconds; a pair is the least and the most."""

    notice: tuple[float, float] = (0.5, 3.0)
    """From a complete object to its message. Amazon S3 User Guide, "Amazon S3 Event Notifications": typically within
    seconds, sometimes a minute or longer."""
    task_start: tuple[float, float] = (30.0, 60.0)
    """A Fargate task with the pull of its image: an assumption. It is all counted as paid for."""
    instance_request: tuple[float, float] = (30.0, 90.0)
    """Batch's decision and the spot request, until EC2 bills: an assumption."""
    instance_boot: tuple[float, float] = (150.0, 210.0)
    """Boot, the script at the first boot, registration at ECS: with request and pull 4 to 6 minutes, as `raki cost` and
    operators' reports have it (3 to 6)."""
    image_pull: tuple[float, float] = (45.0, 75.0)
    """An image of some 4 GB with CUDA and PyTorch, once an instance: an assumption."""
    placement: tuple[float, float] = (3.0, 15.0)
    """From a submitted job to its container on an instance that is there: an assumption."""
    job_start: tuple[float, float] = (10.0, 20.0)
    """Python, PyTorch and CUDA: an assumption."""
    own_scale_in: tuple[float, float] = (60.0, 300.0)
    """Batch's own time to end an idle instance where no delay is set: nowhere documented, an assumption."""
    interruptions_an_hour: float = 0.05
    """Of each spot instance. AWS's Spot Instance advisor has 5 to 20 % a month for these types: this is far worse."""
    poll: float = 20.0
    """The longest that a receive waits. Amazon SQS Developer Guide, "Amazon SQS short and long polling"."""


def decompress_s(gb: float) -> float:
    """Work of one task. Measured on two cores (`python -m benchmarks throughput`): 6 to 7 s a GB; and the transfers."""
    return 3.0 + 7.5 * gb


def reconstruct_s(gb: float) -> float:
    """Work of one GPU: an assumption; 55 s in the mean, and 0.6 USD for a hundred scans."""
    return 15.0 + 32.0 * gb


@dataclass(slots=True, eq=False)
class Scan:
    """One scan on its way."""

    arrival: Arrival
    prepared_s: float = float("nan")
    done_s: float = float("nan")

    @property
    def waited_s(self) -> float:
        """From the drop to the images, but for computing."""
        return self.done_s - self.arrival.at_s - decompress_s(self.arrival.gb) - reconstruct_s(self.arrival.gb)


@dataclass(frozen=True, kw_only=True)
class View:
    """What the Lambdas can see."""

    now_s: float
    ingest: QueueDepth
    reconstruct: QueueDepth
    workers: int
    """That the service is told to have."""
    running_workers: int
    jobs: int
    """Submitted and not ended."""
    running_jobs: int
    """Whose program runs."""


class Decisions(Protocol):
    """What decides how many machines there are."""

    @property
    def is_told(self) -> bool:
        """Whether it is asked at each arrival too, not only each minute."""

    @property
    def keeps_idle_s(self) -> float | None:
        """How long Batch keeps an instance without a job; None: as Batch likes."""

    @property
    def most_jobs(self) -> int:
        """Instances that the compute environment allows."""

    def workers(self, view: View) -> int:
        """The service's desired count."""

    def jobs(self, view: View) -> int:
        """Jobs to submit."""

    def patience_s(self) -> float:
        """How long a job without work waits for some, as it is told after each poll that brought none."""

    def note(self, stage: str, seconds: float) -> None:
        """A scan has passed a stage, "decompressing" or "reconstructing", after so much work."""


class Queue:
    """A queue and those who poll it. Who gets a message is chance, as with SQS."""

    def __init__(self, env: simpy.Environment, random: Random) -> None:
        self._env, self._random = env, random
        self.waiting: deque[Scan] = deque()
        self.in_flight = 0
        self._pollers: list[simpy.Event] = []

    @property
    def depth(self) -> QueueDepth:
        return QueueDepth(waiting=len(self.waiting), in_flight=self.in_flight)

    def put(self, scan: Scan, *, first: bool = False) -> None:
        if self._pollers:
            poller = self._pollers.pop(self._random.randrange(len(self._pollers)))
            self.in_flight += 1
            poller.succeed(scan)
        elif first:
            self.waiting.appendleft(scan)
        else:
            self.waiting.append(scan)

    def get(self) -> simpy.Event:
        event = self._env.event()
        if self.waiting:
            self.in_flight += 1
            event.succeed(self.waiting.popleft())
        else:
            self._pollers.append(event)
        return event

    def leave(self, poller: simpy.Event) -> None:
        if poller in self._pollers:
            self._pollers.remove(poller)
