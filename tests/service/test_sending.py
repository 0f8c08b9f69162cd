"""A result comes to the picture archive once, whatever happens there and here; the share waits for none of it."""

import ssl
import traceback
from collections import namedtuple
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import gettempdir

import boto3
import moto.sqs.models
import pydicom
import pytest
from botocore.stub import Stubber
from moto.core.utils import unix_time_millis
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage

import containers.send.__main__ as sending_container
import raki.results.sending
from containers.send.__main__ import OWN_MIB, Sender, destination_of
from raki.destination import Destination
from raki.errors import NotAScan
from raki.service import objects
from raki.service.deployment import Deployment
from raki.service.ledger import State
from raki.service.messages import ScanArrived, completion
from raki.service.operator import NotPossible, Operator
from raki.service.process import Terminated
from raki.service.record import Reached
from raki.service.sending import GIVEN_UP_AFTER, LONGEST_WAIT_S, Sendings, attempt, wait_before_next
from raki.service.settings import SendSettings
from tests.certificates import certify
from tests.embedded_metrics import metrics_in, named
from tests.picture_archive import Archive, running
from tests.service.conftest import arrive

# pynetdicom leaves a socket to the garbage collector where no connection came about.
pytestmark = pytest.mark.filterwarnings("ignore:.*[sS]ocket fd:pytest.PytestUnraisableExceptionWarning")

STAGES = {State.DECOMPRESSING: State.PREPARED, State.RECONSTRUCTING: State.RECONSTRUCTED}
DROPPED = datetime.now(UTC) - timedelta(hours=1)
FOLDER = "site/a"
disk_usage = namedtuple("disk_usage", ["total", "used", "free"])


