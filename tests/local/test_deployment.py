"""Stacks are created as CloudFormation creates them, and what fails says what it was."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest
from botocore.exceptions import ClientError

from infra.local.cloud import LocalCloud, LocalSettings
from infra.local.deploy import assembly
from infra.local.deploy.models import PLACE, put_store
from infra.local.moto.parts import MotoChanged, find
from raki.errors import BadModel
from raki.models.store import read_model
from raki.service import model_objects
from tests.local.conftest import write_assembly
from tests.models.conftest import model_folder, place  # noqa: F401 -- fixtures


@pytest.fixture
def adaptations():
    """Loaded when it is asked for: moto takes seconds, and every process of a run collects every test."""
    return import_module("infra.local.server.adaptations")


def test_settings_of_a_bucket_and_a_table_of_version_2_arrive(cloud, outputs):
    assert cloud.client("s3").get_bucket_versioning(Bucket=outputs["Raw"])["Status"] == "Enabled"
    assert cloud.client("dynamodb").describe_table(TableName=outputs["Table"])["Table"]["TableStatus"] == "ACTIVE"


@pytest.fixture
def hasty():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_a_table_can_be_scanned_while_others_write_and_of_those_who_want_an_item_one_has_it(cloud, outputs, hasty):
    dynamodb, table = cloud.client("dynamodb"), outputs["Table"]
    key = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"][0]["AttributeName"]

    def take(number):
        item = {key: {"S": f"item {number // 4}"}}
        try:
            dynamodb.put_item(TableName=table, Item=item, ConditionExpression=f"attribute_not_exists({key})")
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return 0
        return 1

    def scan(_number):
        dynamodb.scan(TableName=table)
        return 0

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(take if number % 8 else scan, number) for number in range(400)]
        n_taken = sum(done.result() for done in work)
    assert n_taken == 100


def test_a_custom_resource_is_its_real_handlers_answer(outputs):
    assert outputs["CustomAnswer"] == "true 3", "its handler gets every scalar as text"


def test_what_is_not_modelled_is_told_once(events, cloud):
    told = [event.detail for event in events if event.what == "not modelled" and "BucketPolicy" in event.detail]
    assert len(told) == 1


def test_a_stack_of_somebody_elses_is_run_as_well(cloud, outputs):
    """By URL, as the CDK's command line does it."""
    template = {"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "elsewhere"}}}}
    cloud.client("s3").put_object(Bucket=outputs["Raw"], Key="t.json", Body=json.dumps(template).encode())
    cloud.client("cloudformation").create_stack(
        StackName="Other", TemplateURL=f"{cloud.endpoint}/{outputs['Raw']}/t.json"
    )
    assert cloud.client("sqs").get_queue_url(QueueName="elsewhere")["QueueUrl"]


def test_a_change_set_exports_what_the_next_stack_imports(cloud):
    """The way of `cdk deploy`."""
    cloudformation = cloud.client("cloudformation")
    exporting = {
        "Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "exported"}}},
        "Outputs": {"Name": {"Value": "exported", "Export": {"Name": "Exporting:Name"}}},
    }
    importing = {"Outputs": {"Name": {"Value": {"Fn::ImportValue": "Exporting:Name"}}}, "Resources": {}}
    importing["Resources"]["Q"] = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "importing"}}
    for name, template in (("Exporting", exporting), ("Importing", importing)):
        change = {"StackName": name, "ChangeSetName": "deploy"}
        cloudformation.create_change_set(**change, ChangeSetType="CREATE", TemplateBody=json.dumps(template))
        cloudformation.execute_change_set(**change)
    (stack,) = cloudformation.describe_stacks(StackName="Importing")["Stacks"]
    assert stack["Outputs"][0]["OutputValue"] == "exported"


def test_a_failed_stack_names_the_resource_and_the_reason(cloud):
    bad = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::GetAtt": ["Nothing", "Arn"]}}}
    with pytest.raises(ClientError, match=r"Bad \(AWS::SQS::Queue\) failed: .*Nothing"):
        cloud.client("cloudformation").create_stack(
            StackName="Bad", TemplateBody=json.dumps({"Resources": {"Bad": bad}})
        )


