"""Whatever is lost on the way, a scan comes to its end; and what isn't lost is left alone."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers.decompress.__main__ import Worker
from containers.reconstruct.__main__ import Job
from lambdas.reconcile import Clients, Reconciler
from raki.errors import DamagedScan
from raki.options import Options
from raki.service import objects
from raki.service.ledger import Claim, ScanRecord, State
from raki.service.messages import arrivals, manifests
from raki.service.protection import Protection
from raki.service.reconciliation import AGAIN, MAX_REMEDIES, OVERDUE, STILL, Remedy, Surroundings, is_lost, remedy
from raki.service.scheduling import depth
from raki.service.settings import DecompressSettings, ReconcileSettings, ReconstructSettings
from tests.service.dropping import HOURLY_USD, KEY, deliver
from tests.service.test_files_beside import pair

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUIET = {State.DECOMPRESSING: False, State.RECONSTRUCTING: False}


def record(state, stood=timedelta(hours=1), **facts):
    return ScanRecord(
        scan_id="id", state=state, raw_key="a", results_folder="a", n_bytes=1, entered_at={state: NOW - stood}, **facts
    )


@given(st.sampled_from(State), st.timedeltas(timedelta(), timedelta(days=9)), st.booleans())
def test_what_somebody_holds_or_has_put_off_is_not_lost(state, stood, is_busy):
    later = {"lease_until_s" if is_busy else "not_before_s": int(NOW.timestamp()) + 1}
    assert not is_lost(record(state, stood, **later), Surroundings(now=NOW, has_messages=QUIET))


@pytest.mark.parametrize("state", [state for state in State if state is not State.DELIVERED])
def test_a_scan_is_lost_when_nothing_speaks_of_it_and_long_after_when_something_might(state):
    quiet, busy = (Surroundings(now=NOW, has_messages=dict.fromkeys(QUIET, has)) for has in (False, True))
    moment = timedelta(seconds=1)
    assert is_lost(record(state, STILL + moment), quiet)
    assert not is_lost(record(state, STILL - moment), quiet)
    if state in (State.RECONSTRUCTED, State.FAILED):
        assert is_lost(record(state, STILL + moment), busy), "no stage's queue has anything to do with it"
    else:
        assert not is_lost(record(state, OVERDUE - moment), busy)
        assert is_lost(record(state, OVERDUE + moment), busy)


def test_nothing_is_done_twice_within_an_hour_nor_about_what_is_shown():
    quiet = Surroundings(now=NOW, has_messages=QUIET)
    assert not is_lost(record(State.PREPARED, remedied_at=NOW - AGAIN + timedelta(seconds=1)), quiet)
    assert is_lost(record(State.PREPARED, remedied_at=NOW - AGAIN - timedelta(seconds=1)), quiet)
    assert not is_lost(record(State.DELIVERED), quiet)
    failed = record(State.FAILED)
    shown = replace(failed, entered_at=failed.entered_at | {State.DELIVERED: NOW})
    assert is_lost(failed, quiet)
    assert not is_lost(shown, quiet)


def test_a_scan_that_was_started_over_is_judged_by_where_it_is_and_not_by_an_earlier_delivery():
    again = record(State.PREPARED)
    again = replace(again, entered_at=again.entered_at | {State.DELIVERED: NOW - timedelta(days=1)})
    assert is_lost(again, Surroundings(now=NOW, has_messages=QUIET))


@pytest.mark.parametrize(
    ("state", "shown", "expected"),
    [
        (State.ARRIVED, None, Remedy.ANNOUNCE),
        (State.DECOMPRESSING, None, Remedy.ANNOUNCE),
        (State.PREPARED, None, Remedy.START_OVER),
        (State.RECONSTRUCTING, None, Remedy.START_OVER),
        (State.RECONSTRUCTED, "reconstructed", Remedy.SHOW),
        (State.RECONSTRUCTED, None, Remedy.START_OVER),
        (State.RECONSTRUCTED, "failed", Remedy.START_OVER),
        (State.FAILED, "failed", Remedy.SHOW),
        (State.FAILED, None, Remedy.REPORT),
    ],
)
def test_each_loss_has_its_remedy(state, shown, expected):
    assert remedy(record(state), shown_outcome=shown) is expected


def test_what_never_helps_is_given_up():
    assert remedy(record(State.ARRIVED, n_remedies=MAX_REMEDIES), shown_outcome=None) is Remedy.GIVE_UP
    assert remedy(record(State.FAILED, n_remedies=MAX_REMEDIES), shown_outcome=None) is None
    late = record(State.RECONSTRUCTED, n_remedies=MAX_REMEDIES)
    assert remedy(late, shown_outcome="reconstructed") is Remedy.SHOW, "its result is there: only the share is late"


@pytest.mark.parametrize("failure_class", ["Superseded", "Removed"])
def test_a_version_that_was_replaced_needs_no_page(failure_class):
    assert remedy(record(State.FAILED, failure_class=failure_class), shown_outcome=None) is None


class Rounds:
    """The reconciler of one site, with its queues, a worker and a job at hand."""

    def __init__(self, site, reconstruct_queue):
        self.site, self.reconstruct_queue = site, reconstruct_queue
        self.made = f"{site.bucket}-made"
        site.s3.create_bucket(Bucket=self.made)
        self._worker = Worker(
            DecompressSettings(
                deidentify=False,
                gateway_role=None,
                ingest_dead_letters_url=site.dead_letters_url,
                ingest_queue_url=site.queue_url,
                ledger_table=site.bucket,
                prepared_bucket=self.made,
                reconstruct_queue_url=reconstruct_queue,
                results_bucket=self.made,
                scan_id_key="key",
            ),
            Protection(),
        )
        self._job = Job(
            ReconstructSettings(
                hourly_usd=HOURLY_USD,
                ledger_table=site.bucket,
                models=None,
                prepared_folder=None,
                raw_bucket=site.bucket,
                reconstruct_dead_letters_url=site.dead_letters_url,
                reconstruct_queue_url=reconstruct_queue,
                results_bucket=self.made,
            ),
            Options(method="zero_filled"),
        )
        self.refresh_queue = site.sqs.create_queue(QueueName=f"{site.bucket}-refresh")["QueueUrl"]
        settings = ReconcileSettings(
            data_store_id=None,
            import_queue_url=None,
            ingest_queue_url=site.queue_url,
            ledger_table=site.bucket,
            pacs=None,
            raw_bucket=site.bucket,
            reconstruct_queue_url=reconstruct_queue,
            refresh_queue_url=self.refresh_queue,
            results_bucket=self.made,
            send_queue_url=None,
        )
        clients = Clients(s3=site.s3, sqs=site.sqs, dynamodb=boto3.client("dynamodb"))
        self.reconciler = Reconciler(settings, clients)

    def decompress(self):
        self._worker._stage.serve(self._worker._handle, wait_s=0, until_empty=True)

    def reconstruct(self):
        self._job.drain()

    def lose_messages(self):
        """Also those that are held. SQS purges a queue once a minute."""
        for url in (self.site.queue_url, self.reconstruct_queue):
            n_held = depth(self.site.sqs, url).in_flight
            while received := self.site.sqs.receive_message(QueueUrl=url).get("Messages"):
                self.site.sqs.delete_message(QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
            if n_held:
                self.site.sqs.purge_queue(QueueUrl=url)

    def run(self, later=timedelta(hours=2)):
        """What a round did, so much later."""
        return Counter(self.reconciler.run(datetime.now(UTC) + later))

    def scan(self):
        """The scan that isn't replaced."""
        (found,) = [scan for scan in self.site.ledger.scans() if scan.failure_class != "Superseded"]
        return found

    def shown(self):
        """Keys of the manifests that are announced to the refresh queue."""
        received = self.site.sqs.receive_message(QueueUrl=self.refresh_queue, MaxNumberOfMessages=10)
        return [key for message in received.get("Messages", []) for _, key in manifests(message["Body"])]


