import json
import subprocess
import sys
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from raki.errors import TransientError
from raki.service import settings
from raki.service.stage import MAX_ATTEMPTS


@pytest.fixture(scope="session")
def storage(assembly):
    return json.loads((assembly / "RakiStorage.template.json").read_text())


@pytest.fixture(scope="session")
def pipeline(assembly):
    return json.loads((assembly / "RakiPipeline.template.json").read_text())


def resources(template, kind):
    return {name: found for name, found in template["Resources"].items() if found["Type"] == kind}


def properties(template, kind, name):
    """The one resource of this kind whose logical id contains `name`."""
    (found,) = [one for logical_id, one in resources(template, kind).items() if name in logical_id]
    return found["Properties"]


def variables(cls):
    return {field.name.upper() for field in fields(cls)}


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("Scale", settings.ScaleSettings),
        ("Dispatch", settings.DispatchSettings),
        ("Refresh", settings.RefreshSettings),
    ],
)
def test_a_lambda_gets_the_environment_that_its_settings_read(pipeline, name, cls):
    found = properties(pipeline, "AWS::Lambda::Function", name)
    assert set(found["Environment"]["Variables"]) == variables(cls)


def test_the_worker_and_the_job_get_the_environment_that_their_settings_read(pipeline):
    task = properties(pipeline, "AWS::ECS::TaskDefinition", "Task")["ContainerDefinitions"][0]
    assert {entry["Name"] for entry in task["Environment"]} == variables(settings.DecompressSettings)
    job = properties(pipeline, "AWS::Batch::JobDefinition", "Job")["ContainerProperties"]
    assert {entry["Name"] for entry in job["Environment"]} == variables(settings.ReconstructSettings)


@pytest.mark.parametrize("name", ["scale_decompression", "dispatch_reconstruction", "refresh_gateway"])
def test_every_handler_is_in_the_archive_and_starts_without_anything_numeric(assembly, pipeline, name):
    handlers = {found["Properties"]["Handler"] for found in resources(pipeline, "AWS::Lambda::Function").values()}
    assert f"lambdas.{name}.handler" in handlers
    files = json.loads((assembly / "RakiPipeline.assets.json").read_text())["files"].values()
    sources = [assembly / file["source"]["path"] for file in files]
    (archive,) = [source for source in sources if (source / "lambdas").is_dir()]
    probe = (
        f"import sys; sys.path[:0] = [{str(archive)!r}]; import lambdas.{name} as m; assert callable(m.handler);"
        f"assert m.__file__.startswith({str(archive)!r}), m.__file__;"
        "heavy = {'torch', 'numpy', 'h5py'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-P", "-c", probe], cwd=archive, check=True)


def test_the_fleet_is_left_to_the_lambda(pipeline):
    assert "DesiredCount" not in properties(pipeline, "AWS::ECS::Service", "Service")


def test_a_job_is_tried_again_only_where_that_can_help(pipeline):
    retry = properties(pipeline, "AWS::Batch::JobDefinition", "Job")["RetryStrategy"]["EvaluateOnExit"]
    assert retry[-1] == {"Action": "EXIT", "OnReason": "*"}
    assert {"Action": "RETRY", "OnExitCode": str(TransientError.exit_code)} in retry


def test_every_queue_has_dead_letters_that_outlive_it(storage):
    queues = {name: found["Properties"] for name, found in resources(storage, "AWS::SQS::Queue").items()}
    working = [queue for queue in queues.values() if "RedrivePolicy" in queue]
    assert len(working) == 3
    for queue in working:
        policy = queue["RedrivePolicy"]
        dead_letters = queues[policy["deadLetterTargetArn"]["Fn::GetAtt"][0]]
        assert dead_letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
        # Every attempt of a scan, and as many deliveries again that find it busy.
        assert policy["maxReceiveCount"] > 2 * MAX_ATTEMPTS


