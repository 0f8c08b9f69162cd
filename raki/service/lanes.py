"""Scans side by side in one process: while one has the device, the next is fetched and the last one is written.

Each lane takes one scan after another all the way. What makes a pipeline of them is that only one at a time looks for
its next scan, and only one has the device. At most one scan lies ready, and it is fetched as late as will do: another
job's device may be free before this one's.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from raki.service import metrics
from raki.service.lease import Message
from raki.service.process import Terminated
from raki.service.stage import NotYet, Stage

LOG = logging.getLogger("raki.lanes")

AHEAD_S = 30.0
"""How long before the device is free, as far as can be told, the next scan is fetched."""
LONGEST_AHEAD_S = 180.0
"""How long a scan may lie ready. Beyond it the guess was wrong, and another job's device may be free."""
LOOK_S = 1.0
"""Between two looks for it. Those who have nothing to do wait at the queue, and are served first."""
POLL_S = 20
"""A process that is to wait for longer asks after so long whether that still holds."""
GRACE_S = 20.0
"""For writing what is computed, when the process is told to stop. Amazon ECS Developer Guide, "Container agent
configuration": ECS_CONTAINER_STOP_TIMEOUT, 30 s unless set, is how long after SIGTERM a container is killed."""


class Device:
    """What one scan at a time computes on."""

    def __init__(self, stage: str) -> None:
        self.free = threading.Event()
        self.free.set()
        self._lock = threading.Lock()
        self._occupation = metrics.Occupation(stage)
        self._seconds_a_byte: float | None = None
        self._free_at_s = float("inf")

    @contextmanager
    def taken(self, n_bytes: int) -> Iterator[None]:
        """Waits until it is free and has it for the block, for a prepared scan of so many bytes.

        Raises:
            NotYet: it isn't free for long. How long the scan takes that has it can't be told, then.
        """
        if not self._lock.acquire(timeout=LONGEST_AHEAD_S):
            self._free_at_s = float("inf")
            raise NotYet
        try:
            began_s = time.monotonic()
            if self._seconds_a_byte is not None:
                self._free_at_s = began_s + n_bytes * self._seconds_a_byte
            self.free.clear()
            try:
                with self._occupation.at_work():
                    yield
                # What failed did so early, and tells nothing of the next.
                self._seconds_a_byte = (time.monotonic() - began_s) / max(1, n_bytes)
            finally:
                self._free_at_s = float("inf")
                self.free.set()
        finally:
            self._lock.release()

    def is_free_within(self, seconds: float) -> bool:
        """Whether it will be, if a byte takes as long as it did in the last scan that was computed."""
        return self.free.is_set() or self._free_at_s - time.monotonic() <= seconds

    def end(self) -> None:
        """Counts the time since the last scan as idle."""
        self._occupation.end()


class Turn:
    """The right to look for the next scan; who has it keeps it until that scan has the device."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._is_over = False

    def __enter__(self) -> "Turn":
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Lets the next lane look."""
        if not self._is_over:
            self._is_over = True
            self._lock.release()


