"""A stage's promises around its work: at least once, safe twice, and in the end a result or a page that says why."""

import errno
import json
import logging
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace

import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError, EndpointConnectionError, IncompleteReadError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from raki.errors import NoiseAlone, NotAScan, ProcessLost, Superseded, TransientError
from raki.service import faults
from raki.service import ledger as ledger_module
from raki.service import protection as protection_module
from raki.service import stage as stage_module
from raki.service.bookkeeping import EXPIRES_AT
from raki.service.lease import Consumer
from raki.service.ledger import Claim, State
from raki.service.messages import NotUnderstood, ScanArrived
from raki.service.objects import publish
from raki.service.process import Terminated, raised_on_sigterm
from raki.service.protection import Protection
from raki.service.watchdog import Watchdog
from tests.embedded_metrics import metrics_in, named
from tests.service.agent import BLOCKED
from tests.service.conftest import arrive

SCAN = ScanArrived(bucket="raw", key="site/a.h5", etag="e1", version_id=None, n_bytes=5, at=datetime.now(UTC))


@pytest.fixture
def stage(cloud):
    arrive(cloud.ledger, "s", SCAN)
    cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody="work")
    return cloud.stage()


def attend(stage, work):
    return stage.attend(stage.consumer.receive(wait_s=0), "s", work)


def finish(stage):
    return lambda record: stage.ledger.finish(record.scan_id, State.PREPARED, owner=stage.owner)


def fail_with(error):
    def work(_record):
        raise error

    return work


def result(cloud, name):
    return cloud.s3.get_object(Bucket=cloud.bucket, Key=f"site/a/{name}")["Body"].read()


def test_work_that_succeeds_uses_the_message_up(cloud, stage):
    assert attend(stage, finish(stage))
    assert cloud.ledger.get("s").state is State.PREPARED


def test_a_bad_scan_ends_with_a_page_on_the_share_and_is_not_tried_again(cloud, stage):
    assert attend(stage, fail_with(NotAScan("This is a letter to <grandma>.")))
    assert cloud.ledger.get("s").state is State.FAILED
    assert json.loads(result(cloud, "error.json"))["failure_class"] == "NotAScan"
    assert b"a letter to &lt;grandma&gt;." in result(cloud, "error.html")
    manifest = json.loads(result(cloud, "manifest.json"))
    assert manifest["outcome"] == "failed"
    assert [entry["name"] for entry in manifest["files"]] == ["error.json", "error.html"]


def test_a_noise_scan_by_itself_ends_with_a_note_and_nobody_is_alarmed(cloud, stage, written, caplog):
    caplog.set_level(logging.INFO)
    assert attend(stage, fail_with(NoiseAlone("This is a noise scan: give both.")))
    assert cloud.ledger.get("s").state is State.FAILED
    assert json.loads(result(cloud, "note.json"))["failure_class"] == "NoiseAlone"
    page = result(cloud, "note.html").decode()
    assert "This is a noise scan: give both." in page
    assert "Nothing has failed" in page
    assert "could not be reconstructed" not in page
    manifest = json.loads(result(cloud, "manifest.json"))
    assert [entry["name"] for entry in manifest["files"]] == ["note.json", "note.html"]
    found = metrics_in(written.getvalue())
    assert named(found, "Scans") == [(1, {"Outcome": "noted"})]
    assert not named(found, "Failures")
    assert not [line for line in caplog.records if line.levelno > logging.INFO]


@pytest.mark.parametrize("is_over", [False, True])
def test_a_message_for_a_scan_in_other_hands_comes_back_when_their_lease_ends(cloud, stage, monkeypatch, is_over):
    given_back = []
    monkeypatch.setattr(stage.consumer, "give_back", lambda _message, after_s: given_back.append(after_s))
    if is_over:
        cloud.ledger.fail("s", NotAScan("a letter"))
    else:
        cloud.ledger.claim("s", stage.state, owner="another", lease_s=30)
    assert attend(stage, lambda _record: pytest.fail("it isn't this worker's turn")) is is_over
    assert given_back == ([] if is_over else [stage.consumer.lease_s])


