"""The reconstruction's Batch: which instances run its jobs, what a job is told, and what it may do."""

import json
from dataclasses import fields
from email import message_from_string
from pathlib import Path
from types import MappingProxyType

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk.assertions import Match, Template
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from infra.costs.estimate import most_gpus
from infra.deployment import Deployment
from infra.gpus import VCPUS, VCPUS_OF, max_vcpus, most_instances
from infra.network.stack import NetworkStack
from infra.pipeline.instances import PREPARE
from infra.pipeline.reconstruction import Reconstruction
from infra.storage.stack import StorageStack
from raki.options import Options
from raki.service.settings import ReconstructSettings, from_environment

REPOSITORY = Path(__file__).parents[2]
DEPLOYMENTS = MappingProxyType(
    {
        "Nvme": {
            "profile": "minimal",
            "max_reconstruction_jobs": "3",
            # As `cdk deploy -c` hands them over.
            "method": "rraki",
            "combine": "adaptive",
            "coils": "12",
            "seed": "7",
            "maps": "false",
            "weights": "true",
            "quantities": "true",
            "kspace": "true",
            "explain": "true",
            "model": "head-16ch@2",
            "mismatch": "own",
            "models": "s3://site-models/raki",
        },
        "Scratch": {"profile": "research", "scratch": "fsx-scratch", "fsx_gib": "2400"},
        "Persistent": {
            "profile": "research",
            "scratch": "fsx-persistent",
            "warm_gpus": "2",
            "warm_days": "MON-SAT",
            "warm_from": "6",
            "warm_until": "20",
            "time_zone": "Europe/Berlin",
        },
    }
)
ENVIRONMENT = "AWS::Batch::ComputeEnvironment"
WARM = MappingProxyType({"Nvme": [], "Scratch": [], "Persistent": ["Warm"]})


