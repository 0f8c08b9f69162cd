"""The Lambdas decide within their bounds, leave no scan waiting, and try again what passes by itself."""

import io
import json
import time
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from lambdas import dispatch_reconstruction as dispatch
from lambdas import refresh_gateway as refresh
from lambdas import scale_decompression as scale
from raki.service.fleet import IMPATIENT_S, PATIENT_S
from raki.service.forecast import HOURS_A_WEEK, Forecast
from tests.embedded_metrics import logged, metrics_in, named


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
def written():
    with logged() as written:
        yield written


@pytest.fixture
def scale_calls(monkeypatch):
    settings = {
        "CLUSTER": "c",
        "SERVICE": "s",
        "INGEST_QUEUE_URL": "https://q",
        "LEDGER_TABLE": "l",
        "MAX_WORKERS": "4",
        "SURGE_WORKERS": "8",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with Stubber(scale.ECS) as ecs, Stubber(scale.SQS) as sqs, Stubber(scale.DYNAMODB) as ledger:
        yield ecs, sqs, ledger
        for calls in (ecs, sqs, ledger):
            calls.assert_no_pending_responses()


def waiting(calls, n, *, in_flight=0):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = {"Attributes": dict(zip(names, (str(n), str(in_flight)), strict=True))}
    calls.add_response("get_queue_attributes", found, {"QueueUrl": "https://q", "AttributeNames": names})


def service(calls, *, desired, running, n_deployments=1):
    found = {"desiredCount": desired, "runningCount": running, "deployments": [{}] * n_deployments}
    calls.add_response("describe_services", {"services": [found]}, {"cluster": "c", "services": ["s"]})


def quiet_polls(calls, n):
    calls.add_response("update_item", {"Attributes": {"n": {"N": str(n)}}})


def pace(calls, *, n, seconds):
    counts = {"n": {"N": str(n)}, "milliseconds": {"N": str(round(n * seconds * 1000))}}
    calls.add_response("get_item", {"Item": counts if n else {}})


EACH_MINUTE = {"detail-type": "Scheduled Event", "source": "aws.events"}


def test_each_decision_about_workers_is_measured(scale_calls, written):
    ecs, sqs, ledger = scale_calls
    waiting(sqs, 5, in_flight=1)
    service(ecs, desired=1, running=1)
    pace(ledger, n=20, seconds=30)
    quiet_polls(ledger, 0)
    ecs.add_response("update_service", {}, {"cluster": "c", "service": "s", "desiredCount": 3})
    decision = scale.handler(EACH_MINUTE, None)
    expected = {"Waiting": 5, "InFlight": 1, "BacklogPerTask": 6, "DesiredWorkers": 3, "RunningWorkers": 1}
    assert decision == expected
    found = metrics_in(written.getvalue())
    assert {name: value for name, value, _ in found} == expected
    assert named(found, "Waiting") == [(5, {"Stage": "decompressing"})]
    assert named(found, "DesiredWorkers") == [(3, {})]


@pytest.mark.parametrize(
    ("in_flight", "workers", "is_quiet"), [(0, 1, True), (1, 1, False), (1, 2, True), (9, 2, False)]
)
def test_a_poll_is_quiet_when_fewer_workers_would_do(scale_calls, written, in_flight, workers, is_quiet):
    ecs, sqs, ledger = scale_calls
    waiting(sqs, 0, in_flight=in_flight)
    service(ecs, desired=workers, running=workers)
    pace(ledger, n=0, seconds=0)
    counted = []
    ledger.client.meta.events.register_first(
        "provide-client-params.dynamodb.UpdateItem", lambda params, **_: counted.append(params), unique_id="counted"
    )
    if in_flight == 9:  # 135 s of work
        ecs.add_response("update_service", {}, {"cluster": "c", "service": "s", "desiredCount": 3})
    quiet_polls(ledger, 1)
    scale.handler(EACH_MINUTE, None)
    ledger.client.meta.events.unregister("provide-client-params.dynamodb.UpdateItem", unique_id="counted")
    assert [params["UpdateExpression"].startswith("ADD") for params in counted] == [is_quiet]


def test_a_call_between_two_polls_starts_workers_and_ends_none(scale_calls, written):
    ecs, sqs, ledger = scale_calls
    for n, wanted in ((0, 2), (20, 5)):
        waiting(sqs, n)
        service(ecs, desired=2, running=2)
        pace(ledger, n=0, seconds=0)
        if wanted != 2:
            ecs.add_response("update_service", {}, {"cluster": "c", "service": "s", "desiredCount": 4})
        assert scale.handler({"detail-type": "Object Created"}, None)["DesiredWorkers"] == min(4, wanted)


def test_no_worker_is_taken_away_while_a_deployment_replaces_them(scale_calls, written):
    ecs, sqs, ledger = scale_calls
    waiting(sqs, 0)
    service(ecs, desired=2, running=4, n_deployments=2)
    pace(ledger, n=0, seconds=0)
    quiet_polls(ledger, 9)
    assert scale.handler(EACH_MINUTE, None)["DesiredWorkers"] == 2


@pytest.mark.parametrize("code", ["ServiceNotActiveException", "ThrottlingException"])
def test_a_service_that_cannot_be_changed_now_is_left_to_the_next_minute(scale_calls, written, code):
    ecs, sqs, ledger = scale_calls
    waiting(sqs, 5)
    service(ecs, desired=0, running=0)
    pace(ledger, n=0, seconds=0)
    quiet_polls(ledger, 0)
    ecs.add_client_error("update_service", code)
    assert scale.handler(EACH_MINUTE, None) == {"Waiting": 5, "InFlight": 0}
    (line,) = written.getvalue().splitlines()
    assert json.loads(line)["reason"] == code
    assert named(metrics_in(line), "Waiting") == [(5, {"Stage": "decompressing"})]


def test_a_missing_permission_is_an_error(scale_calls):
    ecs, sqs, _ = scale_calls
    waiting(sqs, 5)
    ecs.add_client_error("describe_services", "AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDenied"):
        scale.handler({}, None)


@pytest.fixture
def dispatch_calls(monkeypatch):
    settings = {
        "INGEST_QUEUE_URL": "https://q",
        "JOB_DEFINITION": "d",
        "JOB_QUEUE": "j",
        "LEDGER_TABLE": "l",
        "MAX_JOBS": "4",
        "RECONSTRUCT_QUEUE_URL": "https://q",
        "SURGE_JOBS": "8",
        "WARM_HOURS_A_DAY": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dispatch.Bookkeeping, "take_turn", lambda _self, _name, for_s: bool(for_s))
    monkeypatch.setattr(dispatch.Bookkeeping, "end_turn", lambda _self, _name: None)
    with Stubber(dispatch.BATCH) as batch, Stubber(dispatch.SQS) as sqs, Stubber(dispatch.DYNAMODB) as ledger:
        yield batch, sqs, ledger
        for calls in (batch, sqs, ledger):
            calls.assert_no_pending_responses()


def jobs(calls, **n_by_status):
    for status in dispatch.UNFINISHED:
        found = [{"jobId": "i", "jobName": "reconstruct"}] * n_by_status.get(status, 0)
        calls.add_response("list_jobs", {"jobSummaryList": found}, {"jobQueue": "j", "jobStatus": status})


def learnt(calls, forecast=None, *, prepared=0, seconds=60.0):
    """What the ledger says when it is asked, and that it is told what was seen."""
    calls.add_response("get_item", {"Item": {"text": {"S": forecast.to_json()}}} if forecast else {})
    pace(calls, n=prepared, seconds=10.0)
    calls.add_response("put_item", {}, {"TableName": "l", "Item": ANY})
    pace(calls, n=20, seconds=seconds)


def told(calls, patience):
    item = {"scan_id": {"S": "#kept:patience_s"}, "text": {"S": f"{patience:.0f}"}}
    calls.add_response("put_item", {}, {"TableName": "l", "Item": item})


def submission(calls):
    expected = {"jobName": "reconstruct", "jobDefinition": "d", "jobQueue": "j"}
    calls.add_response("submit_job", {"jobName": "reconstruct", "jobId": "i"}, expected)


def test_each_decision_about_jobs_is_measured(dispatch_calls, written):
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 17, in_flight=3)
    waiting(sqs, 0)
    learnt(ledger)
    jobs(batch, RUNNING=1, RUNNABLE=1)  # of 1200 s of work 540 are left when another would be there
    for _ in range(2):
        submission(batch)
    told(ledger, IMPATIENT_S)
    decision = dispatch.handler(EACH_MINUTE, None)
    assert decision == {"Waiting": 17, "InFlight": 3, "UnfinishedJobs": 2, "SubmittedJobs": 2}
    found = metrics_in(written.getvalue())
    assert {name: value for name, value, _ in found} == decision
    assert named(found, "InFlight") == [(3, {"Stage": "reconstructing"})]


