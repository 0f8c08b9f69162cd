"""All that `raki preflight` looks into, in the order in which it is of use."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.deployment import Deployment
from infra.preflight.account import check_bootstrap, check_data_store, check_region, check_roles, check_volumes
from infra.preflight.finding import Finding, Place, State, asked
from infra.preflight.gateway import check_gateway
from infra.preflight.quotas import check_addresses, check_notebook, check_quotas
from infra.preflight.zones import Zone, check_endpoints, check_instance_types, check_zones


def identity(client: Callable[[str], Any], region: str, deployment: Deployment) -> tuple[Place | None, Finding]:
    """Who asks, and what that says; without credentials there is no place to look at."""
    try:
        who = client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        return None, Finding(
            subject="credentials",
            found=str(error).rstrip("."),
            needed="some that AWS knows",
            state=State.BLOCKS,
            remedy="sign in (aws sso login, aws configure), or name a profile by --profile",
        )
    place = Place(client=client, account=who["Account"], region=region, deployment=deployment)
    found = f"{who['Arn']}, {region}"
    return place, Finding(subject="credentials", found=found, needed="some that AWS knows", state=State.OK)


def look(place: Place) -> Iterator[Finding]:
    """Everything else, each as soon as it is known. Nothing is written anywhere."""
    zones: list[Zone] = []
    yield from asked("CDK bootstrap", check_bootstrap(place))
    yield from asked("what the region offers", check_region(place))
    yield from asked("availability zones", check_zones(place, zones))
    yield from asked("instance types", check_instance_types(place, zones))
    yield from asked("interface endpoints", check_endpoints(place, zones))
    yield from asked("quotas", check_quotas(place))
    if not place.deployment.vpc_id:
        yield from asked("addresses", check_addresses(place))
    if place.deployment.development:
        yield from asked("notebook", check_notebook(place))
    yield from asked("service-linked roles", check_roles(place))
    yield from asked("volumes", check_volumes(place))
    if place.deployment.gateway_arn:
        yield from asked("gateway", check_gateway(place))
    yield from asked("data store", check_data_store(place))
