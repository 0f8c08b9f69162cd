"""The shares and the gateway on EC2, each in a small stack of its own."""

import json
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from infra.deployment import Deployment, SettingsError
from infra.gateway.needs import REGIONS
from infra.gateway.stack import GatewayStack
from infra.local.deploy.synth import REPOSITORY
from infra.network.stack import NetworkStack
from infra.pipeline.delivery import NO_SHARE, Delivery
from infra.storage.stack import StorageStack

GATEWAY_ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"
CONTEXT = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
NFS = {"gateway_arn": GATEWAY_ARN, "share_clients": "10.1.0.0/16,10.2.3.4/32", "settling_s": "120"}
SMB = {"gateway_arn": GATEWAY_ARN, "share_protocol": "smb"}
GUESTS = {"share_protocol": "smb", "smb_authentication": "guest"}
ON_EC2 = {"gateway_on_ec2": "true", "share_clients": "10.1.0.0/16,fd00::/64"}
DEPLOYMENTS = {
    "Nothing": {},
    "Nfs": NFS,
    "Directory": {**SMB, "smb_users": "@radiology,DOMAIN\\physicist"},
    "Guests": {**SMB, **GUESTS, "smb_guests_from_anywhere": "true"},
    "Ec2": ON_EC2,
    "Ec2Closed": {"profile": "clinic", **ON_EC2, **GUESTS},
}


def settings(**own):
    return Deployment.from_context({f"raki:{name}": value for name, value in own.items()})


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """All test stacks, synthesised once, in the same order as the deployment's."""
    out = tmp_path_factory.mktemp("delivery")
    app = cdk.App(context=CONTEXT, outdir=str(out))
    storage = StorageStack(app, "Storage", deployment=settings())
    for name, own in DEPLOYMENTS.items():
        deployment = settings(**own)
        gateway_arn = deployment.gateway_arn
        if deployment.gateway_on_ec2:
            network = NetworkStack(app, f"{name}Network", storage=storage, deployment=deployment)
            gateway = GatewayStack(app, f"{name}Gateway", network=network, storage=storage, deployment=deployment)
            gateway_arn = gateway.gateway_arn
        stack = cdk.Stack(app, name)
        delivery = Delivery(stack, "Delivery", storage=storage, deployment=deployment, gateway_arn=gateway_arn)
        cdk.CfnOutput(stack, "ResultsShare", value=delivery.results_share_arn or "")
    app.synth()
    return out


@pytest.fixture(scope="session")
def template(folder):
    return lambda name: Template.from_json(json.loads((folder / f"{name}.template.json").read_text()))


def shares(template, kind):
    found = template.find_resources(f"AWS::StorageGateway::{kind}FileShare").values()
    return {share["Properties"]["FileShareName"]: share["Properties"] for share in found}


def statements(template, role):
    """What the one role whose logical id contains this may do: the sets of actions, by the text of their resources."""
    (policy,) = [
        found["Properties"] for name, found in template.find_resources("AWS::IAM::Policy").items() if role in name
    ]
    listed = policy["PolicyDocument"]["Statement"]
    return {json.dumps(one["Resource"]): {one["Action"]} if isinstance(one["Action"], str) else set(one["Action"])
            for one in listed}  # fmt: skip


def on(granted, *words):
    (actions,) = [actions for resource, actions in granted.items() if all(word in resource for word in words)]
    return actions


def on_bucket(granted, bucket):
    (actions,) = [actions for resource, actions in granted.items() if bucket in resource and "/*" not in resource]
    return actions


def test_without_a_gateway_there_is_no_share_and_the_refresh_is_told(template):
    nothing = template("Nothing")
    assert not shares(nothing, "NFS") | shares(nothing, "SMB")
    nothing.has_resource_properties(
        "AWS::Lambda::Function", {"Environment": {"Variables": {"RESULTS_SHARE_ARN": NO_SHARE}}}
    )
    assert set(nothing.to_json()["Rules"]) == {"CheckBootstrapVersion"}, "it deploys to any region"


def test_scans_are_dropped_on_one_share_and_results_are_read_on_the_other(template):
    found = shares(template("Nfs"), "NFS")
    raw, results = found["raw"], found["results"]
    assert (raw["ReadOnly"], results["ReadOnly"]) == (False, True)
    assert (raw["DefaultStorageClass"], results["DefaultStorageClass"]) == ("S3_STANDARD", "S3_INTELLIGENT_TIERING")
    assert json.loads(raw["NotificationPolicy"]) == {"Upload": {"SettlingTimeInSeconds": 120}}
    assert 300 <= results["CacheAttributes"]["CacheStaleTimeoutInSeconds"] <= 2_592_000
    assert raw["Role"] != results["Role"]
    assert raw["LocationARN"] != results["LocationARN"]