class Clock:
    """The stages' time, which passes when it is told to."""

    def __init__(self):
        self.ahead_s = 0

    def time(self):
        return time.time() + self.ahead_s

    def __getattr__(self, name):
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (ledger_module, stage_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


def client_error(code):
    return ClientError({"Error": {"Code": code}}, "GetObject")


PASSING = [
    TransientError("disk full"),
    client_error("SlowDown"),
    client_error("InternalError"),
    client_error("503"),
    client_error("ThrottlingException"),
    client_error("AccessDenied"),
    EndpointConnectionError(endpoint_url="https://s3"),
    ReadTimeoutError(endpoint_url="https://s3"),
    IncompleteReadError(actual_bytes=1, expected_bytes=2),
    ResponseParserError("half of an answer"),
    S3UploadFailedError("no"),
    ConnectionResetError(),
    OSError(errno.ENOSPC, "full"),
]
OTHER = [RuntimeError("a bug"), MemoryError(), ProcessLost("killed"), client_error("NoSuchKey"), OSError("no number")]


@pytest.mark.parametrize("error", [*PASSING, *OTHER], ids=repr)
def test_what_is_not_the_scans_fault_is_tried_again_and_only_what_may_be_its_own_is_an_attempt(
    cloud, stage, clock, error
):
    assert not attend(stage, fail_with(error))
    assert cloud.n_messages() == (0, 1)  # still in the queue, for a moment out of sight
    record = cloud.ledger.get("s")
    assert record.state is State.DECOMPRESSING
    counts = (record.attempts[State.DECOMPRESSING], record.faults[State.DECOMPRESSING])
    assert counts == ((1, 0) if error in OTHER else (0, 1))
    clock.ahead_s += 5
    cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody="delivered again")
    assert attend(cloud.stage(owner="another"), finish(cloud.stage(owner="another")))


def test_the_wait_after_a_fault_holds_for_every_message_of_the_scan(cloud, stage, clock, monkeypatch):
    cloud.ledger.claim("s", State.DECOMPRESSING, owner=stage.owner, lease_s=30)
    cloud.ledger.postpone("s", State.DECOMPRESSING, owner=stage.owner, after_s=100)
    given_back = []
    monkeypatch.setattr(Consumer, "give_back", lambda _self, _message, after_s: given_back.append(after_s))
    for owner in (stage.owner, "another"):
        cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody="duplicate")
        assert not attend(cloud.stage(owner=owner), lambda _record: pytest.fail("the wait was bypassed"))
    assert all(98 <= after_s <= 100 for after_s in given_back)
    assert len(given_back) == 2
    clock.ahead_s += 101
    assert attend(stage, finish(stage))


def outlast(cloud, stage, clock, n):
    """So many faults, one after the other; how long they took, in seconds."""
    message = stage.consumer.receive(wait_s=0)
    for _ in range(n):
        assert not stage.attend(message, "s", fail_with(client_error("SlowDown")))
        cloud.sqs.change_message_visibility(
            QueueUrl=cloud.queue_url, ReceiptHandle=message.receipt, VisibilityTimeout=0
        )
        clock.ahead_s = max(clock.ahead_s, cloud.ledger.get("s").not_before_s - time.time() + 1)
    return clock.ahead_s


def test_an_outage_of_half_a_day_ends_no_scan_and_costs_a_message_less_than_a_thousand_deliveries(
    cloud, stage, clock, monkeypatch
):
    stage.consumer.lease_s = 120  # as the queues have it
    n_faults, waited_s = 0, 0.0
    while waited_s < 12 * 3600:
        n_faults += 1
        waited_s += faults.wait_before_next(n_faults, lease_s=120, jitter=stage.jitter)
    assert n_faults < faults.MAX_FAULTS < 1000
    monkeypatch.setattr(faults, "MAX_FAULTS", 12)
    assert outlast(cloud, stage, clock, 11) > 300
    assert attend(stage, finish(stage))
    assert cloud.ledger.get("s").state is State.PREPARED