class Lane:
    """One scan at a time, from its message to its result. `work` does it, with a lane to tell where it is."""

    def __init__(self, stage: Stage, device: Device, work: Callable[["Lane", Message], bool]) -> None:
        self.stage = stage
        self.has_ended = threading.Event()
        self.is_computed = False
        """What is left to do is to write the result."""
        self.is_idle = threading.Event()
        self.is_idle.set()
        self.idle_since_s = time.monotonic()
        self.others: Sequence[Lane] = ()
        self._device = device
        self._work = work
        self._turn: Turn | None = None

    def take(self, message: Message, turn: Turn) -> None:
        """Works on a message; ends `turn` when the scan has the device."""
        self._turn, self.is_computed = turn, False
        self.is_idle.clear()
        try:
            self.stage.take(message, lambda message: self._work(self, message))
        finally:
            self.idle_since_s = time.monotonic()
            self.is_idle.set()

    def be_alone(self) -> None:
        """Waits until no other lane is at work, and lets none begin before this one's scan is through.

        For a scan that may end the process: those beside it would be taken for its like, and end with it.
        """
        self._turn = None  # its end comes with the scan's
        with self._waiting():
            for lane in self.others:
                lane.is_idle.wait()

    @contextmanager
    def computing(self, n_bytes: int) -> Iterator[None]:
        """Waits for the device and has it for the block, for a prepared scan of so many bytes.

        Raises:
            NotYet: the device isn't free for long.
            Terminated: the scan was let go meanwhile.
        """
        with ExitStack() as stack:
            with self._waiting():
                stack.enter_context(self._device.taken(n_bytes))
            if self._turn:
                self._turn.end()
            yield
        self.is_computed = True

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Around a wait for other lanes, which have a watchdog each."""
        since_s = time.monotonic()
        with self.stage.watchdog.paused():
            yield
        self.stage.hand.waited_s += time.monotonic() - since_s
        self.stage.require_in_hand()


class Lanes:
    """Runs lanes, each in a thread of its own, until no message has come for as long as it is worth waiting."""

    def __init__(
        self,
        device: Device,
        work: Callable[[Lane, Message], bool],
        stages: Sequence[Stage],
        patience_s: Callable[[], float],
        takes_more: Callable[[], bool] = lambda: True,
    ) -> None:
        """`patience_s` says how long to wait for a message, and is asked before each long poll.

        Once `takes_more` is False no further message is received, though there be some.
        """
        self._device = device
        self._lanes = [Lane(stage, device, work) for stage in stages]
        for lane in self._lanes:
            lane.others = [other for other in self._lanes if other is not lane]
        self._patience_s = patience_s
        self._takes_more = takes_more
        self._turns = threading.Lock()
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def run(self) -> None:
        """Returns when all is done.

        Raises:
            Terminated: the process is told to stop. What was computed is written, all else is given back.
            ClientError, BotoCoreError: no message could be received.
        """
        try:
            for lane in self._lanes:
                threading.Thread(target=self._serve, args=(lane,), daemon=True).start()
            # Not the threads' own end: a signal that comes while one is joined makes Python 3.11 take it for ended.
            for lane in self._lanes:
                # Never for good: the kernel may hand a signal to another thread, and that wakes nobody who waits here.
                while not lane.has_ended.wait(LOOK_S):
                    pass
        except Terminated:
            self._stop()
            raise
        finally:
            self._device.end()
        if self._errors:
            raise self._errors[0]

    def _serve(self, lane: Lane) -> None:
        try:
            while True:
                with Turn(self._turns) as turn:
                    if (message := self._next(lane)) is None:
                        break
                    lane.take(message, turn)
        except BaseException as error:  # noqa: BLE001 - handed on whole: the main thread raises it
            self._errors.append(error)
        self._over.set()
        lane.has_ended.set()

    def _next(self, lane: Lane) -> Message | None:
        """The next message, or None when it is time to end."""
        while not self._over.is_set() and self._takes_more():
            if self._device.free.is_set():
                patience_s = self._patience_s()
                if message := lane.stage.receive(wait_s=min(POLL_S, round(patience_s))):
                    return message
                if self._has_idled(patience_s):
                    return None
                continue
            if self._device.is_free_within(AHEAD_S) and (message := lane.stage.receive(wait_s=0)):
                return message
            self._device.free.wait(LOOK_S)
        return None

    def _has_idled(self, seconds: float) -> bool:
        """Whether no lane has been at work for so long. Until the last one has written its result the process lives."""
        if not seconds:
            return True
        return all(lane.is_idle.is_set() and time.monotonic() - lane.idle_since_s >= seconds for lane in self._lanes)

    def _stop(self) -> None:
        self._over.set()
        ends_at_s = time.monotonic() + GRACE_S
        for lane in self._lanes:
            if lane.is_idle.is_set() or not lane.is_computed:
                _let_go(lane)
        for lane in self._lanes:
            if lane.is_computed:
                lane.is_idle.wait(max(0.0, ends_at_s - time.monotonic()))
        for lane in self._lanes:
            _let_go(lane)


def _let_go(lane: Lane) -> None:
    try:
        lane.stage.let_go()
    except Exception:  # whatever it was: the others are to be given back too
        LOG.warning("a scan comes again only when its lease ends", exc_info=True)