@pytest.mark.parametrize(("name", "kind"), [("Nfs", "NFS"), ("Directory", "SMB"), ("Guests", "SMB"), ("Ec2", "NFS")])
def test_every_share_is_encrypted_audited_and_owned_by_the_buckets_owner(template, name, kind):
    found = shares(template(name), kind)
    assert set(found) == {"raw", "results"}
    for share in found.values():
        assert share["EncryptionType"] == "SseKms"
        assert "DataKey" in json.dumps(share["KMSKey"])
        assert "KMSEncrypted" not in share, "the deprecated form of the same"
        assert share["ObjectACL"] == "bucket-owner-full-control"
        assert share["GuessMIMETypeEnabled"] is True
        arn = json.dumps(share["AuditDestinationARN"])
        assert ":log-group:" in arn
        assert ":*" not in arn
    template(name).has_resource_properties("AWS::Logs::LogGroup", {"KmsKeyId": Match.any_value()})


def test_nfs_admits_named_hosts_only_and_nobody_as_root(template):
    for share in shares(template("Nfs"), "NFS").values():
        assert share["ClientList"] == ["10.1.0.0/16", "10.2.3.4/32"]
        assert share["Squash"] == "RootSquash"


def test_smb_asks_the_directory_or_takes_guests(template):
    for share in shares(template("Directory"), "SMB").values():
        assert share["Authentication"] == "ActiveDirectory"
        assert share["ValidUserList"] == ["@radiology", "DOMAIN\\physicist"]
        assert (share["SMBACLEnabled"], share["AccessBasedEnumeration"]) == (True, True)
        assert share["OplocksEnabled"] is not share["ReadOnly"], "results change without the host's knowledge"
    for share in shares(template("Guests"), "SMB").values():
        assert share["Authentication"] == "GuestAccess"
        assert (share["SMBACLEnabled"], share["AccessBasedEnumeration"]) == (False, False)
        assert "ValidUserList" not in share


@pytest.mark.parametrize("name", ["Nfs", "Directory"])
def test_the_raw_shares_role_writes_raw_scans_hides_them_and_deletes_no_version(template, name):
    """User guide of S3 File Gateway, "Granting access to an Amazon S3 bucket", but `s3:DeleteObjectVersion`."""
    granted = statements(template(name), "RawRole")
    assert on_bucket(granted, "GetAttRaw") == {
        "s3:GetAccelerateConfiguration",
        "s3:GetBucketLocation",
        "s3:GetBucketVersioning",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListBucketVersions",
    }
    assert on(granted, "GetAttRaw", "/*") == {
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:GetObjectAcl",
        "s3:GetObjectVersion",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
        "s3:PutObjectAcl",
    }
    assert on(granted, "DataKey") == {
        "kms:Decrypt",
        "kms:DescribeKey",
        "kms:Encrypt",
        "kms:GenerateDataKey",
        "kms:ReEncryptFrom",
        "kms:ReEncryptTo",
    }
    assert len(granted) == 3


def test_the_results_shares_role_reads_results(template):
    granted = statements(template("Nfs"), "ResultsRole")
    assert on_bucket(granted, "GetAttResults") == {
        "s3:GetAccelerateConfiguration",
        "s3:GetBucketLocation",
        "s3:GetBucketVersioning",
        "s3:ListBucket",
        "s3:ListBucketVersions",
    }
    assert on(granted, "GetAttResults", "/*") == {"s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectVersion"}
    assert on(granted, "DataKey") == {"kms:Decrypt", "kms:DescribeKey"}
    assert len(granted) == 3


@pytest.mark.parametrize("name", ["Nfs", "Ec2"])
def test_only_this_gateway_assumes_a_shares_role(template, name):
    roles = template(name).find_resources("AWS::IAM::Role")
    trusts = [role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
              for logical_id, role in roles.items() if "Shares" in logical_id]  # fmt: skip
    assert len(trusts) == 2
    for (trust,) in trusts:
        assert trust["Principal"] == {"Service": "storagegateway.amazonaws.com"}
        assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
        gateway = trust["Condition"]["ArnLike"]["aws:SourceArn"]
        assert gateway == GATEWAY_ARN if name == "Nfs" else "Fn::ImportValue" in gateway