def dicom_file(path, uid):
    """As little as C-STORE needs."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, uid
    image.PatientID, image.StudyInstanceUID, image.SeriesInstanceUID = path.stem, "1.2", "1.2.3"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)
    return path


@dataclass
class Site:
    """A result in its bucket, as a reconstruction leaves it, and the sender of its archive."""

    cloud: object
    clock: object
    folder: object
    operator: Operator
    settings: SendSettings
    sender: Sender | None = None

    def reconstruct(self, uids=("1.2.3.1", "1.2.3.2"), *, at=DROPPED, etag="e1", scan_id="s"):
        """A scan is dropped, or dropped again, and gets its result; the event of its manifest is in the queue."""
        asked = f"options of {at}"
        scan = ScanArrived(bucket="raw", key="site/a.h5", etag=etag, version_id=None, n_bytes=5, at=at, asked=asked)
        arrive(self.cloud.ledger, scan_id, scan)
        for stage, done in STAGES.items():
            self.cloud.ledger.claim(scan_id, stage, owner="w", lease_s=30)
            self.cloud.ledger.finish(scan_id, done, owner="w")
        self.publish(uids, scan_id=scan_id)
        self.announce()

    def publish(self, uids, *, outcome="reconstructed", scan_id="s"):
        files = [dicom_file(self.folder / f"image-{n}.dcm", uid) for n, uid in enumerate(uids)]
        report = self.folder / "report.html"
        report.write_text("…")
        record = self.cloud.ledger.get(scan_id)
        objects.publish(self.cloud.s3, self.cloud.bucket, record, [*files, report], outcome=outcome)

    def announce(self):
        body = completion(self.cloud.bucket, f"{FOLDER}/manifest.json")
        self.cloud.sqs.send_message(QueueUrl=self.cloud.queue_url, MessageBody=body)

    def send_to(self, archive):
        destination = Destination.parse(archive if isinstance(archive, str) else archive.destination)
        return Sender(self.settings, destination, jitter=Random(0))

    def sent(self, scan_id="s"):
        return self.cloud.ledger.get(scan_id).sending


@pytest.fixture
def clock(monkeypatch):
    """Of SQS, and of the sender."""

    class Clock:
        ahead_s = 0.0

        def time(self):
            return unix_time_millis() / 1000 + self.ahead_s

    clock = Clock()
    monkeypatch.setattr(moto.sqs.models, "unix_time_millis", lambda: unix_time_millis() + clock.ahead_s * 1000)
    monkeypatch.setattr(sending_container, "time", clock)
    return clock


@pytest.fixture
def site(cloud, clock, tmp_path, monkeypatch):
    # A client takes longer to make than a result to send.
    clients = {"s3": cloud.s3, "sqs": cloud.sqs, "dynamodb": cloud.ledger._table._client}
    monkeypatch.setattr(boto3, "client", clients.__getitem__)
    deployment = Deployment(
        where="here",
        connect=clients.__getitem__,
        ledger_table=cloud.bucket,
        raw_bucket=cloud.bucket,
        results_bucket=cloud.bucket,
        ingest_queue_url="none",
        scan_id_key="key",
        log_groups=(),
        takes_identity_out=False,
        send_queue_url=cloud.queue_url,
    )
    settings = SendSettings(
        ledger_table=cloud.bucket,
        memory_mib=2048,
        pacs="ARCHIVE@127.0.0.1:1",
        pacs_calling="RAKI",
        pacs_certificate=None,
        pacs_tls=False,
        pacs_trusted=None,
        send_dead_letters_url=cloud.dead_letters_url,
        send_queue_url=cloud.queue_url,
    )
    return Site(cloud, clock, tmp_path, Operator(deployment), settings)


@pytest.fixture
def archive():
    with running(Archive()) as archive:
        yield archive


def test_an_archive_that_is_down_gets_the_result_later_and_the_share_does_not_wait(site, written):
    with running(Archive()) as gone:
        port = gone.port
    site.reconstruct()
    sender = site.send_to(gone)
    assert sender.step(wait_s=0)
    assert (site.sent().reached, site.sent().to) == (Reached.WAITS, gone.destination)
    assert "There is no connection to ARCHIVE@127.0.0.1" in site.sent().reason
    assert site.cloud.ledger.deliver("s")
    assert site.cloud.ledger.get("s").state is State.DELIVERED
    assert not sender.step(wait_s=0)
    site.clock.ahead_s += 15
    assert sender.step(wait_s=0)
    assert not site.cloud.dead_letters()
    with running(Archive(), port=port) as archive:
        site.clock.ahead_s += 30
        assert sender.step(wait_s=0)
    for path in site.folder.glob("*.dcm"):
        original = pydicom.dcmread(path)
        assert archive.kept[original.SOPInstanceUID] == original
    assert len(archive.kept) == 2
    assert site.sent().reached is Reached.SENT
    assert site.cloud.ledger.get("s").state is State.DELIVERED
    assert site.cloud.n_messages() == (0, 0)
    found = metrics_in(written.getvalue())
    assert [value for value, _ in named(found, "SendRetries")] == [1, 1]
    assert [value for value, _ in named(found, "Sent")] == [1]


def test_waits_grow_to_less_than_the_hour_that_the_alarm_looks_at():
    waits = [[wait_before_next(n, Random(seed)) for seed in range(20)] for n in range(1, 1001)]
    assert all(8 <= each <= 15 for each in waits[0])
    assert all(sum(before) <= sum(after) for before, after in pairwise(waits))
    assert max(waits[-1]) <= LONGEST_WAIT_S < 3600
    assert min(waits[-1]) > 1000


def test_a_result_is_sent_once_however_often_it_is_announced(site, archive):
    site.reconstruct()
    site.announce()
    sender = site.send_to(archive)
    assert [sender.step(wait_s=0) for _ in range(3)] == [True, True, False]
    assert len(archive.callers) == 2
    assert site.cloud.n_messages() == (0, 0)


def test_another_archive_is_another_matter(site, archive):
    site.reconstruct()
    site.send_to(archive).step(wait_s=0)
    with running(Archive()) as other:
        site.announce()
        site.send_to(other).step(wait_s=0)
        assert len(other.kept) == 2
        assert site.sent().to == other.destination


def test_what_is_made_anew_is_sent_anew_when_it_has_ended(site, archive):
    site.reconstruct()
    sender = site.send_to(archive)
    sender.step(wait_s=0)
    site.cloud.ledger.deliver("s")
    at = datetime.now(UTC) + timedelta(hours=1)
    asked = f"options of {at}"
    again = ScanArrived(bucket="raw", key="site/a.h5", etag="e1", version_id=None, n_bytes=5, at=at, asked=asked)
    assert arrive(site.cloud.ledger, "s", again).state is State.ARRIVED
    assert site.sent() is None
    site.announce()  # what stands there is of the run before
    sender.step(wait_s=0)
    assert (len(archive.callers), site.sent()) == (2, None)
    site.reconstruct(["1.2.3.3"], at=again.at)
    sender.step(wait_s=0)
    assert "1.2.3.3" in archive.kept
    assert site.sent().reached is Reached.SENT
    site.clock.ahead_s += 60
    assert sender.step(wait_s=0)
    assert len(archive.callers) == 3
    assert site.cloud.n_messages() == (0, 0)


def test_an_image_that_is_refused_is_said_and_goes_to_the_dead_letters_until_somebody_retries(site, written):
    def refuse(_event):
        answer = Dataset()
        answer.Status, answer.ErrorComment = 0xA900, "Mustermann: no such order"
        return answer

    site.reconstruct()
    with running(Archive([None, refuse])) as archive:
        sender = site.send_to(archive)
        sender.step(wait_s=0)
        assert site.sent().reached is Reached.GIVEN_UP
        assert "refuses image-1.dcm with status 0xa900 (Mustermann: no such order)" in site.sent().reason
        assert "Mustermann" not in written.getvalue()
        assert site.cloud.n_messages() == (0, 0)
        assert len(site.cloud.dead_letters()) == 1
        assert [value for value, _ in named(metrics_in(written.getvalue()), "SendFailures")] == [1]
        site.operator.retry(site.cloud.ledger.get("s"))
        sender.step(wait_s=0)
        assert len(archive.kept) == 2
    assert site.sent().reached is Reached.SENT


def test_what_was_sent_is_not_set_going_again(site, archive):
    site.reconstruct()
    site.send_to(archive).step(wait_s=0)
    object.__setattr__(site.operator.deployment, "pacs", archive.destination)
    with pytest.raises(NotPossible, match="its images were sent to ARCHIVE@"):
        site.operator.retry(site.cloud.ledger.get("s"))
    assert site.cloud.n_messages() == (0, 0)


@pytest.mark.parametrize("why", ["full", "does not know us", "takes no such images"])
def test_what_is_mended_at_the_archive_is_waited_for(site, why):
    site.reconstruct()
    answers = [0xA700] if why == "full" else []
    set_up = {
        "does not know us": {"known_callers": ["OTHER"]},
        "takes no such images": {"kinds": ["1.2.840.10008.5.1.4.1.1.2"]},
    }
    with running(Archive(answers), **set_up.get(why, {})) as archive:
        sender = site.send_to(archive)
        sender.step(wait_s=0)
        port = archive.port
    assert site.sent().reached is Reached.WAITS
    assert not site.cloud.dead_letters()
    with running(Archive(), port=port) as archive:
        site.clock.ahead_s += 15
        assert sender.step(wait_s=0)
        assert len(archive.kept) == 2
    assert site.sent().reached is Reached.SENT


def test_after_a_week_of_waiting_it_is_given_up_and_lies_among_the_dead_letters(site, written):
    with running(Archive()) as gone:
        pass
    site.reconstruct()
    sender = site.send_to(gone)
    sender.step(wait_s=0)
    assert site.sent().reached is Reached.WAITS
    site.clock.ahead_s += GIVEN_UP_AFTER.total_seconds() + 1
    assert sender.step(wait_s=0)
    assert site.sent().reached is Reached.GIVEN_UP
    assert site.cloud.dead_letters() == [completion(site.cloud.bucket, f"{FOLDER}/manifest.json")]
    assert site.cloud.n_messages() == (0, 0)


class Killed(BaseException):
    """As SIGKILL, it leaves no time for anything."""


@pytest.mark.parametrize("how", [Killed, Terminated])
def test_a_sender_that_ends_half_way_leaves_the_rest_to_the_next(site, archive, monkeypatch, how):
    def half(files, destination, *, progress, memory_bytes):
        raki.results.sending.send(files[:1], destination, progress=progress)
        raise how

    site.reconstruct()
    sender = site.send_to(archive)
    with monkeypatch.context() as patched:
        patched.setattr(sending_container, "send", half)
        with pytest.raises(how):
            sender.step(wait_s=0)
    assert len(archive.kept) == 1
    assert site.sent() is None
    after = site.send_to(archive)
    if how is Killed:
        assert not after.step(wait_s=0)
        site.clock.ahead_s += 31
    assert after.step(wait_s=0)
    assert len(archive.kept) == 2
    assert site.sent().reached is Reached.SENT
    assert site.cloud.n_messages() == (0, 0)


def newer_version(site):
    arrive(
        site.cloud.ledger,
        "t",
        ScanArrived(bucket="raw", key="site/a.h5", etag="e2", version_id=None, n_bytes=5, at=datetime.now(UTC)),
    )


def test_a_result_that_was_replaced_is_not_sent(site, archive):
    site.reconstruct()
    newer_version(site)
    assert site.send_to(archive).step(wait_s=0)
    assert not archive.kept
    assert site.cloud.n_messages() == (0, 0)


def test_of_a_result_that_is_replaced_meanwhile_no_further_image_is_sent(site):
    def replaced(event):
        newer_version(site)
        return 0x0000

    site.reconstruct()
    with running(Archive([replaced])) as archive:
        assert site.send_to(archive).step(wait_s=0)
        assert not archive.kept
        assert not archive.callers
    assert site.cloud.n_messages() == (0, 0)


def test_a_page_of_a_failed_or_cancelled_scan_is_nothing_to_send(site, archive):
    site.reconstruct()
    site.publish(["1.2.3.1"], outcome="failed")
    assert site.send_to(archive).step(wait_s=0)
    assert not archive.kept
    assert site.cloud.n_messages() == (0, 0)


def test_what_the_manifest_does_not_vouch_for_is_not_sent(site, archive):
    site.reconstruct()
    key = f"{FOLDER}/image-1.dcm"
    right = site.cloud.s3.get_object(Bucket=site.cloud.bucket, Key=key)["Body"].read()
    site.cloud.s3.put_object(Bucket=site.cloud.bucket, Key=key, Body=right + b"\0\0")
    sender = site.send_to(archive)
    sender.step(wait_s=0)
    site.cloud.s3.delete_object(Bucket=site.cloud.bucket, Key=key)
    site.clock.ahead_s += 15
    sender.step(wait_s=0)
    assert not archive.kept
    site.cloud.s3.put_object(Bucket=site.cloud.bucket, Key=key, Body=right)
    site.clock.ahead_s += 30
    sender.step(wait_s=0)
    assert len(archive.kept) == 2


def test_a_manifest_that_is_gone_and_a_message_that_says_nothing_come_no_more(site, archive):
    site.announce()
    site.cloud.sqs.send_message(QueueUrl=site.cloud.queue_url, MessageBody='{"detail": 7}')
    sender = site.send_to(archive)
    assert [sender.step(wait_s=0) for _ in range(3)] == [True, True, False]
    assert site.cloud.dead_letters() == ['{"detail": 7}']


def test_an_error_that_nobody_foresaw_is_counted_and_comes_again(site, archive, monkeypatch, written):
    site.reconstruct()
    sender = site.send_to(archive)
    with monkeypatch.context() as patched:
        patched.setattr(sending_container, "fetch_images", lambda *_: 1 / 0)
        assert sender.step(wait_s=0)
    assert [value for value, _ in named(metrics_in(written.getvalue()), "SendRetries")] == [1]
    site.clock.ahead_s += 15
    sender.step(wait_s=0)
    assert len(archive.kept) == 2


def test_a_run_that_began_meanwhile_is_not_noted_as_sent(site):
    site.reconstruct()
    seen = site.cloud.ledger.get("s")
    sendings = Sendings(site.cloud.ledger._table._client, site.cloud.bucket)
    manifest = objects.read_manifest(site.cloud.s3, site.cloud.bucket, FOLDER)
    site.cloud.ledger.deliver("s")
    later = datetime.now(UTC) + timedelta(hours=1)
    site.reconstruct(at=later)
    assert not sendings.note(seen, attempt(manifest, "A@b:1", Reached.SENT))
    assert site.sent() is None
    site.cloud.ledger._fail("s", NotAScan("no"), condition="attribute_exists(scan_id)")
    assert not sendings.note(site.cloud.ledger.get("s"), attempt(manifest, "A@b:1", Reached.SENT))


@pytest.mark.parametrize("what", ["disk", "memory"])
def test_what_is_too_large_is_given_up_with_a_sentence_and_not_tried_for_days(site, what, monkeypatch, written):
    site.reconstruct()
    if what == "disk":
        monkeypatch.setattr("shutil.disk_usage", lambda _path: disk_usage(total=1 << 30, used=1 << 30, free=700))
        fetched = []
        monkeypatch.setattr(site.cloud.s3, "download_file", lambda *place: fetched.append(place))
    else:
        site.settings = replace(site.settings, memory_mib=OWN_MIB)
    with running(Archive(), syntaxes=[ImplicitVRLittleEndian]) as archive:
        assert site.send_to(archive).step(wait_s=0)
        assert not archive.kept
    if what == "disk":
        assert not fetched
    assert site.sent().reached is Reached.GIVEN_UP
    assert {"disk": "GB of disk for them", "memory": "MiB of memory, of which there are 0"}[what] in site.sent().reason
    assert len(site.cloud.dead_letters()) == 1
    assert [value for value, _ in named(metrics_in(written.getvalue()), "SendFailures")] == [1]


@pytest.fixture
def secrets(monkeypatch):
    """Secrets Manager, as far as one is read."""
    client = boto3.session.Session(region_name="us-east-1").client("secretsmanager")
    with Stubber(client) as stubber:
        monkeypatch.setattr(boto3, "client", {"secretsmanager": client}.__getitem__)
        yield stubber


SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:raki/pacs-AbCdEf"


def test_an_archive_that_asks_for_a_certificate_is_shown_the_one_of_the_secret(site, tmp_path, secrets, written):
    of_archive, own = certify("archive", tmp_path), certify("raki", tmp_path)
    told = replace(site.settings, pacs_tls=True, pacs_trusted=of_archive.read_text(), pacs_certificate=SECRET)
    secrets.add_response("get_secret_value", {"SecretString": own.read_text()}, {"SecretId": SECRET})
    demanding = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    demanding.load_cert_chain(of_archive)
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(own)
    image = dicom_file(tmp_path / "image.dcm", "1.2.3.1")
    with running(Archive(), tls=demanding) as archive:
        destination = destination_of(replace(told, pacs=archive.destination))
        raki.results.sending.send([image], destination)
        assert len(archive.kept) == 1
    secrets.assert_no_pending_responses()
    key = own.read_text().partition("PRIVATE KEY-----")[2].splitlines()[1]
    assert key not in written.getvalue()
    assert not [path for path in Path(gettempdir()).glob("*.pem") if key in path.read_text()]


@pytest.mark.parametrize("held", [{"SecretString": "a secret word"}, {"SecretBinary": b"a secret word"}])
def test_a_secret_that_is_no_certificate_is_named_and_not_told(site, secrets, held):
    told = replace(site.settings, pacs_tls=True, pacs_certificate=SECRET)
    secrets.add_response("get_secret_value", held, {"SecretId": SECRET})
    with pytest.raises(ValueError, match="is no certificate with its private key") as failed:
        destination_of(told)
    assert SECRET in str(failed.value)
    assert "word" not in "".join(traceback.format_exception(failed.value))


def test_by_tls_certificates_come_by_the_environment(site, tmp_path, monkeypatch):
    def told(**own):
        return destination_of(SendSettings(**{**site.settings.__dict__, **own}))

    assert told().tls is None
    assert told(pacs_tls=True).tls is not None
    assert told(pacs_calling="MR1").calling == "MR1"
    with pytest.raises(OSError, match="certificate"):
        told(pacs_tls=True, pacs_trusted="letter")
