"""Recorded answers of AWS to `raki preflight`: of an account that can take the deployment, but for what differs."""

from datetime import UTC, datetime

import boto3
from botocore.stub import ANY, Stubber

from infra.deployment import Deployment
from infra.preflight.account import BOOTSTRAP_VERSION, roles_of
from infra.preflight.quotas import quotas_of
from infra.preflight.zones import endpoints_of

REGION, ACCOUNT = "us-east-1", "123456789012"
ZONES = [(f"us-east-1{letter}", f"use1-az{number}") for letter, number in zip("abcd", (4, 1, 6, 2), strict=True)]
GPUS = ("g6.xlarge", "g5.xlarge", "g4dn.xlarge")
GATEWAY_ARN = f"arn:aws:storagegateway:{REGION}:{ACCOUNT}:gateway/sgw-12345678"


class Account:
    """Clients that give recorded answers, in order, and check that they are asked as AWS's models have it."""

    def __init__(self):
        self._clients, self._stubs = {}, {}

    def client(self, service):
        if service not in self._clients:
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
            self._clients[service] = boto3.client(service, region_name=REGION, **keys)
            self._stubs[service] = Stubber(self._clients[service])
            self._stubs[service].activate()
        return self._clients[service]

    def answers(self, service, operation, answer, asked=None):
        """An answer, or the code of an error and its words."""
        self.client(service)
        if isinstance(answer, tuple):
            code, words = answer
            self._stubs[service].add_client_error(operation, code, words, expected_params=asked)
        else:
            self._stubs[service].add_response(operation, answer, asked)

    def all_was_asked(self):
        for stub in self._stubs.values():
            stub.assert_no_pending_responses()


def zone(name, identifier):
    return {"ZoneName": name, "ZoneId": identifier}