def test_a_job_that_gets_no_further_counts_as_none_and_is_ended(dispatch_calls, written):
    batch, sqs, ledger = dispatch_calls
    now_s = time.time()
    waiting(sqs, 1, in_flight=1)
    waiting(sqs, 0)
    learnt(ledger)
    ages = {"works": (4000, 30), "hangs": (4000, 400), "starts": (100, None), "never came up": (400, None)}
    for status in dispatch.UNFINISHED:
        running = [
            {"jobId": name, "jobName": "reconstruct", "startedAt": int((now_s - started_s) * 1000)}
            for name, (started_s, _) in ages.items()
            if status == "RUNNING"
        ]
        batch.add_response("list_jobs", {"jobSummaryList": running}, {"jobQueue": "j", "jobStatus": status})
    for name, (_, seen_s) in ages.items():
        seen_at = {"N": str(int(now_s - (seen_s or 0)))}
        item = {"Item": {"scan_id": {"S": f"#job:{name}"}, "seen_at": seen_at}}
        key = {"TableName": "l", "Key": {"scan_id": {"S": f"#job:{name}"}}, "ConsistentRead": True}
        ledger.add_response("get_item", item if seen_s else {}, key)
    for name in ("hangs", "never came up"):
        batch.add_response("terminate_job", {}, {"jobId": name, "reason": "no sign of progress for 300 s"})
    told(ledger, IMPATIENT_S)
    assert dispatch.handler(EACH_MINUTE, None)["UnfinishedJobs"] == 2


