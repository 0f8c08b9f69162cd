"""The network stands in all the zones that are asked for, with the addresses that are, or in the site's own VPC."""

import json

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from infra.deployment import Deployment, SettingsError
from infra.local.deploy.synth import REPOSITORY
from infra.network.stack import NetworkStack
from infra.storage.stack import StorageStack
from tests.infra.conftest import read_reviewed, synthesise_reviewed

IDS = "use1-az4,use1-az1,use1-az6"
NAMES = "us-east-1a,us-east-1b,us-east-1d"
OWN = {"raki:vpc_id": "vpc-0123456789abcdef0", "raki:vpc_subnets": "subnet-0aaaaaaaaaaaaaaaa, subnet-0bbbbbbbbbbbbbbbb"}
ON_SITE = {"raki:gateway_arn": "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"}


def network(settings):
    """The template of the network alone."""
    app = cdk.App(context=json.loads((REPOSITORY / "cdk.json").read_text())["context"])
    deployment = Deployment.from_context(settings)
    storage = StorageStack(app, "RakiStorage", deployment=deployment)
    stack = NetworkStack(app, "RakiNetwork", storage=storage, deployment=deployment)
    return Template.from_stack(stack).to_json()["Resources"]


def subnets(resources, kind):
    return [
        found["Properties"]
        for name, found in resources.items()
        if found["Type"] == "AWS::EC2::Subnet" and f"Vpc{kind}Subnet" in name
    ]


@pytest.mark.parametrize("profile", ["minimal", "clinic"])
def test_three_zones_are_three_by_name_and_by_id(profile):
    kind = {"minimal": "Private", "clinic": "Isolated"}[profile]
    by_name = subnets(network({"raki:profile": profile, "raki:zones": NAMES}), kind)
    assert [subnet["AvailabilityZone"] for subnet in by_name] == NAMES.split(",")
    by_id = subnets(network({"raki:profile": profile, "raki:zones": IDS}), kind)
    assert [subnet["AvailabilityZoneId"] for subnet in by_id] == IDS.split(",")
    assert not any("AvailabilityZone" in subnet for subnet in by_id)


def test_no_subnet_of_a_network_by_ids_is_placed_by_name():
    """The NAT gateway's neither: it would stand in a zone that the ids don't mean."""
    for subnet in subnets(network({"raki:zones": "use1-az4,use1-az1"}), ""):
        assert set(subnet) & {"AvailabilityZone", "AvailabilityZoneId"} == {"AvailabilityZoneId"}


def test_three_zones_by_number_are_refused_and_two_are_two():
    """CloudFormation tells a stack without a region of two: three would silently be two."""
    with pytest.raises(SettingsError, match=r"raki:zones is 3; .* name them"):
        Deployment.from_context({"raki:zones": "3"})
    assert len(subnets(network({"raki:zones": "2"}), "Private")) == 2


def test_a_network_with_fewer_zones_than_asked_for_is_never_made(monkeypatch):
    """However the library counts: here as it does for a stack without a region, past the check of the settings."""
    monkeypatch.setattr("infra.deployment.MOST_COUNTED_ZONES", 3)
    with pytest.raises(SettingsError, match="raki:zones asks for 3 zones, and the network would have 2"):
        network({"raki:zones": 3})


@pytest.mark.parametrize(
    "zones",
    [
        "0",
        "4",
        "us-east-1",
        "us-east-1a,use1-az2",
        "us-east-1a,eu-west-1b",
        "us-east-1a,us-east-1a",
        "us-east-1a,us-east-1b,us-east-1c,us-east-1d",
        "us-east-1-bos-1a",
    ],
)
def test_zones_that_are_none_are_refused(zones):
    with pytest.raises(SettingsError, match="raki:zones"):
        Deployment.from_context({"raki:zones": zones})


@pytest.mark.parametrize("zones", ["eusc-de-east-1a", "us-gov-west-1a,us-gov-west-1b", "apse2-az1,apse2-az3"])
def test_zones_of_any_region_are_known(zones):
    deployment = Deployment.from_context({"raki:zones": zones})
    assert (deployment.named_zones, deployment.n_zones) == (tuple(zones.split(",")), zones.count(",") + 1)


