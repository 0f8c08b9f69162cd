"""Where a picture archive is named there is a sender for it, with a queue and a way of its own; else nothing."""

import json
from dataclasses import fields
from datetime import timedelta

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from infra.costs.fixed import interface_endpoints
from infra.deployment import Deployment
from infra.gateway.stack import GatewayStack
from infra.local.deploy.synth import REPOSITORY
from infra.network.stack import NetworkStack
from infra.storage.stack import MAX_RECEIVE_COUNT, StorageStack
from raki.service import sending
from raki.service.settings import SendSettings
from tests.infra.conftest import CERTIFICATE_ARN

CONTEXT = json.loads((REPOSITORY / "cdk.json").read_text())["context"]


def found(template, kind, name=""):
    return {
        logical_id: one["Properties"]
        for logical_id, one in template["Resources"].items()
        if one["Type"] == kind and name in logical_id
    }


@pytest.fixture
def clinic(all_reviewed):
    return all_reviewed["clinic"].templates


def test_without_an_archive_there_is_nothing_of_it(all_reviewed):
    for profile in ("minimal", "research"):
        text = json.dumps(all_reviewed[profile].templates)
        assert not [word for word in ("SendQueue", "SendEvents", "SendingTask", "Senders", "PACS_TLS") if word in text]


def test_the_sender_gets_the_environment_that_its_settings_read(clinic):
    ((task,), (service,)) = (
        list(found(clinic["RakiPipeline"], kind, "Sending").values())
        for kind in ("AWS::ECS::TaskDefinition", "AWS::ECS::Service")
    )
    (container,) = task["ContainerDefinitions"]
    told = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    assert set(told) == {field.name.upper() for field in fields(SendSettings)}
    assert (told["PACS"], told["PACS_TLS"], told["PACS_TRUSTED"]) == ("ARCHIVE@10.9.8.7:11112", "1", "none")
    assert told["PACS_CERTIFICATE"] == CERTIFICATE_ARN
    assert told["MEMORY_MIB"] == task["Memory"]
    assert container["ReadonlyRootFilesystem"] is True
    # One at any time, while it is replaced too.
    assert service["DesiredCount"] == 1
    assert service["DeploymentConfiguration"]["MaximumPercent"] == 100
    assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"


def test_a_manifest_goes_to_the_sender_by_a_way_of_its_own(clinic):
    storage = clinic["RakiStorage"]
    (rule,) = found(storage, "AWS::Events::Rule", "ResultCompleted").values()
    (queue,) = (name for name in found(storage, "AWS::SQS::Queue", "SendQueue"))
    assert [target["Arn"] for target in rule["Targets"]] == [{"Fn::GetAtt": [queue, "Arn"]}]
    assert rule["EventPattern"]["detail-type"] == ["Object Created"]
    assert rule["EventPattern"]["detail"]["object"]["key"] == [{"suffix": "/manifest.json"}]
    (bucket,) = rule["EventPattern"]["detail"]["bucket"]["name"]
    assert bucket["Ref"].startswith("Results")
    (told,) = (
        one["NotificationConfiguration"]
        for one in found(storage, "Custom::S3BucketNotifications").values()
        if one["BucketName"] == bucket
    )
    assert told["EventBridgeConfiguration"] == {}
    # The share hears of it as before.
    (notified,) = told["QueueConfigurations"]
    assert notified["QueueArn"]["Fn::GetAtt"][0].startswith("RefreshQueue")


def test_an_event_that_cannot_be_delivered_is_kept_and_an_alarm_tells_of_it(clinic):
    storage = clinic["RakiStorage"]
    (rule,) = found(storage, "AWS::Events::Rule", "ResultCompleted").values()
    (kept,) = found(storage, "AWS::SQS::Queue", "SendEventsDeadLetters")
    (target,) = rule["Targets"]
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": [kept, "Arn"]}}
    (policy,) = found(storage, "AWS::SQS::QueuePolicy", "SendEventsDeadLetters").values()
    assert "events.amazonaws.com" in json.dumps([
        one for one in policy["PolicyDocument"]["Statement"]
        if one["Effect"] == "Allow" and one["Action"] == "sqs:SendMessage"
    ])  # fmt: skip
    (alarm,) = found(clinic["RakiMonitoring"], "AWS::CloudWatch::Alarm", "SendEventsDeadLetters").values()
    (told,) = (one["Value"] for one in alarm["Dimensions"] if one["Name"] == "QueueName")
    assert "SendEventsDeadLetters" in json.dumps(told)
    assert "reconcile announces" in alarm["AlarmDescription"]


def test_forgotten_results_are_looked_for_where_there_is_an_archive(all_reviewed):
    for profile, archive in (("clinic", "ARCHIVE@10.9.8.7:11112"), ("minimal", "none")):
        template = all_reviewed[profile].templates["RakiPipeline"]
        (reconcile,) = found(template, "AWS::Lambda::Function", "Reconcile").values()
        told = reconcile["Environment"]["Variables"]
        assert told["PACS"] == archive
        assert (told["SEND_QUEUE_URL"] == "none") == (archive == "none")