def test_the_prepared_bucket_stays_free_for_fsx(storage):
    notified = [found["Properties"]["BucketName"]["Ref"]
                for found in resources(storage, "Custom::S3BucketNotifications").values()]  # fmt: skip
    assert len(notified) == 2
    assert not [name for name in notified if name.startswith("Prepared")]


def test_only_a_manifest_announces_a_result(storage):
    (rule,) = [found["Properties"]["NotificationConfiguration"]["QueueConfigurations"][0]
               for found in resources(storage, "Custom::S3BucketNotifications").values()
               if found["Properties"]["BucketName"]["Ref"].startswith("Results")]  # fmt: skip
    assert rule["Filter"]["Key"]["FilterRules"] == [{"Name": "suffix", "Value": "/manifest.json"}]


def test_nothing_may_delete_a_raw_scan_and_data_outlives_its_stack(storage, pipeline):
    for name, bucket in resources(storage, "AWS::S3::Bucket").items():
        assert bucket["DeletionPolicy"] == "Retain", name
    for name, policy in resources(pipeline, "AWS::IAM::Policy").items():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            deletes = [action for action in actions if action.startswith("s3:Delete")]
            if "GatewayRole" not in name:
                assert not deletes or "Raw" not in json.dumps(statement["Resource"]), name


def test_the_gateway_gets_what_its_guide_asks_for_and_deletes_no_result(pipeline):
    """User guide of S3 File Gateway, "Granting access to an Amazon S3 bucket"."""
    (policy,) = [found["Properties"]["PolicyDocument"]["Statement"]
                 for name, found in resources(pipeline, "AWS::IAM::Policy").items()
                 if "GatewayRole" in name]  # fmt: skip
    on_raw = [pattern for statement in policy if "Raw" in json.dumps(statement["Resource"])
              for pattern in np.atleast_1d(statement["Action"])]  # fmt: skip
    on_bucket = ("GetAccelerateConfiguration", "GetBucketLocation", "ListBucket")
    on_objects = ("AbortMultipartUpload", "DeleteObject", "GetObject", "GetObjectVersion", "PutObject", "PutObjectAcl")
    for action in (*on_bucket, *on_objects):
        assert any(fnmatch(f"s3:{action}", pattern) for pattern in on_raw), action
    for statement in policy:
        if "Results" in json.dumps(statement["Resource"]) and "Raw" not in json.dumps(statement["Resource"]):
            assert not [one for one in statement["Action"] if "Delete" in one or "Put" in one]


def test_a_share_waits_for_its_role_and_is_open_to_named_hosts_only(pipeline):
    shares = resources(pipeline, "AWS::StorageGateway::NFSFileShare")
    assert {share["Properties"]["FileShareName"] for share in shares.values()} == {"raw", "results"}
    for share in shares.values():
        assert any("GatewayRoleDefaultPolicy" in name for name in share["DependsOn"])
        assert share["Properties"]["ClientList"] == ["127.0.0.1/32"]
        assert share["Properties"]["ReadOnly"] is (share["Properties"]["FileShareName"] == "results")


def test_the_decompression_worker_reads_no_result_but_manifests(pipeline):
    (policy,) = [found["Properties"]["PolicyDocument"]["Statement"]
                 for name, found in resources(pipeline, "AWS::IAM::Policy").items()
                 if "TaskTaskRole" in name]  # fmt: skip
    reads = [json.dumps(statement["Resource"]) for statement in policy if "s3:GetObject*" in statement["Action"]]
    of_results = [resource for resource in reads if "Results" in resource]
    assert of_results
    assert all("/*/manifest.json" in resource for resource in of_results)


def test_cloudformation_would_take_the_templates(assembly):
    # W3005: the CDK writes dependencies that follow from references already.
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--ignore-checks", "W3005", "--"]
    templates = [str(path) for path in sorted(assembly.glob("*.template.json"))]
    finished = subprocess.run([*command, *templates], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
