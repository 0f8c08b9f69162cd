"""Lambda functions run as deployed, on schedules and from queues."""

import json
import time

from infra.local.cloud import LocalCloud
from tests.local.conftest import SPEED, eventually

# Of the Init phase, before a function's own timeout begins.
INIT_LIMIT_S = 10.0


def keys(cloud: LocalCloud, bucket: str, prefix: str) -> set[str]:
    listed = cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
    return {item["Key"].removeprefix(prefix) for item in listed.get("Contents", [])}


def bodies(cloud: LocalCloud, queue_url: str) -> list[str]:
    received = cloud.client("sqs").receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    return [message["Body"] for message in received.get("Messages", [])]


def invoke(cloud, name, event, **kwargs):
    answer = cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode(), **kwargs)
    return answer, json.loads(answer["Payload"].read() or b"null")


def test_a_function_runs_warm_with_its_own_environment_only(cloud, outputs):
    first = invoke(cloud, outputs["Greet"], {"name": "Ann"})[1]
    second = invoke(cloud, outputs["Greet"], {"name": "Bob"})[1]
    assert (first["hello"], second["hello"]) == ("Ann", "Bob")
    assert second["n_calls"] == first["n_calls"] + 1, "the second call was to have met the same process"
    assert 0 < first["left_ms"] <= 30_000
    assert first["function"] == outputs["Greet"]
    environment = first["environment"]
    assert environment["RESULTS_BUCKET"] == outputs["Results"]
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert "PYTEST_CURRENT_TEST" not in environment, "a Lambda sees nothing of whoever started the cloud"


def test_an_exception_is_the_callers_answer(cloud, outputs):
    answer, error = invoke(cloud, outputs["Greet"], {"name": "nobody"})
    assert answer["FunctionError"] == "Unhandled"
    assert error["errorType"] == "ValueError"
    assert error["errorMessage"] == "there is nobody to greet"


def test_a_function_is_ended_at_its_timeout(cloud, outputs):
    began_s = time.monotonic()
    answer, error = invoke(cloud, outputs["Hang"], {})
    assert 1.0 <= time.monotonic() - began_s < 1.0 + INIT_LIMIT_S
    assert answer["FunctionError"] == "Unhandled"
    assert "timed out after 1.00 seconds" in error["errorMessage"]


def test_what_loading_the_code_takes_is_not_the_functions_own_time(cloud, outputs):
    answer, left_ms = invoke(cloud, outputs["SlowToLoad"], {})
    assert "FunctionError" not in answer
    assert 0 < left_ms <= 1000


def test_an_asynchronous_invocation_keeps_nobody_waiting(cloud, outputs):
    began_s = time.monotonic()
    answer, _ = invoke(cloud, outputs["Hang"], {}, InvocationType="Event")
    assert answer["StatusCode"] == 202
    assert time.monotonic() - began_s < 0.9, "the function itself takes a second at least"


def test_what_a_function_prints_is_in_its_log_group(cloud, outputs):
    invoke(cloud, outputs["Greet"], {"name": "Cleo"})
    logs = cloud.client("logs")

    def printed() -> bool:
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{outputs['Greet']}")["events"]
        return any(event["message"] == "greeting Cleo" for event in found)

    assert eventually(printed)


def test_a_schedule_runs_as_often_as_the_speed_says(cloud, outputs):
    eventually(lambda: keys(cloud, outputs["Results"], "ticks/"))
    before, began_s = len(keys(cloud, outputs["Results"], "ticks/")), time.monotonic()
    time.sleep(3.0)
    n_ticks = len(keys(cloud, outputs["Results"], "ticks/")) - before
    expected = (time.monotonic() - began_s) * SPEED / 60
    assert expected - 2 <= n_ticks <= expected + 2


def test_only_the_failed_messages_of_a_batch_come_back_and_end_as_dead_letters(cloud, outputs):
    entries = [{"Id": body, "MessageBody": body} for body in ("good1", "bad1", "good2", "bad2")]
    cloud.client("sqs").send_message_batch(QueueUrl=outputs["Queue"], Entries=entries)
    eventually(lambda: keys(cloud, outputs["Results"], "consumed/") >= {"good1", "good2"})
    eventually(lambda: set(bodies(cloud, outputs["DeadLetters"])) == {"bad1", "bad2"})
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = cloud.client("sqs").get_queue_attributes(QueueUrl=outputs["Queue"], AttributeNames=attributes)
    assert left["Attributes"] == dict.fromkeys(attributes, "0")
    # The function logs where its template says.
    groups = cloud.client("logs").describe_log_groups()["logGroups"]
    assert f"/aws/lambda/{outputs['Consume']}" not in {group["logGroupName"] for group in groups}


def test_visibility_timeouts_run_faster_but_never_below_what_a_worker_needs(cloud, outputs):
    def visibility_s(name: str) -> int:
        asked = cloud.client("sqs").get_queue_attributes(QueueUrl=outputs[name], AttributeNames=["VisibilityTimeout"])
        return int(asked["Attributes"]["VisibilityTimeout"])

    assert eventually(lambda: visibility_s("SlowQueue") == 7200 / SPEED)
    assert eventually(lambda: visibility_s("BriefQueue") == 15)
    assert visibility_s("Queue") == 1