@pytest.mark.parametrize("certificate", [CERTIFICATE_ARN, ""])
@pytest.mark.parametrize("gateway", [False, True])
def test_a_network_without_the_internet_has_one_way_to_the_secrets(certificate, gateway):
    app = cdk.App(context=CONTEXT)
    own = {"raki:pacs": "ARCHIVE@10.9.8.7:1", "raki:pacs_tls": True, "raki:pacs_certificate": certificate}
    on_ec2 = {
        "raki:gateway_on_ec2": True,
        "raki:share_protocol": "smb",
        "raki:smb_authentication": "guest",
        "raki:share_clients": "10.1.0.0/16",
    }
    deployment = Deployment.from_context({"raki:profile": "clinic", **own, **(on_ec2 if gateway else {})})
    storage = StorageStack(app, "Storage", deployment=deployment)
    network = NetworkStack(app, "Network", storage=storage, deployment=deployment)
    stacks = [network]
    if gateway:
        stacks.append(GatewayStack(app, "Gateway", network=network, storage=storage, deployment=deployment))
    templates = [Template.from_stack(stack).to_json() for stack in stacks]
    ways = [
        one
        for template in templates
        for one in found(template, "AWS::EC2::VPCEndpoint").values()
        if "secretsmanager" in json.dumps(one["ServiceName"])
    ]
    assert len(ways) == 1
    endpoints = [one for template in templates for one in found(template, "AWS::EC2::VPCEndpoint").values()]
    interfaces = [one for one in endpoints if one["VpcEndpointType"] == "Interface"]
    assert len(interfaces) == interface_endpoints(deployment)


def test_eventbridge_may_write_to_the_queue_and_use_its_key(clinic):
    """Amazon SQS Developer Guide, "Key management": kms:Decrypt and kms:GenerateDataKey for the service's principal."""
    storage = clinic["RakiStorage"]

    def allowed(statements):
        return {
            action
            for one in statements
            if one["Effect"] == "Allow" and "events.amazonaws.com" in json.dumps(one["Principal"])
            and "sns:topicArn" not in json.dumps(one)
            for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
        }  # fmt: skip

    (policy,) = found(storage, "AWS::SQS::QueuePolicy", "SendQueue").values()
    assert "sqs:SendMessage" in allowed(policy["PolicyDocument"]["Statement"])
    (key,) = found(storage, "AWS::KMS::Key", "OperationsKey").values()
    assert {"kms:Decrypt", "kms:GenerateDataKey*"} <= allowed(key["KeyPolicy"]["Statement"])


def test_what_waits_for_the_archive_outlives_the_tries_and_is_shorter_lived_than_what_is_given_up(clinic):
    storage = clinic["RakiStorage"]
    (queue,) = found(storage, "AWS::SQS::Queue", "SendQueue").values()
    (dead,) = found(storage, "AWS::SQS::Queue", "SendDeadLetters").values()
    # Its last try may begin just before the end, and the next one is a wait away.
    least = sending.GIVEN_UP_AFTER + timedelta(seconds=sending.LONGEST_WAIT_S)
    assert least.total_seconds() < queue["MessageRetentionPeriod"] < dead["MessageRetentionPeriod"] <= 14 * 86400
    # Waits are at least half as long as the longest, but for the first few.
    n_tries = sending.GIVEN_UP_AFTER.total_seconds() / (sending.LONGEST_WAIT_S / 2)
    assert n_tries + 20 < queue["RedrivePolicy"]["maxReceiveCount"] == MAX_RECEIVE_COUNT


def test_an_alarm_tells_of_an_archive_that_takes_nothing_and_one_of_dead_letters(clinic):
    alarms = found(clinic["RakiMonitoring"], "AWS::CloudWatch::Alarm")
    (waits,) = (one for name, one in alarms.items() if "ArchiveTakesNothing" in name)
    assert (waits["MetricName"], waits["Period"], waits["EvaluationPeriods"]) == ("SendRetries", 3600, 2)
    # While one result waits, each of the alarm's periods has a try.
    assert waits["Period"] > sending.LONGEST_WAIT_S
    (given_up,) = (one for name, one in alarms.items() if "SendDeadLetters" in name)
    assert "raki retry" in given_up["AlarmDescription"]


@pytest.mark.parametrize(
    ("archive", "reached"), [("ARCHIVE@10.9.8.7:11112", "10.9.8.7/32"), ("ARCHIVE@pacs.example:11112", "0.0.0.0/0")]
)
def test_the_sender_reaches_aws_and_the_archive_and_nothing_else(archive, reached):
    app = cdk.App(context=CONTEXT)
    deployment = Deployment.from_context({"raki:profile": "clinic", "raki:pacs": archive})
    storage = StorageStack(app, "Storage", deployment=deployment)
    network = Template.from_stack(NetworkStack(app, "Network", storage=storage, deployment=deployment)).to_json()
    (group,) = found(network, "AWS::EC2::SecurityGroup", "Senders").values()
    assert "SecurityGroupIngress" not in group
    assert {(rule["CidrIp"], rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]} == {
        ("0.0.0.0/0", 443, 443),
        (reached, 11112, 11112),
    }
    sources = {
        one["SourceSecurityGroupId"]["Fn::GetAtt"][0]
        for one in found(network, "AWS::EC2::SecurityGroupIngress", "Endpoints").values()
    }
    assert len([name for name in sources if name.startswith("Senders")]) == 1
