"""An operator's cancel and retry against everything that may happen at the same moment: one of the two counts."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from raki.errors import Cancelled, NotAScan, Superseded
from raki.service import objects
from raki.service.interventions import Interventions, show_cancelled
from raki.service.ledger import Claim, State
from raki.service.messages import ScanArrived
from raki.service.reconciliation import Surroundings, is_lost, remedy
from tests.service.conftest import arrive

DROPPED = datetime.now(UTC) - timedelta(minutes=1)
SCAN = ScanArrived(bucket="raw", key="site/a.h5", etag="e1", version_id=None, n_bytes=5, at=DROPPED)
STAGES = (State.DECOMPRESSING, State.RECONSTRUCTING)
AFTER = {State.DECOMPRESSING: State.PREPARED, State.RECONSTRUCTING: State.RECONSTRUCTED}


@pytest.fixture
def desk(cloud):
    return Interventions(cloud.ledger._table._client, cloud.bucket)


def brought_to(ledger, state, owner="w"):
    """A scan in that state."""
    arrive(ledger, "s", SCAN)
    for stage in STAGES:
        if state in (stage, AFTER[stage]) or State(state) is not State.ARRIVED:
            if ledger.get("s").state is state:
                break
            ledger.claim("s", stage, owner=owner, lease_s=30)
            if state is stage:
                break
            ledger.finish("s", AFTER[stage], owner=owner)
    assert ledger.get("s").state is state
    return ledger.get("s")


@pytest.mark.parametrize("state", [State.ARRIVED, State.DECOMPRESSING, State.PREPARED, State.RECONSTRUCTING])
def test_what_waits_or_is_worked_on_ends_as_cancelled_and_stays_so(cloud, desk, state):
    brought_to(cloud.ledger, state)
    assert desk.cancel("s")
    record = cloud.ledger.get("s")
    assert (record.state, record.failure_class) == (State.FAILED, "Cancelled")
    assert record.failure == "The scan was cancelled by an operator before it had a result."
    # A message of it that is still in a queue, the same notification again, and who had it in hand.
    assert arrive(cloud.ledger, "s", SCAN).state is State.FAILED
    assert [cloud.ledger.claim("s", stage, owner="v", lease_s=30) for stage in STAGES] == [Claim.OVER, Claim.OVER]
    assert not cloud.ledger.renew("s", owner="w", lease_s=30)
    assert not cloud.ledger.seal("s", owner="w")
    assert not cloud.ledger.finish("s", State.RECONSTRUCTED, owner="w")
    assert not cloud.ledger.fail("s", NotAScan("late"))
    assert cloud.ledger.get("s").failure_class == "Cancelled"


@pytest.mark.parametrize("shown", [None, "failed"])
def test_the_reconciliation_shows_a_cancelled_scans_page_and_revives_nothing(cloud, desk, shown):
    brought_to(cloud.ledger, State.PREPARED)
    desk.cancel("s")
    record = cloud.ledger.get("s")
    quiet = Surroundings(now=datetime.now(UTC) + timedelta(hours=1), has_messages=dict.fromkeys(STAGES, False))
    assert is_lost(record, quiet)
    assert remedy(record, shown_outcome=shown) in ("report", "show")


def test_who_saw_a_scan_stand_still_before_it_was_cancelled_does_not_start_it_over(cloud, desk):
    seen = brought_to(cloud.ledger, State.PREPARED)
    desk.cancel("s")
    assert not cloud.ledger.take_in_hand(seen, starts_over=True)
    assert cloud.ledger.get("s").state is State.FAILED


@pytest.mark.parametrize("state", [State.RECONSTRUCTED, State.DELIVERED, State.FAILED])
def test_what_has_ended_is_not_cancelled(cloud, desk, state):
    brought_to(cloud.ledger, State.RECONSTRUCTED if state is State.DELIVERED else state) if state is not (
        State.FAILED
    ) else (arrive(cloud.ledger, "s", SCAN), cloud.ledger.fail("s", NotAScan("no")))
    if state is State.DELIVERED:
        cloud.ledger.deliver("s")
    assert not desk.cancel("s")
    assert cloud.ledger.get("s").state is state


def test_nothing_that_the_ledger_does_not_know_is_cancelled(cloud, desk):
    assert not desk.cancel("unknown")
    assert cloud.ledger.get("unknown") is None


def test_of_cancel_and_seal_the_first_one_counts(cloud, desk):
    brought_to(cloud.ledger, State.RECONSTRUCTING)
    assert cloud.ledger.seal("s", owner="w")
    assert not desk.cancel("s"), "its manifest is being written"
    assert cloud.ledger.finish("s", State.RECONSTRUCTED, owner="w")


@pytest.mark.parametrize("loss", ["released", "lease ran out", "taken over"])
def test_a_seal_is_void_when_its_owner_has_not_gone_on(cloud, desk, loss):
    brought_to(cloud.ledger, State.RECONSTRUCTING)
    cloud.ledger.seal("s", owner="w")
    if loss == "released":
        cloud.ledger.release("s", State.RECONSTRUCTING, owner="w", counts=True)
    else:
        cloud.ledger.renew("s", owner="w", lease_s=-5)
    if loss == "taken over":
        assert cloud.ledger.claim("s", State.RECONSTRUCTING, owner="v", lease_s=30) is Claim.GRANTED
    assert desk.cancel("s")


def test_a_worker_that_takes_a_scan_up_again_has_not_sealed_it_yet(cloud, desk):
    brought_to(cloud.ledger, State.RECONSTRUCTING)
    cloud.ledger.seal("s", owner="w")
    cloud.ledger.claim("s", State.RECONSTRUCTING, owner="w", lease_s=30)
    assert desk.cancel("s")


def test_a_retry_begins_as_new_and_who_had_the_scan_has_it_no_more(cloud, desk):
    brought_to(cloud.ledger, State.RECONSTRUCTING)
    desk.cancel("s")
    assert desk.restart(cloud.ledger.get("s"))
    record = cloud.ledger.get("s")
    assert (record.state, record.failure_class, record.n_remedies) == (State.ARRIVED, None, 0)
    assert not any(record.attempts.values())
    assert set(record.entered_at) == {State.ARRIVED}
    cloud.ledger.check_current(record)
    assert not cloud.ledger.renew("s", owner="w", lease_s=30)
    assert not cloud.ledger.finish("s", State.RECONSTRUCTED, owner="w")
    assert cloud.ledger.claim("s", State.DECOMPRESSING, owner="v", lease_s=30) is Claim.GRANTED


def test_of_two_retries_and_a_drop_one_sets_the_scan_going(cloud, desk):
    arrive(cloud.ledger, "s", SCAN)
    cloud.ledger.fail("s", NotAScan("no"))
    seen = cloud.ledger.get("s")
    assert [desk.restart(seen), desk.restart(seen)] == [True, False]
    cloud.ledger.fail("s", NotAScan("no"))
    assert not desk.restart(seen), "it failed again since"
    arrive(cloud.ledger, "s", replace(SCAN, at=datetime.now(UTC) + timedelta(minutes=1)))
    assert not desk.restart(cloud.ledger.get("s"))


def test_a_drop_revives_what_was_cancelled_and_a_new_version_has_its_own_fate(cloud, desk):
    brought_to(cloud.ledger, State.PREPARED)
    desk.cancel("s")
    assert arrive(cloud.ledger, "t", replace(SCAN, etag="e2")).state is State.ARRIVED
    assert cloud.ledger.get("s").state is State.FAILED
    again = replace(SCAN, at=datetime.now(UTC) + timedelta(minutes=1))
    assert arrive(cloud.ledger, "s", again).state is State.ARRIVED


def shown(cloud, folder="site/a"):
    found = cloud.s3.list_objects_v2(Bucket=cloud.bucket, Prefix=f"{folder}/").get("Contents", [])
    return sorted(entry["Key"].rpartition("/")[2] for entry in found)


class AtWork:
    """A worker that publishes two files, and is interrupted by a cancel at one of the moments of its work."""

    def __init__(self, cloud, desk, tmp_path):
        self.cloud, self.desk = cloud, desk
        self.stage = cloud.stage()
        self.files = [tmp_path / name for name in ("image.h5", "report.html")]
        for file in self.files:
            file.write_text("made")
        arrive(cloud.ledger, "s", SCAN)
        cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody="about s")
        self.was_cancelled = None

    def run(self, work):
        message = self.stage.consumer.receive(wait_s=0)
        return self.stage.attend(message, "s", work)

    def cancel(self):
        self.was_cancelled = self.desk.cancel("s")
        if self.was_cancelled:
            record = self.cloud.ledger.get("s")
            show_cancelled(self.cloud.s3, self.cloud.bucket, self.cloud.ledger, record)


@pytest.mark.parametrize("moment", ["upload_file", "delete_object", "put_object"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_whenever_a_cancel_comes_the_folder_holds_a_whole_result_or_the_page(
    cloud, desk, tmp_path, monkeypatch, moment, call
):
    worker = AtWork(cloud, desk, tmp_path)
    cloud.s3.put_object(Bucket=cloud.bucket, Key="site/a/stale.txt", Body=b"")
    original, calls = getattr(cloud.s3, moment), []

    def interrupted(*arguments, **keywords):
        calls.append(moment)
        if len(calls) == call:
            worker.cancel()
        return original(*arguments, **keywords)

    def work(record):
        monkeypatch.setattr(cloud.s3, moment, interrupted)
        worker.stage.publish(record, worker.files, outcome="reconstructed")
        worker.stage.ledger.finish("s", State.RECONSTRUCTED, owner=worker.stage.owner)

    assert worker.run(work)
    record = cloud.ledger.get("s")
    if worker.was_cancelled:
        assert record.failure_class == Cancelled.__name__
        assert shown(cloud) == ["error.html", "error.json", "manifest.json"]
        assert objects.read_manifest(cloud.s3, cloud.bucket, "site/a")["outcome"] == "failed"
    else:
        assert record.state is State.RECONSTRUCTED
        assert shown(cloud) == ["image.h5", "manifest.json", "report.html"]


def test_a_worker_leaves_a_cancelled_scan_at_its_next_step_after_a_heartbeat(cloud, desk, tmp_path):
    worker = AtWork(cloud, desk, tmp_path)
    steps = []

    def work(_record):
        worker.cancel()
        for step in range(3):
            steps.append(step)
            worker.stage.step()
            worker.stage._beat(*worker.stage.hand.holds)

    assert worker.run(work)
    assert steps == [0, 1]
    assert cloud.ledger.get("s").failure_class == "Cancelled"
    assert cloud.dead_letters() == []


def test_the_page_of_a_scan_that_is_set_going_again_meanwhile_is_not_written(cloud, desk):
    brought_to(cloud.ledger, State.PREPARED)
    desk.cancel("s")
    record = cloud.ledger.get("s")
    desk.restart(record)
    with pytest.raises(Superseded):
        show_cancelled(cloud.s3, cloud.bucket, cloud.ledger, record)
    assert shown(cloud) == []


def test_the_page_says_cancelled_and_what_to_do(cloud, desk):
    brought_to(cloud.ledger, State.PREPARED)
    desk.cancel("s")
    show_cancelled(cloud.s3, cloud.bucket, cloud.ledger, cloud.ledger.get("s"))
    page, facts = (
        cloud.s3.get_object(Bucket=cloud.bucket, Key=f"site/a/error.{kind}")["Body"].read() for kind in ("html", "json")
    )
    assert b"This scan was cancelled" in page
    assert b"raki retry" in page
    assert json.loads(facts)["failure_class"] == "Cancelled"


@pytest.mark.parametrize("moment", ["upload_file", "put_object"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_scan_that_is_cancelled_while_its_failure_is_told_has_the_page_of_the_cancel(
    cloud, desk, tmp_path, monkeypatch, moment, call
):
    worker = AtWork(cloud, desk, tmp_path)
    original, calls = getattr(cloud.s3, moment), []

    def interrupted(*arguments, **keywords):
        calls.append(moment)
        if len(calls) == call:
            worker.cancel()
        return original(*arguments, **keywords)

    def work(_record):
        monkeypatch.setattr(cloud.s3, moment, interrupted)
        raise NotAScan("it is a letter")

    assert worker.run(work), "it has ended, and nobody is to try again"
    told = json.loads(cloud.s3.get_object(Bucket=cloud.bucket, Key="site/a/error.json")["Body"].read())
    assert told["failure_class"] == cloud.ledger.get("s").failure_class
    assert told["failure_class"] == ("Cancelled" if worker.was_cancelled else "NotAScan")
    assert shown(cloud) == ["error.html", "error.json", "manifest.json"]


@pytest.mark.parametrize("when", ["before its page", "after its page"])
def test_a_worker_that_leaves_a_cancelled_scan_ends_nothing_that_was_set_going_again(
    cloud, desk, tmp_path, monkeypatch, when
):
    worker = AtWork(cloud, desk, tmp_path)

    def set_going():
        assert desk.restart(cloud.ledger.get("s"))

    def work(_record):
        assert desk.cancel("s")
        if when == "before its page":
            set_going()
        raise Cancelled("as its heartbeat found")

    def shown_and_set_going(*arguments):
        show_cancelled(*arguments)
        set_going()

    if when == "after its page":
        monkeypatch.setattr("raki.service.stage.show_cancelled", shown_and_set_going)
    assert worker.run(work)
    record = cloud.ledger.get("s")
    assert (record.state, record.failure_class) == (State.ARRIVED, None)