def test_a_share_is_made_after_its_roles_policy(template):
    for share in template("Nfs").find_resources("AWS::StorageGateway::NFSFileShare").values():
        assert any("RoleDefaultPolicy" in name for name in share["DependsOn"])


def test_the_refresh_takes_the_first_result_at_once_and_the_others_in_batches(template):
    template("Nfs").has_resource_properties(
        "AWS::Lambda::EventSourceMapping",
        {
            "BatchSize": 50,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "MaximumBatchingWindowInSeconds": 1,
            "ScalingConfig": {"MaximumConcurrency": 2},
        },
    )


def test_a_region_without_file_shares_is_refused_with_what_to_do(template):
    (rule,) = [rule for name, rule in template("Nfs").to_json()["Rules"].items() if "Region" in name]
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Contains": [list(REGIONS), {"Ref": "AWS::Region"}]}
    assert "eu-central-1" in assertion["AssertDescription"]
    assert "raki:gateway_arn" in assertion["AssertDescription"]


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "cn-north-1"])
def test_a_known_region_without_file_shares_is_refused_at_once(region):
    app = cdk.App(context=CONTEXT)
    environment = cdk.Environment(account="123456789012", region=region)
    storage = StorageStack(app, "Storage", deployment=settings())
    with pytest.raises(SettingsError, match=f"the region is {region}; .*eu-central-1.*raki:gateway_arn"):
        Delivery(
            cdk.Stack(app, "Stack", env=environment),
            "Delivery",
            storage=storage,
            deployment=settings(**NFS),
            gateway_arn=GATEWAY_ARN,
        )


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("kind", ["NFS", "SMB"])
def test_cloudformation_has_file_shares_where_we_say_so(region, kind):
    types = PROVIDER_SCHEMA_MANAGER.get_resource_types(region)
    assert f"AWS::StorageGateway::{kind}FileShare" in types


@pytest.fixture(scope="session")
def on_ec2(template):
    return template("Ec2Gateway")


def test_the_instance_keeps_its_cache_whatever_happens_to_it(on_ec2, folder):
    (instance,) = [found["Properties"] for found in on_ec2.find_resources("AWS::EC2::Instance").values()]
    root, cache = [mapping["Ebs"] for mapping in instance["BlockDeviceMappings"]]
    assert (root["VolumeSize"], cache["VolumeSize"]) == (80, 150)
    assert (root["DeleteOnTermination"], cache["DeleteOnTermination"]) == (True, False)
    assert all(disk["Encrypted"] and "DataKey" in json.dumps(disk["KmsKeyId"]) for disk in (root, cache))
    assert instance["DisableApiTermination"] is True
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    assert artifacts["Ec2Gateway"]["properties"]["terminationProtection"] is True


def test_a_new_release_of_the_image_doesnt_replace_the_gateway(on_ec2):
    assert "AWS::SSM::Parameter" not in json.dumps(on_ec2.to_json().get("Parameters", {})).replace(
        "AWS::SSM::Parameter::Value<String>", ""
    ), "the bootstrap's version only"
    on_ec2.has_resource_properties(
        "AWS::EC2::LaunchTemplate",
        {
            "LaunchTemplateData": {
                "ImageId": "resolve:ssm:/aws/service/storagegateway/ami/FILE_S3/latest",
                "MetadataOptions": {"HttpTokens": "required"},
            }
        },
    )


def test_the_instance_may_do_nothing_in_aws(on_ec2):
    roles = [name for name in on_ec2.find_resources("AWS::IAM::Role") if "Instance" in name]
    assert len(roles) == 1
    assert not [name for name in on_ec2.find_resources("AWS::IAM::Policy") if "Instance" in name]
    assert "ManagedPolicyArns" not in on_ec2.find_resources("AWS::IAM::Role")[roles[0]]["Properties"]


def ingress(template):
    """Who is let in by whom: (source, port) by the beginning of the group's logical id."""
    for name, group in template.find_resources("AWS::EC2::SecurityGroup").items():
        for rule in group["Properties"].get("SecurityGroupIngress", []):
            yield name, rule.get("CidrIp") or rule.get("CidrIpv6"), rule["FromPort"]
    for rule in template.find_resources("AWS::EC2::SecurityGroupIngress").values():
        properties = rule["Properties"]
        group, source = (named(properties[end]) for end in ("GroupId", "SourceSecurityGroupId"))
        yield group, source, properties["FromPort"]


