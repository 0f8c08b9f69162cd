"""`raki preflight` on recorded answers: accounts that can take the deployment, and those that can't."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from infra.deployment import Deployment
from infra.local.deploy.synth import REPOSITORY
from infra.preflight import command
from infra.preflight.account import BOOTSTRAP_VERSION, check_region
from infra.preflight.command import NotReady
from infra.preflight.finding import Place
from infra.preflight.gateway import check_gateway
from infra.preflight.zones import endpoints_of
from raki.commands.operating import NotInstalled
from tests.infra.conftest import DEPLOYMENTS
from tests.infra.recorded_account import ACCOUNT, GATEWAY_ARN, GPUS, REGION, ZONES, Account, record

ON_SITE = {"raki:gateway_arn": GATEWAY_ARN, "raki:share_clients": "10.1.0.0/16"}
OWN = {"raki:vpc_id": "vpc-0123456789abcdef0", "raki:vpc_subnets": "subnet-0aaaaaaaaaaaaaaaa,subnet-0bbbbbbbbbbbbbbbb"}
CLINIC = {"raki:profile": "clinic"}
RESEARCH = {"raki:profile": "research"}


@pytest.fixture
def preflight(run, monkeypatch):
    """Runs the command on recorded answers; gives its exit code and the findings by subject."""

    def preflight(settings, **differs):
        account = record(settings, **differs)
        monkeypatch.setattr(command, "connected", lambda *_: (account.client, REGION, ""))
        given = [argument for key, value in settings.items() for argument in ("-c", f"{key}={value}")]
        code, out, err = run("preflight", "--json", *given)
        account.all_was_asked()
        document = json.loads(out)
        assert document["ready"] is (code == 0)
        assert (code == NotReady.exit_code) == any(one["state"] == "blocks" for one in document["findings"]), err
        return code, {one["subject"]: one for one in document["findings"]}

    return preflight


GOOD = {
    "minimal": {},
    "with a gateway on site": ON_SITE,
    "clinic, with a directory": CLINIC | ON_SITE | {"raki:share_protocol": "smb"},
    "research, with a gateway in the network": RESEARCH
    | {"raki:gateway_on_ec2": "true", "raki:share_clients": "10.1.0.0/16"},
    "three zones by id": {"raki:zones": "use1-az6,use1-az4,use1-az2"},
    "a VPC of the site's own": CLINIC | OWN,
    "a VPC of the site's own, with endpoints of ours": CLINIC | OWN | {"raki:egress": "endpoints"},
}


@pytest.mark.parametrize("settings", GOOD.values(), ids=GOOD)
def test_an_account_that_can_take_it_is_told_so(preflight, settings):
    code, findings = preflight(settings)
    assert code == 0
    assert {one["state"] for one in findings.values()} == {"ok"}
    assert all(one["found"] and one["needed"] and not one["remedy"] for one in findings.values())


def subnets(second):
    """Two subnets of the site's VPC, of which the second differs."""
    return [("subnet-0aaaaaaaaaaaaaaaa", OWN["raki:vpc_id"], ZONES[0], 99), second]


def test_a_deployment_that_stands_needs_no_second_network(preflight):
    code, findings = preflight({}, stands=True, n_vpcs=5)
    assert code == 0
    assert "quota: VPCs per Region" not in findings


