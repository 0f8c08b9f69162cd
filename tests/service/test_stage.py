"""A stage's promises around its work: at least once, safe twice, and in the end a result or a page that says why."""

import json
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from raki.errors import NotAScan, Superseded, TransientError
from raki.service import protection as protection_module
from raki.service import stage as stage_module
from raki.service.ledger import Claim, State
from raki.service.messages import ScanArrived
from raki.service.objects import publish
from raki.service.process import Terminated, raised_on_sigterm
from raki.service.protection import Protection
from tests.embedded_metrics import metrics_in, named
from tests.service.agent import BLOCKED

SCAN = ScanArrived(bucket="raw", key="site/a.h5", etag="e1", version_id=None, n_bytes=5, at=datetime.now(UTC))


@pytest.fixture
def stage(cloud):
    cloud.ledger.arrive("s", SCAN)
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


@pytest.mark.parametrize("error", [TransientError("disk full"), RuntimeError("a bug"), MemoryError()])
def test_what_is_not_the_scans_fault_is_tried_again(cloud, stage, error):
    assert not attend(stage, fail_with(error))
    assert cloud.n_messages() == (0, 1)  # still in the queue, for a moment out of sight
    assert cloud.ledger.get("s").state is State.DECOMPRESSING
    cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody="delivered again")
    assert attend(cloud.stage(owner="another"), finish(cloud.stage(owner="another")))


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
    for _ in range(9):
        with pytest.raises(Terminated):
            stage.attend(message, "s", fail_with(Terminated()))
    assert stage.attend(message, "s", finish(stage))
    assert cloud.ledger.get("s").state is State.PREPARED


def test_an_old_version_that_fails_leaves_the_newer_ones_result_alone(cloud, stage, tmp_path):
    def overtaken(_record):
        newer = cloud.ledger.arrive("newer", replace(SCAN, etag="e2", at=SCAN.at + timedelta(seconds=9)))
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
    cloud.ledger.arrive("s", SCAN)
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
    cloud.ledger.arrive("s", SCAN)
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
    cloud.ledger.arrive("s", SCAN)
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

    cloud.ledger.arrive("old", replace(SCAN, key="site/b.h5"))
    send(cloud, "work")
    stage.attend(stage.consumer.receive(wait_s=0), "old", fail_with(Superseded("A newer one is there.")))
    found = metrics_in(written.getvalue())
    assert named(found, "Scans")[1:] == [(1, {"Outcome": "superseded"})]
    assert len(named(found, "Failures")) == 1


def test_what_is_tried_again_is_counted_and_waits_only_once(cloud, stage, written):
    assert not attend(stage, fail_with(TransientError("disk full")))
    send(cloud, "again")
    assert attend(stage, finish(stage))
    found = metrics_in(written.getvalue())
    assert named(found, "Retries") == [(1, {"Stage": "decompressing"})]
    assert len(named(found, "WaitingSeconds")) == 1
    assert len(named(found, "StageSeconds")) == 1


def test_the_wait_doubles_with_each_attempt_up_to_the_lease(cloud, stage, monkeypatch):
    waits = []
    monkeypatch.setattr(stage.consumer, "give_back", lambda _message, after_s: waits.append(after_s))
    message = stage.consumer.receive(wait_s=0)
    for _ in range(4):
        assert not stage.attend(message, "s", fail_with(TransientError("disk full")))
    assert waits == [2, 4, 8, 16]
    stage.consumer.lease_s = 10
    cloud.ledger.arrive("other", replace(SCAN, key="site/b.h5"))
    for _ in range(4):
        assert not stage.attend(message, "other", fail_with(TransientError("disk full")))
    assert waits[4:] == [2, 4, 8, 10]


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