def test_an_outage_without_end_ends_the_scan_with_a_sentence_that_says_so(cloud, stage, clock, monkeypatch):
    monkeypatch.setattr(faults, "MAX_FAULTS", 3)
    outlast(cloud, stage, clock, 2)
    assert attend(stage, fail_with(client_error("SlowDown")))
    record = cloud.ledger.get("s")
    assert (record.state, record.failure_class) == (State.FAILED, "OutageTooLong")
    assert record.failure.startswith("In 3 tries over 0 hours something that the service stands on failed")
    assert json.loads(result(cloud, "error.json"))["failure"] == record.failure


def test_a_ledger_that_fails_too_is_told_of_the_fault_when_it_is_back(cloud, stage, monkeypatch):
    refusals = [client_error("InternalServerError")] * 2
    monkeypatch.setattr(faults.time, "sleep", lambda _seconds: None)
    postpone = cloud.ledger.postpone

    def refused(*arguments, **named):
        if refusals:
            raise refusals.pop()
        postpone(*arguments, **named)

    monkeypatch.setattr(cloud.ledger, "postpone", refused)
    assert not attend(stage, fail_with(client_error("SlowDown")))
    assert cloud.ledger.get("s").attempts[State.DECOMPRESSING] == 0, "no worker was lost"


def lose_workers(cloud, n):
    """So many workers are lost with the scan: each time the lease runs out, and the message comes back."""
    for attempt in range(n):
        cloud.ledger.claim("s", State.DECOMPRESSING, owner=f"worker {attempt}", lease_s=-5)


def test_a_scan_is_tried_a_fourth_time(cloud, stage):
    lose_workers(cloud, 3)
    assert attend(stage, finish(stage))
    assert cloud.ledger.get("s").state is State.PREPARED


def test_a_scan_that_takes_down_its_worker_every_time_ends_with_a_report(cloud, stage):
    lose_workers(cloud, 4)
    assert attend(stage, fail_with(AssertionError("not tried a fifth time")))
    assert cloud.ledger.get("s").failure_class == "WorkerLost"


def test_waiting_for_a_busy_scan_and_being_stopped_are_no_attempts(cloud, stage):
    message = stage.consumer.receive(wait_s=0)
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="another", lease_s=30)
    for _ in range(9):
        assert not stage.attend(message, "s", fail_with(AssertionError("taken up twice")))
    cloud.ledger.release("s", State.DECOMPRESSING, owner="another", counts=True)
    for number in range(9):
        with pytest.raises(Terminated):
            cloud.stage(owner=f"stopped {number}").attend(message, "s", fail_with(Terminated()))
    assert stage.attend(message, "s", finish(stage))
    assert cloud.ledger.get("s").state is State.PREPARED


def test_an_old_version_that_fails_leaves_the_newer_ones_result_alone(cloud, stage, tmp_path):
    def overtaken(_record):
        newer = arrive(cloud.ledger, "newer", replace(SCAN, etag="e2", at=SCAN.at + timedelta(seconds=9)))
        (tmp_path / "image.nii.gz").write_bytes(b"image")
        publish(cloud.s3, cloud.bucket, newer, [tmp_path / "image.nii.gz"], outcome="reconstructed")
        raise NotAScan("no")

    assert attend(stage, overtaken)
    assert cloud.ledger.get("s").failure_class == "Superseded"
    assert json.loads(result(cloud, "manifest.json"))["scan_id"] == "newer"
    assert result(cloud, "image.nii.gz") == b"image"


def test_a_worker_that_lost_its_scan_to_another_publishes_nothing(cloud, stage, tmp_path):
    def overslept(record):
        cloud.ledger.release("s", State.DECOMPRESSING, owner=stage.owner, counts=True)
        cloud.ledger.claim("s", State.DECOMPRESSING, owner="another", lease_s=30)
        stage.publish(record, [], outcome="reconstructed")

    assert not attend(stage, overslept)
    assert not cloud.s3.list_objects_v2(Bucket=cloud.bucket).get("Contents")
    assert cloud.ledger.finish("s", State.PREPARED, owner="another")


