"""A scan is its content under its key: versions of the same bytes are one scan, whatever their ETags."""

import base64
import json
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import moto.s3.models
import pytest
from awscrt import checksums
from moto import mock_aws

from lambdas.reconcile import Clients, Reconciler
from raki.errors import NotAScan, Superseded
from raki.service.ledger import Ledger, State
from raki.service.messages import ScanArrived
from raki.service.settings import ReconcileSettings
from raki.service.standing import checksum, is_archived
from tests.service.whole_way import WholeWay

KEY = "site/a.h5"
A, B = b"version A", b"version B"


class Encrypted(WholeWay):
    """A site whose bucket has ETags as under SSE-KMS, and S3's own checksum unless a client chose another."""

    def __init__(self, monkeypatch, *, checksums):
        super().__init__(monkeypatch)
        self.checksums = checksums
        self.calls = Counter()
        boto3.client("s3").meta.events.register("before-call.s3", lambda model, **_: self._count(model.name))

    def _count(self, name):
        self.calls[name] += 1

    def drop(self, content, key=KEY):
        put = super().drop(content, key)
        held = self.held(key)
        held._etag = f'"{uuid.uuid4().hex}"'
        if self.checksums:
            held.checksum_algorithm = "CRC64NVME"
            held.checksum_value = base64.b64encode(checksums.crc64nvme(content).to_bytes(8, "big")).decode()
        notice = json.loads(put)
        notice["Records"][0]["s3"]["object"]["eTag"] = held._etag.strip('"')
        return json.dumps(notice)

    def held(self, key=KEY):
        return moto.s3.models.s3_backends["123456789012"]["aws"].get_object(self.raw, key)

    def version(self, key=KEY):
        return self.s3.head_object(Bucket=self.raw, Key=key)["VersionId"]

    def is_tagged(self, version, key=KEY):
        return bool(self.s3.get_object_tagging(Bucket=self.raw, Key=key, VersionId=version)["TagSet"])

    def runs(self):
        """How often anything was decompressed and reconstructed."""
        return [
            sum(record.attempts[stage] for record in self.scans())
            for stage in (State.DECOMPRESSING, State.RECONSTRUCTING)
        ]


@pytest.fixture(params=[True, False], ids=["with S3's checksum", "with a client's"])
def way(monkeypatch, request):
    with mock_aws():
        yield Encrypted(monkeypatch, checksums=request.param)


def check_came_out(way, content, *, n_scans=1):
    assert way.shown()["image"] == content
    assert len(way.scans()) == n_scans
    assert way.n_messages() == 0


def test_versions_of_the_same_bytes_are_one_scan_decompressed_and_reconstructed_once(way):
    way.announce(way.drop(A))  # its data
    way.finish()
    for later_version in range(3):  # its metadata, and a chmod long after
        way.announce(way.drop(A))
        way.finish()
        assert way.runs() == [1, 1], later_version
    check_came_out(way, A)


def test_of_versions_the_one_that_stands_is_tagged_for_the_archive_when_the_result_is_there(way):
    way.announce(way.drop(A))
    way.finish()
    first = way.version()
    assert way.is_tagged(first)
    way.announce(way.drop(A))
    way.finish()
    assert way.version() != first
    assert way.is_tagged(way.version())


def test_a_version_that_comes_while_the_scan_is_worked_on_is_the_one_that_is_tagged(way):
    way.announce(way.drop(A))
    way.decompress()
    way.announce(way.drop(A))
    way.decompress()
    way.reconstruct()
    check_came_out(way, A)
    assert way.is_tagged(way.version())
    assert way.runs() == [1, 1]


def test_a_version_that_comes_in_the_last_moment_of_the_work_is_tagged_too(way):
    way.announce(way.drop(A))
    way.decompress()
    came = []

    def come(name):
        if name.endswith("PutObjectTagging") and name.startswith("after-call") and not came:
            came.append(way.drop(A))
            way.announce(came[0])
            way.decompress()

    way.listener = come
    way.reconstruct()
    way.listener = None
    assert came
    assert way.is_tagged(way.version())
    assert way.runs() == [1, 1]


def test_other_bytes_are_another_scan_and_the_first_ones_come_back_when_they_stand_there_again(way):
    for content in (A, B, A):
        way.announce(way.drop(content))
        way.finish()
        assert way.shown()["image"] == content
    check_came_out(way, A, n_scans=2)


