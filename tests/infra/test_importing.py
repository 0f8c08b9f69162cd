"""Where a data store of HealthImaging is named, or asked for, results are imported into it; else there is nothing."""

import json
import subprocess
import sys
from dataclasses import fields

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from infra.deployment import Deployment, SettingsError
from infra.local.deploy.synth import REPOSITORY
from infra.service import build
from infra.storage.needs import HEALTHIMAGING_REGIONS
from infra.storage.stack import StorageStack
from raki.service.settings import ImportSettings
from tests.infra.test_sending import found

CONTEXT = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
EXISTING = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def clinic(all_reviewed):
    return all_reviewed["clinic"].templates


def storage_of(named, region=None):
    app = cdk.App(context=CONTEXT)
    deployment = Deployment.from_context({"raki:profile": "minimal", "raki:healthimaging": named})
    environment = cdk.Environment(region=region) if region else None
    with_region = cdk.Stage(app, "In", env=environment) if region else app
    return Template.from_stack(StorageStack(with_region, "Storage", deployment=deployment)).to_json()


def test_by_default_there_is_nothing_of_it(all_reviewed):
    for profile in ("minimal", "research"):
        text = json.dumps(all_reviewed[profile].templates)
        assert not [word for word in ("HealthImaging", "medical-imaging", 'ImportQueue"', "DataAccess") if word in text]


def test_a_new_data_store_has_the_deployments_key_and_outlives_its_stack(clinic):
    (store,) = (one for one in clinic["RakiStorage"]["Resources"].values()
                if one["Type"] == "AWS::HealthImaging::Datastore")  # fmt: skip
    (key,) = found(clinic["RakiStorage"], "AWS::KMS::Key", "DataKey")
    assert store["Properties"]["KmsKeyArn"] == {"Fn::GetAtt": [key, "Arn"]}
    assert (store["DeletionPolicy"], store["UpdateReplacePolicy"]) == ("Retain", "Retain")
    policy = found(clinic["RakiStorage"], "AWS::KMS::Key", "DataKey")[key]["KeyPolicy"]["Statement"]
    (admitted,) = (one for one in policy if one["Principal"] == {"Service": "medical-imaging.amazonaws.com"})
    assert admitted["Action"] == ["kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"]
    assert "kms:EncryptionContext:kms-arn" in json.dumps(admitted["Condition"])


def test_one_that_there_is_gets_the_results_and_no_other_is_made():
    template = storage_of(EXISTING)
    assert not found(template, "AWS::HealthImaging::Datastore")
    assert "medical-imaging.amazonaws.com" not in json.dumps(found(template, "AWS::KMS::Key"))
    (ended,) = found(template, "AWS::Events::Rule", "ImportEnded").values()
    assert ended["EventPattern"]["detail"] == {"datastoreId": [EXISTING]}
    assert template["Outputs"]["DataStore"]["Value"] == EXISTING


@pytest.mark.parametrize("named", ["old", "0123", EXISTING.upper(), EXISTING + "0"])
def test_what_is_no_data_store_is_named(named):
    with pytest.raises(SettingsError, match="raki:healthimaging"):
        Deployment.from_context({"raki:healthimaging": named})


def test_a_region_without_healthimaging_is_refused_where_it_is_known():
    assert storage_of("new", "eu-west-2")
    with pytest.raises(SettingsError, match="the region is eu-central-1; AWS HealthImaging is offered in"):
        storage_of("new", "eu-central-1")
    with pytest.raises(SettingsError, match="raki:healthimaging"):
        storage_of(EXISTING, "eu-central-1")


def test_and_by_cloudformation_where_it_is_not(clinic):
    (rule,) = (one for name, one in clinic["RakiStorage"]["Rules"].items() if "HealthImaging" in name)
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Contains": [list(HEALTHIMAGING_REGIONS), {"Ref": "AWS::Region"}]}
    assert assertion["AssertDescription"].startswith("AWS HealthImaging is offered in")