@pytest.fixture
def rounds(site, reconstruct_queue, monkeypatch):
    monkeypatch.setattr("containers.reconstruct.__main__.PATIENCE_S", 0)
    return Rounds(site, reconstruct_queue)


def healed(rounds):
    rounds.decompress()
    rounds.reconstruct()
    scan = rounds.scan()
    manifest = objects.read_manifest(rounds.site.s3, rounds.made, scan.results_folder)
    return scan.state is State.RECONSTRUCTED and manifest["outcome"] == "reconstructed"


def test_a_lost_notification(rounds):
    rounds.lose_messages()
    assert rounds.run()[Remedy.ENTER] == 1
    assert healed(rounds)


def test_a_file_is_not_entered_while_its_notification_may_still_come(rounds):
    rounds.lose_messages()
    assert not rounds.run(later=STILL / 2)


def test_files_that_wait_for_their_turn_are_announced_no_second_time(rounds):
    """With each round the queue, and with it the fleet, would grow by all that wait."""
    assert not rounds.run(later=OVERDUE - timedelta(minutes=1))
    assert rounds.run(later=OVERDUE + timedelta(minutes=1)) == {Remedy.ENTER: 1}


def arrived(rounds):
    """The scan in the ledger; nobody has taken it up."""
    (message,) = rounds.site.sqs.receive_message(QueueUrl=rounds.site.queue_url)["Messages"]
    (arrival,) = arrivals(message["Body"])
    record, _ = rounds.site.ledger.arrive(arrival.key, lambda: rounds._worker._look(arrival))
    return record


