"""Each type that a deployment on AWS needs is created as the CDK writes it, or is left out by intent, and works."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig
from filelock import FileLock

from infra.local.deploy.synth import REPOSITORY, cdk_environment
from tests.local import programs_of_the_tests, stacks_of_the_tests
from tests.local.conftest import eventually
from tests.local.deploying import deployed

SEVERAL_PARTS = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=6 << 20)


@pytest.fixture(scope="module")
def stacks(pytestconfig):
    """Synthesised once for each state of the application; the CDK takes ten seconds for it."""
    program = Path(stacks_of_the_tests.__file__)
    digest = hashlib.sha256(program.read_bytes() + Path(programs_of_the_tests.__file__).read_bytes()).hexdigest()
    folder = pytestconfig.cache.mkdir("stacks-of-the-tests") / digest[:16]
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "cdk.out" / "manifest.json").exists():
            synthesise(program, folder)
    return folder / "cdk.out"


def synthesise(program, folder):
    for name, files in {
        "code": {"functions.py": programs_of_the_tests.LAMBDAS},
        "image": {"Dockerfile": programs_of_the_tests.DOCKERFILE, "worker.py": programs_of_the_tests.WORKER},
    }.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / name / file).write_text(text)
    flags = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    # Checking templates is the business of the tests of the real stacks.
    flags = {name: value for name, value in flags.items() if name.startswith("@")}
    flags["@aws-cdk/core:validateAgainstDefaultRules"] = False
    own = {
        "CDK_CONTEXT_JSON": json.dumps(flags),
        "CDK_OUTDIR": str(folder / "cdk.out"),
        "CODE": str(folder / "code"),
        "IMAGE": str(folder / "image"),
    }
    subprocess.run([sys.executable, program], env=cdk_environment() | own, check=True, capture_output=True)


@pytest.fixture(scope="module")
def service(stacks, tmp_path_factory):
    with deployed(stacks, tmp_path_factory.mktemp("stacks")) as running:
        yield running


@pytest.fixture(scope="module")
def outputs(service):
    return service.outputs


def test_stacks_refer_to_one_another(outputs):
    assert outputs["CustomAnswer"] == "true 3"
    assert outputs["DnsName"] == f"{outputs['FileSystemId']}.fsx.us-east-1.amazonaws.com"
    assert outputs["GatewayAddress"].startswith("10.")


def test_what_is_left_out_is_told_with_its_reason(service):
    told = {line.partition(":: ")[0].partition(": ")[0] for line in service.events("not modelled")}
    assert {"AWS::CloudWatch::Alarm", "AWS::CodeBuild::Project", "AWS::S3::BucketPolicy"} <= told


def test_keys_have_their_aliases_and_turn(service, outputs):
    kms = service.client("kms")
    assert kms.describe_key(KeyId="alias/tests/data")["KeyMetadata"]["Arn"] == outputs["KeyArn"]
    assert kms.get_key_rotation_status(KeyId=outputs["KeyId"])["KeyRotationEnabled"]


def test_encrypted_objects_are_stored_and_streamed(service, outputs, tmp_path):
    s3, body = service.client("s3"), os.urandom(1 << 20) * 14
    (tmp_path / "large").write_bytes(body)
    s3.upload_file(str(tmp_path / "large"), outputs["PreparedBucket"], "large", Config=SEVERAL_PARTS)
    head = s3.head_object(Bucket=outputs["PreparedBucket"], Key="large")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", outputs["KeyArn"])
    part = s3.get_object(Bucket=outputs["PreparedBucket"], Key="large", Range="bytes=5000000-9999999")
    assert part["Body"].read() == body[5_000_000:10_000_000]


def test_an_encrypted_bucket_notifies_an_encrypted_queue(service, outputs):
    s3 = service.client("s3")
    s3.put_object(Bucket=outputs["RawBucket"], Key="notified", Body=b"x")

    def consumed():
        listed = s3.list_objects_v2(Bucket=outputs["ResultsBucket"], Prefix="consumed/").get("Contents", [])
        return [entry["Key"] for entry in listed if '"notified"' in entry["Key"]]

    eventually(consumed, within_s=60.0)


def test_a_locked_version_stays(service, outputs):
    s3 = service.client("s3")
    version = s3.put_object(Bucket=outputs["RawBucket"], Key="locked", Body=b"x")["VersionId"]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=outputs["RawBucket"], Key="locked", VersionId=version)


def test_old_versions_have_rules_of_their_own(service, outputs):
    rules = service.client("s3").get_bucket_lifecycle_configuration(Bucket=outputs["PreparedBucket"])["Rules"]
    assert {"Days": 21} in [rule.get("Expiration") for rule in rules]
    assert {"NoncurrentDays": 1} in [rule.get("NoncurrentVersionExpiration") for rule in rules]


def test_a_job_finds_the_linked_bucket_at_fsx_and_its_scratch_on_the_host(service, outputs):
    service.client("s3").put_object(Bucket=outputs["PreparedBucket"], Key="prepared/a/b", Body=b"content")
    copy = service.work / "fsx" / outputs["FileSystemId"] / "prepared" / "a" / "b"
    eventually(copy.exists)
    printed = [printed_by_a_job(service, outputs) for _ in range(2)]
    for listing, temporary in printed:
        assert json.loads(listing)["a/b"] == "content"
        assert temporary == str(service.work / "host" / "mnt" / "nvme" / "scratch")
    assert (service.work / "host" / "mnt" / "nvme" / "scratch" / "left").read_text() == "xx", "the host's disk is kept"


def printed_by_a_job(service, outputs):
    batch, logs = service.client("batch"), service.client("logs")
    job = batch.submit_job(jobName="list", jobQueue=outputs["JobQueueArn"], jobDefinition=outputs["JobArn"])["jobId"]

    def ended():
        (found,) = batch.describe_jobs(jobs=[job])["jobs"]
        assert found["status"] != "FAILED", found
        return found if found["status"] == "SUCCEEDED" else None

    stream = eventually(ended, within_s=60.0)["container"]["logStreamName"]
    (group,) = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"] if "JobLogs" in str(group)]
    return [event["message"] for event in logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]]


def test_an_upload_is_told_to_a_queue_and_to_the_operator(service, outputs):
    (service.share / "raw" / "scan.h5").write_bytes(b"abc")
    sqs = service.client("sqs")
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=outputs["UploadedUrl"]).get("Messages"), within_s=60.0)
    detail = json.loads(message["Body"])["detail"]
    assert (detail["bucket-name"], detail["object-key"]) == (outputs["RawBucket"], "scan.h5")
    eventually(lambda: any('"scan.h5"' in notice for notice in service.events("notice")))


def test_both_kinds_of_shares_are_described(service, outputs):
    gateway = service.client("storagegateway")
    (nfs,) = gateway.describe_nfs_file_shares(FileShareARNList=[outputs["NfsShareArn"]])["NFSFileShareInfoList"]
    (smb,) = gateway.describe_smb_file_shares(FileShareARNList=[outputs["SmbShareArn"]])["SMBFileShareInfoList"]
    assert nfs["LocationARN"] == f"arn:aws:s3:::{outputs['RawBucket']}"
    assert smb["Authentication"] == "GuestAccess"


def test_jobs_have_instances_from_the_launch_template(service):
    environments = service.client("batch").describe_compute_environments()["computeEnvironments"]
    templates = service.client("ec2").describe_launch_templates()["LaunchTemplates"]
    known = {template["LaunchTemplateId"] for template in templates}
    for environment in environments:
        assert environment["computeResources"]["launchTemplate"]["launchTemplateId"] in known
        assert environment["computeResources"]["launchTemplate"]["version"] == "1"
