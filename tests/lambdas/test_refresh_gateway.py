"""The refresh shows every result, asks the gateway no more than it takes, and holds nothing up for another's sake."""

import io
import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from lambdas import refresh_gateway as refresh
from raki.service.ledger import Ledger
from raki.service.messages import ScanArrived
from tests.embedded_metrics import metrics_in, named
from tests.service.conftest import create_ledger_table


@pytest.mark.parametrize(
    ("keys", "shown", "folders"),
    [
        (["scan/manifest.json"], [], ["/"]),
        (["site1/today/scan/manifest.json"], [], ["/"]),
        (["site1/today/scan/manifest.json"], ["site1"], ["/site1"]),
        (["site1/today/scan/manifest.json"], ["site1", "site1/today"], ["/site1/today"]),
        (["a/x/manifest.json", "a/y/manifest.json", "b/z/manifest.json"], ["a", "b"], ["/a", "/b"]),
        (["a/x/manifest.json", "a/b/y/manifest.json", "ab/z/manifest.json"], ["a", "a/b", "ab"], ["/a", "/ab"]),
        (["x/manifest.json", "a/y/manifest.json"], ["a"], ["/"]),
        ([f"{n}/scan/manifest.json" for n in range(51)], [str(n) for n in range(51)], ["/"]),
    ],
)
def test_the_nearest_folder_that_the_gateway_knows_is_refreshed(keys, shown, folders):
    assert refresh.folders_to_refresh(keys, lambda folder: not folder or folder in shown) == folders


manifest_keys = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join).map("{}/manifest.json".format)


@given(st.lists(manifest_keys, min_size=1, max_size=60), st.sets(st.sampled_from(["a", "b", "a/b", "a/b/c", "c/a"])))
def test_every_result_lies_below_a_folder_that_is_refreshed_and_known(manifests, shown):
    folders = refresh.folders_to_refresh(manifests, lambda folder: not folder or folder in shown)
    assert 1 <= len(folders) <= 50
    assert {folder.strip("/") for folder in folders} <= shown | {""}
    for key in manifests:
        assert any(f"/{key}".startswith(f"{folder.rstrip('/')}/") for folder in folders)


SHARE = "arn:aws:storagegateway:us-east-1:123456789012:share/share-12345678"


WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def refresh_calls(monkeypatch):
    monkeypatch.setenv("RESULTS_SHARE_ARN", SHARE)
    monkeypatch.setenv("LEDGER_TABLE", "ledger")
    monkeypatch.setenv("REFRESH_DEAD_LETTERS_URL", "https://dead")
    monkeypatch.setenv("REFRESH_QUEUE_URL", "https://refresh")
    monkeypatch.setenv("REFRESH_SPACING_S", "60")
    monkeypatch.setenv("RESULTS_BUCKET", "results")
    monkeypatch.setattr(refresh, "_write_status", lambda *_: False)
    with Stubber(refresh.GATEWAY) as gateway, Stubber(refresh.S3) as s3, Stubber(refresh.DYNAMODB) as ledger:
        yield gateway, s3, ledger
        for calls in (gateway, s3, ledger):
            calls.assert_no_pending_responses()


def manifest_written(key):
    record = {"s3": {"bucket": {"name": "results"}, "object": {"key": key}}}
    return {"messageId": key, "receiptHandle": f"handle of {key}", "body": json.dumps({"Records": [record]})}


def last_refresh(ledger, at=None, folders=("/",)):
    text = json.dumps({"folders": list(folders), "at_s": at.timestamp()}) if at else None
    ledger.add_response("get_item", {"Item": {"text": {"S": text}}} if at else {})


def test_a_refresh_that_comes_too_soon_is_tried_again_with_every_message(refresh_calls):
    gateway, s3, ledger = refresh_calls
    last_refresh(ledger)
    s3.add_response("head_object", {"LastModified": WRITTEN})
    ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:a"}}})
    gateway.add_client_error("refresh_cache", "InvalidGatewayRequestException")
    held = {"QueueUrl": "https://refresh", "ReceiptHandle": "handle of a/x/manifest.json", "VisibilityTimeout": 60}
    with Stubber(refresh.SQS) as sqs:
        sqs.add_response("change_message_visibility", {}, held)
        answer = refresh.handler({"Records": [manifest_written("a/x/manifest.json")]}, None)
        sqs.assert_no_pending_responses()
    assert answer == {"batchItemFailures": [{"itemIdentifier": "a/x/manifest.json"}]}


@pytest.mark.parametrize(
    ("folders", "seconds_since", "is_shown"),
    [
        (["/"], 60, True),
        (["/b", "/a"], 60, True),
        (["/a/x"], 60, False),
        (["/b"], 60, False),
        (["/"], 2, False),
        (["/"], -60, False),
    ],
)
def test_a_refresh_that_has_come_since_the_result_serves_it_too(
    refresh_calls, monkeypatch, folders, seconds_since, is_shown
):
    """A gateway that is busy refuses; who asks later needs no refresh of his own."""
    gateway, s3, ledger = refresh_calls
    last_refresh(ledger, WRITTEN + timedelta(seconds=seconds_since), folders)
    s3.add_response("head_object", {"LastModified": WRITTEN})
    if not is_shown:
        ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:a"}}})
        gateway.add_response("refresh_cache", {})
        for _ in ("refreshed", "a", ""):
            ledger.add_response("put_item", {})
    delivered = []
    monkeypatch.setattr(refresh, "_deliver", lambda _ledger, _bucket, key: delivered.append(key) or True)
    assert refresh.handler({"Records": [manifest_written("a/x/manifest.json")]}, None) == {"batchItemFailures": []}
    assert delivered == ["a/x/manifest.json"]


