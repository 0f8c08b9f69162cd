"""What single settings may be: lists, zones, a network, an archive, certificates; each is read, or refused in words."""

import re
import ssl
from ipaddress import IPv4Network
from pathlib import Path

from pydantic import AfterValidator

from raki import options
from raki.destination import Destination

MOST_ZONES = 3
ZONE_NAME = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+[a-z]")
ZONE_ID = re.compile(r"[a-z]{3,6}\d+-az\d+")
OF_DOCKER = IPv4Network("172.17.0.0/16")
"""Docker's own network on every instance; Amazon VPC User Guide, "VPC CIDR blocks", advises against it too."""
# A task definition has 64 KiB at most (Amazon ECS service quotas), of which certificates take the larger part.
MOST_CERTIFICATE_BYTES = 32 << 10


def listed(value: object) -> object:
    """`a, b` on the command line and in cdk.json, or a list there."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def listed_of(value: object) -> tuple[object, ...]:
    """What `listed` makes of it; nothing of what is no list."""
    found = listed(value)
    return tuple(found) if isinstance(found, list | tuple) else ()


def zones(value: object) -> object:
    """A number, or the names or ids of zones in one region."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    value = listed(value)
    if not isinstance(value, list | tuple):
        return value
    zones = tuple(str(zone) for zone in value)
    of_one_kind = [all(pattern.fullmatch(zone) for zone in zones) for pattern in (ZONE_NAME, ZONE_ID)]
    regions = {re.sub(r"([a-z]|-az\d+)$", "", zone) for zone in zones}
    if not any(of_one_kind) or len(regions) > 1:
        raise ValueError(
            "a number is needed, or names (us-east-1a,us-east-1b) or ids (use1-az1,use1-az2) of zones in one region"
        )
    if len(set(zones)) < len(zones):
        raise ValueError("each zone is to be named once")
    if len(zones) > MOST_ZONES:
        raise ValueError(f"{MOST_ZONES} zones at most are of use")
    return zones


def network(value: IPv4Network) -> IPv4Network:
    """One that a VPC takes, and that nothing on an instance has for itself."""
    if not 16 <= value.prefixlen <= 24:
        raise ValueError("a network between /16, the largest that a VPC takes, and /24 is needed")
    if value.overlaps(OF_DOCKER):
        raise ValueError(f"Docker on the GPU instances has {OF_DOCKER} for itself; another network is needed")
    return value


def option(name: str) -> AfterValidator:
    """An option of a reconstruction, by its one definition."""

    def check(value: options.Value) -> options.Value:
        if wanted := options.needed_instead(name, value):
            raise ValueError(wanted)
        return value

    return AfterValidator(check)


def archive(value: str) -> str:
    """AETITLE@HOST:PORT, as the network can reach it, or nothing."""
    if value and ":" in Destination.parse(value).host:
        raise ValueError("the deployment's network has no IPv6; an IPv4 address or a name is needed")
    return value


def certificates(value: str) -> str:
    """A file of certificates, or nothing."""
    if value:
        try:
            ssl.create_default_context(cafile=value)
            n_bytes = len(Path(value).read_text(encoding="ascii"))
        except UnicodeDecodeError:
            raise ValueError(
                "a file of certificates (PEM) and nothing else is needed: leave the comments out"
            ) from None
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"a file of certificates (PEM) is needed: {error.strerror or error}") from None
        if n_bytes > MOST_CERTIFICATE_BYTES:
            raise ValueError(
                f"{n_bytes} bytes of certificates are more than fit into a task's environment "
                f"({MOST_CERTIFICATE_BYTES}); the archive's own, or its authority's, is enough"
            )
    return value
