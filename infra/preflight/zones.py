"""The zones that the network will stand in, and whether they offer what is to stand in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from infra.deployment import PREFIX, Deployment
from infra.development.needs import ENDPOINTS
from infra.gateway.needs import HOST_TYPE
from infra.gpus import INSTANCE_TYPES
from infra.network.endpoints import INTERFACE_ENDPOINTS
from infra.preflight.finding import Finding, Place, State, verdict


@dataclass(frozen=True)
class Zone:
    """One of the account's zones; the same place has other names in other accounts, and the same id."""

    name: str
    id: str


def check_zones(place: Place, chosen: list[Zone]) -> Iterator[Finding]:
    """Finds the zones that CloudFormation will take, puts them into `chosen`, and says where they are too few."""
    ec2, deployment = place.client("ec2"), place.deployment
    there = _zones_of_region(ec2)
    if deployment.vpc_id:
        yield from _check_own_vpc(place, there, chosen)
        return
    if deployment.named_zones:
        chosen += [zone for named in deployment.named_zones for zone in there if named in (zone.name, zone.id)]
        remedy = f"set {PREFIX}zones to some of {_listed(there)}"
    else:
        candidates = _counted_by_cloudformation(ec2, there)
        chosen += candidates[: deployment.n_zones]
        remedy = f"name the zones by {PREFIX}zones: some of {_listed(there)}"
    good = len(chosen) == deployment.n_zones
    wanted = ", ".join(deployment.named_zones) or str(deployment.n_zones)
    yield Finding(
        subject="availability zones",
        found=_listed(chosen) or "none of them",
        needed=wanted,
        state=verdict(good),
        remedy="" if good else remedy,
    )


def check_instance_types(place: Place, zones: Sequence[Zone]) -> Iterator[Finding]:
    """GPU instances stand in the first zone, as the gateway on EC2 does; one of the GPU's types is enough."""
    if not zones:
        yield _nowhere("GPU instances")
        return
    first = zones[0]
    wanted = [*INSTANCE_TYPES, *([HOST_TYPE] if place.deployment.gateway_on_ec2 else [])]
    pages = (
        place.client("ec2")
        .get_paginator("describe_instance_type_offerings")
        .paginate(
            LocationType="availability-zone",
            Filters=[{"Name": "location", "Values": [first.name]}, {"Name": "instance-type", "Values": wanted}],
        )
    )
    offered = {found["InstanceType"] for page in pages for found in page["InstanceTypeOfferings"]}
    gpus = [name for name in INSTANCE_TYPES if name in offered]
    state = State.OK if len(gpus) == len(INSTANCE_TYPES) else State.ADVICE if gpus else State.BLOCKS
    yield Finding(
        subject=f"GPU instances in {first.name}",
        found=", ".join(gpus) or "none",
        needed=f"one of {', '.join(INSTANCE_TYPES)}; the more of them, the sooner there is a spot instance",
        state=state,
        remedy="" if state is State.OK else _another_zone_first(first),
    )
    if place.deployment.gateway_on_ec2:
        yield Finding(
            subject=f"gateway's instance in {first.name}",
            found=HOST_TYPE if HOST_TYPE in offered else "not offered",
            needed=HOST_TYPE,
            state=verdict(HOST_TYPE in offered),
            remedy="" if HOST_TYPE in offered else _another_zone_first(first),
        )


def endpoints_of(deployment: Deployment, *, first_zone: bool) -> list[str]:
    """The interface endpoints that the stacks make in a zone; the notebook's stand in the first alone."""
    if deployment.egress != "endpoints":
        return []
    return [
        *INTERFACE_ENDPOINTS,
        *(["storagegateway"] if deployment.gateway_on_ec2 else []),
        *(ENDPOINTS if deployment.development and first_zone else []),
    ]


def check_endpoints(place: Place, zones: Sequence[Zone]) -> Iterator[Finding]:
    """A service offers its endpoint in some zones of a region, and not always in all."""
    wanted = endpoints_of(place.deployment, first_zone=True)
    if not wanted:
        return
    if not zones:
        yield _nowhere("interface endpoints")
        return
    names = {f"com.amazonaws.{place.region}.{name}": name for name in wanted}
    pages = (
        place.client("ec2")
        .get_paginator("describe_vpc_endpoint_services")
        .paginate(Filters=[{"Name": "service-name", "Values": list(names)}])
    )
    offered = {one["ServiceName"]: set(one["AvailabilityZones"]) for page in pages for one in page["ServiceDetails"]}
    lacking = [
        f"{name} in {zone.name}"
        for at, zone in enumerate(zones)
        for full, name in names.items()
        if name in endpoints_of(place.deployment, first_zone=at == 0) and zone.name not in offered.get(full, set())
    ]
    yield Finding(
        subject="interface endpoints",
        found="not offered: " + ", ".join(lacking) if lacking else f"all {len(wanted)} are offered",
        needed=", ".join(wanted),
        state=verdict(not lacking),
        remedy=f"take other zones by {PREFIX}zones, or {PREFIX}egress=nat" if lacking else "",
    )