def test_while_the_gateway_is_busy_what_it_has_shown_is_delivered_all_the_same(refresh_calls, monkeypatch):
    gateway, s3, ledger = refresh_calls
    last_refresh(ledger, WRITTEN + timedelta(seconds=60))
    s3.add_response("head_object", {"LastModified": WRITTEN})
    s3.add_response("head_object", {"LastModified": WRITTEN + timedelta(seconds=90)})
    ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:b"}}})
    gateway.add_client_error("refresh_cache", "InvalidGatewayRequestException")
    monkeypatch.setattr(refresh, "_deliver", lambda *_: True)
    old, new = "a/x/manifest.json", "b/x/manifest.json"
    held = {"QueueUrl": "https://refresh", "ReceiptHandle": f"handle of {new}", "VisibilityTimeout": 60}
    with Stubber(refresh.SQS) as sqs:
        sqs.add_response("change_message_visibility", {}, held)
        answer = refresh.handler({"Records": [manifest_written(old), manifest_written(new)]}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": new}]}


def test_the_test_event_refreshes_nothing(refresh_calls):
    _, _, ledger = refresh_calls
    last_refresh(ledger)
    record = {"messageId": "1", "body": json.dumps({"Event": "s3:TestEvent"})}
    assert refresh.handler({"Records": [record]}, None) == {"batchItemFailures": []}


def test_what_storage_gateway_is_asked_is_what_its_api_takes(refresh_calls, monkeypatch):
    gateway, s3, ledger = refresh_calls
    last_refresh(ledger)
    s3.add_response("head_object", {"LastModified": WRITTEN})
    ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:my site"}}})
    for _ in ("refreshed", "my site", ""):
        ledger.add_response("put_item", {})
    delivered = []
    monkeypatch.setattr(refresh, "_deliver", lambda ledger, bucket, key: delivered.append((bucket, key)) or True)
    expected = {"FileShareARN": SHARE, "FolderList": ["/my site"], "Recursive": True}
    gateway.add_response("refresh_cache", {"FileShareARN": SHARE, "NotificationId": "n"}, expected)
    answer = refresh.handler({"Records": [manifest_written("my+site/x/manifest.json")]}, None)
    assert answer == {"batchItemFailures": []}
    assert delivered == [("results", "my site/x/manifest.json")]


def test_a_folder_with_nothing_in_it_is_not_taken_for_shown(refresh_calls):
    _, s3, ledger = refresh_calls
    last_refresh(ledger)
    s3.add_client_error("head_object", "404")
    s3.add_client_error("get_object", "NoSuchKey")
    answer = refresh.handler({"Records": [manifest_written("a/x/manifest.json")]}, None)
    assert answer == {"batchItemFailures": []}, "and the gateway wasn't asked for anything"


def test_a_manifest_that_cannot_be_looked_for_now_is_shown_all_the_same(refresh_calls, monkeypatch):
    gateway, s3, ledger = refresh_calls
    last_refresh(ledger, WRITTEN + timedelta(hours=1))
    s3.add_client_error("head_object", "503")
    ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:a"}}})
    gateway.add_response("refresh_cache", {})
    for _ in ("refreshed", "a", ""):
        ledger.add_response("put_item", {})
    monkeypatch.setattr(refresh, "_deliver", lambda *_: True)
    assert refresh.handler({"Records": [manifest_written("a/x/manifest.json")]}, None) == {"batchItemFailures": []}


def test_a_manifest_that_was_removed_since_holds_up_no_other(refresh_calls, monkeypatch):
    _, s3, ledger = refresh_calls
    monkeypatch.setenv("RESULTS_SHARE_ARN", "none")
    s3.add_client_error("get_object", "NoSuchKey")
    body = io.BytesIO(b'{"scan_id": "s"}')
    s3.add_response("get_object", {"Body": StreamingBody(body, len(body.getvalue()))})
    ledger.add_response("get_item", {})
    ledger.add_response("update_item", {})
    answer = refresh.handler(
        {"Records": [manifest_written("gone/manifest.json"), manifest_written("x/manifest.json")]}, None
    )
    assert answer == {"batchItemFailures": []}


def test_a_message_that_cannot_be_understood_is_buried_and_holds_up_no_other(refresh_calls, monkeypatch):
    _, s3, ledger = refresh_calls
    monkeypatch.setenv("RESULTS_SHARE_ARN", "none")
    body = b'{"scan_id": "s"}'
    s3.add_response("get_object", {"Body": StreamingBody(io.BytesIO(body), len(body))})
    ledger.add_response("get_item", {})
    ledger.add_response("update_item", {})
    bad = [{"messageId": str(n), "body": text} for n, text in enumerate(["{", "[]", '{"Records": [{}]}'])]
    with Stubber(refresh.SQS) as sqs:
        for record in bad:
            sqs.add_response("send_message", {}, {"QueueUrl": "https://dead", "MessageBody": record["body"]})
        answer = refresh.handler({"Records": [bad[0], manifest_written("x/manifest.json"), *bad[1:]]}, None)
        sqs.assert_no_pending_responses()
    assert answer == {"batchItemFailures": []}


def test_what_fails_for_one_message_is_tried_again_for_that_one_alone(refresh_calls, monkeypatch):
    _, s3, ledger = refresh_calls
    monkeypatch.setenv("RESULTS_SHARE_ARN", "none")
    s3.add_client_error("get_object", "SlowDown")
    body = b'{"scan_id": "s"}'
    s3.add_response("get_object", {"Body": StreamingBody(io.BytesIO(body), len(body))})
    ledger.add_response("get_item", {})
    ledger.add_response("update_item", {})
    records = [manifest_written("ill/manifest.json"), manifest_written("x/manifest.json")]
    assert refresh.handler({"Records": records}, None) == {
        "batchItemFailures": [{"itemIdentifier": "ill/manifest.json"}]
    }


def known_scan(calls, state, at="2026-01-01T00:00:00+00:00"):
    strings = {"scan_id": "s", "state": state, "raw_key": "Mustermann/a.h5", "results_folder": "Mustermann/a"}
    times = {"arrived_at": at, "reconstructed_at": at}
    item = {name: {"S": value} for name, value in {**strings, **times}.items()} | {"n_bytes": {"N": "5"}}
    calls.add_response("get_item", {"Item": item})


@pytest.mark.parametrize(("state", "counted"), [("reconstructed", True), ("delivered", False), ("failed", False)])
def test_a_delivery_is_counted_once_with_the_time_since_the_drop(refresh_calls, monkeypatch, written, state, counted):
    _, s3, ledger = refresh_calls
    monkeypatch.setenv("RESULTS_SHARE_ARN", "none")
    body = b'{"scan_id": "s"}'
    s3.add_response("get_object", {"Body": StreamingBody(io.BytesIO(body), len(body))})
    known_scan(ledger, state)
    if not counted:
        ledger.add_client_error("update_item", "ConditionalCheckFailedException")
    ledger.add_response("update_item", {})
    before = datetime.now(UTC)
    refresh.handler({"Records": [manifest_written("Mustermann/a/manifest.json")]}, None)
    found = metrics_in(written.getvalue())
    assert named(found, "Scans") == ([(1, {"Outcome": "delivered"})] if counted else [])
    assert named(found, "Entered") == ([(1, {"State": "delivered"})] if counted else [])
    since_the_drop = (before - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds()
    for seconds, dimensions in named(found, "ScanSeconds"):
        assert seconds == pytest.approx(since_the_drop, abs=60)
        assert dimensions == {}
    assert "Mustermann" not in written.getvalue()


def test_clocks_that_disagree_make_no_negative_time(refresh_calls, monkeypatch, written):
    _, s3, ledger = refresh_calls
    monkeypatch.setenv("RESULTS_SHARE_ARN", "none")
    body = b'{"scan_id": "s"}'
    s3.add_response("get_object", {"Body": StreamingBody(io.BytesIO(body), len(body))})
    known_scan(ledger, "reconstructed", at="2999-01-01T00:00:00+00:00")
    ledger.add_response("update_item", {})
    refresh.handler({"Records": [manifest_written("Mustermann/a/manifest.json")]}, None)
    assert named(metrics_in(written.getvalue()), "ScanSeconds") == [(0.0, {})]


@mock_aws
def test_the_status_page_is_there_with_each_batch_and_comes_into_view_with_the_results(monkeypatch):
    s3, dynamodb = boto3.client("s3"), boto3.client("dynamodb")
    s3.create_bucket(Bucket="results")
    create_ledger_table(dynamodb, "ledger")
    monkeypatch.setattr(refresh, "S3", s3)
    ledger = Ledger(dynamodb, "ledger")
    found = ScanArrived(bucket="raw", key="site/a.h5", etag="e", version_id=None, n_bytes=1, at=datetime.now(UTC))
    ledger.arrive(found.key, lambda: ("s", found))
    assert refresh._write_status("results", ledger)
    assert b"site/a" in s3.get_object(Bucket="results", Key="raki-status/status.html")["Body"].read()
    for shown, folders in (([], ["/"]), (["site"], ["/"]), (["site", "raki-status"], ["/raki-status", "/site"])):
        keys = [refresh.AS_A_RESULT, "site/a/manifest.json"]
        assert refresh.folders_to_refresh(keys, {"", *shown}.__contains__) == folders


@mock_aws
def test_no_result_waits_for_a_status_page_that_can_not_be_written(written):
    assert not refresh._write_status("no such bucket", Ledger(boto3.client("dynamodb"), "no such table"))
    assert "status page not written" in written.getvalue()