def test_a_scan_whose_only_job_hangs_gets_another_one(dispatch_calls, written):
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 1)
    waiting(sqs, 0)
    learnt(ledger)
    for status in dispatch.UNFINISHED:
        running = [{"jobId": "i", "jobName": "reconstruct", "startedAt": 0}] if status == "RUNNING" else []
        batch.add_response("list_jobs", {"jobSummaryList": running}, {"jobQueue": "j", "jobStatus": status})
    ledger.add_response("get_item", {})
    batch.add_response("terminate_job", {})
    submission(batch)
    told(ledger, IMPATIENT_S)
    assert dispatch.handler(EACH_MINUTE, None)["SubmittedJobs"] == 1


def test_a_gpu_is_started_at_the_drop_and_not_when_the_scan_is_prepared(dispatch_calls, written):
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 0)
    waiting(sqs, 1)
    learnt(ledger)
    jobs(batch)
    submission(batch)
    told(ledger, IMPATIENT_S)
    assert dispatch.handler(EACH_MINUTE, None)["SubmittedJobs"] == 1


@pytest.mark.parametrize(("hourly", "patience"), [(3.0, IMPATIENT_S), (60.0, PATIENT_S)])
def test_idle_jobs_are_told_to_wait_where_scans_are_to_be_expected(dispatch_calls, written, hourly, patience):
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 0)
    waiting(sqs, 0)
    learnt(ledger, Forecast(hourly=(hourly,) * HOURS_A_WEEK), seconds=20.0)
    jobs(batch, RUNNING=1)
    told(ledger, patience)
    assert dispatch.handler(EACH_MINUTE, None)["SubmittedJobs"] == 0


def test_within_the_budget_a_job_is_there_before_any_scan(dispatch_calls, written, monkeypatch):
    monkeypatch.setenv("WARM_HOURS_A_DAY", "24")
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 0)
    waiting(sqs, 0)
    learnt(ledger, Forecast(hourly=(3.0,) * HOURS_A_WEEK))
    jobs(batch)
    submission(batch)
    told(ledger, PATIENT_S)
    assert dispatch.handler(EACH_MINUTE, None)["SubmittedJobs"] == 1


def test_a_notice_starts_a_gpu_though_sqs_does_not_count_the_file_yet(dispatch_calls, written):
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 0)
    waiting(sqs, 0)
    learnt(ledger)
    jobs(batch)
    submission(batch)
    told(ledger, IMPATIENT_S)
    assert dispatch.handler({"Records": [{"body": "{}"}]}, None)["SubmittedJobs"] == 1