def test_a_scan_that_is_archived_is_not_read_again(way):
    way.announce(way.drop(A))
    way.finish()
    notice = way.drop(A)
    way.held()._storage_class = "DEEP_ARCHIVE"
    before = way.calls["GetObject"]
    way.announce(notice)
    way.decompress()
    assert way.runs() == [1, 1]
    assert way.calls["GetObject"] == before, "nor are options looked for, by which it couldn't be made anew"
    check_came_out(way, A)


def test_what_is_as_large_is_read_only_where_s3s_checksum_says_nothing_of_it(way):
    way.announce(way.drop(A))
    way.finish()
    before = way.calls["GetObject"]
    way.announce(way.drop(A))
    way.decompress()
    assert way.calls["GetObject"] - before == (2 if way.checksums else 3)


@pytest.mark.parametrize(
    ("head", "known_by"),
    [
        ({"ChecksumCRC64NVME": "a="}, "CRC64NVME:a=:5"),
        ({"ChecksumSHA256": "a=", "ChecksumType": "FULL_OBJECT"}, "SHA256:a=:5"),
        ({"ChecksumSHA256": "a=-2", "ChecksumType": "COMPOSITE"}, None),
        ({"ChecksumSHA256": "a="}, None),
        ({"ChecksumCRC32": "a=", "ChecksumType": "FULL_OBJECT"}, None),
        ({}, None),
    ],
)
def test_only_a_strong_checksum_of_the_whole_object_stands_for_its_bytes(head, known_by):
    assert checksum({"ContentLength": 5, **head}) == known_by


@pytest.mark.parametrize(
    ("head", "archived"),
    [
        ({}, False),
        ({"StorageClass": "INTELLIGENT_TIERING"}, False),
        ({"StorageClass": "DEEP_ARCHIVE"}, True),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="true"'}, True),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="false", expiry-date="Fri"'}, False),
    ],
)
def test_what_is_archived_can_be_read_once_it_is_restored(head, archived):
    assert is_archived(head) is archived


def test_the_ledger_has_seen_the_versions_it_was_told_of_and_no_others(way):
    way.announce(way.drop(A))
    way.finish()
    standing = ScanArrived(
        bucket=way.raw, key=KEY, etag=way.held()._etag.strip('"'), version_id=None, n_bytes=9, at=datetime.now(UTC)
    )
    assert way.ledger.has_seen(standing)
    way.drop(A)
    other = ScanArrived(**{**vars(standing), "etag": way.held()._etag.strip('"')})
    assert not way.ledger.has_seen(other)


def test_a_failed_scan_is_tried_anew_when_it_is_dropped_again(way):
    way.announce(way.drop(A))
    way.decompress()
    (scan,) = way.scans()
    way.ledger._fail(scan.scan_id, NotAScan("It is a letter."), condition="attribute_exists(scan_id)")
    way.clock.ahead_s += timedelta(minutes=5).total_seconds()
    way.announce(way.drop(A))
    way.finish()
    assert [record.state for record in way.scans()] == [State.DELIVERED]


ROLE = "AROAEXAMPLE"


def by_the_gateway(notice):
    event = json.loads(notice)
    event["Records"][0]["userIdentity"] = {"principalId": f"AWS:{ROLE}:sgw-1"}
    return json.dumps(event)


def uploaded(way, key=KEY):
    """As a gateway says that a file is whole, in EventBridge's form."""
    detail = {
        "bucket-name": way.raw,
        "event-type": "object-upload-complete",
        "modification-time": "2026-11-29T10:00:00Z",
        "object-key": key,
        "object-size": len(A),
        "prefix": "",
    }
    event = {"source": "aws.storagegateway", "detail-type": "Storage Gateway Object Upload Event"}
    return json.dumps({**event, "time": datetime.now(UTC).isoformat(), "detail": detail})


@pytest.mark.parametrize("order", ["S3 first", "gateway first"])
def test_what_a_gateway_writes_is_taken_up_once_when_the_gateway_says_that_it_is_whole(way, order):
    way._worker._settings = replace(way._worker._settings, gateway_role=ROLE)
    part, whole = by_the_gateway(way.drop(b"a part of A")), by_the_gateway(way.drop(A))
    told_by_s3 = [part, whole, whole]
    if order == "S3 first":
        for notice in told_by_s3:
            way.announce(notice)
        way.finish()
        assert way.scans() == [], "it may not be whole"
    for _ in range(2):  # events come at least once
        way.announce(uploaded(way))
    if order == "gateway first":
        for notice in told_by_s3:
            way.announce(notice)
    way.finish()
    check_came_out(way, A)
    assert way.runs() == [1, 1]


