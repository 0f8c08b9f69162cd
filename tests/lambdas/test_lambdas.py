"""The Lambdas decide within their bounds, leave no scan waiting, and try again what passes by itself."""

import json
import time

import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from lambdas import dispatch_reconstruction as dispatch
from lambdas import scale_decompression as scale
from raki.service.fleet import IMPATIENT_S, PATIENT_S
from raki.service.forecast import HOURS_A_WEEK, Forecast
from tests.embedded_metrics import metrics_in, named


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
        "INSTANCE_VCPUS": "4",
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


def seen_to_wait(calls, kept=None, now=None):
    """What the ledger says of jobs that waited a minute ago, and whether it is told of others now."""
    calls.add_response("get_item", {"Item": {"text": {"S": json.dumps(kept)}}} if kept else {})
    if now is not None:
        calls.add_response(
            "put_item", {}, {"TableName": "l", "Item": {"scan_id": {"S": "#kept:runnable"}, "text": ANY}}
        )


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
    seen_to_wait(ledger, now="i")
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
    seen_to_wait(ledger)
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
    seen_to_wait(ledger)
    assert dispatch.handler(EACH_MINUTE, None)["SubmittedJobs"] == 1


def test_a_gpu_is_started_at_the_drop_and_not_when_the_scan_is_prepared(dispatch_calls, written):
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 0)
    waiting(sqs, 1)
    learnt(ledger)
    jobs(batch)
    submission(batch)
    told(ledger, IMPATIENT_S)
    seen_to_wait(ledger)
    assert dispatch.handler(EACH_MINUTE, None)["SubmittedJobs"] == 1


@pytest.mark.parametrize(("hourly", "patience"), [(3.0, IMPATIENT_S), (60.0, PATIENT_S)])
def test_idle_jobs_are_told_to_wait_where_scans_are_to_be_expected(dispatch_calls, written, hourly, patience):
    batch, sqs, ledger = dispatch_calls
    waiting(sqs, 0)
    waiting(sqs, 0)
    learnt(ledger, Forecast(hourly=(hourly,) * HOURS_A_WEEK), seconds=20.0)
    jobs(batch, RUNNING=1)
    told(ledger, patience)
    seen_to_wait(ledger)
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
    seen_to_wait(ledger)
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


def runnable(calls, reason=None):
    """One job that waits for an instance, as ListJobs has it."""
    for status in dispatch.UNFINISHED:
        job = {"jobId": "i", "jobName": "reconstruct"} | ({"statusReason": reason} if reason else {})
        found = [job] if status == "RUNNABLE" else []
        calls.add_response("list_jobs", {"jobSummaryList": found}, {"jobQueue": "j", "jobStatus": status})


def described(calls, *, state="ENABLED", status="VALID", desired=0):
    order = [{"order": 1, "computeEnvironment": "arn:spot"}]
    queue = {"jobQueueName": "j", "jobQueueArn": "a", "priority": 1, "computeEnvironmentOrder": order}
    queue |= {"state": "ENABLED", "status": "VALID"}
    calls.add_response("describe_job_queues", {"jobQueues": [queue]}, {"jobQueues": ["j"]})
    resources = {"type": "SPOT", "maxvCpus": 8, "desiredvCpus": desired, "subnets": []}
    environment = {"computeEnvironmentName": "Spot", "computeEnvironmentArn": "arn:spot", "ecsClusterArn": "c"}
    environment |= {"state": state, "status": status, "computeResources": resources}
    calls.add_response(
        "describe_compute_environments",
        {"computeEnvironments": [environment]},
        {"computeEnvironments": ["arn:spot"]},
    )


def quotas(calls, *values):
    for code, value in zip(dispatch.GPU_QUOTAS, values, strict=True):
        expected = {"ServiceCode": "ec2", "QuotaCode": code}
        calls.add_response("get_service_quota", {"Quota": {"QuotaCode": code, "Value": value}}, expected)


@pytest.fixture
def waits_for_an_instance(dispatch_calls):
    """A scan whose one job has been seen to wait for so many seconds."""
    batch, sqs, ledger = dispatch_calls

    def wait(seconds, reason=None):
        waiting(sqs, 1)
        waiting(sqs, 0)
        learnt(ledger)
        runnable(batch, reason)
        told(ledger, IMPATIENT_S)
        seen_to_wait(ledger, {"i": time.time() - seconds})

    return wait


@pytest.mark.parametrize(
    ("reason", "environment", "allowed", "cause"),
    [
        ("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - ...", {}, (64.0, 64.0), "Capacity"),
        (None, {"status": "INVALID"}, (64.0, 64.0), "Environment"),
        (None, {"state": "DISABLED"}, (64.0, 64.0), "Environment"),
        (None, {"desired": 8}, (64.0, 64.0), "Limit"),
        (None, {}, (0.0, 0.0), "Quota"),
        (None, {}, (64.0, 0.0), "Unknown"),
    ],
)
def test_a_job_that_waits_too_long_for_an_instance_is_measured_with_its_cause(
    dispatch_calls, waits_for_an_instance, written, reason, environment, allowed, cause
):
    batch, _, _ = dispatch_calls
    waits_for_an_instance(1000, reason)
    described(batch, **environment)
    with Stubber(dispatch.QUOTAS) as calls:
        quotas(calls, *allowed)
        assert dispatch.handler(EACH_MINUTE, None)["UnfinishedJobs"] == 1
    ((seconds, dimensions),) = named(metrics_in(written.getvalue()), "RunnableSeconds")
    assert seconds == pytest.approx(1000, abs=5)
    assert dimensions == {"Cause": cause}


def test_a_job_whose_instance_only_starts_is_nobodys_worry(dispatch_calls, waits_for_an_instance, written):
    waits_for_an_instance(600)
    dispatch.handler(EACH_MINUTE, None)
    assert named(metrics_in(written.getvalue()), "RunnableSeconds") == []


def test_what_batch_refuses_to_say_of_a_waiting_job_stops_nothing(dispatch_calls, waits_for_an_instance, written):
    batch, _, _ = dispatch_calls
    waits_for_an_instance(1000)
    batch.add_client_error("describe_job_queues", "AccessDeniedException")
    assert dispatch.handler(EACH_MINUTE, None)["UnfinishedJobs"] == 1
    assert "why a job waits can't be seen" in written.getvalue()


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
