"""A developer's notebook and image builds: what they reach, and what they may do."""

import json
import os
import re
import shutil
import subprocess
import time

import aws_cdk as cdk
import pytest

from infra.deployment import Deployment, SettingsError
from infra.development.image_builds import IMAGES
from infra.development.needs import ENDPOINTS, INSTANCE_TYPES
from infra.development.notebook import PREPARE
from infra.development.stack import DevelopmentStack
from infra.local.deploy.synth import REPOSITORY
from infra.network.stack import NetworkStack
from infra.storage.stack import StorageStack
from tests.infra.image_files import ALL, read_dockerfile
from tests.infra.policies import permissions

SCRIPT = PREPARE.read_text()


@pytest.fixture(scope="session")
def development(all_reviewed):
    """Without a route to the internet, and with FSx."""
    return Template(all_reviewed["research"].templates["RakiDevelopment"])


@pytest.fixture(scope="session")
def in_own_vpc():
    """In a VPC of the site's own, without FSx, and with a GPU."""
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    own = {"raki:vpc_id": "vpc-0123456789abcdef0", "raki:vpc_subnets": "subnet-0aaaaaaaaaaaaaaaa"}
    deployment = Deployment.from_context({**context, **own, "raki:development": True, "raki:notebook_gpu": True})
    app = cdk.App(context=context)
    storage = StorageStack(app, "RakiStorage", deployment=deployment)
    network = NetworkStack(app, "RakiNetwork", storage=storage, deployment=deployment)
    stack = DevelopmentStack(
        app, "RakiDevelopment", network=network, storage=storage, scratch=None, deployment=deployment
    )
    return Template(app.synth().get_stack_artifact(stack.artifact_id).template)


class Template:
    """One stack's resources by their type."""

    def __init__(self, template):
        self.template = template

    def of(self, kind):
        return [found["Properties"] for found in self.template["Resources"].values() if found["Type"] == kind]

    def only(self, kind):
        (found,) = self.of(kind)
        return found

    @property
    def start_script(self):
        (hook,) = self.only("AWS::SageMaker::NotebookInstanceLifecycleConfig")["OnStart"]
        content = hook["Content"]["Fn::Base64"]
        if isinstance(content, str):
            return content
        return "".join(part if isinstance(part, str) else "TOKEN" for part in content["Fn::Join"][1])


IMAGE_ACTIONS = (
    "BatchCheckLayerAvailability",
    "BatchGetImage",
    "CompleteLayerUpload",
    "GetDownloadUrlForLayer",
    "InitiateLayerUpload",
    "PutImage",
    "UploadLayerPart",
)
PULL_AND_PUSH = {"ecr:GetAuthorizationToken on *"} | {
    f"ecr:{action} on Builds{name.capitalize()}" for action in IMAGE_ACTIONS for name in IMAGES
}


def test_whoever_works_in_the_notebook_reads_prepared_scans_and_never_raw_ones(development):
    logs = "arn:Partition:logs:Region:AccountId:log-group:/aws/sagemaker/NotebookInstances"
    assert permissions({"RakiDevelopment": development.template})["NotebookRole"] == {
        "s3:GetObject on Prepared/*",
        "s3:ListBucket on Prepared",
        "s3:AbortMultipartUpload on Models/*",
        "s3:GetObject on Models/*",
        "s3:ListBucket on Models",
        "s3:PutObject on Models/*",
        "kms:Decrypt on DataKey via s3",
        "kms:GenerateDataKey on DataKey via s3",
        "sagemaker:StopNotebookInstance on NotebookInstance",
        *(f"logs:{action} on {logs}{part}" for part in ("", ":*")
          for action in ("CreateLogGroup", "CreateLogStream", "PutLogEvents")),
    }  # fmt: skip


