"""A result whose event was lost still reaches the archive; one that has its end, or never was to, is left alone."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.reconcile import Clients, Reconciler
from raki.service import objects
from raki.service.forgotten import Queue, is_forgotten
from raki.service.ledger import State
from raki.service.messages import ScanArrived, completed
from raki.service.reconciliation import AGAIN, MAX_REMEDIES, OVERDUE, STILL
from raki.service.record import Announced, Outlet, Reached, ScanRecord, Sending
from raki.service.sending import GIVEN_UP_AFTER, Sendings, attempt
from raki.service.settings import ReconcileSettings
from tests.embedded_metrics import metrics_in, named
from tests.service.conftest import arrive

NOW = datetime(2026, 1, 10, tzinfo=UTC)
QUEUE = Queue(url="q", made_at=NOW - timedelta(days=300), has_messages=False)
MOMENT = timedelta(seconds=1)
PACS = "ARCHIVE@pacs:104"


def record(ended=timedelta(hours=1), state=State.DELIVERED, **facts):
    """A scan whose result is so old."""
    entered = {State.RECONSTRUCTED: NOW - ended, State.DELIVERED: NOW}
    return ScanRecord(
        scan_id="id", state=state, raw_key="a", results_folder="a", n_bytes=1, entered_at=entered, **facts
    )


def noted(reached, before=timedelta(hours=1)):
    return Sending(reached=reached, to=PACS, at=NOW - before, digest="d")


def forgotten(scan, queue=QUEUE):
    return is_forgotten(scan, scan.sending, Outlet.ARCHIVE, queue, NOW)


def test_a_result_is_forgotten_when_nothing_speaks_of_it_and_long_after_when_something_might():
    busy = replace(QUEUE, has_messages=True)
    assert forgotten(record(STILL + MOMENT))
    assert not forgotten(record(STILL - MOMENT))
    assert forgotten(record(OVERDUE + MOMENT), busy)
    assert not forgotten(record(OVERDUE - MOMENT), busy)


def test_one_that_waits_is_forgotten_by_its_last_try():
    assert forgotten(record(timedelta(days=1), sending=noted(Reached.WAITS, STILL + MOMENT)))
    assert not forgotten(record(timedelta(days=1), sending=noted(Reached.WAITS, STILL - MOMENT)))


@given(st.sampled_from([Reached.SENT, Reached.GIVEN_UP]), st.timedeltas(timedelta(), timedelta(days=9)))
def test_what_has_its_end_is_left_alone(reached, ended):
    assert not forgotten(record(ended, sending=noted(reached)))


@given(st.sampled_from([state for state in State if state not in (State.RECONSTRUCTED, State.DELIVERED)]))
def test_a_scan_without_a_result_has_nothing_to_send(state):
    assert not forgotten(record(state=state))


def test_what_ended_before_the_archive_was_set_up_or_is_old_is_not_sent():
    hour = timedelta(hours=1)
    assert forgotten(record(hour), replace(QUEUE, made_at=NOW - hour))
    assert not forgotten(record(hour), replace(QUEUE, made_at=NOW - hour + MOMENT))
    assert forgotten(record(GIVEN_UP_AFTER - MOMENT))
    assert not forgotten(record(GIVEN_UP_AFTER + MOMENT))


def test_a_job_is_asked_for_when_it_has_not_said_for_long_that_it_has_ended():
    def imported(before):
        scan = record(timedelta(days=1), importing=noted(Reached.STARTED, before))
        return is_forgotten(scan, scan.importing, Outlet.HEALTHIMAGING, QUEUE, NOW)

    assert imported(OVERDUE + MOMENT)
    assert not imported(OVERDUE - MOMENT)


def test_nothing_is_announced_twice_within_an_hour():
    def again(before):
        return record(timedelta(days=1), announced={Outlet.ARCHIVE: Announced(at=NOW - before, n=1)})

    assert not forgotten(again(AGAIN - MOMENT))
    assert forgotten(again(AGAIN + MOMENT))


@dataclass
class Site:
    """One scan with its result, which the sender never heard of, and the reconciler."""

    cloud: object
    reconciler: Reconciler
    sendings: Sendings

    def run(self, later=timedelta(hours=2)):
        return Counter(self.reconciler.run(datetime.now(UTC) + later))

    def announced(self):
        """Keys that are announced to the sender."""
        found = self.cloud.sqs.receive_message(QueueUrl=self.cloud.queue_url, MaxNumberOfMessages=10)
        messages = found.get("Messages", [])
        for message in messages:
            self.cloud.sqs.delete_message(QueueUrl=self.cloud.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return [completed(message["Body"]) for message in messages]

    def note(self, reached):
        manifest = objects.read_manifest(self.cloud.s3, self.cloud.bucket, "site/a")
        assert self.sendings.note(self.cloud.ledger.get("s"), attempt(manifest, PACS, reached))


@pytest.fixture
def site(cloud, tmp_path):
    scan = ScanArrived(bucket="raw", key="site/a.h5", etag="e", version_id=None, n_bytes=5, at=datetime.now(UTC))
    arrive(cloud.ledger, "s", scan)
    for stage, done in {
        State.DECOMPRESSING: State.PREPARED,
        State.RECONSTRUCTING: State.RECONSTRUCTED,
    }.items():
        cloud.ledger.claim("s", stage, owner="w", lease_s=30)
        cloud.ledger.finish("s", done, owner="w")
    publish(cloud, tmp_path / "image.dcm")
    cloud.ledger.deliver("s")
    cloud.s3.create_bucket(Bucket=f"{cloud.bucket}-raw")
    others = cloud.sqs.create_queue(QueueName=f"{cloud.bucket}-others")["QueueUrl"]
    settings = ReconcileSettings(
        data_store_id=None,
        import_queue_url=None,
        ingest_queue_url=others,
        ledger_table=cloud.bucket,
        pacs=PACS,
        raw_bucket=f"{cloud.bucket}-raw",
        reconstruct_queue_url=others,
        refresh_queue_url=others,
        results_bucket=cloud.bucket,
        send_queue_url=cloud.queue_url,
    )
    dynamodb = cloud.ledger._table._client
    clients = Clients(s3=cloud.s3, sqs=cloud.sqs, dynamodb=dynamodb)
    return Site(cloud, Reconciler(settings, clients), Sendings(dynamodb, cloud.bucket))


def publish(cloud, file, outcome="reconstructed"):
    file.write_bytes(b"image")
    objects.publish(cloud.s3, cloud.bucket, cloud.ledger.get("s"), [file], outcome=outcome)


def test_a_lost_event_is_made_up_for_as_eventbridge_would_have_told_it(site):
    assert site.run() == {"announce to sending": 1}
    assert site.announced() == [(site.cloud.bucket, "site/a/manifest.json")]
    assert not site.run(timedelta(hours=2, minutes=30))
    assert not site.announced()


@pytest.mark.parametrize("reached", [Reached.SENT, Reached.GIVEN_UP])
def test_what_was_sent_or_given_up_is_not_announced(site, reached):
    site.note(reached)
    assert not site.run()
    assert not site.announced()


def test_what_waits_without_a_message_is_announced(site):
    site.note(Reached.WAITS)
    assert not site.run(STILL / 2)
    assert site.run() == {"announce to sending": 1}


def test_while_there_are_messages_it_may_be_among_them(site):
    site.cloud.sqs.send_message(QueueUrl=site.cloud.queue_url, MessageBody="of another")
    assert not site.run(OVERDUE - timedelta(minutes=1))
    assert site.run(OVERDUE + timedelta(minutes=1)) == {"announce to sending": 1}


def test_what_nobody_takes_up_is_given_up_with_a_sentence(site, written):
    for number in range(MAX_REMEDIES):
        assert site.run(timedelta(hours=2 * (number + 1))) == {"announce to sending": 1}
        assert len(site.announced()) == 1
    assert site.run(timedelta(hours=48)) == {"give up for sending": 1}
    given_up = site.cloud.ledger.get("s").sending
    assert (given_up.reached, given_up.to) == (Reached.GIVEN_UP, PACS)
    assert "announced 6 times" in given_up.reason
    assert [value for value, _ in named(metrics_in(written.getvalue()), "SendFailures")] == [1]
    assert not site.run(timedelta(hours=72))


def test_what_the_archive_has_may_be_forgotten_by_healthimaging(site):
    both = replace(site.reconciler._settings, data_store_id="d" * 32, import_queue_url=site.cloud.dead_letters_url)
    site.reconciler._settings = both
    site.note(Reached.SENT)
    assert site.run() == {"announce to importing": 1}
    assert not site.announced()
    (body,) = site.cloud.dead_letters()
    assert completed(body) == (site.cloud.bucket, "site/a/manifest.json")


def test_a_queue_that_is_gone_leaves_the_other_outlets_their_turn(site):
    site.reconciler._settings = replace(
        site.reconciler._settings,
        data_store_id="d" * 32,
        import_queue_url=site.cloud.dead_letters_url,
        send_queue_url=f"{site.cloud.queue_url}-gone",
    )
    assert site.run() == {"announce to importing": 1}


def test_a_result_without_images_has_nothing_to_send(site, tmp_path):
    publish(site.cloud, tmp_path / "report.html")
    assert not site.run()


def test_a_version_whose_place_another_has_taken_is_not_announced(site):
    newer = ScanArrived(bucket="raw", key="site/a.h5", etag="f", version_id=None, n_bytes=5, at=datetime.now(UTC))
    arrive(site.cloud.ledger, "t", newer)
    assert not site.run(STILL * 0.9)
    assert "announce to sending" not in site.run()


def test_a_run_anew_is_not_taken_for_the_one_that_was_announced(site):
    site.run()
    seen = site.cloud.ledger.get("s")
    assert seen.announced[Outlet.ARCHIVE].n == 1
    at, asked = datetime.now(UTC) + timedelta(hours=1), "other options"
    again = ScanArrived(bucket="raw", key="site/a.h5", etag="e", version_id=None, n_bytes=5, at=at, asked=asked)
    arrive(site.cloud.ledger, "s", again)
    assert not site.cloud.ledger.get("s").announced
    assert not site.sendings.note_announced(seen, Outlet.ARCHIVE, datetime.now(UTC))


def test_of_two_rounds_that_see_a_result_one_announces_it(site):
    seen = site.cloud.ledger.get("s")
    assert site.sendings.note_announced(seen, Outlet.ARCHIVE, datetime.now(UTC))
    assert not site.sendings.note_announced(seen, Outlet.ARCHIVE, datetime.now(UTC))