def test_its_queue_hears_of_results_and_of_jobs_that_have_ended(clinic):
    storage = clinic["RakiStorage"]
    (queue,) = found(storage, "AWS::SQS::Queue", "ImportQueue")
    (kept,) = found(storage, "AWS::SQS::Queue", "ImportEventsDeadLetters")
    (written,) = found(storage, "AWS::Events::Rule", "ResultToImport").values()
    (ended,) = found(storage, "AWS::Events::Rule", "ImportEnded").values()
    for rule in (written, ended):
        (target,) = rule["Targets"]
        assert target["Arn"] == {"Fn::GetAtt": [queue, "Arn"]}
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": [kept, "Arn"]}}
    assert written["EventPattern"]["detail"]["object"]["key"] == [{"suffix": "/manifest.json"}]
    assert ended["EventPattern"]["source"] == ["aws.medical-imaging"]
    assert ended["EventPattern"]["detail-type"] == ["Import Job Completed", "Import Job Failed"]
    (function,) = found(clinic["RakiPipeline"], "AWS::Lambda::Function", "ImportResults").values()
    assert found(storage, "AWS::SQS::Queue", "ImportQueue")[queue]["VisibilityTimeout"] == 6 * function["Timeout"]


def test_the_lambda_gets_the_environment_that_its_settings_read(clinic):
    (function,) = found(clinic["RakiPipeline"], "AWS::Lambda::Function", "ImportResults").values()
    assert set(function["Environment"]["Variables"]) == {field.name.upper() for field in fields(ImportSettings)}
    assert function["Handler"] == "lambdas.import_results.handler"


def test_the_handler_is_in_the_archive_and_starts_without_anything_numeric(all_reviewed):
    assembly = all_reviewed["clinic"].folder
    files = json.loads((assembly / "RakiPipeline.assets.json").read_text())["files"].values()
    sources = [assembly / file["source"]["path"] for file in files]
    (archive,) = [source for source in sources if (source / "lambdas").is_dir()]
    probe = (
        f"import sys; sys.path[:0] = [{str(archive)!r}]; import lambdas.import_results as m;"
        "assert callable(m.handler);"
        f"assert m.__file__.startswith({str(archive)!r}), m.__file__;"
        "heavy = {'torch', 'numpy', 'h5py'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-P", "-c", probe], cwd=archive, check=True)


def test_healthimaging_takes_its_role_on_for_this_data_store_and_account_alone(clinic):
    (role,) = found(clinic["RakiPipeline"], "AWS::IAM::Role", "DataAccess").values()
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "medical-imaging.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    source = json.dumps(trust["Condition"]["ArnEquals"]["aws:SourceArn"])
    assert "medical-imaging" in source
    assert "ImageStoreDatastoreId" in source


def test_copies_of_images_are_kept_for_days_and_the_share_shows_none(clinic):
    (bucket,) = found(clinic["RakiStorage"], "AWS::S3::Bucket", "Imports").values()
    rules = {rule.get("Prefix"): rule.get("ExpirationInDays") for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert (rules["input/"], rules["output/"]) == (3, 30)
    shares = found(clinic["RakiPipeline"], "AWS::StorageGateway::SMBFileShare")
    assert "Imports" not in json.dumps(shares)


def test_forgotten_results_are_looked_for(clinic):
    (reconcile,) = found(clinic["RakiPipeline"], "AWS::Lambda::Function", "Reconcile").values()
    told = reconcile["Environment"]["Variables"]
    assert "ImportQueue" in json.dumps(told["IMPORT_QUEUE_URL"])
    assert "ImageStore" in json.dumps(told["DATA_STORE_ID"])


def test_alarms_tell_of_imports_that_fail_or_do_not_start(clinic):
    alarms = found(clinic["RakiMonitoring"], "AWS::CloudWatch::Alarm")
    (failed,) = (one for name, one in alarms.items() if "ImportFailed" in name)
    assert (failed["MetricName"], failed["Threshold"], failed["EvaluationPeriods"]) == ("ImportFailures", 0, 1)
    assert "raki retry" in failed["AlarmDescription"]
    (waits,) = (one for name, one in alarms.items() if "ImportsNotStarted" in name)
    assert (waits["MetricName"], waits["Period"]) == ("ImportRetries", 3600)


def test_a_whole_deployment_may_have_an_archive_healthimaging_or_both():
    for settings in ({"raki:healthimaging": EXISTING}, {"raki:healthimaging": "new"}):
        app = cdk.App(context=CONTEXT)
        build(app, Deployment.from_context({"raki:profile": "minimal", **settings}))
        assert app.synth()