@pytest.fixture(scope="session")
def reconstruction_assembly(tmp_path_factory, worker_id):
    """The stage of each deployment, in a stack of its own beside the same storage and network."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "reconstruction"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "manifest.json").exists():
            synthesise(folder)
    return folder


def synthesise(folder):
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    app = cdk.App(context=context, outdir=str(folder))
    deployments = {
        name: Deployment.from_context({f"raki:{key}": value for key, value in settings.items()})
        for name, settings in DEPLOYMENTS.items()
    }
    storage = StorageStack(app, "Storage", deployment=deployments["Persistent"])
    network = NetworkStack(app, "Network", storage=storage, deployment=deployments["Persistent"])
    for name, deployment in deployments.items():
        stack = cdk.Stack(app, f"{name}Pipeline")
        Reconstruction(stack, "Reconstruction", network=network, storage=storage, deployment=deployment)
    app.synth()


@pytest.fixture(params=DEPLOYMENTS)
def name(request):
    return request.param


@pytest.fixture
def template(reconstruction_assembly, name):
    return load(reconstruction_assembly, name)


@pytest.fixture
def nvme(reconstruction_assembly):
    return load(reconstruction_assembly, "Nvme")


@pytest.fixture
def scratch(reconstruction_assembly):
    return load(reconstruction_assembly, "Scratch")


@pytest.fixture
def persistent(reconstruction_assembly):
    return load(reconstruction_assembly, "Persistent")


def load(assembly, name):
    return Template.from_json(json.loads((assembly / f"{name}Pipeline.template.json").read_text()))


def found(template, kind, part=""):
    """The properties of the one resource of this kind whose logical id contains `part`."""
    (resource,) = [one for logical_id, one in template.find_resources(kind).items() if part in logical_id]
    return resource["Properties"]


def readable(value):
    """A reference without functions and hashes: `Jobs` for the exported id of the group of that name."""
    text = json.dumps(value)
    (name,) = [name for name in ("Jobs", "SecurityGroup", "DataKey", "Warm", "OnDemand", "Spot") if name in text]
    return name


# Where jobs run


def test_spot_is_tried_before_on_demand_and_a_warm_instance_before_both(template, name):
    order = found(template, "AWS::Batch::JobQueue")["ComputeEnvironmentOrder"]
    assert [entry["Order"] for entry in order] == list(range(1, len(order) + 1))
    assert [readable(entry["ComputeEnvironment"]) for entry in order] == [*WARM[name], "Spot", "OnDemand"]


def test_no_environment_chooses_by_best_fit_which_could_never_be_updated(template, name):
    strategies = {
        readable(logical_id): one["Properties"]["ComputeResources"]["AllocationStrategy"]
        for logical_id, one in template.find_resources(ENVIRONMENT).items()
    }
    expected = {"Spot": "SPOT_PRICE_CAPACITY_OPTIMIZED", "OnDemand": "BEST_FIT_PROGRESSIVE"}
    assert strategies == expected | dict.fromkeys(WARM[name], "BEST_FIT_PROGRESSIVE")


def test_every_environment_starts_at_nothing_keeps_to_one_zone_and_is_updated_in_place(template):
    resources = Match.object_like(
        {
            "Ec2Configuration": [{"ImageType": "ECS_AL2023_NVIDIA"}],
            "InstanceTypes": ["g6.xlarge", "g5.xlarge", "g4dn.xlarge"],
            "LaunchTemplate": {
                "LaunchTemplateId": Match.any_value(),
                # As a number: CloudFormation sees a new one, and Batch replaces the instances.
                "Version": {"Fn::GetAtt": [Match.any_value(), "LatestVersionNumber"]},
            },
            "MinvCpus": 0,
            # A job waits itself; beside it, 20 idle minutes at least would be paid for each time.
            "ScalingPolicy": Match.absent(),
            "Subnets": [Match.any_value()],
            "UpdateToLatestImageVersion": True,
        }
    )
    template.all_resources_properties(
        ENVIRONMENT,
        {
            "ComputeResources": resources,
            "ReplaceComputeEnvironment": False,
            "UpdatePolicy": {"TerminateJobsOnUpdate": False},
        },
    )
    for environment in template.find_resources(ENVIRONMENT).values():
        (group,) = environment["Properties"]["ComputeResources"]["SecurityGroupIds"]
        assert readable(group) == "Jobs"


def test_the_environments_limits_together_are_the_number_of_instances_that_is_set(reconstruction_assembly, name):
    """However many types there are and whichever of them Batch picks: each is one instance of the few."""
    settings = {f"raki:{key}": value for key, value in DEPLOYMENTS[name].items()}
    deployment = Deployment.from_context(settings)
    environments = load(reconstruction_assembly, name).find_resources(ENVIRONMENT).values()
    resources = [one["Properties"]["ComputeResources"] for one in environments]
    assert {one for each in resources for one in each["InstanceTypes"]} == set(VCPUS_OF)
    assert sum(most_instances(each["MaxvCpus"]) for each in resources) == deployment.surge_jobs


@pytest.mark.parametrize("sizes", [dict(VCPUS_OF), {"a": 4, "b": 8}, {"a": 2, "b": 3, "c": 16}])
@given(n=st.integers(0, 20), data=st.data())
def test_never_more_instances_than_the_limit_was_made_for_whatever_types_batch_picks(sizes, n, data):
    """Batch starts one more while the limit isn't reached, and so may end beyond it by a part of the last one."""
    limit, there = max_vcpus(n, sizes), []
    while sum(there) < limit:
        there.append(sizes[data.draw(st.sampled_from(sorted(sizes)))])
    assert len(there) <= most_instances(limit, sizes) == n
    assert not there or sum(there) < limit + max(sizes.values())


def test_each_types_vcpus_are_those_that_ec2_lists_and_a_job_takes_all_of_them():
    with mock_aws():  # which has EC2's own list
        ec2 = boto3.client("ec2", region_name="us-east-1")
        listed = ec2.describe_instance_types(InstanceTypes=list(VCPUS_OF))["InstanceTypes"]
    assert {one["InstanceType"]: one["VCpuInfo"]["DefaultVCpus"] for one in listed} == VCPUS_OF
    assert {gpu["Count"] for one in listed for gpu in one["GpuInfo"]["Gpus"]} == {1}
    # A second job would fit on a larger one, beside a GPU that it doesn't get.
    assert set(VCPUS_OF.values()) == {VCPUS}


@given(jobs=st.integers(1, 12), surge=st.integers(1, 10), data=st.data())
def test_the_markets_share_what_is_set_and_on_demand_always_has_some(jobs, surge, data):
    warm = data.draw(st.integers(0, min(jobs, jobs * surge - 1)))
    settings = {"raki:max_reconstruction_jobs": jobs, "raki:surge": surge, "raki:warm_gpus": warm}
    found = Deployment.from_context({**settings, "raki:vpc_cidr": "10.0.0.0/16"})
    assert found.warm_gpus + found.spot_gpus + found.on_demand_gpus == jobs * surge == most_gpus(found)
    assert found.on_demand_gpus >= 1
    assert found.spot_gpus >= found.on_demand_gpus or found.surge_jobs - warm == 1