def test_what_others_put_into_the_bucket_is_taken_up_when_s3_says_so(way):
    way._worker._settings = replace(way._worker._settings, gateway_role=ROLE)
    way.announce(way.drop(A))
    way.finish()
    check_came_out(way, A)
    assert way.runs() == [1, 1]


def rounds(way):
    """Hourly ones of the reconciliation, with what they set going."""
    reconciler = Reconciler(
        ReconcileSettings(
            ingest_queue_url=way.ingest,
            ledger_table=way.table,
            raw_bucket=way.raw,
            reconstruct_queue_url=way.requests,
            refresh_queue_url=way.sqs.create_queue(QueueName="refresh")["QueueUrl"],
            data_store_id=None,
            pacs=None,
            results_bucket=way.results,
            send_queue_url=None,
            import_queue_url=None,
        ),
        Clients(s3=way.s3, sqs=way.sqs, dynamodb=boto3.client("dynamodb")),
    )
    for hour in range(1, 4):
        list(reconciler.run(datetime.now(UTC) + timedelta(hours=hour)))
        way.finish()


def test_options_that_come_while_a_scan_waits_for_a_gpu_are_used_when_it_is_dropped_again(way):
    way.announce(way.drop(A))
    way.decompress()
    way.s3.put_object(Bucket=way.raw, Key="site/a.raki.toml", Body=b"[reconstruction]\nseed = 7\n")
    way.announce(way.drop(A))
    way.finish()
    (scan,) = way.scans()
    assert (scan.state, scan.options) == (State.DELIVERED, {"seed": 7})


def test_options_that_come_while_a_scan_is_reconstructed_make_it_anew_behind_that(way):
    way.announce(way.drop(A))
    way.decompress()
    came = []

    def come(name):
        if name.startswith("before-call.s3") and not came:
            came.append(name)
            way.s3.put_object(Bucket=way.raw, Key="site/a.raki.toml", Body=b"[reconstruction]\nseed = 7\n")
            way.announce(way.drop(A))
            way.decompress()

    way.listener = come
    way.reconstruct()
    way.listener = None
    way.finish()
    (scan,) = way.scans()
    assert (scan.state, scan.options) == (State.DELIVERED, {"seed": 7})


def test_a_file_that_is_hidden_and_shown_again_is_reconstructed_though_nobody_tells_of_it(way):
    way.announce(way.drop(A))
    markers = []

    def hide(name):
        if name.endswith("UpdateItem") and name.startswith("after-call") and not markers and way.scans():
            markers.append(way.s3.delete_object(Bucket=way.raw, Key=KEY)["VersionId"])

    way.listener = hide
    way.decompress()
    way.listener = None
    way.s3.delete_object(Bucket=way.raw, Key=KEY, VersionId=markers[0])
    rounds(way)
    check_came_out(way, A)


def test_a_version_that_stands_again_just_as_it_is_found_superseded_comes_out(way, monkeypatch):
    way.announce(way.drop(A))
    way.decompress()
    look, turns = Ledger.check_current, []

    def check(ledger, record):
        if not turns:
            turns.append(B)
            way.announce(way.drop(B))
            way.decompress()
        try:
            look(ledger, record)
        except Superseded:
            if turns == [B]:
                turns.append(A)
                way.announce(way.drop(A))
                way.decompress()
            raise

    monkeypatch.setattr(Ledger, "check_current", check)
    way.finish()
    rounds(way)
    assert way.shown()["image"] == A


def test_what_failed_and_is_dropped_again_in_the_same_second_is_tried_anew(way):
    way._worker._settings = replace(way._worker._settings, gateway_role=ROLE)
    way.drop(A)
    way.announce(uploaded(way))
    way.decompress()
    (scan,) = way.scans()
    way.ledger._fail(scan.scan_id, NotAScan("It is a letter."), condition="attribute_exists(scan_id)")
    way.drop(A)
    # Of what comes in parts S3 says when that began.
    way.held().last_modified = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=20)
    way.announce(uploaded(way))
    way.finish()
    assert [record.state for record in way.scans()] == [State.DELIVERED]


def test_a_delivered_scan_keeps_its_images_whatever_comes_to_its_archived_file(way):
    way.announce(way.drop(A))
    way.finish()
    notice = way.drop(A)
    way.held()._storage_class = "DEEP_ARCHIVE"
    way.s3.put_object(Bucket=way.raw, Key="site/a.raki.toml", Body=b"[reconstruction]\nseed = 7\n")
    way.s3.put_object(Bucket=way.raw, Key="site/a_noise.h5", Body=b"noise")
    way.announce(notice)
    way.finish()
    check_came_out(way, A)
    assert way.runs() == [1, 1]
