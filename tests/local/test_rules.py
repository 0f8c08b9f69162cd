"""A rule's target gets the event, or what the rule makes of it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from infra.local.envelope import service_event
from infra.local.events.rules import message
from tests.local.conftest import eventually
from tests.local.test_functions import bodies

TEXT = {
    "InputPathsMap": {"detail-jobId": "$.detail.jobId", "detail-reason": "$.detail.reason"},
    "InputTemplate": '"job <detail-jobId> failed: <detail-reason>, <unknown>"',
}


def event(**detail):
    return service_event("aws.batch", "Batch Job State Change", [], detail)


@given(st.text(), st.text())
def test_text_stays_text_whatever_it_holds(job, reason):
    made = message({"InputTransformer": TEXT}, event(jobId=job, reason=reason))
    assert json.loads(made) == f"job {job} failed: {reason}, <unknown>"


@given(st.one_of(st.text(), st.integers(), st.lists(st.booleans())))
def test_outside_of_quotes_a_value_is_json(value):
    transformer = {"InputPathsMap": {"value": "$.detail.value"}, "InputTemplate": '{"is": <value>, "as": "x"}'}
    assert json.loads(message({"InputTransformer": transformer}, event(value=value))) == {"is": value, "as": "x"}


def test_what_the_event_lacks_is_empty():
    assert json.loads(message({"InputTransformer": TEXT}, event(jobId="7"))) == "job 7 failed: , <unknown>"


def test_a_constant_or_else_the_event_itself():
    happened = event(status="FAILED")
    assert message({"Input": '"x"'}, happened) == '"x"'
    assert json.loads(message({}, happened)) == happened


def test_a_topic_hands_on_to_its_queue(cloud, outputs, events):
    sns, rules, sqs = cloud.client("sns"), cloud.client("events"), cloud.client("sqs")
    topic = sns.create_topic(Name="operator")["TopicArn"]
    queue = sqs.create_queue(QueueName="mailbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    pattern = {"source": ["aws.batch"], "detail": {"status": ["FAILED"], "jobName": ["told"]}}
    rules.put_rule(Name="told", EventPattern=json.dumps(pattern))
    transformer = {"InputPathsMap": {"job": "$.detail.jobName"}, "InputTemplate": '"the job <job> failed"'}
    rules.put_targets(Rule="told", Targets=[{"Id": "0", "Arn": topic, "InputTransformer": transformer}])
    cloud.client("batch").submit_job(
        jobName="told",
        jobQueue=outputs["JobQueue"],
        jobDefinition=outputs["Job"],
        containerOverrides={"command": ["exit", "12"]},
    )
    assert eventually(lambda: bodies(cloud, queue)) == ['"the job told failed"']
    assert 'operator: "the job told failed"' in [event.detail for event in events if event.what == "notice"]