def test_a_job_that_cannot_start_is_given_up_after_an_hour(nvme):
    actions = found(nvme, "AWS::Batch::JobQueue")["JobStateTimeLimitActions"]
    assert {action["Reason"] for action in actions} == {
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    }
    for action in actions:
        assert (action["State"], action["Action"], action["MaxTimeSeconds"]) == ("RUNNABLE", "CANCEL", 3600)


# Warm hours


@pytest.mark.parametrize(
    ("schedule", "hour", "state", "min_vcpus"), [("On", 6, "ENABLED", 8), ("Off", 20, "DISABLED", 0)]
)
def test_warm_instances_are_there_in_the_sites_own_working_hours_alone(persistent, schedule, hour, state, min_vcpus):
    properties = found(persistent, "AWS::Scheduler::Schedule", f"WarmHours{schedule}")
    assert properties["ScheduleExpression"] == f"cron(0 {hour} ? * MON-SAT *)"
    assert properties["ScheduleExpressionTimezone"] == "Europe/Berlin"
    target = properties["Target"]
    assert target["Arn"]["Fn::Join"][1][-1] == ":scheduler:::aws-sdk:batch:updateComputeEnvironment"
    request = json.loads(
        "".join(part if isinstance(part, str) else readable(part) for part in target["Input"]["Fn::Join"][1])
    )
    assert request == {"ComputeEnvironment": "Warm", "ComputeResources": {"MinvCpus": min_vcpus}, "State": state}


def test_the_warm_environment_is_off_until_a_schedule_switches_it_on(persistent):
    warm = found(persistent, ENVIRONMENT, "Warm")
    assert warm["State"] == "DISABLED"
    assert warm["ComputeResources"]["MaxvCpus"] == 2 * 4
    assert warm["ComputeResources"]["Type"] == "EC2"  # nobody takes it back in the middle of the day


def test_the_schedules_may_update_the_warm_environment_and_nothing_else(persistent):
    (statement,) = found(persistent, "AWS::IAM::Policy", "WarmHoursRole")["PolicyDocument"]["Statement"]
    assert statement["Action"] == "batch:UpdateComputeEnvironment"
    assert readable(statement["Resource"]) == "Warm"


@pytest.mark.parametrize("cold", ["nvme", "scratch"])
def test_without_warm_gpus_nothing_is_scheduled(cold, request):
    request.getfixturevalue(cold).resource_count_is("AWS::Scheduler::Schedule", 0)


# Instances