@pytest.mark.parametrize("n_before", [0, 1, 2])
def test_a_worker_that_was_stopped_in_the_middle_of_publishing_leaves_a_newer_result_alone(
    cloud, stage, tmp_path, monkeypatch, n_before
):
    """Continued after a newer version's result was published, it puts no file and no manifest over it."""
    clock = SimpleNamespace(ahead_s=0.0, time=time.time, sleep=time.sleep)
    clock.monotonic = lambda: time.monotonic() + clock.ahead_s
    monkeypatch.setattr(stage_module, "time", clock)
    (newest := tmp_path / "newer").mkdir()
    for folder, content in ((tmp_path, "old"), (newest, "new")):
        for name in ("image", "report"):
            (folder / name).write_text(content)

    def files():
        for number, name in enumerate(("image", "report", "")):
            if number == n_before:
                newer = arrive(cloud.ledger, "newer", replace(SCAN, etag="e2", at=SCAN.at + timedelta(seconds=9)))
                publish(cloud.s3, cloud.bucket, newer, sorted(newest.iterdir()), outcome="reconstructed")
                clock.ahead_s = 60.0
            if name:
                yield tmp_path / name

    assert attend(stage, lambda record: stage.publish(record, files(), outcome="reconstructed"))
    assert cloud.ledger.get("s").failure_class == "Superseded"
    assert json.loads(result(cloud, "manifest.json"))["scan_id"] == "newer"
    assert {result(cloud, name) for name in ("image", "report")} == {b"new"}


def test_a_message_that_cannot_be_understood_is_dead_at_once_and_asks_nobody_for_work_any_more(cloud, stage):
    def handle(message):
        raise NotUnderstood(message.body)

    stage.serve(handle, wait_s=0, until_empty=True)
    assert cloud.n_messages() == (0, 0)
    assert cloud.dead_letters() == ["work"]


def test_a_message_that_cannot_be_handled_holds_up_no_other(cloud, stage):
    cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody="good")
    seen = []

    def handle(message):
        seen.append(message.body)
        if message.body != "good":
            raise ValueError("not understood")
        return True

    stage.serve(handle, wait_s=0, until_empty=True)
    assert sorted(seen) == ["good", "work"]
    assert cloud.n_messages() == (0, 1)


def test_a_stopped_task_hands_its_scan_to_the_next_at_once(cloud, stage):
    with pytest.raises(Terminated):
        attend(stage, fail_with(Terminated()))
    assert cloud.n_messages() == (1, 0)
    other = cloud.stage(owner="another")
    assert attend(other, finish(other))


def test_a_duplicate_of_a_finished_message_is_dropped_and_one_of_work_under_way_waits(cloud, stage):
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="another", lease_s=30)
    assert not attend(stage, fail_with(AssertionError("taken up twice")))
    assert cloud.n_messages() == (0, 1)
    cloud.ledger.finish("s", State.PREPARED, owner="another")
    cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody="duplicate")
    assert attend(stage, fail_with(AssertionError("done twice")))


def test_sigterm_is_raised_once_where_the_work_is():
    before = signal.getsignal(signal.SIGTERM)

    def wait_for_the_end():
        with raised_on_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    with pytest.raises(Terminated):
        wait_for_the_end()
    try:
        os.kill(os.getpid(), signal.SIGTERM)  # what is being given back is not cut off
    finally:
        signal.signal(signal.SIGTERM, before)


def send(cloud, *bodies):
    for body in bodies:
        cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody=body)


def asked(agent):
    return [body["ProtectionEnabled"] for body in agent.asked]


def test_a_worker_is_protected_exactly_while_it_has_messages_in_hand(cloud, agent):
    send(cloud, "one", "two", "three")
    stage = cloud.stage(protection=Protection(agent.uri))
    protected = []

    def handle(message):
        protected.append(agent.is_protected)
        if message.body == "two":
            raise ValueError("not understood")
        return True

    stage.serve(handle, wait_s=0, until_empty=True)
    assert protected == [True, True, True]
    assert not agent.is_protected
    assert asked(agent) == [True, False], "between two scans that follow each other nothing changes"