def test_a_lost_message(rounds):
    arrived(rounds)
    rounds.lose_messages()
    assert rounds.run()[Remedy.ANNOUNCE] == 1
    assert healed(rounds)


def test_a_dead_worker_and_a_lost_message(rounds):
    scan = arrived(rounds)
    claim = rounds.site.ledger.claim(scan.scan_id, State.DECOMPRESSING, owner="dead", lease_s=-1)
    assert claim is Claim.GRANTED
    rounds.lose_messages()
    assert rounds.run()[Remedy.ANNOUNCE] == 1
    assert healed(rounds)


def test_a_lost_request(rounds):
    rounds.decompress()
    rounds.lose_messages()
    assert rounds.run()[Remedy.START_OVER] == 1
    assert healed(rounds)


def test_a_dead_job_and_a_lost_request(rounds):
    rounds.decompress()
    scan = rounds.scan()
    rounds.site.ledger.claim(scan.scan_id, State.RECONSTRUCTING, owner="dead", lease_s=-1)
    rounds.lose_messages()
    assert rounds.run()[Remedy.START_OVER] == 1
    assert not rounds.site.ledger.finish(scan.scan_id, State.RECONSTRUCTED, owner="dead"), "it has lost the scan"
    assert healed(rounds)


def test_a_prepared_scan_that_was_deleted(rounds):
    rounds.decompress()
    rounds.lose_messages()
    rounds.site.s3.delete_object(Bucket=rounds.made, Key=f"scans/{rounds.scan().scan_id}.h5")
    rounds.run()
    assert healed(rounds)


def test_a_lost_notice_of_a_result(rounds):
    assert healed(rounds)
    assert rounds.run()[Remedy.SHOW] == 1
    assert rounds.shown() == [f"{rounds.scan().results_folder}/manifest.json"]
    assert rounds.scan().state is State.RECONSTRUCTED


def test_a_manifest_that_was_deleted(rounds):
    assert healed(rounds)
    rounds.site.s3.delete_object(Bucket=rounds.made, Key=f"{rounds.scan().results_folder}/manifest.json")
    assert rounds.run()[Remedy.START_OVER] == 1
    assert healed(rounds)


def test_a_file_that_was_removed_ends_with_a_sentence(rounds):
    arrived(rounds)
    rounds.lose_messages()
    rounds.site.s3.delete_object(Bucket=rounds.site.bucket, Key=KEY)
    assert rounds.run()[Remedy.ANNOUNCE] == 1
    scan = rounds.scan()
    assert (scan.state, scan.failure_class) == (State.FAILED, "Removed")
    assert "can be dropped again" in scan.failure


def test_a_newer_version_whose_notification_was_lost(rounds, raw):
    rounds.decompress()
    deliver(rounds.site, KEY, raw.read_bytes() + b"\0" * 64)
    rounds.lose_messages()
    assert rounds.run()[Remedy.ENTER] == 1
    rounds.decompress()
    assert len(list(rounds.site.ledger.scans())) == 2


