"""Service quotas: how much of each kind the account may have at once, and how much the deployment may take."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from infra.costs.estimate import WORKER
from infra.costs.fixed import COMPACTION, SENDER
from infra.deployment import Deployment
from infra.development.needs import INSTANCE_TYPES
from infra.gateway.needs import HOST_VCPUS
from infra.gpus import max_vcpus
from infra.preflight.finding import NO_SUCH_STACK, Finding, Place, State, verdict

NETWORK_STACK = "RakiNetwork"


@dataclass(frozen=True, kw_only=True)
class Quota:
    """A quota, and what of it the deployment takes by itself; what else the account runs comes on top."""

    service: str
    code: str
    name: str
    """As Service Quotas has it."""
    least: float
    """What ordinary times take: with less, the deployment isn't what was asked for."""
    most: float
    """What the busiest times take."""
    unit: str


def quotas_of(deployment: Deployment) -> Iterator[Quota]:
    """Codes as Service Quotas lists them for ec2, fargate and fsx."""
    for code, name, instances in (
        ("L-DB2E81BA", "Running On-Demand G and VT instances", deployment.on_demand_gpus + deployment.warm_gpus),
        ("L-3819A6DF", "All G and VT Spot Instance Requests", deployment.spot_gpus),
    ):
        if instances:
            yield Quota(
                service="ec2",
                code=code,
                name=name,
                least=max_vcpus(min(instances, deployment.max_reconstruction_jobs)),
                most=max_vcpus(instances),
                unit="vCPU",
            )
    beside = SENDER["vcpus"] * bool(deployment.pacs) + COMPACTION["vcpus"] * deployment.compacts
    yield Quota(
        service="fargate",
        code="L-3032A538",
        name="Fargate On-Demand vCPU resource count",
        least=WORKER["vcpus"] * deployment.max_decompression_workers + beside,
        most=WORKER["vcpus"] * deployment.surge_workers + beside,
        unit="vCPU",
    )
    if deployment.gateway_on_ec2:
        yield Quota(
            service="ec2",
            code="L-1216C47A",
            name="Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
            least=HOST_VCPUS,
            most=HOST_VCPUS,
            unit="vCPU",
        )
    if deployment.scratch != "nvme":
        scratch = deployment.scratch == "fsx-scratch"
        yield Quota(
            service="fsx",
            code="L-AD2FC696" if scratch else "L-8F1B9C74",
            name=f"Lustre {'Scratch' if scratch else 'Persistent_2'} storage capacity",
            least=deployment.fsx_gib,
            most=deployment.fsx_gib,
            unit="GiB",
        )


def check_quotas(place: Place) -> Iterator[Finding]:
    """Each of the deployment's quotas."""
    client = place.client("service-quotas")
    for quota in quotas_of(place.deployment):
        yield _compared(quota, _value(client, quota.service, quota.code))


def check_notebook(place: Place) -> Iterator[Finding]:
    """SageMaker has a quota for each instance type, and new accounts have few of any and none with a GPU."""
    name = f"{INSTANCE_TYPES[place.deployment.notebook_gpu]} for notebook instance usage"
    pages = place.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    found = next((quota for page in pages for quota in page["Quotas"] if quota["QuotaName"] == name), None)
    if found is None:
        yield Finding(
            subject=f"quota: {name}",
            found="not listed here",
            needed="1",
            state=State.UNKNOWN,
            remedy="look whether SageMaker offers notebooks on this type in the region",
        )
        return
    quota = Quota(service="sagemaker", code=found["QuotaCode"], name=name, least=1, most=1, unit="notebook")
    yield _compared(quota, found["Value"])


def check_addresses(place: Place) -> Iterator[Finding]:
    """A VPC of the deployment's own, and an address for its NAT gateway, beside those that there are."""
    if _stands(place):  # and has its own already
        return
    client, ec2 = place.client("service-quotas"), place.client("ec2")
    there = len(ec2.describe_vpcs()["Vpcs"])
    yield _one_more("VPCs per Region", "vpc", "L-F678F1CE", _value(client, "vpc", "L-F678F1CE"), there)
    if place.deployment.egress == "nat":
        there = len(ec2.describe_addresses()["Addresses"])
        yield _one_more("EC2-VPC Elastic IPs", "ec2", "L-0263D0A3", _value(client, "ec2", "L-0263D0A3"), there)


def _stands(place: Place) -> bool:
    """Whether the deployment's network is there, so that nothing is to be added but by a change of it."""
    try:
        place.client("cloudformation").describe_stacks(StackName=NETWORK_STACK)
    except ClientError as error:
        if error.response["Error"]["Code"] != NO_SUCH_STACK:
            raise
        return False
    return True


def _value(client: Any, service: str, code: str) -> float:
    """What applies to the account; where nothing was ever set for it, AWS's default."""
    try:
        return float(client.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"])
    except client.exceptions.NoSuchResourceException:
        return float(client.get_aws_default_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"])


def _compared(quota: Quota, value: float) -> Finding:
    at_most = f", {quota.most:g} at the busiest" if quota.most > quota.least else ""
    state = State.BLOCKS if value < quota.least else verdict(value >= quota.most, otherwise=State.ADVICE)
    return Finding(
        subject=f"quota: {quota.name}",
        found=f"{value:g} {quota.unit}",
        needed=f"{quota.least:g} {quota.unit}{at_most}",
        state=state,
        remedy="" if state is State.OK else _request(quota.service, quota.code, quota.most),
    )


def _one_more(name: str, service: str, code: str, value: float, there: int) -> Finding:
    good = there < value
    return Finding(
        subject=f"quota: {name}",
        found=f"{there} of {value:g} are taken",
        needed="one more",
        state=verdict(good),
        remedy="" if good else _request(service, code, there + 1),
    )


def _request(service: str, code: str, value: float) -> str:
    return (
        f"aws service-quotas request-service-quota-increase --service-code {service} --quota-code {code} "
        f"--desired-value {value:g}"
    )