def test_a_second_cloud_in_one_process_is_refused(cloud, tmp_path):
    settings = LocalSettings(share=tmp_path, work=tmp_path, assembly=tmp_path)
    with pytest.raises(RuntimeError, match="runs in this process already"), LocalCloud(settings):
        pass


def test_a_cloud_that_isnt_running_says_so(tmp_path):
    idle = LocalCloud(LocalSettings(share=tmp_path, work=tmp_path, assembly=tmp_path))
    with pytest.raises(RuntimeError, match="context manager"):
        idle.deploy()


def test_a_moto_without_what_is_used_is_refused_by_name(cloud, monkeypatch, adaptations):
    monkeypatch.setattr(adaptations, "USED", ("moto.sqs.models:Queue.no_such_method",))
    with pytest.raises(MotoChanged, match=r"no moto\.sqs\.models:Queue\.no_such_method.*moto\[server\]==5\.2\.5"):
        adaptations.Adaptations(hooks=None).install()
    with pytest.raises(MotoChanged, match="no_such_module"):
        find("moto.no_such_module:X")


def test_everything_that_is_replaced_is_put_back(adaptations):
    """In a process without a cloud; the replacement's own names are the evidence."""
    paths = ["moto.batch.models:Job.run", "moto.awslambda.models:LambdaFunction.invoke"]
    before = [find(path) for path in paths]
    own = adaptations.Adaptations(hooks=None)
    for path in paths:
        own._replace(path, lambda *_arguments: "replaced")
    assert [find(path)(None) for path in paths] == ["replaced", "replaced"]
    while own._undo:
        own._undo.pop()()
    assert [find(path) for path in paths] == before


@pytest.fixture
def dockerfile(tmp_path):
    (tmp_path / "image").mkdir()
    manifest = {"dockerImages": {"x": {"source": {"directory": "image"}, "destinations": {"a": {"imageTag": "tag"}}}}}
    (tmp_path / "some.assets.json").write_text(json.dumps(manifest))
    return tmp_path / "image" / "Dockerfile"


@pytest.mark.parametrize("text", ["FROM scratch", 'FROM a\nCMD ["b"]', "FROM a\nENTRYPOINT python x.py"])
def test_an_image_has_to_say_what_it_runs(dockerfile, text):
    dockerfile.write_text(text)
    with pytest.raises(assembly.UnknownImage, match="ENTRYPOINT"):
        assembly.image(dockerfile.parents[1], "registry/name:tag")


def test_an_image_is_its_last_stage(dockerfile):
    dockerfile.write_text('FROM a\nENV A=1\nENTRYPOINT ["x"]\nFROM b\nENV B="2 3" C=4\nENTRYPOINT ["y"]\nCMD ["z"]\n')
    image = assembly.image(dockerfile.parents[1], "registry/name:tag")
    assert (image.entry_point, image.command) == (["y"], ["z"])
    assert image.environment == {"B": "2 3", "C": "4"}
    with pytest.raises(assembly.UnknownImage, match="registry/name:other"):
        assembly.image(dockerfile.parents[1], "registry/name:other")


def test_stacks_come_after_those_that_they_depend_on(tmp_path):
    written = write_assembly(tmp_path)
    assert [stack.name for stack in assembly.stacks(written)] == ["Data", "Work"]


def test_a_store_of_models_is_the_bucket_that_jobs_are_told_of(cloud, place, tmp_path):  # noqa: F811
    s3 = cloud.client("s3")
    assert put_store(place.store.root, s3) == [place.kept.pinned]
    model_objects.bring(s3, PLACE, "head-6ch", None, None, tmp_path)
    assert read_model(tmp_path / "head-6ch/1").digest == place.kept.digest


def test_a_store_with_a_model_that_is_broken_is_refused(cloud, place, model_folder, tmp_path):  # noqa: F811
    (model_folder / "weights.safetensors").write_bytes(b"")
    (tmp_path / "store/head-6ch").mkdir(parents=True)
    model_folder.rename(tmp_path / "store/head-6ch/1")
    with pytest.raises(BadModel):
        put_store(tmp_path / "store", cloud.client("s3"))
