"""Scans side by side: what overlaps, what never does, and what becomes of each when the process is told to stop."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from botocore.parsers import ResponseParserError

from raki.errors import NotAScan
from raki.service import lanes as module
from raki.service.lanes import Device, Lanes
from raki.service.lease import Heartbeat
from raki.service.ledger import Claim, State
from raki.service.messages import ScanArrived
from raki.service.objects import read_manifest
from raki.service.process import Terminated, raised_on_sigterm
from tests.embedded_metrics import metrics_in, named
from tests.service.conftest import arrive
from tests.service.test_stage import SCAN

PATIENT_S = 10
N_LANES = 3


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "LOOK_S", 0.01)


@pytest.fixture
def queue(cloud):
    """Lets scans wait for the stage, each by its name."""

    def wait(*names):
        for name in names:
            arrive(cloud.ledger, name, ScanArrived(**{**vars(SCAN), "key": f"site/{name}.h5"}))
            cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody=name)

    return wait


class Work:
    """What each scan is told to do, and what it did: a gate for each step that it waits at."""

    def __init__(self, cloud, shut=(), n_bytes=1, alone=()):
        self._cloud, self._n_bytes, self._alone = cloud, n_bytes, alone
        self._gates = {step: threading.Event() for step in shut}
        self.done = []
        self.at_once = self.most_at_once = 0

    def open(self, step):
        self._gates[step].set()

    def wait_for(self, *steps):
        ends_s = time.monotonic() + PATIENT_S
        while not set(steps) <= set(self.done):
            assert time.monotonic() < ends_s, (steps, self.done)
            time.sleep(0.005)

    def __call__(self, lane, message):
        return lane.stage.attend(message, message.body, lambda record: self._work(lane, record))

    def _work(self, lane, record):
        name = record.scan_id
        if name in self._alone:
            lane.be_alone()
        self._pass(f"fetch {name}")
        with lane.computing(self._n_bytes):
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._pass(f"compute {name}")
            self.at_once -= 1
        self._pass(f"write {name}")
        lane.stage.publish(record, [], outcome="reconstructed")
        lane.stage.ledger.finish(name, State.PREPARED, owner=lane.stage.owner)

    def _pass(self, step):
        self.done.append(f"to {step}")
        if step in self._gates:
            assert self._gates[step].wait(PATIENT_S), step
        self.done.append(step)


def lanes(cloud, work, device=None, patience_s=0.0, n_lanes=N_LANES, takes_more=lambda: True):
    stages = [cloud.stage(owner=f"lane {number}") for number in range(n_lanes)]
    return Lanes(device or Device(State.DECOMPRESSING), work, stages, lambda: patience_s, takes_more)


@pytest.fixture
def beside():
    """Runs something beside the test, and raises what it raised."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda lanes: pool.submit(lanes.run)


def known_to_be_quick():
    """A device on which scans have taken next to no time so far."""
    device = Device(State.DECOMPRESSING)
    with device.taken(1):
        pass
    return device


def test_the_next_scan_is_fetched_and_the_last_one_written_while_one_is_computed(cloud, queue, beside):
    queue("a", "b", "c")
    work = Work(cloud, shut=["write a", "compute b"])
    running = beside(lanes(cloud, work, known_to_be_quick()))
    work.wait_for("to write a", "to compute b", "fetch c")
    assert "to compute c" not in work.done
    work.open("write a")
    work.open("compute b")
    running.result(PATIENT_S)
    assert work.most_at_once == 1
    assert {scan.state for scan in cloud.ledger.scans()} == {State.PREPARED}
    assert cloud.n_messages() == (0, 0)


def test_one_scan_at_most_lies_ready(cloud, queue, beside):
    queue("a", "b", "c")
    work = Work(cloud, shut=["compute a"])
    running = beside(lanes(cloud, work, known_to_be_quick()))
    work.wait_for("to compute a", "fetch b")
    time.sleep(0.1)
    assert cloud.n_messages() == (1, 2), "another job may have the third"
    work.open("compute a")
    running.result(PATIENT_S)