def test_a_build_reads_sources_and_writes_images(development):
    assert permissions({"RakiDevelopment": development.template})["BuildsRole"] == PULL_AND_PUSH | {
        "s3:GetObject on Sources/source/*",
        "s3:GetObjectVersion on Sources/source/*",
        "s3:ListBucket on Sources",
        "kms:Decrypt on DataKey via s3",
        "logs:CreateLogStream on BuildsLogs",
        "logs:PutLogEvents on BuildsLogs",
    }


@pytest.mark.parametrize("service", ["sagemaker", "codebuild"])
def test_a_service_takes_a_role_for_this_account_alone(development, service):
    documents = [role["AssumeRolePolicyDocument"] for role in development.of("AWS::IAM::Role")]
    (statement,) = [one for document in documents for one in document["Statement"]
                    if one["Principal"] == {"Service": f"{service}.amazonaws.com"}]  # fmt: skip
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_the_notebook_has_no_internet_of_its_own_no_root_and_an_encrypted_volume(development):
    notebook = development.only("AWS::SageMaker::NotebookInstance")
    assert notebook["DirectInternetAccess"] == "Disabled"
    assert notebook["RootAccess"] == "Disabled"
    assert "DataKey" in notebook["KmsKeyId"]["Fn::ImportValue"]
    assert notebook["InstanceMetadataServiceConfiguration"] == {"MinimumInstanceMetadataServiceVersion": "2"}


def test_the_notebook_has_a_gpu_on_request_alone(development, in_own_vpc):
    assert development.only("AWS::SageMaker::NotebookInstance")["InstanceType"] == INSTANCE_TYPES[False]
    assert in_own_vpc.only("AWS::SageMaker::NotebookInstance")["InstanceType"] == INSTANCE_TYPES[True]


def test_no_route_leads_from_the_notebooks_network_to_the_internet(all_reviewed):
    resources = all_reviewed["research"].templates["RakiNetwork"]["Resources"].values()
    ways = {"AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::EgressOnlyInternetGateway"}
    assert not [one for one in resources if one["Type"] in ways]
    assert not [one for one in resources if one["Type"] == "AWS::EC2::Route"]
    with pytest.raises(SettingsError, match="raki:development is on and raki:egress nat"):
        Deployment.from_context({"raki:development": "true"})


def test_nobody_reaches_the_notebook_and_it_reaches_https_alone(development):
    (group,) = [one for one in development.of("AWS::EC2::SecurityGroup") if "notebook" in one["GroupDescription"]
                and "endpoints" not in one["GroupDescription"]]  # fmt: skip
    assert "SecurityGroupIngress" not in group
    assert [(rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]] == [(443, 443)]


def test_the_notebook_is_admitted_where_gpu_instances_are(development):
    own, of_jobs = development.only("AWS::SageMaker::NotebookInstance")["SecurityGroupIds"]
    assert "NotebookSecurityGroup" in own["Fn::GetAtt"][0]
    assert "Jobs" in of_jobs["Fn::ImportValue"]


def test_a_network_without_a_route_gets_the_endpoints_that_a_notebook_calls(development, in_own_vpc):
    names = [json.dumps(one["ServiceName"]) for one in development.of("AWS::EC2::VPCEndpoint")]
    assert len(names) == len(ENDPOINTS)
    for endpoint in ENDPOINTS:
        assert any(f".{endpoint}" in name for name in names)
    (rule,) = development.of("AWS::EC2::SecurityGroupIngress")
    assert rule["FromPort"] == rule["ToPort"] == 443
    assert "NotebookSecurityGroup" in json.dumps(rule["SourceSecurityGroupId"])
    assert not in_own_vpc.of("AWS::EC2::VPCEndpoint")


def test_the_start_script_fits_sagemaker_and_is_filled_in(development, in_own_vpc):
    for template in (development, in_own_vpc):
        script = template.start_script
        assert len(script) < 16384 * 3 / 4  # as base64
        assert not re.search(r"@\w+@", script)
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert re.search(r'LUSTRE_SOURCE="TOKEN\S*@tcp:/TOKEN" ', development.start_script)
    assert 'LUSTRE_SOURCE=""' in in_own_vpc.start_script
    assert "mount -t lustre -o ro," in SCRIPT