@pytest.mark.parametrize(
    ("cidr", "private"), [("10.77.0.0/16", "/20"), ("192.168.4.0/23", "/25"), ("10.1.2.0/24", "/26")]
)
def test_the_network_has_the_addresses_that_it_is_given(cidr, private):
    resources = network({"raki:vpc_cidr": cidr, "raki:zones": NAMES, "raki:surge": 1})
    (vpc,) = [found["Properties"] for found in resources.values() if found["Type"] == "AWS::EC2::VPC"]
    assert vpc["CidrBlock"] == cidr
    assert [subnet["CidrBlock"][-3:] for subnet in subnets(resources, "Private")] == [private] * 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"raki:vpc_cidr": "10.0.0.1/16"}, "raki:vpc_cidr"),
        ({"raki:vpc_cidr": "10.0.0.0/15"}, "/16"),
        ({"raki:vpc_cidr": "10.0.0.0/25"}, "/24"),
        ({"raki:vpc_cidr": "172.17.0.0/16"}, "Docker"),
        ({"raki:vpc_cidr": "10.0.0.0/24", "raki:profile": "research"}, "has 59 addresses, .* takes 80"),
        (ON_SITE | {"raki:share_clients": "10.9.0.0/16,10.0.3.0/24"}, r"share_clients has 10.0.3.0/24, which overlaps"),
        (ON_SITE | {"raki:share_clients": "10.0.0.0/8"}, "raki:vpc_cidr"),
        ({"raki:vpc_subnets": "subnet-0aaaaaaaaaaaaaaaa"}, "raki:vpc_id"),
        ({"raki:egress": "vpc"}, "raki:vpc_id"),
        ({"raki:vpc_id": "vpc-0123456789abcdef0"}, "raki:vpc_subnets"),
        (OWN | {"raki:egress": "nat"}, "raki:egress"),
        (OWN | {"raki:vpc_cidr": "10.7.0.0/16"}, "raki:vpc_cidr"),
        (OWN | {"raki:zones": "us-east-1a"}, "2 subnets and raki:zones 1"),
        (OWN | {"raki:vpc_subnets": "subnet-0aaaaaaaaaaaaaaaa,subnet-0aaaaaaaaaaaaaaaa"}, "raki:vpc_subnets"),
        ({"raki:vpc_id": "radiology"}, "raki:vpc_id"),
    ],
)
def test_a_network_that_cant_be_is_refused_in_words(settings, says):
    with pytest.raises(SettingsError, match=says):
        Deployment.from_context(settings)


def test_clients_outside_the_network_that_was_moved_are_welcome():
    moved = {"raki:vpc_cidr": "10.200.0.0/16", "raki:share_clients": "10.0.0.0/16,fd00::/8"}
    assert Deployment.from_context(ON_SITE | moved).share_clients


@pytest.mark.parametrize("egress", ["", "endpoints"])
def test_a_vpc_of_the_site_is_used_and_left_as_it_is(egress):
    resources = network(OWN | {"raki:profile": "clinic", "raki:egress": egress})
    kinds = {found["Type"] for found in resources.values()}
    # Security groups are the service's own; an interface endpoint is added only where that is asked for.
    expected = {"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress"} if egress else {"AWS::EC2::SecurityGroup"}
    assert kinds == expected | ({"AWS::EC2::VPCEndpoint"} if egress else set())
    for found in resources.values():
        properties = found["Properties"]
        assert properties.get("VpcId", OWN["raki:vpc_id"]) == OWN["raki:vpc_id"]
        assert properties.get("SubnetIds", ["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"]) == [
            "subnet-0aaaaaaaaaaaaaaaa",
            "subnet-0bbbbbbbbbbbbbbbb",
        ]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A whole deployment in the site's own VPC."""
    folder = tmp_path_factory.mktemp("own") / "research"
    synthesise_reviewed(folder, OWN | {"raki:profile": "research", "raki:zones": IDS.rpartition(",")[0]})
    return read_reviewed(folder)


def test_everything_stands_in_the_first_subnets_of_the_sites_vpc(own):
    pipeline, development = (Template.from_json(own.templates[name]) for name in ("RakiPipeline", "RakiDevelopment"))
    first = OWN["raki:vpc_subnets"].partition(",")[0]
    pipeline.has_resource_properties("AWS::FSx::FileSystem", {"SubnetIds": [first]})
    pipeline.has_resource_properties("AWS::Batch::ComputeEnvironment", {"ComputeResources": {"Subnets": [first]}})
    development.has_resource_properties("AWS::SageMaker::NotebookInstance", {"SubnetId": first})
    Template.from_json(own.templates["RakiNetwork"]).resource_count_is("AWS::EC2::VPC", 0)


def test_the_rule_packs_find_nothing_in_either_network(own, tmp_path):
    """Nor does the library warn of what is meant so."""
    assert own.findings == []
    synthesise_reviewed(tmp_path / "minimal", {"raki:zones": IDS})
    assert read_reviewed(tmp_path / "minimal").findings == []


@pytest.mark.parametrize("guests", [{}, {"raki:smb_guests_from_anywhere": "false"}])
def test_guests_of_a_gateway_on_site_are_let_in_only_by_name(guests):
    """An SMB share has no list of clients: Storage Gateway API reference, CreateSMBFileShare."""
    smb = ON_SITE | {
        "raki:share_protocol": "smb",
        "raki:smb_authentication": "guest",
        "raki:share_clients": "10.9.0.0/16",
    }
    with pytest.raises(SettingsError, match="raki:smb_guests_from_anywhere"):
        Deployment.from_context(smb | guests)
    assert Deployment.from_context(smb | {"raki:smb_guests_from_anywhere": "true"}).has_gateway
    on_ec2 = {"raki:gateway_arn": "", "raki:gateway_on_ec2": "true"}
    assert Deployment.from_context(smb | on_ec2).has_gateway  # its security group knows the clients