def test_a_scan_is_claimed_under_protection(cloud, agent):
    arrive(cloud.ledger, "s", SCAN)
    send(cloud, "work")
    stage = cloud.stage(protection=Protection(agent.uri))
    before_claim = []

    def handle(message):
        before_claim.append((agent.is_protected, cloud.ledger.get("s").state))
        return stage.attend(message, "s", finish(stage))

    stage.serve(handle, wait_s=0, until_empty=True)
    assert before_claim == [(True, State.ARRIVED)]
    assert cloud.ledger.get("s").state is State.PREPARED


def test_a_scan_is_worked_on_with_or_without_protection(cloud, agent):
    arrive(cloud.ledger, "s", SCAN)
    send(cloud, "work")
    agent.refusal = BLOCKED
    stage = cloud.stage(protection=Protection(agent.uri))
    stage.serve(lambda message: stage.attend(message, "s", finish(stage)), wait_s=0, until_empty=True)
    assert cloud.ledger.get("s").state is State.PREPARED
    assert cloud.n_messages() == (0, 0)


def test_a_heartbeat_renews_the_protection(cloud, agent, monkeypatch):
    monkeypatch.setattr(protection_module, "RENEW_AFTER_S", 0.0)
    monkeypatch.setattr(stage_module, "REST_S", 0.0)
    monkeypatch.setattr(stage_module, "BEATS_PER_LEASE", 3000)
    arrive(cloud.ledger, "s", SCAN)
    send(cloud, "work")
    stage = cloud.stage(protection=Protection(agent.uri))

    def work(record):
        for _ in range(1000):
            if len(agent.asked) >= 3:
                break
            time.sleep(0.01)
        finish(stage)(record)

    stage.serve(lambda message: stage.attend(message, "s", work), wait_s=0, until_empty=True)
    assert asked(agent)[:3] == [True, True, True]
    assert not agent.is_protected


def test_a_worker_that_never_runs_out_of_scans_lets_a_deployment_replace_it_between_two(cloud, agent, monkeypatch):
    monkeypatch.setattr(protection_module, "RENEW_AFTER_S", 0.0)
    rests = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: rests.append((seconds, agent.is_protected)))
    monkeypatch.setattr(stage_module, "time", clock)
    send(cloud, "one", "two")
    stage = cloud.stage(protection=Protection(agent.uri))
    stage.serve(lambda _message: True, wait_s=0, until_empty=True)
    assert rests == [(stage_module.REST_S, False)] * 2
    assert asked(agent) == [True, False, True, False]


def test_a_worker_that_is_stopped_while_it_asks_for_protection_gives_its_message_back(cloud):
    class Stopped(Protection):
        def hold(self):
            raise Terminated

    send(cloud, "work")
    with pytest.raises(Terminated):
        cloud.stage(protection=Stopped()).serve(lambda _message: True, wait_s=0, until_empty=True)
    assert cloud.n_messages() == (1, 0)


def test_a_scans_way_through_its_stage_is_measured(cloud, stage, written):
    stage.serve(lambda message: stage.attend(message, "s", finish(stage)), wait_s=0, until_empty=True)
    found = metrics_in(written.getvalue())
    here = {"Stage": "decompressing"}
    since_arrival = (datetime.now(UTC) - SCAN.at).total_seconds()
    took = {name: named(found, name) for name in ("StageSeconds", "BusySeconds", "WaitingSeconds")}
    for ((seconds, dimensions),) in took.values():
        assert 0 < seconds <= since_arrival
        assert dimensions == here
    # It was taken up before it was worked on, and worked on within the time that the worker was busy.
    assert took["WaitingSeconds"][0][0] + took["StageSeconds"][0][0] <= since_arrival + 0.01
    assert took["StageSeconds"][0][0] <= took["BusySeconds"][0][0] + 0.01
    assert len(named(found, "IdleSeconds")) == 2
    assert named(found, "Entered") == [(1, {"State": "decompressing"}), (1, {"State": "prepared"})]
    assert not named(found, "Retries") + named(found, "Failures") + named(found, "Scans")
    assert "site" not in written.getvalue()
    assert "a.h5" not in written.getvalue()


