"""A scan is read as it was announced or not at all; its results are whole before the manifest says so."""

import base64
import hashlib
import io
import json
from datetime import UTC, datetime

import pytest
from botocore.httpchecksum import Sha256Checksum, StreamingChecksumBody
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raki.errors import Removed, Superseded, TransientError
from raki.service.ledger import ScanRecord, State
from raki.service.messages import ScanArrived
from raki.service.objects import HashingReader, publish

RECORD = ScanRecord(
    scan_id="s", state=State.RECONSTRUCTING, raw_key="site/a.h5", results_folder="site/a", n_bytes=5,
    entered_at={State.ARRIVED: datetime(2026, 1, 1, tzinfo=UTC)},
)  # fmt: skip


def files(folder, **content):
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    return sorted(folder.iterdir())


def arrived(cloud, key, etag):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return ScanArrived(bucket=cloud.bucket, key=key, etag=etag, version_id=None, n_bytes=0, at=at)


def keys(cloud):
    return {entry["Key"] for entry in cloud.s3.list_objects_v2(Bucket=cloud.bucket).get("Contents", [])}


@settings(derandomize=True, max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=5000), sizes=st.lists(st.integers(min_value=1, max_value=700), max_size=8))
def test_a_stream_gives_every_byte_and_the_digest_of_all(cloud, content, sizes):
    etag = cloud.s3.put_object(Bucket=cloud.bucket, Key="scan", Body=content)["ETag"]
    reader = HashingReader(cloud.s3, arrived(cloud, "scan", etag.strip('"')))
    stream = io.BufferedReader(reader, 64)
    read = b"".join(stream.read(size) for size in sizes)
    assert read == content[: len(read)]
    reader.drain()
    assert reader.sha256 == hashlib.sha256(content).hexdigest()
    assert reader.n_bytes == len(content)


def test_bytes_that_are_not_those_of_the_checksum_are_named_as_that(cloud, monkeypatch):
    wrong = StreamingChecksumBody(io.BytesIO(b"half"), 4, Sha256Checksum(), base64.b64encode(bytes(32)).decode())
    monkeypatch.setattr(cloud.s3, "get_object", lambda **_: {"Body": wrong})
    with pytest.raises(TransientError, match=r"don't have the checksum.*AAAA.*read it again"):
        HashingReader(cloud.s3, arrived(cloud, "scan", "etag")).drain()


def test_a_file_that_was_replaced_is_superseded_and_one_that_was_removed_says_so(cloud):
    cloud.s3.put_object(Bucket=cloud.bucket, Key="scan", Body=b"new")
    for key, error in (("scan", Superseded), ("gone", Removed)):
        with pytest.raises(Superseded) as raised:
            HashingReader(cloud.s3, arrived(cloud, key, "0" * 32))
        assert raised.type is error


def test_the_manifest_lists_size_and_digest_of_all_that_is_there_and_what_is_missing(cloud, tmp_path):
    two = files(tmp_path / "x", one="1", two="22")
    publish(cloud.s3, cloud.bucket, RECORD, two, outcome="reconstructed", remarks=("Repetition 2 was left out.",))
    manifest = json.loads(cloud.s3.get_object(Bucket=cloud.bucket, Key="site/a/manifest.json")["Body"].read())
    for entry in manifest["files"]:
        body = cloud.s3.get_object(Bucket=cloud.bucket, Key=f"site/a/{entry['name']}")["Body"].read()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (entry["n_bytes"], entry["sha256"])
    assert {entry["name"] for entry in manifest["files"]} == {"one", "two"}
    assert manifest["remarks"] == ["Repetition 2 was left out."]


def test_nothing_waits_for_a_manifest_before_all_else_is_there(cloud, tmp_path):
    seen = []
    cloud.s3.meta.events.register("before-call.s3.PutObject", lambda params, **_: seen.append(params["url_path"]))
    publish(cloud.s3, cloud.bucket, RECORD, files(tmp_path / "x", one="1", two="22"), outcome="reconstructed")
    assert seen[-1].endswith("/site/a/manifest.json")
    assert len(seen) == 3


def test_an_earlier_runs_files_go_and_a_deeper_scans_stay(cloud, tmp_path):
    cloud.s3.put_object(Bucket=cloud.bucket, Key="site/a/deeper/report.html", Body=b"another scan")
    publish(cloud.s3, cloud.bucket, RECORD, files(tmp_path / "x", error="1", both="2"), outcome="failed")
    publish(cloud.s3, cloud.bucket, RECORD, files(tmp_path / "y", image="1", both="3"), outcome="reconstructed")
    assert keys(cloud) == {"site/a/deeper/report.html", "site/a/image", "site/a/both", "site/a/manifest.json"}


def test_nothing_is_left_of_a_run_that_ended_before_its_manifest(cloud, tmp_path):
    # Its error page was up, and then its worker was killed: no manifest names it.
    for key in ("site/a/error.html", "site/a/deeper/image.h5", "site/ab/error.html"):
        cloud.s3.put_object(Bucket=cloud.bucket, Key=key, Body=b"")
    publish(cloud.s3, cloud.bucket, RECORD, files(tmp_path / "x", image="1"), outcome="reconstructed")
    assert keys(cloud) == {"site/a/image", "site/a/manifest.json", "site/a/deeper/image.h5", "site/ab/error.html"}
