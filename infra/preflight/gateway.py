"""The gateway on site: whether AWS reaches it, and whether it is set up for the share that is asked for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.deployment import PREFIX, Deployment
from infra.preflight.finding import Finding, Place, State, verdict

SOON = timedelta(days=90)


def check_gateway(place: Place) -> Iterator[Finding]:
    """State, version, cache, and the directory or the guests' password. AWS Storage Gateway API reference."""
    arn = place.deployment.gateway_arn
    _, _, _, region, account, _ = arn.split(":", 5)
    here = (region, account) == (place.region, place.account)
    yield Finding(
        subject="gateway's account and region",
        found=f"{account} in {region}",
        needed=f"{place.account} in {place.region}",
        state=verdict(here),
        remedy="" if here else f"deploy there, or set {PREFIX}gateway_arn to a gateway that is activated here",
    )
    if not here:
        return
    client = place.client("storagegateway")
    try:
        about = client.describe_gateway_information(GatewayARN=arn)
    except client.exceptions.InvalidGatewayRequestException as error:
        # Also what is said of one that is activated and can't be reached now.
        yield Finding(
            subject="gateway",
            found=error.response["Error"]["Message"].rstrip("."),
            needed="activated and connected",
            state=State.BLOCKS,
            remedy=f"start it and look at its network, or correct {PREFIX}gateway_arn",
        )
        return
    yield from _described(about)
    yield _cache(client, arn)
    if place.deployment.share_protocol == "smb":
        yield _who_may(client, arn, place.deployment)


def _described(about: dict[str, Any]) -> Iterator[Finding]:
    kind, state = about.get("GatewayType", "unknown"), about.get("GatewayState", "unknown")
    yield Finding(
        subject="gateway's kind",
        found=kind,
        needed="FILE_S3",
        state=verdict(kind == "FILE_S3"),
        remedy="" if kind == "FILE_S3" else "activate an S3 File Gateway; another kind has no such shares",
    )
    yield Finding(
        subject="gateway's state",
        found=state,
        needed="RUNNING",
        state=verdict(state == "RUNNING"),
        remedy="" if state == "RUNNING" else "start the appliance, and look whether it reaches AWS (port 443)",
    )
    ends = [about[key] for key in ("SoftwareUpdatesEndDate", "DeprecationDate") if about.get(key)]
    end = min((datetime.fromisoformat(text).replace(tzinfo=UTC) for text in ends), default=None)
    fresh = end is None or end > datetime.now(UTC) + SOON
    yield Finding(
        subject="gateway's software",
        found=about.get("SoftwareVersion", "unknown") + (f", updated until {end:%Y-%m-%d}" if end else ""),
        needed="a version that AWS goes on updating",
        state=verdict(fresh, otherwise=State.ADVICE),
        remedy="" if fresh else "replace the appliance by a new one before that day",
    )


def _cache(client: Any, arn: str) -> Finding:
    gib = client.describe_cache(GatewayARN=arn).get("CacheAllocatedInBytes", 0) / 2**30
    # S3 File Gateway user guide, "Hardware and storage requirements".
    return Finding(
        subject="gateway's cache",
        found=f"{gib:.0f} GiB",
        needed="150 GiB",
        state=State.BLOCKS if not gib else verdict(gib >= 150, otherwise=State.ADVICE),
        remedy="" if gib >= 150 else "give the appliance a disk of 150 GiB and more, and make it its cache",
    )


def _who_may(client: Any, arn: str, deployment: Deployment) -> Finding:
    """A directory that was joined, or the password of all guests."""
    settings = client.describe_smb_settings(GatewayARN=arn)
    if deployment.smb_authentication == "guest":
        good = bool(settings.get("SMBGuestPasswordSet"))
        found, needed, remedy = ("set" if good else "not set"), "set", "aws storagegateway set-smb-guest-password"
        subject = "guests' password"
    else:
        status = settings.get("ActiveDirectoryStatus", "DETACHED")
        good = status == "JOINED"
        found, needed = f"{settings.get('DomainName', 'no domain')}: {status}", "JOINED"
        subject, remedy = "gateway's directory", "aws storagegateway join-domain"
    return Finding(
        subject=subject,
        found=found,
        needed=needed,
        state=verdict(good),
        remedy="" if good else f"{remedy} --gateway-arn {arn} …",
    )