def test_an_end_is_counted_once_and_an_overtaken_scan_is_no_failure(cloud, stage, written):
    attend(stage, fail_with(NotAScan("This is site/a.h5.")))
    found = metrics_in(written.getvalue())
    assert named(found, "Scans") == [(1, {"Outcome": "failed"})]
    assert named(found, "Failures") == [(1, {"FailureClass": "NotAScan"})]
    assert not named(found, "StageSeconds"), "how long it takes to refuse a letter says nothing about scans"
    assert "a.h5" not in written.getvalue()

    arrive(cloud.ledger, "old", replace(SCAN, key="site/b.h5"))
    send(cloud, "work")
    stage.attend(stage.consumer.receive(wait_s=0), "old", fail_with(Superseded("A newer one is there.")))
    found = metrics_in(written.getvalue())
    assert named(found, "Scans")[1:] == [(1, {"Outcome": "superseded"})]
    assert len(named(found, "Failures")) == 1


def test_what_is_tried_again_is_counted_and_waits_only_once(cloud, stage, clock, written):
    assert not attend(stage, fail_with(RuntimeError("a bug")))
    clock.ahead_s += 5
    send(cloud, "again")
    assert attend(stage, finish(stage))
    found = metrics_in(written.getvalue())
    assert named(found, "Retries") == [(1, {"Stage": "decompressing"})]
    assert len(named(found, "WaitingSeconds")) == 1
    assert len(named(found, "StageSeconds")) == 1


def test_the_wait_doubles_with_each_try_up_to_a_limit_and_half_of_it_is_chance():
    def waits(seed):
        jitter = Random(seed)
        return [faults.wait_before_next(n, lease_s=120, jitter=jitter) for n in range(1, 500)]

    rows = [waits(seed) for seed in range(9)]
    for n, longest_s in enumerate([2, 4, 8, 16, 32, 64, 128, 256, 300, 300]):
        assert all(longest_s / 2 <= row[n] <= longest_s for row in rows)
    assert len({tuple(row) for row in rows}) == 9
    assert waits(0) == rows[0]


def test_after_the_work_sigterm_means_what_it_meant_before():
    before = signal.getsignal(signal.SIGTERM)
    with raised_on_sigterm():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_while_it_works_a_worker_keeps_its_scan_and_its_message(cloud, stage, monkeypatch):
    monkeypatch.setattr(stage_module, "BEATS_PER_LEASE", 3000)
    extended = []
    monkeypatch.setattr(stage.consumer, "give_back", lambda _message, after_s: extended.append(after_s))

    def work(record):
        cloud.ledger.renew("s", owner=stage.owner, lease_s=-5)
        n_before = len(extended)
        for _ in range(1000):
            if len(extended) >= n_before + 2:  # one whole beat, whenever the one under way began
                break
            time.sleep(0.01)
        assert cloud.ledger.claim("s", State.DECOMPRESSING, owner="another", lease_s=30) is Claim.BUSY
        finish(stage)(record)

    assert attend(stage, work)
    assert set(extended) == {stage.consumer.lease_s}


def test_work_that_takes_longer_than_a_lease_keeps_scan_and_message(cloud, stage):
    """Where either were let go, another worker would have it by now."""
    cloud.sqs.set_queue_attributes(QueueUrl=cloud.queue_url, Attributes={"VisibilityTimeout": "2"})
    stage, other = cloud.stage(), cloud.stage(owner="another")
    seen = []

    def work(record):
        until_s = time.monotonic() + 4.5
        while time.monotonic() < until_s:
            seen.append((cloud.n_messages(), cloud.ledger.claim("s", stage.state, owner=other.owner, lease_s=2)))
            time.sleep(0.2)
        finish(stage)(record)

    stage.serve(lambda message: stage.attend(message, "s", work), wait_s=0, until_empty=True)
    assert set(seen) == {((0, 1), Claim.BUSY)}
    record = cloud.ledger.get("s")
    assert (record.state, record.attempts[State.DECOMPRESSING]) == (State.PREPARED, 1)