ONDEMAND = "quota: Running On-Demand G and VT instances"
SPOT = "quota: All G and VT Spot Instance Requests"
FARGATE = "quota: Fargate On-Demand vCPU resource count"
INCREASE = "aws service-quotas request-service-quota-increase --service-code"
SMB = ON_SITE | {"raki:share_protocol": "smb"}
GUESTS = SMB | {"raki:smb_authentication": "guest", "raki:smb_guests_from_anywhere": "true"}
SOON = datetime.now(UTC) + timedelta(days=20)
# Settings, what differs from a good account; subject, its state, and what its remedy says.
BAD = {
    "a new account has no GPU": (
        CLINIC,
        {"quotas": {"L-DB2E81BA": 0}},
        (ONDEMAND, "blocks", f"{INCREASE} ec2 --quota-code L-DB2E81BA --desired-value 16"),
    ),
    "nor a spot one, by AWS's default": (
        {},
        {"quotas": {"L-3819A6DF": None}},
        (SPOT, "blocks", f"{INCREASE} ec2 --quota-code L-3819A6DF --desired-value 8"),
    ),
    "GPUs for ordinary times alone": (
        {},
        {"quotas": {"L-3819A6DF": 4}},
        (SPOT, "advice", "--desired-value 8"),
    ),
    "a GPU too few": (CLINIC, {"quotas": {"L-3819A6DF": 15}}, (SPOT, "blocks", "--desired-value 16")),
    "few Fargate vCPUs": (
        CLINIC | {"raki:pacs": "ARCHIVE@10.9.8.7:104"},
        {"quotas": {"L-3032A538": 16}},  # 8 workers of 2, and the sender's quarter
        (FARGATE, "blocks", f"{INCREASE} fargate --quota-code L-3032A538 --desired-value 32.25"),
    ),
    "no room for the file system": (
        RESEARCH,
        {"quotas": {"L-AD2FC696": 1000}},
        ("quota: Lustre Scratch storage capacity", "blocks", "--desired-value 1200"),
    ),
    "no notebook": (RESEARCH, {"notebooks": 0}, ("quota: ml.m5.xlarge for notebook instance usage", "blocks", "L-1")),
    "VPCs are used up": ({}, {"n_vpcs": 5}, ("quota: VPCs per Region", "blocks", "--desired-value 6")),
    "addresses are used up": ({}, {"n_addresses": 5}, ("quota: EC2-VPC Elastic IPs", "blocks", "L-0263D0A3")),
    "not bootstrapped": (
        {},
        {"bootstrap": None},
        ("CDK bootstrap", "blocks", f"npx cdk bootstrap aws://{ACCOUNT}/{REGION}"),
    ),
    "bootstrapped long ago": ({}, {"bootstrap": 5}, ("CDK bootstrap", "blocks", "npx cdk bootstrap")),
    "no role for spot instances": (
        {},
        {"missing_roles": ["AWSServiceRoleForEC2Spot"]},
        ("role AWSServiceRoleForEC2Spot", "blocks", "create-service-linked-role --aws-service-name spot.amazonaws.com"),
    ),
    "no role for FSx yet": (
        RESEARCH,
        {"missing_roles": ["AWSServiceRoleForAmazonFSx"]},
        ("role AWSServiceRoleForAmazonFSx", "advice", "fsx.amazonaws.com"),
    ),
    "a key of the site's for volumes": (
        {},
        {"ebs_key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0"},
        ("default key of EBS volumes", "advice", "CreateGrant"),
    ),
    "no GPU in the zone": ({}, {"offered": ()}, ("GPU instances in us-east-1a", "blocks", "raki:zones")),
    "one kind of GPU": ({}, {"offered": GPUS[2:]}, ("GPU instances in us-east-1a", "advice", "raki:zones")),
    "no host for the gateway": (
        {"raki:gateway_on_ec2": "true", "raki:share_clients": "10.1.0.0/16"},
        {"offered": GPUS},
        ("gateway's instance in us-east-1a", "blocks", "raki:zones"),
    ),
    "a zone that isn't there": (
        {"raki:zones": "us-east-1a,us-east-1f"},
        {},
        ("availability zones", "blocks", "us-east-1b (use1-az1)"),
    ),
    "zones that CloudFormation doesn't count": (
        CLINIC,
        {"default_subnets": ["us-east-1b"]},
        ("availability zones", "blocks", "name the zones"),
    ),
    "an endpoint that the second zone lacks": (
        CLINIC,
        {"endpoint_zones": {"ecs-agent": ["us-east-1a"]}},
        ("interface endpoints", "blocks", "raki:egress=nat"),
    ),
    "a gateway that is off": (
        ON_SITE,
        {"gateway": {"GatewayState": "SHUTDOWN"}},
        ("gateway's state", "blocks", "443"),
    ),
    "a gateway out of reach": (
        ON_SITE,
        {"gateway": ("InvalidGatewayRequestException", "The specified gateway is not connected.")},
        ("gateway", "blocks", "network"),
    ),
    "a gateway of another kind": (
        ON_SITE,
        {"gateway": {"GatewayType": "VTL"}},
        ("gateway's kind", "blocks", "S3 File"),
    ),
    "a gateway that grows old": (
        ON_SITE,
        {"gateway": {"SoftwareUpdatesEndDate": f"{SOON:%Y-%m-%d}"}},
        ("gateway's software", "advice", "replace"),
    ),
    "a gateway without a cache": (ON_SITE, {"cache": 0}, ("gateway's cache", "blocks", "150")),
    "a gateway in no directory": (
        SMB,
        {"smb": {"ActiveDirectoryStatus": "DETACHED"}},
        ("gateway's directory", "blocks", "join-domain"),
    ),
    "guests without a password": (
        GUESTS,
        {"smb": {"SMBGuestPasswordSet": False}},
        ("guests' password", "blocks", "set-smb-guest-password"),
    ),
    "a subnet that isn't there": (
        OWN | CLINIC,
        {"subnets": ("InvalidSubnetID.NotFound", "The subnet ID 'subnet-0bbbbbbbbbbbbbbbb' does not exist")},
        ("availability zones", "blocks", "correct the setting"),
    ),
    "a subnet of another VPC": (
        OWN | CLINIC,
        {"subnets": subnets(second=("subnet-0bbbbbbbbbbbbbbbb", "vpc-1", ZONES[1], 99))},
        ("subnets in vpc-0123456789abcdef0", "blocks", "raki:vpc_subnets"),
    ),
    "two subnets in one zone": (
        OWN | CLINIC,
        {"subnets": subnets(second=("subnet-0bbbbbbbbbbbbbbbb", OWN["raki:vpc_id"], ZONES[0], 99))},
        ("subnets in vpc-0123456789abcdef0", "blocks", "one of each zone"),
    ),
    "a full subnet": (
        OWN | CLINIC,
        {"subnets": subnets(second=("subnet-0bbbbbbbbbbbbbbbb", OWN["raki:vpc_id"], ZONES[1], 23))},
        ("free addresses", "blocks", "raki:surge"),
    ),
    "a VPC without names": (
        OWN | CLINIC,
        {"dns": {"enableDnsHostnames": False}},
        ("enableDnsHostnames", "blocks", "--enable-dns-hostnames"),
    ),
    "a VPC whose NAT gateway bills every scan": (
        OWN | CLINIC,
        {"vpc_endpoints": {"s3": "Gateway"}},
        ("gateway endpoints", "advice", "dynamodb"),
    ),
    "a VPC with no way to the ledger": (
        OWN | CLINIC | {"raki:egress": "endpoints"},
        {"vpc_endpoints": {"s3": "Gateway"}},
        ("gateway endpoints", "blocks", "dynamodb"),
    ),
    "a VPC that has such an endpoint": (
        OWN | CLINIC | {"raki:egress": "endpoints"},
        {"vpc_endpoints": {"s3": "Gateway", "dynamodb": "Gateway", "sqs": "Interface"}},
        ("private names of endpoints", "blocks", "raki:egress to vpc"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "differs", "said"), BAD.values(), ids=BAD)
def test_an_account_that_cant_is_told_what_to_do_and_nothing_else(preflight, settings, differs, said):
    code, findings = preflight(settings, **differs)
    subject, state, remedy = said
    assert findings[subject]["state"] == state, findings[subject]
    assert remedy in findings[subject]["remedy"]
    assert code == (NotReady.exit_code if state == "blocks" else 0)
    others = {one["state"] for name, one in findings.items() if name != subject}
    # Without zones there is nowhere to look for instances and endpoints.
    assert others <= ({"ok", "unknown"} if subject == "availability zones" else {"ok"})


@pytest.mark.parametrize(
    ("settings", "region", "subject"),
    [
        (ON_SITE, "eu-west-1", "file shares of CloudFormation"),
        ({"raki:healthimaging": "new"}, "eu-central-1", "AWS HealthImaging"),
        (ON_SITE, "eu-central-1", "gateway's account and region"),
    ],
)
def test_what_the_region_lacks_is_said(settings, region, subject):
    """By the lists that the stacks have, and the gateway's own region."""
    deployment = Deployment.from_context(settings)
    place = Place(client=Account().client, account=ACCOUNT, region=region, deployment=deployment)
    found = [*check_region(place), *(check_gateway(place) if deployment.gateway_arn else ())]
    assert {one.subject: one.state for one in found}[subject] == "blocks"


def test_who_may_not_look_is_told_what_stays_unknown(preflight):
    code, findings = preflight({}, zones=("UnauthorizedOperation", "no"))
    assert code == 0, "nothing is known to block"
    assert findings["availability zones"]["state"] == findings["GPU instances"]["state"] == "unknown"
    assert "DescribeAvailabilityZones" in findings["availability zones"]["remedy"]


def test_without_credentials_there_is_one_line(run, monkeypatch):
    account = Account()
    account.answers("sts", "get_caller_identity", ("ExpiredToken", "The security token included is expired"))
    monkeypatch.setattr(command, "connected", lambda *_: (account.client, REGION, ""))
    code, out, err = run("preflight")
    assert code == NotReady.exit_code
    assert "expired" in out
    assert err == "NotReady: 1 of 1 lines block the deployment: credentials. "


def test_without_a_region_or_a_profile_that_is_said(run, monkeypatch, tmp_path):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "no region is set" in json.loads(run("preflight", "--json")[1])["findings"][0]["found"]
    code, out, _ = run("preflight", "--json", "--profile", "radiology")
    assert code == NotReady.exit_code
    assert "radiology" in json.loads(out)["findings"][0]["found"]


def test_people_get_a_table_of_the_same(run, monkeypatch):
    account = record({}, quotas={"L-3819A6DF": 0})
    monkeypatch.setattr(command, "connected", lambda *_: (account.client, REGION, ""))
    monkeypatch.setattr(command.CONSOLE, "_width", 200)
    code, out, err = run("preflight")
    assert code == NotReady.exit_code
    (row,) = [line for line in out.splitlines() if "All G and VT Spot" in line]
    assert [cell.strip()[:6] for cell in row.split("│")[1:-1]] == ["blocks", "quota:", "0 vCPU", "4 vCPU", "aws se"]
    assert "block the deployment: quota: All G and VT Spot Instance Requests" in err


@pytest.mark.parametrize("given", ["raki:zones=3", "raki:zone=1", "zones"])
def test_wrong_settings_are_named_before_anybody_is_asked(run, given):
    code, _, err = run("preflight", "-c", given)
    assert code == 2
    assert given.partition("=")[0] in err


def test_without_boto3_it_says_what_it_needs(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    code, _, err = run("preflight")
    assert (code, "raki-mri[service]" in err) == (NotInstalled.exit_code, True)


def test_it_only_reads():
    """Every call is one that looks: what a role for it needs is listed in the guide, and nothing there writes."""
    guide = (REPOSITORY / "infra/README.md").read_text()
    guide = guide.partition("`raki preflight` only reads")[2].partition("\n\n")[0]
    actions = set(re.findall(r"`([a-z0-9-]+:[A-Z]\w+)`", guide))
    assert actions
    assert all(action.partition(":")[2].startswith(("Describe", "Get", "List")) for action in actions)
    source = "".join(path.read_text() for path in (REPOSITORY / "infra/preflight").glob("*.py"))
    called = set(re.findall(r"\.((?:describe|get|list|create|put|request|modify|delete)_\w+)\(", source))
    called |= set(re.findall(r'get_paginator\("(\w+)"\)', source))
    named = {action.partition(":")[2].lower() for action in actions}
    assert {call.replace("_", "") for call in called - {"get_paginator"}} == named


def test_the_bootstrap_that_is_asked_for_is_the_assemblys(all_reviewed):
    manifest = json.loads((all_reviewed["research"].folder / "manifest.json").read_text())
    asked = [
        one.get("properties", {}).get("requiresBootstrapStackVersion", 0) for one in manifest["artifacts"].values()
    ]
    assert max(asked) == BOOTSTRAP_VERSION


def test_the_endpoints_that_are_looked_for_are_the_stacks(all_reviewed):
    """In each profile, by service and by how many subnets each stands in."""
    for profile, reviewed in all_reviewed.items():
        resources = [one for template in reviewed.templates.values() for one in template["Resources"].values()]
        endpoints = [one["Properties"] for one in resources if one["Type"] == "AWS::EC2::VPCEndpoint"]
        found = {
            re.sub(r"^.*amazonaws\.(\{.*?\})?\.", "", service_name(one["ServiceName"])): len(one["SubnetIds"])
            for one in endpoints
            if one["VpcEndpointType"] == "Interface"
        }
        deployment = Deployment.from_context({"raki:profile": profile, **DEPLOYMENTS[profile]})
        first, other = (endpoints_of(deployment, first_zone=at) for at in (True, False))
        assert found == {name: 1 + (deployment.n_zones - 1) * (name in other) for name in first}


def service_name(value):
    """The text of a name that may be joined of parts, the region among them."""
    return value if isinstance(value, str) else "".join(part for part in value["Fn::Join"][1] if isinstance(part, str))
