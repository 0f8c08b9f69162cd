"""What S3 and the stages say is read whole or refused by name; a scan's id stays the same and gives nothing away."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.service.folders import options_keys, results_folder
from raki.service.messages import NotUnderstood, ReconstructionRequested, ScanArrived, arrivals, completed, completion

ARRIVED = ScanArrived(
    bucket="raw", key="site/a.h5", etag="e1", version_id=None, n_bytes=5, at=datetime(2026, 1, 1, tzinfo=UTC)
)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1)


def notification(key: str) -> str:
    record = {
        "eventTime": "2026-01-01T00:00:00.000Z",
        "s3": {"bucket": {"name": "raw"}, "object": {"key": key, "eTag": "e1", "size": 5}},
    }
    return json.dumps({"Records": [record]})


def test_keys_come_form_encoded():
    (scan,) = arrivals(notification("site+1/M%C3%BCller+%2B1.h5"))
    assert scan == replace(ARRIVED, key="site 1/Müller +1.h5")


@pytest.mark.parametrize("key", ["a/.DS_Store", "._scan.h5", "~$scan.h5", "Thumbs.db", "scan.h5.part", ".x/scan.h5"])
def test_what_systems_leave_on_a_share_is_no_scan(key):
    assert arrivals(notification(key)) == []


@pytest.mark.parametrize("key", ["raki.toml", "site+1/raki.toml", "site/scan.raki.toml"])
def test_a_file_of_options_is_no_scan(key):
    assert arrivals(notification(key)) == []


@pytest.mark.parametrize("key", ["Raki.toml", "raki.toml.txt", "raki.toml/scan.h5", "pyproject.toml"])
def test_what_is_only_called_alike_is_taken_for_a_scan_and_never_passed_over(key):
    assert [scan.key for scan in arrivals(notification(key))] == [key]


def test_the_version_is_known_where_the_bucket_names_it():
    body = notification("a.h5").replace('"size": 5', '"size": 5, "versionId": "v7"')
    assert arrivals(body)[0].version_id == "v7"


def test_the_test_event_and_folders_are_no_scans():
    assert arrivals(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})) == []
    assert arrivals(notification("site1/")) == []


@pytest.mark.parametrize("body", ["", "{", "[]", "7", "{}", '{"Records": [{}]}', '{"Records": 3}'])
def test_what_is_no_notification_says_so(body):
    with pytest.raises(ValueError, match="no notice of an object"):
        arrivals(body)


@given(key=texts, hash_key=texts)
def test_a_scan_id_is_stable_and_tells_nothing(key, hash_key):
    scan = replace(ARRIVED, key=key)
    assert scan.scan_id(hash_key) == replace(scan, at=datetime(2027, 1, 1, tzinfo=UTC)).scan_id(hash_key)
    assert scan.scan_id(hash_key) != scan.scan_id(hash_key + "x")
    assert scan.scan_id(hash_key) != replace(scan, etag="e2").scan_id(hash_key)
    assert set(scan.scan_id(hash_key)) <= set("0123456789abcdef")


@given(st.builds(ReconstructionRequested, **dict.fromkeys(ReconstructionRequested.__annotations__, texts)
                 | {"raw_n_bytes": st.integers(min_value=0),
                    "options": st.dictionaries(texts, texts | st.integers() | st.booleans())}))  # fmt: skip
def test_a_request_survives_its_queue(request):
    assert ReconstructionRequested.from_json(request.to_json()) == request


def test_a_request_from_before_scans_had_options_is_read():
    now = ReconstructionRequested(
        scan_id="s", prepared_bucket="b", prepared_key="k", raw_version_id=None, raw_sha256="0", raw_n_bytes=1
    )
    before = {name: value for name, value in json.loads(now.to_json()).items() if name != "options"}
    assert ReconstructionRequested.from_json(json.dumps(before)) == now
    del before["raw_sha256"]
    with pytest.raises(ValueError, match="missing raw_sha256"):
        ReconstructionRequested.from_json(json.dumps(before))


def test_an_unknown_field_is_named():
    with pytest.raises(ValueError, match="colour"):
        ReconstructionRequested.from_json('{"colour": "red"}')


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        ("scan.h5", "scan"),
        ("site1/today/scan.tar.gz", "site1/today/scan"),
        ("site1/Scan.H5", "site1/Scan"),
        ("site1/meas.v1.2.dat", "site1/meas.v1.2"),
        ("site1/noending", "site1/noending"),
        ("site1/.h5", "site1/.h5"),
    ],
)
def test_results_stand_beside_the_scan_without_its_endings(key, folder):
    assert results_folder(key) == folder


def test_options_stand_in_the_scans_own_folder():
    assert options_keys("site1/today/scan.tar.gz") == ["site1/today/scan.raki.toml", "site1/today/raki.toml"]
    assert options_keys("scan.h5") == ["scan.raki.toml", "raki.toml"]


def test_the_event_of_a_manifest_is_read_as_eventbridge_sends_it():
    """Amazon S3 User Guide, "EventBridge event message structure": the key is as it is, and not encoded."""
    event = {
        "version": "0",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "detail": {
            "version": "0",
            "bucket": {"name": "results"},
            "object": {"key": "a+b c/ä%2F/manifest.json", "size": 5, "etag": "e", "sequencer": "1"},
            "reason": "PutObject",
        },
    }
    assert completed(json.dumps(event)) == ("results", "a+b c/ä%2F/manifest.json")
    assert completed(completion("b", "x/manifest.json")) == ("b", "x/manifest.json")


@pytest.mark.parametrize("body", ["", "7", "[]", "{}", '{"detail": {}}', '{"detail": {"bucket": {"name": "b"}}}'])
def test_what_is_no_event_of_a_manifest_is_named(body):
    with pytest.raises(NotUnderstood, match="no event of an object"):
        completed(body)
