"""The templates and the code agree: what is read is set, what is started is there, what fails is kept."""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import fields

import pytest

from infra.deployment import Deployment, SettingsError
from raki.errors import TransientError
from raki.options import Options
from raki.service import settings
from raki.service.bookkeeping import EXPIRES_AT
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
        ("Reconcile", settings.ReconcileSettings),
        ("Renew", settings.RenewSettings),
    ],
)
def test_a_lambda_gets_the_environment_that_its_settings_read(pipeline, name, cls):
    found = properties(pipeline, "AWS::Lambda::Function", name)
    assert set(found["Environment"]["Variables"]) == variables(cls)


def test_what_bookkeeping_lets_expire_is_what_the_table_removes(storage):
    ledger = properties(storage, "AWS::DynamoDB::Table", "Ledger")
    assert ledger["TimeToLiveSpecification"] == {"AttributeName": EXPIRES_AT, "Enabled": True}


def test_the_worker_and_the_job_get_the_environment_that_their_settings_read(pipeline):
    task = properties(pipeline, "AWS::ECS::TaskDefinition", "DecompressionTask")["ContainerDefinitions"][0]
    secrets = {entry["Name"] for entry in task["Secrets"]}
    assert secrets == {"SCAN_ID_KEY"}
    assert {entry["Name"] for entry in task["Environment"]} | secrets == variables(settings.DecompressSettings)
    job = properties(pipeline, "AWS::Batch::JobDefinition", "Job")["ContainerProperties"]
    # ECS names the region to tasks on Fargate only; boto3 reads it by itself.
    read = variables(settings.ReconstructSettings) | variables(Options) | {"AWS_DEFAULT_REGION"}
    assert {entry["Name"] for entry in job["Environment"]} == read


def test_the_key_of_the_scan_ids_is_made_by_aws_outlives_its_stack_and_stands_in_no_template(storage, pipeline):
    ((name, key),) = resources(storage, "AWS::SecretsManager::Secret").items()
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert "SecretString" not in key["Properties"]
    generated = key["Properties"]["GenerateSecretString"]
    assert generated == {"ExcludePunctuation": True, "PasswordLength": 64}
    assert not resources(storage, "AWS::SecretsManager::RotationSchedule")
    text = json.dumps([storage, pipeline])
    assert "{{resolve:secretsmanager" not in text
    environments = [
        pair for found in resources(pipeline, "AWS::ECS::TaskDefinition").values()
        for container in found["Properties"]["ContainerDefinitions"] for pair in container.get("Environment", [])
    ]  # fmt: skip
    assert name not in json.dumps(environments)
    assert "StackId" not in json.dumps(environments)


def test_a_container_on_fargate_has_no_privilege_that_it_could_do_without(all_reviewed):
    """Amazon ECS API Reference, KernelCapabilities: on Fargate any may be dropped."""
    tasks = 0
    for reviewed in all_reviewed.values():
        for found in resources(reviewed.templates["RakiPipeline"], "AWS::ECS::TaskDefinition").values():
            for container in found["Properties"]["ContainerDefinitions"]:
                linux = container["LinuxParameters"]
                assert linux["Capabilities"] == {"Drop": ["ALL"]}
                assert linux["InitProcessEnabled"] is True
                assert container["ReadonlyRootFilesystem"] is True
                assert container["User"] == "10001:10001"
                assert container["Ulimits"] == [{"Name": "nofile", "HardLimit": 4096, "SoftLimit": 4096}]
                assert not container.get("Privileged")
                tasks += 1
    assert tasks == 2 * 3 + 2  # worker and check of each deployment, a sender, a compaction


HANDLERS = ["scale_decompression", "dispatch_reconstruction", "refresh_gateway", "reconcile", "renew_instances"]


@pytest.mark.parametrize("name", HANDLERS)
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


def test_every_handler_finds_all_that_it_imports_in_its_archive(assembly, pipeline):
    """Beside the archive there are the standard library and what Lambda's runtime brings: no raki of anywhere else."""
    code = properties(pipeline, "AWS::Lambda::Function", "Reconcile")["Code"]["S3Key"]
    archive = assembly / f"asset.{code.removesuffix('.zip')}"
    handlers = sorted(f"lambdas.{path.stem}" for path in (archive / "lambdas").glob("[a-z]*.py"))
    packages = sysconfig.get_paths()["purelib"]
    program = (
        f"import sys, importlib; sys.path[:0] = [{str(archive)!r}]; sys.path.append({packages!r})\n"
        f"for name in {handlers!r}: importlib.import_module(name)\n"
        f"import raki; print(raki.__file__)"
    )
    environment = {"AWS_DEFAULT_REGION": "us-east-1", "PATH": os.environ["PATH"]}
    # Without `site` no editable install is looked for.
    run = [sys.executable, "-S", "-B", "-c", program]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, cwd=archive, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip() == str(archive / "raki/__init__.py")


def test_a_backup_holds_raw_scans_results_and_the_ledger_and_nobody_deletes_it_before_its_time(all_reviewed):
    template = all_reviewed["research"].templates["RakiStorage"]
    ((_, vault),) = resources(template, "AWS::Backup::BackupVault").items()
    assert vault["DeletionPolicy"] == "Retain"
    assert vault["Properties"]["LockConfiguration"] == {"MinRetentionDays": 35}
    (plan,) = [one["Properties"]["BackupPlan"] for one in resources(template, "AWS::Backup::BackupPlan").values()]
    (rule,) = plan["BackupPlanRule"]
    assert rule["Lifecycle"] == {"DeleteAfterDays": 35}
    (copy,) = rule["CopyActions"]
    assert copy["DestinationBackupVaultArn"].startswith("arn:aws:backup:eu-central-1:")
    (selection,) = [
        one["Properties"]["BackupSelection"] for one in resources(template, "AWS::Backup::BackupSelection").values()
    ]
    held = {resource["Fn::GetAtt"][0] for resource in selection["Resources"]}
    buckets = resources(template, "AWS::S3::Bucket")
    assert {name for name in held if name in buckets} == {name for name in buckets if name.startswith(("Raw", "Resul"))}
    assert held - set(buckets) == set(resources(template, "AWS::DynamoDB::Table"))
    for name in held & set(buckets):  # without versions AWS Backup takes none: its guide, "Amazon S3 backups"
        assert buckets[name]["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
        # It has S3 tell EventBridge, which the CDK's own function must not take back.
        (told,) = [
            found["Properties"]["NotificationConfiguration"]
            for found in resources(template, "Custom::S3BucketNotifications").values()
            if found["Properties"]["BucketName"] == {"Ref": name}
        ]
        assert "EventBridgeConfiguration" in told
    assert not resources(all_reviewed["clinic"].templates["RakiStorage"], "AWS::Backup::BackupVault")


@pytest.mark.parametrize(
    "settings",
    [
        {"raki:backup": "cross-region"},
        {"raki:backup": "vault", "raki:backup_copy_to": "arn:aws:backup:eu-west-1:123456789012:backup-vault:raki"},
        {"raki:backup": "cross-region", "raki:backup_copy_to": "raki"},
        {"raki:backup": "tape"},
    ],
)
def test_a_backup_that_cant_be_is_refused_in_words(settings):
    with pytest.raises(SettingsError, match="raki:backup"):
        Deployment.from_context(settings)


def test_the_ledger_can_be_restored_to_any_second(storage):
    ledger = properties(storage, "AWS::DynamoDB::Table", "Ledger")
    assert ledger["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert ledger["DeletionProtectionEnabled"] is True
