"""After a deployment each image checks itself, and the GPU instances' image is renewed: what the templates say of "
"it."""

import json

import aws_cdk as cdk
import pytest

from infra.deployment import Deployment
from infra.local.deploy.synth import REPOSITORY
from infra.network.stack import NetworkStack
from infra.pipeline.stack import PipelineStack
from infra.storage.stack import StorageStack


@pytest.fixture(scope="module")
def pipeline(all_reviewed):
    return all_reviewed["clinic"].templates["RakiPipeline"]["Resources"]


def of(resources, kind, part=""):
    return {name: one["Properties"] for name, one in resources.items() if one["Type"] == kind and part in name}


def test_both_images_run_their_own_check_when_the_stack_is_deployed(pipeline):
    rules = of(pipeline, "AWS::Events::Rule", "Canary")
    assert len(rules) == 2
    for rule in rules.values():
        pattern = rule["EventPattern"]
        assert pattern["detail"]["stack-id"] == [{"Ref": "AWS::StackId"}]
        assert pattern["detail"]["status-details"] == {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"]}
        (target,) = rule["Targets"]
        (override,) = json.loads(target["Input"])["containerOverrides"]
        assert override["command"] == ["--check"]
        assert target["EcsParameters"]["Group"] == "raki-canary"
        assert target["EcsParameters"]["NetworkConfiguration"]["AwsVpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    tasks = {json.dumps(rule["Targets"][0]["EcsParameters"]["TaskDefinitionArn"]) for rule in rules.values()}
    assert any("DecompressionTask" in one for one in tasks), "the worker's own task, as it will be started"
    assert any("CanaryTask" in one for one in tasks)


def test_the_job_is_checked_by_the_image_and_in_the_environment_that_it_will_have(pipeline):
    (task,) = of(pipeline, "AWS::ECS::TaskDefinition", "CanaryTask").values()
    (container,) = task["ContainerDefinitions"]
    (job,) = of(pipeline, "AWS::Batch::JobDefinition").values()
    assert container["Image"] == job["ContainerProperties"]["Image"]
    assert {one["Name"]: one["Value"] for one in container["Environment"]} == {
        one["Name"]: one["Value"] for one in job["ContainerProperties"]["Environment"]
    }
    assert container["ReadonlyRootFilesystem"]


def test_without_a_gpu_canary_no_deployment_takes_a_quota(pipeline):
    assert len(of(pipeline, "AWS::Batch::JobDefinition")) == 1


def test_a_gpu_canary_is_a_job_that_checks_and_does_nothing_else(reconstruction_with_gpu_canary):
    resources = reconstruction_with_gpu_canary
    (rule,) = of(resources, "AWS::Events::Rule", "CanaryGpu").values()
    (target,) = rule["Targets"]
    (name,) = [one for one in of(resources, "AWS::Batch::JobDefinition") if "Canary" in one]
    assert target["BatchParameters"]["JobDefinition"] == {"Ref": name}
    container = resources[name]["Properties"]["ContainerProperties"]
    assert container["Command"] == ["--check"]
    assert {"Type": "GPU", "Value": "1"} in container["ResourceRequirements"]


@pytest.fixture(scope="module")
def reconstruction_with_gpu_canary():
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    deployment = Deployment.from_context({**context, "raki:gpu_canary": True})
    app = cdk.App(context=context)
    storage = StorageStack(app, "RakiStorage", deployment=deployment)
    network = NetworkStack(app, "RakiNetwork", storage=storage, deployment=deployment)
    stack = PipelineStack(app, "RakiPipeline", network=network, storage=storage, gateway_arn="", deployment=deployment)
    return app.synth().get_stack_by_name(stack.stack_name).template["Resources"]


def test_the_image_of_gpu_instances_is_looked_after_each_night_of_the_site(pipeline):
    (schedule,) = of(pipeline, "AWS::Scheduler::Schedule", "PatchingEachNight").values()
    assert schedule["ScheduleExpression"] == "cron(0 3 * * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == "UTC"
    assert "PatchingRenewFunction" in json.dumps(schedule["Target"]["Arn"])
    (function,) = of(pipeline, "AWS::Lambda::Function", "PatchingRenew").values()
    told = json.dumps(function["Environment"]["Variables"]["COMPUTE_ENVIRONMENTS"])
    for name in of(pipeline, "AWS::Batch::ComputeEnvironment"):
        assert name in told


def test_every_environment_can_be_renewed_as_batch_asks(all_reviewed):
    """AWS Batch User Guide, "Perform infrastructure updates": the service-linked role, and no BEST_FIT."""
    for reviewed in all_reviewed.values():
        for environment in of(
            reviewed.templates["RakiPipeline"]["Resources"], "AWS::Batch::ComputeEnvironment"
        ).values():
            assert "ServiceRole" not in environment
            strategy = environment["ComputeResources"]["AllocationStrategy"]
            assert strategy in ("BEST_FIT_PROGRESSIVE", "SPOT_CAPACITY_OPTIMIZED", "SPOT_PRICE_CAPACITY_OPTIMIZED")
            assert "ImageId" not in environment["ComputeResources"]
            assert "ImageIdOverride" not in environment["ComputeResources"]["Ec2Configuration"][0]