def test_work_that_gets_no_further_loses_its_lease_and_ends_its_process(cloud, stage, monkeypatch):
    monkeypatch.setattr(stage_module, "BEATS_PER_LEASE", 600)
    ended = []
    stage = replace(stage, watchdog=Watchdog(0.3, ended.append))
    renewed = []
    monkeypatch.setattr(cloud.ledger, "renew", lambda *_, **__: renewed.append(bool(ended)) or True)

    def work(_record):
        for _ in range(6):
            stage.watchdog.step()
            time.sleep(0.1)
        assert not ended, "it got on"
        for _ in range(200):
            if ended:
                break
            time.sleep(0.05)
        time.sleep(0.3)

    attend(stage, work)
    assert ended[0] == TransientError.exit_code
    assert not any(renewed), "from then on the lease isn't renewed"


def test_a_step_with_a_limit_of_its_own_is_not_watched():
    ended = []
    watchdog = Watchdog(0.0, ended.append)
    with watchdog.paused():
        time.sleep(0.01)
        assert watchdog.check()
    time.sleep(0.01)
    assert not watchdog.check()
    assert ended == [TransientError.exit_code]


def test_a_stage_shows_that_it_gets_on_and_goes_on_where_nobody_can_be_told(cloud, stage):
    told = []

    def tell():
        told.append(1)
        raise client_error("InternalServerError")

    stage = replace(stage, note_alive=tell)
    stage.serve(lambda message: stage.attend(message, "s", finish(stage)), wait_s=0, until_empty=True)
    assert len(told) == 2
    assert cloud.ledger.get("s").state is State.PREPARED


def test_how_long_work_takes_is_learnt_from_scans_that_pass(cloud, stage):
    def work(record):
        time.sleep(0.02)
        finish(stage)(record)

    assert attend(stage, work)
    pace = cloud.ledger.pace(State.DECOMPRESSING)
    assert pace.n == 1
    assert 0.02 <= pace.seconds < 5
    assert cloud.ledger.pace(State.RECONSTRUCTING).n == 0
    assert [scan.scan_id for scan in cloud.ledger.scans()] == ["s"], "bookkeeping is no scan"


def test_a_bad_scan_teaches_nothing_of_how_long_work_takes(cloud, stage):
    attend(stage, fail_with(NotAScan("A letter.")))
    assert cloud.ledger.pace(State.DECOMPRESSING).n == 0


def test_what_is_kept_is_what_was_kept_last(cloud):
    assert cloud.books.kept("patience_s") is None
    cloud.books.keep("patience_s", "20")
    cloud.books.keep("patience_s", "600")
    assert cloud.books.kept("patience_s") == "600"


def test_one_at_a_time_has_its_turn(cloud):
    assert cloud.books.take_turn("dispatch", for_s=30)
    assert not cloud.books.take_turn("dispatch", for_s=30)
    assert cloud.books.take_turn("something else", for_s=30)
    cloud.books.end_turn("dispatch")
    assert cloud.books.take_turn("dispatch", for_s=0), "and one that never ended is over by itself"
    assert cloud.books.take_turn("dispatch", for_s=30)


def test_a_jobs_sign_of_life_is_remembered_for_a_while_and_a_scan_for_good(cloud, stage):
    cloud.books.note_alive("job")
    assert cloud.books.last_alive_s("job") == pytest.approx(time.time(), abs=5)
    attend(stage, finish(stage))
    table = cloud.books._table
    assert int(table.get("#job:job")[EXPIRES_AT]) > time.time() + 6 * 3600, "Batch ends a job after six hours"
    forgotten = sorted(item["scan_id"].partition(":")[0] for item in table.scan() if EXPIRES_AT in item)
    assert forgotten == ["#arrived", "#job"], "and the list of an hour's arrivals, which repeats what is known"