@pytest.mark.parametrize("is_known", [False, True])
def test_no_scan_is_fetched_long_before_the_device_is_free(cloud, queue, beside, is_known):
    queue("a", "b")
    device = Device(State.DECOMPRESSING)
    if is_known:
        with device.taken(1):
            time.sleep(0.01)
    work = Work(cloud, shut=["compute a"], n_bytes=10_000)
    running = beside(lanes(cloud, work, device))
    work.wait_for("to compute a")
    time.sleep(0.1)
    assert cloud.n_messages() == (1, 1), "another device may be free sooner"
    work.open("compute a")
    running.result(PATIENT_S)
    assert "write b" in work.done


def test_a_job_that_is_old_ends_between_two_scans_though_more_wait(cloud, queue, beside):
    queue("a", "b", "c")
    work = Work(cloud, shut=["compute a"])
    is_old = threading.Event()
    running = beside(lanes(cloud, work, n_lanes=1, takes_more=lambda: not is_old.is_set()))
    work.wait_for("to compute a")
    is_old.set()
    work.open("compute a")
    running.result(PATIENT_S)
    assert "write a" in work.done
    assert not any("fetch b" in step or "fetch c" in step for step in work.done)
    assert cloud.n_messages() == (2, 0)


def test_a_scan_that_lies_ready_for_long_is_given_back_and_no_other_is_fetched(cloud, queue, beside, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_AHEAD_S", 0.2)
    queue("a", "b")
    work = Work(cloud, shut=["compute a"])
    running = beside(lanes(cloud, work, known_to_be_quick()))
    work.wait_for("to compute a", "fetch b")
    time.sleep(0.6)
    assert cloud.n_messages() == (1, 1)
    assert cloud.ledger.get("b").attempts[State.DECOMPRESSING] == 0
    assert cloud.ledger.claim("b", State.DECOMPRESSING, owner="another", lease_s=0) is Claim.GRANTED
    assert work.done.count("fetch b") == 1, "this device's time can't be told"
    work.open("compute a")
    running.result(PATIENT_S)


def test_waiting_for_the_device_is_no_work_and_writing_leaves_it_idle(cloud, queue, beside, written):
    queue("a", "b")
    work = Work(cloud, shut=["compute a", "write b"])
    running = beside(lanes(cloud, work, known_to_be_quick()))
    work.wait_for("to compute a", "fetch b")
    time.sleep(0.5)
    work.open("compute a")
    work.wait_for("to write b")
    time.sleep(0.5)
    work.open("write b")
    running.result(PATIENT_S)
    found = metrics_in(written.getvalue())
    a, b = sorted(seconds for seconds, _ in named(found, "StageSeconds"))
    assert 0.5 <= a < 1
    assert 0.5 <= b < 1
    busy_s = sum(seconds for seconds, _ in named(found, "BusySeconds"))
    idle_s = sum(seconds for seconds, _ in named(found, "IdleSeconds"))
    assert 0.5 <= busy_s < 0.9
    assert 0.5 <= idle_s < 2


def test_told_to_stop_it_writes_what_is_computed_and_gives_the_rest_back_at_once(cloud, queue):
    queue("a", "b", "c")
    work = Work(cloud, shut=["write a", "compute b"])

    def stop():
        work.wait_for("to write a", "to compute b", "fetch c")
        os.kill(os.getpid(), signal.SIGTERM)
        ends_s = time.monotonic() + PATIENT_S
        while cloud.n_messages()[0] < 2 and time.monotonic() < ends_s:
            time.sleep(0.01)
        work.open("write a")

    with ThreadPoolExecutor(1) as pool, raised_on_sigterm():
        stopping = pool.submit(stop)
        ours = lanes(cloud, work, known_to_be_quick())
        with pytest.raises(Terminated):
            ours.run()
        stopping.result()
    assert cloud.n_messages() == (2, 0)
    found = {scan.scan_id: (scan.state, scan.attempts[State.DECOMPRESSING]) for scan in cloud.ledger.scans()}
    assert found == {
        "a": (State.PREPARED, 1),
        "b": (State.DECOMPRESSING, 0),
        "c": (State.DECOMPRESSING, 0),
    }
    work.open("compute b")
    work.wait_for("write b")
    assert all(lane.is_idle.wait(PATIENT_S) for lane in ours._lanes)
    assert "to compute c" not in work.done
    assert cloud.ledger.get("b").state is State.DECOMPRESSING, "it was given back, and is another's to publish"


def test_a_lane_whose_queue_cant_be_reached_ends_the_others_after_their_work(cloud, queue, beside, monkeypatch):
    queue("a")
    work = Work(cloud, shut=["write a"])
    ours = lanes(cloud, work)
    real = ours._lanes[0].stage.consumer.receive
    received = []

    def receive(_consumer, *, wait_s):
        received.append(wait_s)
        if len(received) > 1:
            work.open("write a")
            raise ConnectionError("no queue")
        return real(wait_s=wait_s)

    monkeypatch.setattr(type(ours._lanes[0].stage.consumer), "receive", receive)
    with pytest.raises(ConnectionError, match="no queue"):
        beside(ours).result(PATIENT_S)
    assert cloud.ledger.get("a").state is State.PREPARED


def test_a_scan_that_was_let_go_is_kept_alive_no_more_and_was_no_attempt(cloud, queue):
    queue("a")
    stage = cloud.stage()
    message = stage.consumer.receive(wait_s=0)

    def work(record):
        stage.let_go()
        stage._beat(message, record.scan_id)
        raise ConnectionError("cut off in the middle")

    assert not stage.attend(message, "a", work)
    assert cloud.n_messages() == (1, 0)
    record = cloud.ledger.get("a")
    assert (record.attempts[State.DECOMPRESSING], record.faults[State.DECOMPRESSING]) == (0, 0)
    assert cloud.ledger.claim("a", State.DECOMPRESSING, owner="another", lease_s=5) is Claim.GRANTED


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    clock = SimpleNamespace(now_s=0.0, sleep=time.sleep)
    clock.monotonic = lambda: clock.now_s
    monkeypatch.setattr(module, "time", clock)
    return clock


def polled(monkeypatch, lanes):
    """How long each poll was told to wait; none does."""
    told = []
    consumer = type(lanes._lanes[0].stage.consumer)
    real = consumer.receive

    def receive(self, *, wait_s):
        told.append(wait_s)
        return real(self, wait_s=0)

    monkeypatch.setattr(consumer, "receive", receive)
    return told


def test_it_is_told_anew_before_each_poll_how_long_to_wait(cloud, clock, monkeypatch):
    answers = [60.0, 5.0, 0.0]
    ours = lanes(cloud, Work(cloud), n_lanes=1)
    ours._patience_s = lambda: answers.pop(0)
    told = polled(monkeypatch, ours)
    ours.run()
    assert told == [20, 5, 0], "a receive waits for 20 s at the most"


@pytest.mark.parametrize("is_duplicate", [False, True])
def test_waiting_begins_anew_with_each_message(cloud, queue, clock, monkeypatch, is_duplicate):
    asked_at_s = []
    ours = lanes(cloud, Work(cloud), n_lanes=1)

    def patience():
        asked_at_s.append(clock.now_s)
        clock.now_s += 6.0
        if len(asked_at_s) == 2:
            queue("late")
            if is_duplicate:
                cloud.ledger.fail("late", NotAScan("over already"))
        return 15.0

    ours._patience_s = patience
    polled(monkeypatch, ours)
    ours.run()
    assert asked_at_s == [0, 6, 12, 18, 24], "the message came after 12 s"


def test_it_ends_when_nothing_has_come_for_as_long_as_waiting_pays(cloud):
    began_s = time.monotonic()
    lanes(cloud, Work(cloud), patience_s=1.0).run()
    assert 1.0 <= time.monotonic() - began_s < 5


def test_a_scan_whose_worker_was_lost_is_worked_on_alone(cloud, queue, beside):
    """If it is what ended the process, those beside it would count as its like, until they fail for good with it."""
    queue("a", "b", "c")
    work = Work(cloud, shut=["write a", "compute b", "write b"], alone={"b"})
    running = beside(lanes(cloud, work, known_to_be_quick()))
    work.wait_for("to write a")
    time.sleep(0.1)
    assert "to fetch b" not in work.done
    work.open("write a")
    for step in ("compute b", "write b"):
        work.wait_for(f"to {step}")
        time.sleep(0.1)
        assert "to fetch c" not in work.done
        assert cloud.n_messages() == (1, 1)
        work.open(step)
    running.result(PATIENT_S)
    assert "write c" in work.done


def stopped(cloud, work, before, after):
    """The lanes of a process that is told to stop once `before` has passed, with `after` beside it."""
    ours = lanes(cloud, work, known_to_be_quick(), patience_s=PATIENT_S)

    def stop():
        before()
        os.kill(os.getpid(), signal.SIGTERM)
        after()

    with ThreadPoolExecutor(1) as pool, raised_on_sigterm():
        stopping = pool.submit(stop)
        with pytest.raises(Terminated):
            ours.run()
        stopping.result()
    return ours


def test_what_comes_after_it_was_told_to_stop_is_given_back_and_was_no_attempt(cloud, queue):
    """A lane that has written a scan before, and waits at the queue while another lane writes its own."""
    queue("a")
    work = Work(cloud, shut=["write b"])

    def before():
        work.wait_for("write a")
        queue("b")
        work.wait_for("to write b")

    def after():
        time.sleep(0.2)
        queue("late")
        time.sleep(1.0)
        work.open("write b")

    stopped(cloud, work, before, after)
    assert cloud.ledger.get("b").state is State.PREPARED
    assert cloud.ledger.get("late").attempts.get(State.DECOMPRESSING, 0) == 0
    assert "to fetch late" not in work.done
    assert cloud.n_messages() == (1, 0)


def test_a_scan_that_is_claimed_while_the_process_stops_is_given_back(cloud, queue, monkeypatch):
    queue("a")
    stage = cloud.stage()
    message = stage.consumer.receive(wait_s=0)
    real = stage.ledger.claim

    def claim(*args, **kwargs):
        claimed = real(*args, **kwargs)
        stage.let_go()
        return claimed

    monkeypatch.setattr(stage.ledger, "claim", claim)
    with pytest.raises(Terminated):
        stage.attend(message, "a", lambda _record: pytest.fail("its time is over"))
    assert cloud.n_messages() == (1, 0)
    assert cloud.ledger.get("a").attempts[State.DECOMPRESSING] == 0


def test_nothing_more_is_published_of_a_scan_that_was_let_go(cloud, queue, tmp_path):
    queue("a")
    stage = cloud.stage()
    message = stage.consumer.receive(wait_s=0)
    (file := tmp_path / "image").write_text("image")

    def files():
        yield file
        stage.let_go()

    with pytest.raises(Terminated):
        stage.attend(message, "a", lambda record: stage.publish(record, files(), outcome="reconstructed"))
    folder = cloud.ledger.get("a").results_folder
    assert read_manifest(cloud.s3, cloud.bucket, folder) is None, "another worker may be at it by now"


def test_a_scan_that_failed_says_nothing_about_how_long_the_next_one_takes():
    device = Device(State.DECOMPRESSING)
    with pytest.raises(NotAScan), device.taken(1):
        raise NotAScan("refused at once")
    with device.taken(1):
        assert not device.is_free_within(module.AHEAD_S), "what is fetched now may lie for hours"


def test_while_a_result_is_written_the_queue_is_watched_for_the_process_lives_anyway(cloud, queue, beside):
    queue("a")
    work = Work(cloud, shut=["write a"])
    running = beside(lanes(cloud, work, patience_s=1.0))
    work.wait_for("to write a")
    time.sleep(2.5)
    queue("b")
    work.wait_for("write b")
    work.open("write a")
    running.result(PATIENT_S)


def test_a_heart_goes_on_beating_after_an_answer_that_cant_be_read():
    beats = []

    def beat():
        beats.append(len(beats))
        raise ResponseParserError("half a body")

    with Heartbeat(beat, 0.01):
        ends_s = time.monotonic() + PATIENT_S
        while len(beats) < 3 and time.monotonic() < ends_s:
            time.sleep(0.01)
    assert len(beats) >= 3, "else its scan is another's to take, and the watchdog sleeps"


def test_one_scan_that_cant_be_given_back_keeps_no_other_from_being(cloud, queue, monkeypatch):
    """Whatever it is that fails, and the process still ends as one that was told to."""
    queue("b", "c")
    work = Work(cloud, shut=["compute b"])
    real, released = cloud.ledger.release, []

    def release(scan_id, *args, **kwargs):
        released.append(scan_id)
        if len(released) == 1:
            raise ResponseParserError("half a body")
        real(scan_id, *args, **kwargs)

    monkeypatch.setattr(cloud.ledger, "release", release)
    ours = stopped(cloud, work, lambda: work.wait_for("to compute b", "fetch c"), lambda: None)
    assert sorted(released) == ["b", "c"]
    work.open("compute b")
    assert all(lane.is_idle.wait(PATIENT_S) for lane in ours._lanes)