def _check_own_vpc(place: Place, there: list[Zone], chosen: list[Zone]) -> Iterator[Finding]:
    ec2, deployment = place.client("ec2"), place.deployment
    subnets = ec2.describe_subnets(SubnetIds=list(deployment.vpc_subnets))["Subnets"]
    of_id = {subnet["SubnetId"]: subnet for subnet in subnets}
    in_order = [of_id[name] for name in deployment.vpc_subnets]
    chosen += [zone for subnet in in_order for zone in there if zone.id == subnet["AvailabilityZoneId"]]
    elsewhere = [subnet["SubnetId"] for subnet in in_order if subnet["VpcId"] != deployment.vpc_id]
    named = deployment.named_zones
    apart = len({zone.id for zone in chosen}) == len(in_order) and (
        not named or all(name in (zone.name, zone.id) for name, zone in zip(named, chosen, strict=True))
    )
    yield Finding(
        subject=f"subnets in {deployment.vpc_id}",
        found=f"{', '.join(elsewhere)} of another VPC" if elsewhere else _listed(chosen),
        needed=", ".join(named) or f"{len(in_order)} zones, a subnet in each",
        state=verdict(apart and not elsewhere),
        remedy="" if apart and not elsewhere else f"set {PREFIX}vpc_subnets to subnets of it, one of each zone",
    )
    free = min(subnet["AvailableIpAddressCount"] for subnet in in_order)
    needed = deployment.surge_workers + deployment.surge_jobs
    yield Finding(
        subject="free addresses",
        found=f"{free} in the fullest subnet",
        needed=f"{needed} for workers and GPU instances",
        state=verdict(free >= needed),
        remedy="" if free >= needed else f"set {PREFIX}vpc_subnets to larger ones, or lower {PREFIX}surge",
    )
    yield from _check_names(ec2, deployment.vpc_id)
    yield from _check_ways(place)


def _check_names(ec2: Any, vpc_id: str) -> Iterator[Finding]:
    """Private names of endpoints and the name of a file system are looked up in the VPC."""
    for attribute, key, option in (
        ("enableDnsSupport", "EnableDnsSupport", "--enable-dns-support"),
        ("enableDnsHostnames", "EnableDnsHostnames", "--enable-dns-hostnames"),
    ):
        on = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=attribute)[key]["Value"]
        yield Finding(
            subject=attribute,
            found="on" if on else "off",
            needed="on",
            state=verdict(on),
            remedy="" if on else f"aws ec2 modify-vpc-attribute --vpc-id {vpc_id} {option}",
        )


def _check_ways(place: Place) -> Iterator[Finding]:
    """S3 and DynamoDB: with a NAT gateway they are reached at its price, without one not at all."""
    deployment = place.deployment
    filters = [{"Name": "vpc-id", "Values": [deployment.vpc_id]}]
    there = place.client("ec2").describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]
    prefix = f"com.amazonaws.{place.region}."
    of_gateway = {one["ServiceName"].removeprefix(prefix) for one in there if one["VpcEndpointType"] == "Gateway"}
    missing = [name for name in ("s3", "dynamodb") if name not in of_gateway]
    yield Finding(
        subject="gateway endpoints",
        found=", ".join(sorted(of_gateway)) or "none",
        needed="s3, dynamodb",
        state=verdict(not missing, otherwise=State.BLOCKS if deployment.egress == "endpoints" else State.ADVICE),
        remedy=f"make them on the subnets' route tables: {', '.join(missing)}" if missing else "",
    )
    wanted = endpoints_of(deployment, first_zone=True)
    private = {one["ServiceName"].removeprefix(prefix) for one in there if one.get("PrivateDnsEnabled")}
    if taken := sorted(private & set(wanted)):
        yield Finding(
            subject="private names of endpoints",
            found=f"{', '.join(taken)} have theirs",
            needed="none that the deployment is to add",
            state=State.BLOCKS,
            remedy=f"set {PREFIX}egress to vpc; the others are yours too then: "
            + ", ".join(sorted(set(wanted) - private)),
        )


def _zones_of_region(ec2: Any) -> list[Zone]:
    """Those that the account may use; Local Zones and Wavelength Zones aren't among them."""
    filters = [{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    found = ec2.describe_availability_zones(Filters=filters)["AvailabilityZones"]
    return [Zone(zone["ZoneName"], zone["ZoneId"]) for zone in sorted(found, key=lambda zone: zone["ZoneName"])]


def _counted_by_cloudformation(ec2: Any, there: list[Zone]) -> list[Zone]:
    """The list that the stacks count zones in.

    CloudFormation User Guide, "Fn::GetAZs": in alphabetical order, and only those that have a default subnet, unless
    none has.
    """
    filters = [{"Name": "default-for-az", "Values": ["true"]}]
    with_default = {subnet["AvailabilityZone"] for subnet in ec2.describe_subnets(Filters=filters)["Subnets"]}
    return [zone for zone in there if zone.name in with_default] if with_default else there


def _nowhere(subject: str) -> Finding:
    """Without a zone there is nothing to ask for, which is no good news."""
    return Finding(
        subject=subject,
        found="not looked for: no zone is known",
        needed="a zone that offers them",
        state=State.UNKNOWN,
        remedy="see to the availability zones first",
    )


def _another_zone_first(first: Zone) -> str:
    return f"name another zone than {first.name} first, by {PREFIX}zones"


def _listed(zones: Sequence[Zone]) -> str:
    return ", ".join(f"{zone.name} ({zone.id})" for zone in zones)