def record(settings, **differs):
    """The answers of an account that can take the deployment, but for what `differs`.

    Args:
        differs: bootstrap (version or None), zones, default_subnets (their zones), offered (types in the first zone),
            endpoint_zones (by service), quotas (by code), n_vpcs, n_addresses, stands, notebooks, missing_roles,
            ebs_key, gateway, smb, cache, subnets, dns, vpc_endpoints.
    """
    account, deployment = Account(), Deployment.from_context(settings)
    identity = {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/ann", "UserId": "AIDAEXAMPLE"}
    account.answers("sts", "get_caller_identity", identity)
    _bootstrap(account, differs.get("bootstrap", BOOTSTRAP_VERSION))
    _zones(account, deployment, differs)
    _quotas(account, deployment, differs)
    for name, _, _ in roles_of(deployment):
        role = {"RoleName": name, "RoleId": "A" * 16, "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}", "Path": "/"}
        there = {"Role": role | {"CreateDate": datetime(2026, 1, 1, tzinfo=UTC)}}
        missing = name in differs.get("missing_roles", ())
        account.answers("iam", "get_role", ("NoSuchEntity", "no") if missing else there, {"RoleName": name})
    key = differs.get("ebs_key", "alias/aws/ebs")
    account.answers("ec2", "get_ebs_default_kms_key_id", {"KmsKeyId": key})
    if deployment.gateway_arn:
        _gateway(account, deployment, differs)
    return account


def _bootstrap(account, version):
    stack = {
        "StackName": "CDKToolkit",
        "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
        "StackStatus": "CREATE_COMPLETE",
    }
    outputs = {"Outputs": [{"OutputKey": "BootstrapVersion", "OutputValue": str(version)}]}
    none = ("ValidationError", "Stack with id CDKToolkit does not exist")
    answer = none if version is None else {"Stacks": [stack | outputs]}
    account.answers("cloudformation", "describe_stacks", answer, {"StackName": "CDKToolkit"})


def _zones(account, deployment, differs):
    zones = differs.get("zones", ZONES)
    if isinstance(zones, tuple):
        account.answers("ec2", "describe_availability_zones", zones)
        return
    account.answers("ec2", "describe_availability_zones", {"AvailabilityZones": [zone(*one) for one in zones]})
    chosen = [one for name in deployment.named_zones for one in zones if name in one]
    if deployment.vpc_id:
        chosen = _own_vpc(account, deployment, differs)
    elif not deployment.named_zones:
        default = differs.get("default_subnets", [name for name, _ in zones])
        subnets = {"Subnets": [{"AvailabilityZone": name} for name in default]}
        account.answers(
            "ec2", "describe_subnets", subnets, {"Filters": [{"Name": "default-for-az", "Values": ["true"]}]}
        )
        chosen = [one for one in zones if not default or one[0] in default][: deployment.n_zones]
    if chosen:
        offered = differs.get("offered", (*GPUS, "m5.xlarge"))
        offerings = {"InstanceTypeOfferings": [{"InstanceType": name, "Location": chosen[0][0]} for name in offered]}
        wanted = [*GPUS, *(["m5.xlarge"] if deployment.gateway_on_ec2 else [])]
        filters = [{"Name": "location", "Values": [chosen[0][0]]}, {"Name": "instance-type", "Values": wanted}]
        asked = {"LocationType": "availability-zone", "Filters": filters}
        account.answers("ec2", "describe_instance_type_offerings", offerings, asked)
    if deployment.egress == "endpoints" and chosen:
        everywhere = [name for name, _ in zones]
        details = [
            {
                "ServiceName": f"com.amazonaws.{REGION}.{name}",
                "AvailabilityZones": differs.get("endpoint_zones", {}).get(name, everywhere),
            }
            for name in endpoints_of(deployment, first_zone=True)
        ]
        account.answers("ec2", "describe_vpc_endpoint_services", {"ServiceDetails": details}, {"Filters": ANY})


def _own_vpc(account, deployment, differs):
    subnets = differs.get(
        "subnets",
        [(name, deployment.vpc_id, at, 4000) for name, at in zip(deployment.vpc_subnets, ZONES, strict=False)],
    )
    asked = {"SubnetIds": list(deployment.vpc_subnets)}
    if isinstance(subnets, tuple):
        account.answers("ec2", "describe_subnets", subnets, asked)
        return []
    described = [
        {"SubnetId": name, "VpcId": vpc, "AvailabilityZoneId": at[1], "AvailableIpAddressCount": free}
        for name, vpc, at, free in reversed(subnets)
    ]
    account.answers("ec2", "describe_subnets", {"Subnets": described}, asked)
    for attribute, key in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
        answer = {key: {"Value": differs.get("dns", {}).get(attribute, True)}}
        account.answers("ec2", "describe_vpc_attribute", answer, {"VpcId": deployment.vpc_id, "Attribute": attribute})
    kinds = differs.get("vpc_endpoints", {"s3": "Gateway", "dynamodb": "Gateway", "ssm": "Interface"})
    there = [
        {
            "ServiceName": f"com.amazonaws.{REGION}.{name}",
            "VpcEndpointType": kind,
            "PrivateDnsEnabled": kind != "Gateway",
        }
        for name, kind in kinds.items()
    ]
    account.answers("ec2", "describe_vpc_endpoints", {"VpcEndpoints": there}, {"Filters": ANY})
    return [at for _, _, at, _ in subnets]


def _quotas(account, deployment, differs):
    values = differs.get("quotas", {})
    wanted = [(quota.service, quota.code, values.get(quota.code, quota.most)) for quota in quotas_of(deployment)]
    stands = differs.get("stands", False)
    if not deployment.vpc_id:
        made = datetime(2026, 1, 1, tzinfo=UTC)
        stack = {"StackName": "RakiNetwork", "CreationTime": made, "StackStatus": "CREATE_COMPLETE"}
        answer = {"Stacks": [stack]} if stands else ("ValidationError", "Stack with id RakiNetwork does not exist")
        account.answers("cloudformation", "describe_stacks", answer, {"StackName": "RakiNetwork"})
    if not deployment.vpc_id and not stands:
        account.answers("ec2", "describe_vpcs", {"Vpcs": [{"VpcId": "vpc"}] * differs.get("n_vpcs", 1)})
        wanted.append(("vpc", "L-F678F1CE", 5.0))
        if deployment.egress == "nat":
            there = [{"PublicIp": "203.0.113.7"}] * differs.get("n_addresses", 0)
            account.answers("ec2", "describe_addresses", {"Addresses": there})
            wanted.append(("ec2", "L-0263D0A3", 5.0))
    for service, code, value in wanted:
        asked = {"ServiceCode": service, "QuotaCode": code}
        if value is None:  # nothing was ever set: AWS's default is what counts
            account.answers("service-quotas", "get_service_quota", ("NoSuchResourceException", "no"), asked)
            account.answers("service-quotas", "get_aws_default_service_quota", {"Quota": {"Value": 0.0}}, asked)
        else:
            account.answers("service-quotas", "get_service_quota", {"Quota": {"Value": float(value)}}, asked)
    if deployment.development:
        name = "ml.m5.xlarge for notebook instance usage"
        another = {"QuotaName": "ml.m5.xlarge for training job usage", "QuotaCode": "L-2", "Value": 9.0}
        this = {"QuotaName": name, "QuotaCode": "L-1", "Value": float(differs.get("notebooks", 1))}
        pages = [{"Quotas": [another], "NextToken": "2"}, {"Quotas": [this]}]
        for page in pages:
            account.answers("service-quotas", "list_service_quotas", page)


def _gateway(account, deployment, differs):
    about = {"GatewayARN": GATEWAY_ARN, "GatewayType": "FILE_S3", "GatewayState": "RUNNING", "SoftwareVersion": "2.1.0"}
    answer = differs.get("gateway", {})
    answer = answer if isinstance(answer, tuple) else about | answer
    asked = {"GatewayARN": GATEWAY_ARN}
    account.answers("storagegateway", "describe_gateway_information", answer, asked)
    if isinstance(answer, tuple):
        return
    cache = {"CacheAllocatedInBytes": differs.get("cache", 500) * 2**30}
    account.answers("storagegateway", "describe_cache", cache, asked)
    if deployment.share_protocol == "smb":
        smb = differs.get("smb", {"DomainName": "clinic.example", "ActiveDirectoryStatus": "JOINED"})
        account.answers("storagegateway", "describe_smb_settings", smb, asked)
