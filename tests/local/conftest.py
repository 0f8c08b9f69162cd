"""One local cloud for all tests here, deployed from an assembly as small as its subjects allow."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud import Event, LocalCloud, LocalSettings
from tests.local import programs_of_the_tests

# One minute of a template is one second.
SPEED = 60.0
GATEWAY_ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"
ASSETS_BUCKET = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"
IMAGE = {
    "Fn::Sub": "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/"
    "cdk-hnb659fds-container-assets-${AWS::AccountId}-${AWS::Region}:imagehash"
}


@pytest.fixture(scope="package")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_assembly(tmp_path_factory.mktemp("cdk.out"))


@pytest.fixture(scope="package")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="package")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("share")


@pytest.fixture(scope="package")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="package")
def cloud(assembly: Path, events: list[Event], share: Path, work: Path) -> Iterator[LocalCloud]:
    settings = LocalSettings(share=share, work=work, assembly=assembly, speed=SPEED)
    with LocalCloud(settings, report=events.append) as running:
        running.deploy()
        yield running
        endpoint = running.endpoint
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 6.0, "the end took long"
    assert processes_of(endpoint) == [], "processes were left behind"


@pytest.fixture(scope="package")
def outputs(cloud: LocalCloud) -> dict[str, str]:
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    return {item["OutputKey"]: item["OutputValue"] for stack in stacks for item in stack.get("Outputs", [])}


def eventually(condition: Callable[[], Any], *, within_s: float = 60.0) -> Any:
    """The first true value of `condition`; fails when none comes in time."""
    deadline_s = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        time.sleep(0.05)
    return value


def processes_of(endpoint: str) -> list[int]:
    """The processes that were told of this endpoint."""
    told = f"AWS_ENDPOINT_URL={endpoint}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if told in (process / "environ").read_bytes() and "Z" not in (process / "stat").read_text().split()[2]:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def write_assembly(folder: Path) -> Path:
    (folder / "lambdas").mkdir()
    (folder / "lambdas" / "functions.py").write_text(programs_of_the_tests.LAMBDAS)
    (folder / "lambdas" / "slow_to_load.py").write_text(programs_of_the_tests.SLOW_TO_LOAD)
    (folder / "image").mkdir()
    (folder / "image" / "Dockerfile").write_text(programs_of_the_tests.DOCKERFILE)
    (folder / "image" / "worker.py").write_text(programs_of_the_tests.WORKER)
    artifacts: dict[str, Any] = {
        "Work": {
            "type": "aws:cloudformation:stack",
            "properties": {"templateFile": "Work.template.json"},
            "dependencies": ["Data"],
        },
        "Data": {"type": "aws:cloudformation:stack", "properties": {"templateFile": "Data.template.json"}},
    }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    (folder / "Work.assets.json").write_text(json.dumps(_asset_manifest()))
    (folder / "Data.template.json").write_text(json.dumps({"Resources": _data(), "Outputs": _data_outputs()}))
    (folder / "Work.template.json").write_text(json.dumps({"Resources": _work(), "Outputs": _work_outputs()}))
    return folder


def _asset_manifest() -> dict[str, Any]:
    return {
        "files": {
            "code": {
                "source": {"path": "lambdas", "packaging": "zip"},
                "destinations": {"here": {"bucketName": ASSETS_BUCKET, "objectKey": "code.zip"}},
            }
        },
        "dockerImages": {
            "imagehash": {
                "source": {"directory": "image"},
                "destinations": {"here": {"repositoryName": "assets", "imageTag": "imagehash"}},
            }
        },
    }


def _data() -> dict[str, Any]:
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}, "maxReceiveCount": 2}
    return {
        "Raw": {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}},
        "Results": {"Type": "AWS::S3::Bucket"},
        "RawPolicy": {"Type": "AWS::S3::BucketPolicy", "Properties": {"Bucket": {"Ref": "Raw"}}},
        "DeadLetters": {"Type": "AWS::SQS::Queue"},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 1, "RedrivePolicy": redrive}},
        "SlowQueue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 7200}},
        "BriefQueue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 60}},
        "JobEvents": {"Type": "AWS::SQS::Queue"},
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "KeySchema": [{"AttributeName": "scan_id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "scan_id", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        },
    }


def _data_outputs() -> dict[str, Any]:
    names = ("Raw", "Results", "Queue", "DeadLetters", "SlowQueue", "BriefQueue", "JobEvents", "Table")
    values = {name: {"Ref": name} for name in names} | {"QueueArn": {"Fn::GetAtt": ["Queue", "Arn"]}}
    return {name: {"Value": value, "Export": {"Name": f"Data:{name}"}} for name, value in values.items()}


def _of_data(output: str) -> dict[str, Any]:
    return {"Fn::ImportValue": f"Data:{output}"}


def _function(handler: str, **properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": {"Fn::Sub": ASSETS_BUCKET}, "S3Key": "code.zip"},
            "Handler": f"functions.{handler}",
            "Runtime": "python3.13",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Timeout": 30,
            "Environment": {"Variables": {"RESULTS_BUCKET": _of_data("Results")}},
            **properties,
        },
    }


def _work() -> dict[str, Any]:
    container = {"Name": "Worker", "Image": IMAGE, "Command": ["serve"], "StopTimeout": 5}
    container |= {
        "Environment": [{"Name": "SCRATCH", "Value": "/scratch/here"}],
        "MountPoints": [{"ContainerPath": "/scratch", "SourceVolume": "scratch"}],
        "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": "worker-logs"}},
    }
    return {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}},
        "Greet": _function("greet"),
        "Hang": _function("hang", Timeout=1),
        "SlowToLoad": _function("greet", Handler="slow_to_load.greet", Timeout=1),
        "EachMinute": _function("each_minute"),
        "Consume": _function("consume", LoggingConfig={"LogGroup": "consume-logs"}),
        "Schedule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "ScheduleExpression": "rate(1 minute)",
                "Targets": [{"Id": "0", "Arn": {"Fn::GetAtt": ["EachMinute", "Arn"]}}],
            },
        },
        "Failures": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {"source": ["aws.batch"], "detail": {"status": ["FAILED"]}},
                "Targets": [
                    {"Id": "0", "Arn": {"Fn::Sub": "arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:job-failures"}}
                ],
            },
        },
        "FailureQueue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "job-failures"}},
        "Mapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "EventSourceArn": _of_data("QueueArn"),
                "FunctionName": {"Ref": "Consume"},
                "BatchSize": 50,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
            },
        },
        "Custom": {
            "Type": "Custom::Answer",
            "Properties": {"ServiceToken": {"Fn::GetAtt": ["Answer", "Arn"]}, "Yes": True, "Number": 3},
        },
        "Answer": _function("answer"),
        "Cluster": {"Type": "AWS::ECS::Cluster"},
        "Task": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {"ContainerDefinitions": [container], "Memory": "512", "Volumes": [{"Name": "scratch"}]},
        },
        "Service": {
            "Type": "AWS::ECS::Service",
            "Properties": {"Cluster": {"Ref": "Cluster"}, "TaskDefinition": {"Ref": "Task"}, "LaunchType": "FARGATE"},
        },
        "Environment": {
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {
                "Type": "managed",
                "ComputeResources": {
                    "Type": "FARGATE",
                    "MaxvCpus": 4,
                    "SecurityGroupIds": [{"Fn::GetAtt": ["SecurityGroup", "GroupId"]}],
                    "Subnets": [{"Ref": "Subnet"}],
                },
            },
        },
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"}},
        "SecurityGroup": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {"VpcId": {"Ref": "Vpc"}, "GroupDescription": "jobs"},
        },
        "JobQueue": {
            "Type": "AWS::Batch::JobQueue",
            "Properties": {
                "Priority": 1,
                "ComputeEnvironmentOrder": [
                    {
                        "ComputeEnvironment": {"Fn::GetAtt": ["Environment", "ComputeEnvironmentArn"]},
                        "Order": 1,
                    }
                ],
            },
        },
        "Job": {
            "Type": "AWS::Batch::JobDefinition",
            "Properties": {
                "Type": "container",
                "ContainerProperties": {
                    "Image": IMAGE,
                    "Command": ["exit", "0"],
                    "ResourceRequirements": [
                        {"Type": "GPU", "Value": "1"},
                        {"Type": "MEMORY", "Value": "512"},
                        {"Type": "VCPU", "Value": "1"},
                    ],
                },
                "RetryStrategy": {
                    "Attempts": 3,
                    "EvaluateOnExit": [
                        {"Action": "RETRY", "OnExitCode": "75"},
                        {"Action": "EXIT", "OnReason": "*"},
                    ],
                },
                "Timeout": {"AttemptDurationSeconds": 3},
            },
        },
        "RawShare": _share("raw", "Raw", read_only=False),
        "ResultsShare": _share("results", "Results", read_only=True),
    }


def _share(name: str, bucket: str, *, read_only: bool) -> dict[str, Any]:
    return {
        "Type": "AWS::StorageGateway::NFSFileShare",
        "Properties": {
            "FileShareName": name,
            "GatewayARN": GATEWAY_ARN,
            "LocationARN": {"Fn::Join": ["", ["arn:aws:s3:::", _of_data(bucket)]]},
            "ReadOnly": read_only,
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        },
    }


def _work_outputs() -> dict[str, Any]:
    refs = {
        name: {"Value": {"Ref": name}}
        for name in ("Greet", "Hang", "SlowToLoad", "Consume", "Cluster", "Service", "JobQueue", "Job", "ResultsShare")
    }
    return refs | {
        "CustomAnswer": {"Value": {"Fn::GetAtt": ["Custom", "Answer"]}},
        "FailureQueue": {"Value": {"Ref": "FailureQueue"}},
    }