def failed(rounds):
    scan = arrived(rounds)
    rounds.lose_messages()
    rounds.site.ledger.fail(scan.scan_id, DamagedScan("it ends too early"))
    return rounds.scan()


def test_a_page_that_was_never_written(rounds):
    scan = failed(rounds)
    assert rounds.run()[Remedy.REPORT] == 1
    page = rounds.site.s3.get_object(Bucket=rounds.made, Key=f"{scan.results_folder}/error.json")["Body"].read()
    assert b"It ends too early." in page
    assert b"DamagedScan" in page


def test_a_lost_notice_of_a_failure(rounds):
    scan = failed(rounds)
    rounds.run()
    assert rounds.run(timedelta(hours=4))[Remedy.SHOW] == 1
    assert rounds.shown() == [f"{scan.results_folder}/manifest.json"]


def test_a_scan_that_no_remedy_helps_is_given_up_with_a_page(rounds):
    arrived(rounds)
    for number in range(MAX_REMEDIES):
        rounds.lose_messages()
        assert rounds.run(timedelta(hours=2 * (number + 1)))[Remedy.ANNOUNCE] == 1
    rounds.lose_messages()
    assert rounds.run(timedelta(hours=48))[Remedy.GIVE_UP] == 1
    scan = rounds.scan()
    assert (scan.state, scan.failure_class) == (State.FAILED, "StoodStill")
    assert "6 times" in scan.failure
    manifest = objects.read_manifest(rounds.site.s3, rounds.made, scan.results_folder)
    assert manifest["outcome"] == "failed"


def test_of_two_rounds_that_see_a_scan_one_acts(rounds):
    arrived(rounds)
    rounds.lose_messages()
    (seen,) = rounds.site.ledger.scans()
    assert rounds.site.ledger.take_in_hand(seen, starts_over=False)
    assert not rounds.site.ledger.take_in_hand(seen, starts_over=False)


def test_a_scan_that_has_moved_since_is_left_alone(rounds):
    scan = arrived(rounds)
    rounds.site.ledger.claim(scan.scan_id, State.DECOMPRESSING, owner="alive", lease_s=60)
    assert not rounds.site.ledger.take_in_hand(scan, starts_over=True)


def test_a_fault_with_one_scan_leaves_the_others_their_turn(rounds, monkeypatch, raw):
    deliver(rounds.site, "other.h5", raw.read_bytes() + b"\0")
    arrived(rounds)
    rounds.lose_messages()
    announce = rounds.reconciler._announce
    monkeypatch.setattr(rounds.reconciler, "_announce", lambda record: objects_missing(rounds, record, announce))
    assert rounds.run() == {Remedy.ENTER: 1}


def objects_missing(rounds, _record, _announce):
    rounds.site.s3.get_object(Bucket=rounds.site.bucket, Key="no such key")


def test_a_scan_of_two_files_whose_notifications_were_lost_is_found_once(rounds):
    rounds.lose_messages()
    rounds.site.s3.delete_object(Bucket=rounds.site.bucket, Key=KEY)
    for ending, content in pair("numpy").items():
        rounds.site.s3.put_object(Bucket=rounds.site.bucket, Key=f"a/pair{ending}", Body=content)
    assert rounds.run() == {Remedy.ENTER: 1}
    assert healed(rounds)
    assert not rounds.run(later=STILL / 2)


def test_a_version_that_waited_for_what_made_it_another_one_is_over(rounds):
    """It was taken up without its companion, and then its message went for the two of them."""
    rounds.lose_messages()
    rounds.site.s3.delete_object(Bucket=rounds.site.bucket, Key=KEY)
    for ending, content in pair("numpy").items():
        deliver(rounds.site, f"a/pair{ending}", content)
        rounds.decompress()
    rounds.reconstruct()
    states = {scan.state for scan in rounds.site.ledger.scans()}
    assert states == {State.DECOMPRESSING, State.RECONSTRUCTED}
    rounds.lose_messages()
    assert rounds.run()[Remedy.END] == 1
    assert healed(rounds)
    assert rounds.run()[Remedy.END] == 0