def test_an_instance_has_an_encrypted_root_disk_and_ends_when_it_shuts_down(template):
    data = found(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"
    (root,) = data["BlockDeviceMappings"]
    assert root["DeviceName"] == "/dev/xvda"
    assert root["Ebs"] == {"DeleteOnTermination": True, "Encrypted": True, "VolumeSize": 100, "VolumeType": "gp3"}


def test_an_instances_metadata_needs_a_session_and_stays_on_the_instance(template):
    data = found(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    options = {"HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1, "HttpTokens": "required"}
    assert data["MetadataOptions"] == options


def test_an_instance_may_serve_its_cluster_and_read_no_scan(template):
    assert "ManagedPolicyArns" not in found(template, "AWS::IAM::Role", "InstancesRole")
    statements = found(template, "AWS::IAM::Policy", "InstancesRole")["PolicyDocument"]["Statement"]
    allowed = {
        action
        for one in statements
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    assert allowed == {
        "ecs:DeregisterContainerInstance",
        "ecs:DiscoverPollEndpoint",
        "ecs:Poll",
        "ecs:RegisterContainerInstance",
        "ecs:StartTelemetrySession",
        "ecs:SubmitAttachmentStateChanges",
        "ecs:SubmitContainerStateChange",
        "ecs:SubmitTaskStateChange",
        "ecs:TagResource",
        "ecs:UpdateContainerInstancesState",
    }
    assert [one["Action"] for one in statements if one["Resource"] == "*"] == ["ecs:DiscoverPollEndpoint"]


# The job


def test_a_job_is_told_what_its_settings_read_and_the_region(template):
    entries = found(template, "AWS::Batch::JobDefinition")["ContainerProperties"]["Environment"]
    needed = {field.name.upper() for settings in (ReconstructSettings, Options) for field in fields(settings)}
    assert {entry["Name"] for entry in entries} == needed | {"AWS_DEFAULT_REGION"}


def test_a_job_reconstructs_as_the_deployment_says(nvme, scratch):
    def told(template):
        entries = found(template, "AWS::Batch::JobDefinition")["ContainerProperties"]["Environment"]
        return from_environment(Options, {entry["Name"]: str(entry["Value"]) for entry in entries})

    assert told(nvme) == Options(
        method="rraki", combine="adaptive", coils=12, seed=7, maps=False, weights=True, quantities=True, kspace=True,
        explain=True, model="head-16ch@2", mismatch="own",
    )  # fmt: skip
    assert told(scratch) == Options()


@pytest.mark.parametrize(
    ("deployment", "folder"), [("nvme", "none"), ("scratch", "/fsx/prepared"), ("persistent", "/fsx/prepared")]
)
def test_a_job_reads_prepared_scans_from_fsx_where_there_is_one(deployment, folder, request):
    container = found(request.getfixturevalue(deployment), "AWS::Batch::JobDefinition")["ContainerProperties"]
    assert {"Name": "PREPARED_FOLDER", "Value": folder} in container["Environment"]


@pytest.mark.parametrize("deployment", ["nvme", "scratch", "persistent"])
def test_a_job_writes_to_the_instances_own_disk_and_to_nothing_else(deployment, request):
    container = found(request.getfixturevalue(deployment), "AWS::Batch::JobDefinition")["ContainerProperties"]
    assert container["ReadonlyRootFilesystem"] is True
    folders = {volume["Name"]: volume["Host"]["SourcePath"] for volume in container["Volumes"]}
    mounts = {
        (point["ContainerPath"], folders[point["SourceVolume"]], point["ReadOnly"])
        for point in container["MountPoints"]
    }
    with_fsx = set() if deployment == "nvme" else {("/fsx", "/fsx", True)}
    assert mounts == {("/scratch", "/mnt/nvme/scratch", False)} | with_fsx


def test_a_job_has_the_gpu_and_no_privilege(template):
    container = found(template, "AWS::Batch::JobDefinition")["ContainerProperties"]
    assert {entry["Type"]: entry["Value"] for entry in container["ResourceRequirements"]} == {
        "GPU": "1",
        "MEMORY": "14000",
        "VCPU": "4",
    }
    assert container["User"] == "10001:10001"
    limits = {limit["Name"]: (limit["SoftLimit"], limit["HardLimit"]) for limit in container["Ulimits"]}
    assert limits == {"core": (0, 0), "nofile": (4096, 4096)}
    assert container["Privileged"] is False
    assert container["LinuxParameters"]["InitProcessEnabled"] is True


def test_only_a_reclaimed_instance_and_the_transient_exit_code_are_tried_again(template):
    job = found(template, "AWS::Batch::JobDefinition")
    assert job["RetryStrategy"] == {
        "Attempts": 3,
        "EvaluateOnExit": [
            {"Action": "RETRY", "OnStatusReason": "Host EC2*"},
            {"Action": "RETRY", "OnExitCode": "75"},
            {"Action": "EXIT", "OnReason": "*"},
        ],
    }
    assert job["Timeout"] == {"AttemptDurationSeconds": 6 * 3600}


# FSx


def test_a_deployment_on_nvme_has_no_file_system(nvme):
    nvme.resource_count_is("AWS::FSx::FileSystem", 0)
    nvme.resource_count_is("AWS::EC2::SecurityGroup", 0)


def test_the_scratch_kind_is_as_large_as_asked_for(scratch):
    properties = found(scratch, "AWS::FSx::FileSystem")
    assert properties["StorageCapacity"] == 2400
    assert properties["FileSystemTypeVersion"] == "2.15"  # the default has no association
    assert properties["LustreConfiguration"] == {"DataCompressionType": "LZ4", "DeploymentType": "SCRATCH_2"}
    assert "KmsKeyId" not in properties


def test_the_persistent_kind_is_encrypted_with_the_deployments_own_key(persistent):
    properties = found(persistent, "AWS::FSx::FileSystem")
    assert readable(properties["KmsKeyId"]) == "DataKey"
    assert properties["LustreConfiguration"] == {
        "DataCompressionType": "LZ4",
        "DeploymentType": "PERSISTENT_2",
        "PerUnitStorageThroughput": 125,
    }


@pytest.fixture(params=["scratch", "persistent"])
def with_fsx(request):
    return request.getfixturevalue(request.param)


def test_what_happens_in_the_prepared_bucket_is_seen_on_fsx_and_never_the_other_way(with_fsx):
    association = found(with_fsx, "AWS::FSx::DataRepositoryAssociation")
    assert association["FileSystemPath"] == "/prepared"
    prefix, bucket = association["DataRepositoryPath"]["Fn::Join"][1]
    assert prefix == "s3://"
    assert "ExportsOutputRefPrepared" in bucket["Fn::ImportValue"]
    assert association["S3"] == {"AutoImportPolicy": {"Events": ["NEW", "CHANGED", "DELETED"]}}  # and no export
    assert association["BatchImportMetaDataOnCreate"] is True


def test_copies_on_fsx_are_not_kept_when_the_stack_goes(with_fsx):
    with_fsx.has_resource("AWS::FSx::FileSystem", {"DeletionPolicy": "Delete", "UpdateReplacePolicy": "Delete"})


def test_only_gpu_instances_and_fsx_itself_speak_lustre_with_fsx(with_fsx):
    rules = set()
    for direction, peer in (("Ingress", "Source"), ("Egress", "Destination")):
        for resource in with_fsx.find_resources(f"AWS::EC2::SecurityGroup{direction}").values():
            rule = resource["Properties"]
            assert rule["IpProtocol"] == "tcp"
            ports = (rule["FromPort"], rule["ToPort"])
            rules.add((readable(rule["GroupId"]), direction, readable(rule[f"{peer}SecurityGroupId"]), ports))
    both_ways = {
        (group, direction, peer, ports)
        for group, peer in (("SecurityGroup", "SecurityGroup"), ("SecurityGroup", "Jobs"), ("Jobs", "SecurityGroup"))
        for direction in ("Ingress", "Egress")
        for ports in ((988, 988), (1018, 1023))
    }
    of_the_construct = ("SecurityGroup", "Ingress", "SecurityGroup", (988, 1023))
    assert rules == both_ways | {of_the_construct}
    assert "SecurityGroupIngress" not in found(with_fsx, "AWS::EC2::SecurityGroup")


def test_fsx_is_made_once_its_ports_are_open_and_mounted_once_it_shows_the_bucket(with_fsx):
    (file_system,) = with_fsx.find_resources("AWS::FSx::FileSystem").values()
    rules = with_fsx.find_resources("AWS::EC2::SecurityGroupIngress") | with_fsx.find_resources(
        "AWS::EC2::SecurityGroupEgress"
    )
    assert set(rules) <= set(file_system["DependsOn"])
    (launch_template,) = with_fsx.find_resources("AWS::EC2::LaunchTemplate").values()
    assert set(with_fsx.find_resources("AWS::FSx::DataRepositoryAssociation")) <= set(launch_template["DependsOn"])


# The script that prepares an instance; what it does: test_prepare_instance.py


def script_of(template):
    """The shell script in the launch template's user data; a reference is the name of what it refers to."""
    data = found(template, "AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    user_data = data["UserData"]["Fn::Base64"]
    parts = [user_data] if isinstance(user_data, str) else user_data["Fn::Join"][1]
    names = [part if isinstance(part, str) else part.get("Ref") or part["Fn::GetAtt"][1] for part in parts]
    message = message_from_string("".join(names))
    assert message.get_content_type() == "multipart/mixed"  # Batch merges its own part into nothing else
    (script,) = message.get_payload()
    assert script.get_content_type() == "text/x-shellscript"
    return script.get_payload()


def test_an_instance_runs_the_repositorys_script(nvme):
    assert script_of(nvme).strip() == PREPARE.read_text().replace("@LUSTRE_SOURCE@", "").strip()


def test_with_fsx_the_script_has_its_address_and_name(with_fsx):
    (file_system,) = with_fsx.find_resources("AWS::FSx::FileSystem")
    source = f"{file_system}.fsx.AWS::Region.AWS::URLSuffix@tcp:/LustreMountName"
    assert script_of(with_fsx).strip() == PREPARE.read_text().replace("@LUSTRE_SOURCE@", source).strip()