def named(group):
    """By its logical id; one of another stack by the name under which that one hands it on."""
    return group["Fn::GetAtt"][0] if "Fn::GetAtt" in group else json.dumps(group)


@pytest.mark.parametrize(("name", "ports"), [("Ec2Gateway", {2049, 111, 20048}), ("Ec2ClosedGateway", {445})])
def test_the_gateway_is_reached_by_named_networks_on_the_shares_ports_and_by_its_activation(template, name, ports):
    rules = [(source, port) for group, source, port in ingress(template(name)) if group.startswith("Gateway")]
    (activation,) = [source for source, port in rules if port == 80]
    assert activation.startswith("Activators")
    assert set(rules) - {(activation, 80)} == {(net, port) for net in ("10.1.0.0/16", "fd00::/64") for port in ports}


def test_without_the_internet_there_is_an_endpoint_with_the_ports_that_the_guide_asks_for(template):
    closed = template("Ec2ClosedGateway")
    closed.has_resource_properties(
        "AWS::EC2::VPCEndpoint",
        {
            "PrivateDnsEnabled": False,
            "ServiceName": {"Fn::Join": ["", ["com.amazonaws.", {"Ref": "AWS::Region"}, ".storagegateway"]]},
        },
    )
    opened = {port for group, source, port in ingress(closed) if group.startswith("Endpoints") and "Gateway" in source}
    assert opened == {443, 1026, 1027, 1028, 1031, 2222}
    (function,) = [found["Properties"] for found in closed.find_resources("AWS::Lambda::Function").values()]
    assert set(function["Environment"]["Variables"]) == {"AWS_ENDPOINT_URL_STORAGE_GATEWAY"}
    template("Ec2Gateway").resource_count_is("AWS::EC2::VPCEndpoint", 0)


def test_the_activation_is_told_what_it_needs(template):
    (resource,) = template("Ec2Gateway").find_resources("Custom::FileGateway").values()
    properties = {name for name in resource["Properties"] if not name.startswith("Service")}
    assert properties == {"Address", "Name", "Region", "TimeZone"}
    (closed,) = template("Ec2ClosedGateway").find_resources("Custom::FileGateway").values()
    assert set(closed["Properties"]) - set(resource["Properties"]) == {"GuestSecret", "VpcEndpoint"}
    made_before = " ".join(closed["DependsOn"])
    for needed in (
        "HandlerRoleDefaultPolicy",
        "SecretsfromEc2Closed",
        "Storagegateway",
        "ActivatorstoEc2ClosedGateway",
    ):
        assert needed in made_before
    assert "EndpointsfromEc2ClosedGateway" in made_before


def test_the_handler_activates_and_reads_its_own_secret_only(template):
    granted = statements(template("Ec2ClosedGateway"), "Handler")
    assert on(granted, '"*"') == {
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
        "storagegateway:ActivateGateway",
    }
    assert on(granted, ":gateway/*") == {
        "storagegateway:AddCache",
        "storagegateway:DeleteGateway",
        "storagegateway:ListLocalDisks",
        "storagegateway:SetSMBGuestPassword",
    }
    assert on(granted, "GuestPassword") == {"secretsmanager:GetSecretValue"}
    assert on(granted, "DataKey") == {"kms:Decrypt"}
    assert not any("secretsmanager" in action for actions in statements(template("Ec2Gateway"), "Handler").values()
                   for action in actions)  # fmt: skip


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"share_protocol": "smb"}, "raki:smb_authentication is active-directory; set it to guest"),
        ({**GUESTS, "share_clients": ""}, "raki:share_clients is empty, and nobody would reach"),
    ],
)
def test_a_share_that_the_gateway_on_ec2_cant_serve_is_refused(own, message):
    app = cdk.App(context=CONTEXT)
    deployment = settings(**{**ON_EC2, **own})
    storage = StorageStack(app, "Storage", deployment=deployment)
    network = NetworkStack(app, "Network", storage=storage, deployment=deployment)
    with pytest.raises(SettingsError, match=message):
        GatewayStack(app, "Gateway", network=network, storage=storage, deployment=deployment)


def test_cloudformation_would_take_the_templates(folder):
    # W3005: the CDK writes dependencies that follow from references already.
    command = [
        str(Path(sys.executable).parent / "cfn-lint"),
        "--ignore-checks",
        "W3005",
        "--regions",
        "us-east-1",
        "--",
    ]
    names = [f"{name}.template.json" for name in ("Nfs", "Directory", "Ec2Gateway", "Ec2ClosedGateway")]
    finished = subprocess.run([*command, *names], cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
