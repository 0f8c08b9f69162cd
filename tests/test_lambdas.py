import io
import json

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from lambdas import dispatch_reconstruction as dispatch
from lambdas import refresh_gateway as refresh
from lambdas import scale_decompression as scale
from raki.service.depth import QueueDepth

counts = st.integers(min_value=0, max_value=500)
depths = st.builds(QueueDepth, waiting=counts, in_flight=counts)
few = st.integers(min_value=1, max_value=20)


@given(queue=depths, current=st.integers(min_value=0, max_value=20), quiet=counts, most=few)
def test_workers_stay_within_the_cap_and_are_never_taken_from_work(queue, current, quiet, most):
    desired = scale.desired_workers(queue, current=current, quiet_polls=quiet, max_workers=most)
    assert 0 <= desired <= max(current, most)
    if queue.total:
        assert desired >= min(current, most)
        assert desired >= 1
    if queue.total == 0 and quiet >= 3:
        assert desired == 0


def test_the_service_goes_from_zero_to_one_to_zero():
    def polled(waiting, in_flight, current, quiet):
        queue = QueueDepth(waiting=waiting, in_flight=in_flight)
        return scale.desired_workers(queue, current=current, quiet_polls=quiet, max_workers=4)

    assert polled(0, 0, 0, 9) == 0
    assert polled(1, 0, 0, 0) == 1
    assert polled(0, 1, 1, 0) == 1, "a scan in work keeps its worker"
    assert polled(0, 0, 1, 1) == 1, "one quiet poll proves nothing"
    assert polled(0, 0, 1, 3) == 0
    assert polled(30, 0, 0, 0) == 4


@given(queue=depths, unfinished=st.integers(min_value=0, max_value=20), per_job=few, most=few)
def test_jobs_stay_within_the_cap_and_no_scan_is_left_without_one(queue, unfinished, per_job, most):
    submitted = dispatch.jobs_to_submit(queue, unfinished_jobs=unfinished, scans_per_job=per_job, max_jobs=most)
    assert submitted == 0 or submitted + unfinished <= most
    if queue.total:
        assert submitted + unfinished >= 1
    else:
        assert submitted == 0


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


@pytest.fixture
def refresh_calls(monkeypatch):
    monkeypatch.setenv("RESULTS_SHARE_ARN", SHARE)
    monkeypatch.setenv("LEDGER_TABLE", "ledger")
    with Stubber(refresh.GATEWAY) as gateway, Stubber(refresh.S3) as s3, Stubber(refresh.DYNAMODB) as ledger:
        yield gateway, s3, ledger
        for calls in (gateway, s3, ledger):
            calls.assert_no_pending_responses()


def manifest_written(key):
    record = {"s3": {"bucket": {"name": "results"}, "object": {"key": key}}}
    return {"messageId": key, "body": json.dumps({"Records": [record]})}


def test_a_refresh_that_comes_too_soon_is_tried_again_with_every_message(refresh_calls):
    gateway, _, ledger = refresh_calls
    ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:a"}}})
    gateway.add_client_error("refresh_cache", "InvalidGatewayRequestException")
    answer = refresh.handler({"Records": [manifest_written("a/x/manifest.json")]}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "a/x/manifest.json"}]}


def test_the_test_event_refreshes_nothing(refresh_calls):
    record = {"messageId": "1", "body": json.dumps({"Event": "s3:TestEvent"})}
    assert refresh.handler({"Records": [record]}, None) == {"batchItemFailures": []}


def test_what_storage_gateway_is_asked_is_what_its_api_takes(refresh_calls, monkeypatch):
    gateway, _, ledger = refresh_calls
    ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:my site"}}})
    for _ in ("my site", ""):
        ledger.add_response("put_item", {})
    delivered = []
    monkeypatch.setattr(refresh, "_deliver", lambda ledger, bucket, key: delivered.append((bucket, key)) or True)
    expected = {"FileShareARN": SHARE, "FolderList": ["/my site"], "Recursive": True}
    gateway.add_response("refresh_cache", {"FileShareARN": SHARE, "NotificationId": "n"}, expected)
    answer = refresh.handler({"Records": [manifest_written("my+site/x/manifest.json")]}, None)
    assert answer == {"batchItemFailures": []}
    assert delivered == [("results", "my site/x/manifest.json")]


def test_a_manifest_that_was_removed_since_holds_up_no_other(refresh_calls, monkeypatch):
    _, s3, ledger = refresh_calls
    monkeypatch.setenv("RESULTS_SHARE_ARN", "none")
    s3.add_client_error("get_object", "NoSuchKey")
    body = io.BytesIO(b'{"scan_id": "s"}')
    s3.add_response("get_object", {"Body": StreamingBody(body, len(body.getvalue()))})
    ledger.add_response("update_item", {})
    answer = refresh.handler(
        {"Records": [manifest_written("gone/manifest.json"), manifest_written("x/manifest.json")]}, None
    )
    assert answer == {"batchItemFailures": []}