def test_while_another_one_counts_jobs_none_are_submitted(dispatch_calls, monkeypatch):
    """Each would find that there is none."""
    monkeypatch.setattr(dispatch.Bookkeeping, "take_turn", lambda _self, _name, for_s: not for_s)
    assert dispatch.handler(EACH_MINUTE, None) == {}


def test_jobs_that_cannot_be_counted_now_are_left_to_the_next_minute(dispatch_calls, written):
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 17)
    waiting(sqs, 0)
    learnt(ledger)
    batch.add_client_error("list_jobs", "TooManyRequestsException", http_status_code=429)
    assert dispatch.handler(EACH_MINUTE, None) == {"Waiting": 17, "InFlight": 0}
    (line,) = written.getvalue().splitlines()
    assert json.loads(line)["reason"] == "TooManyRequestsException"


def test_throttled_calls_are_tried_again_within_the_same_minute():
    for client in (dispatch.BATCH, scale.ECS):
        assert client.meta.config.retries == {"mode": "standard", "total_max_attempts": 4}


@pytest.fixture
def refresh_calls(monkeypatch):
    monkeypatch.setenv("RESULTS_SHARE_ARN", SHARE)
    monkeypatch.setenv("LEDGER_TABLE", "ledger")
    monkeypatch.setenv("REFRESH_DEAD_LETTERS_URL", "https://dead")
    monkeypatch.setenv("REFRESH_QUEUE_URL", "https://refresh")
    monkeypatch.setenv("REFRESH_SPACING_S", "60")
    with Stubber(refresh.GATEWAY) as gateway, Stubber(refresh.S3) as s3, Stubber(refresh.DYNAMODB) as ledger:
        yield gateway, s3, ledger
        for calls in (gateway, s3, ledger):
            calls.assert_no_pending_responses()


def manifest_written(key):
    record = {"s3": {"bucket": {"name": "results"}, "object": {"key": key}}}
    return {"messageId": key, "receiptHandle": f"handle of {key}", "body": json.dumps({"Records": [record]})}


def test_a_refresh_that_comes_too_soon_is_tried_again_with_every_message(refresh_calls):
    gateway, s3, ledger = refresh_calls
    s3.add_response("head_object", {})
    ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:a"}}})
    gateway.add_client_error("refresh_cache", "InvalidGatewayRequestException")
    held = {"QueueUrl": "https://refresh", "ReceiptHandle": "handle of a/x/manifest.json", "VisibilityTimeout": 60}
    with Stubber(refresh.SQS) as sqs:
        sqs.add_response("change_message_visibility", {}, held)
        answer = refresh.handler({"Records": [manifest_written("a/x/manifest.json")]}, None)
        sqs.assert_no_pending_responses()
    assert answer == {"batchItemFailures": [{"itemIdentifier": "a/x/manifest.json"}]}


def test_the_test_event_refreshes_nothing(refresh_calls):
    record = {"messageId": "1", "body": json.dumps({"Event": "s3:TestEvent"})}
    assert refresh.handler({"Records": [record]}, None) == {"batchItemFailures": []}


def test_what_storage_gateway_is_asked_is_what_its_api_takes(refresh_calls, monkeypatch):
    gateway, s3, ledger = refresh_calls
    s3.add_response("head_object", {})
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


def test_a_folder_with_nothing_in_it_is_not_taken_for_shown(refresh_calls):
    _, s3, _ = refresh_calls
    s3.add_client_error("head_object", "404")
    s3.add_client_error("get_object", "NoSuchKey")
    answer = refresh.handler({"Records": [manifest_written("a/x/manifest.json")]}, None)
    assert answer == {"batchItemFailures": []}, "and neither the gateway nor the ledger was asked for anything"


def test_a_manifest_that_cannot_be_looked_for_now_is_shown_all_the_same(refresh_calls, monkeypatch):
    gateway, s3, ledger = refresh_calls
    s3.add_client_error("head_object", "503")
    ledger.add_response("get_item", {"Item": {"scan_id": {"S": "#shown:a"}}})
    gateway.add_response("refresh_cache", {})
    for _ in ("a", ""):
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