def watch(tmp_path, *, load, gpu, worked_minutes_ago):
    """What the notebook's watch asks of AWS, with stand-ins for the machine's load, its GPU and the command line.

    Args:
        gpu: how busy each is, in percent; None: there is none.
    """
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in {
        "cut": f"echo {load}",
        **({} if gpu is None else {"nvidia-smi": "\n".join(f"echo {one}" for one in gpu)}),
        "aws": 'echo "aws $*"',
    }.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)
    script = tmp_path / "stop-when-idle"
    script.write_text(SCRIPT.partition("<<'SCRIPT'\n")[2].partition("\nSCRIPT\n")[0])
    last_work = tmp_path / "last-work"
    if worked_minutes_ago is not None:
        last_work.touch()
        at = time.time() - worked_minutes_ago * 60
        os.utime(last_work, (at, at))
    finished = subprocess.run(
        ["bash", script, "60", "Notebook-1", "eu-central-1"],
        env={"PATH": f"{commands}:/usr/bin:/bin", "STATE_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    asked = [line for line in finished.stdout.splitlines() if line.startswith("aws ")]
    return asked, time.time() - last_work.stat().st_mtime < 60


@pytest.mark.parametrize("gpu", [[0], None])
def test_a_notebook_that_is_idle_for_an_hour_is_stopped(tmp_path, gpu):
    asked, _ = watch(tmp_path, load=0.05, gpu=gpu, worked_minutes_ago=62)
    assert asked == ["aws sagemaker stop-notebook-instance --notebook-instance-name Notebook-1 --region eu-central-1"]


@pytest.mark.parametrize(
    ("load", "gpu", "worked_minutes_ago", "works"),
    [
        (0.05, [0], 30, False),
        (1.2, [0], 62, True),
        (1.2, None, 62, True),
        (0.05, [0, 80], 62, True),
        (0.05, [0], None, True),  # it has just been started
    ],
)
def test_a_notebook_that_works_or_did_within_the_hour_is_left_alone(tmp_path, load, gpu, worked_minutes_ago, works):
    asked, noted = watch(tmp_path, load=load, gpu=gpu, worked_minutes_ago=worked_minutes_ago)
    assert not asked
    assert noted is works


def test_images_are_never_changed_are_scanned_and_outlive_the_stack(development):
    found = [one for one in development.template["Resources"].values() if one["Type"] == "AWS::ECR::Repository"]
    assert len(found) == len(IMAGES)
    for repository in found:
        properties = repository["Properties"]
        assert properties["ImageTagMutability"] == "IMMUTABLE"
        assert properties["ImageScanningConfiguration"] == {"ScanOnPush": True}
        assert properties["EncryptionConfiguration"]["EncryptionType"] == "KMS"
        (rule,) = json.loads(properties["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
        assert rule["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 20}
        assert repository["DeletionPolicy"] == "Retain"


def test_models_are_versioned_encrypted_reached_by_tls_and_kept(development):
    ((name, models),) = [(name, one) for name, one in development.template["Resources"].items()
                         if one["Type"] == "AWS::S3::Bucket" and name.startswith("Models")]  # fmt: skip
    assert models["DeletionPolicy"] == "Retain"
    properties = models["Properties"]
    assert properties["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert "DataKey" in rule["ServerSideEncryptionByDefault"]["KMSMasterKeyID"]["Fn::ImportValue"]
    assert all(properties["PublicAccessBlockConfiguration"].values())
    assert "DestinationBucketName" in properties["LoggingConfiguration"]
    (policy,) = [one for one in development.of("AWS::S3::BucketPolicy") if one["Bucket"] == {"Ref": name}]
    denied = [one["Condition"] for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in denied


def built(development, tmp_path, source, **also):
    """What the build's own commands ask for, in a shell whose `docker` and `aws` only say what they were asked."""
    shutil.copytree(REPOSITORY / "containers", tmp_path / "source/containers")
    project = development.only("AWS::CodeBuild::Project")
    commands = json.loads(project["Source"]["BuildSpec"])["phases"]["build"]["commands"]
    for name in ("aws", "docker"):
        (tmp_path / name).write_text(f'#!/bin/bash\necho "{name} $*" >>{tmp_path}/asked\n')
        (tmp_path / name).chmod(0o755)
    names = [one["Name"] for one in project["Environment"]["EnvironmentVariables"]]
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "CODEBUILD_SOURCE_REPO_URL": f"s3://models/source/{source}.zip",
            **{name: f"REGISTRY/{name.lower()}" for name in names},
            **also,
        },
        cwd=tmp_path / "source",
        check=True,
    )
    return (tmp_path / "asked").read_text().splitlines()


def test_a_build_makes_both_images_of_a_commit(development, tmp_path):
    asked = built(development, tmp_path, "0a1b2c")
    assert not [line for line in asked if line.startswith("docker pull")]
    assert (tmp_path / "source/containers/decompress/Dockerfile").read_text().count("@sha256:") == 1
    for name in IMAGES:
        dockerfile = f"containers/{name}/Dockerfile"
        assert (REPOSITORY / dockerfile).is_file()
        made = asked.index(f"docker build --file {dockerfile} --tag REGISTRY/{name}:0a1b2c .")
        assert made < asked.index(f"docker push REGISTRY/{name}:0a1b2c")
    assert "docker login --username AWS --password-stdin REGISTRY" in asked


def test_each_months_build_takes_the_newest_bases_and_names_them(development, tmp_path):
    asked = built(development, tmp_path, "latest", NEWEST_BASES="1")
    pulled = {line.removeprefix("docker pull ") for line in asked if line.startswith("docker pull ")}
    pinned = {rest.partition(" AS ")[0] for name in ALL for found, rest in read_dockerfile(name) if found == "FROM"}
    assert pulled == {base.partition("@")[0] for base in pinned if "@" in base}
    month = time.strftime("%Y-%m", time.gmtime())
    for name in IMAGES:
        assert f"docker push REGISTRY/{name}:monthly-{month}" in asked
        assert "@sha256" not in (tmp_path / f"source/containers/{name}/Dockerfile").read_text()


def test_the_month_begins_with_a_build_of_what_was_built_last(development):
    schedule = development.only("AWS::Scheduler::Schedule")
    assert schedule["ScheduleExpression"] == "cron(0 4 1 * ? *)"
    text = json.dumps(schedule["Target"])
    assert ":scheduler:::aws-sdk:codebuild:startBuild" in text
    assert "/source/latest.zip" in text
    assert "NEWEST_BASES" in text
    allowed = permissions({"RakiDevelopment": development.template})["BuildsScheduleRole"]
    assert allowed == {"codebuild:StartBuild on BuildsProject"}


def test_a_build_is_encrypted_logged_and_stands_outside_the_network(development):
    project = development.only("AWS::CodeBuild::Project")
    assert "OperationsKey" in project["EncryptionKey"]["Fn::ImportValue"]
    assert project["LogsConfig"]["CloudWatchLogs"]["Status"] == "ENABLED"
    assert project["Environment"]["PrivilegedMode"] is True
    assert "VpcConfig" not in project


def test_the_command_that_starts_a_build_names_the_commit_as_the_build_reads_it(development):
    parts = development.template["Outputs"]["BuildCommand"]["Value"]["Fn::Join"][1]
    command = "".join(part if isinstance(part, str) else "NAME" for part in parts)
    assert "git archive --format=zip --output=/tmp/source.zip HEAD" in command
    assert command.count("NAME/source/$COMMIT.zip") == 2
    assert command.count("NAME/source/latest.zip") == 1
    subprocess.run(["bash", "-n"], input=command, text=True, check=True)
