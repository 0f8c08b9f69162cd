"""What isn't created is named with a reason; a type that nobody has thought about fails the deployment."""

import json

import pytest
from botocore.exceptions import ClientError


def create(cloud, name, resources, outputs=None):
    template = {"Resources": resources, "Outputs": outputs or {}}
    cloud.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps(template))
    (stack,) = cloud.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


@pytest.mark.parametrize("reference", [{"Ref": "Odd"}, {"Fn::GetAtt": ["Odd", "Arn"]}])
def test_an_unknown_type_is_named_with_its_logical_id(cloud, reference):
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "never"}}
    with pytest.raises(ClientError, match=r"Odd: the type AWS::Quantum::Device is neither created .* nor left out"):
        create(cloud, "Odd", {"Q": queue, "Odd": {"Type": "AWS::Quantum::Device"}}, {"Odd": {"Value": reference}})
    sqs = cloud.client("sqs")
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="never")


def test_what_is_left_out_can_be_referred_to(cloud, events):
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {}}
    values = {"Name": {"Ref": "Alarm"}, "Arn": {"Fn::GetAtt": ["Alarm", "Arn"]}}
    found = create(cloud, "Alarmed", {"Alarm": alarm}, {name: {"Value": value} for name, value in values.items()})
    assert found["Arn"] == f"arn:aws:cloudwatch:us-east-1:123456789012:alarm/{found['Name']}"
    told = [event.detail for event in events if event.what == "not modelled"]
    assert (
        "AWS::CloudWatch::Alarm: metrics are only written to logs; `raki alarms` says from these which would have fired"
        in told
    )


def test_a_notebook_is_known_by_its_arn(cloud):
    notebook = {"Type": "AWS::SageMaker::NotebookInstance", "Properties": {}}
    values = {"Reference": {"Ref": "N"}, "Name": {"Fn::GetAtt": ["N", "NotebookInstanceName"]}}
    found = create(cloud, "Notebook", {"N": notebook}, {name: {"Value": value} for name, value in values.items()})
    assert found["Reference"] == f"arn:aws:sagemaker:us-east-1:123456789012:notebookinstance/{found['Name']}"


def test_an_attribute_that_nobody_can_know_is_no_value(cloud):
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {}}
    value = {"Endpoint": {"Value": {"Fn::GetAtt": ["Alarm", "Endpoint"]}}}
    with pytest.raises(ClientError, match="Endpoint"):
        create(cloud, "NoSuchAttribute", {"Alarm": alarm}, value)
