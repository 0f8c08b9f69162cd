"""What differs between two deployments, and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Settings of one deployment: the keys `raki:…` of the context in cdk.json, or `cdk deploy -c raki:KEY=VALUE`."""

    gateway_arn: str
    """ARN of the activated S3 File Gateway that serves the share; empty where there is none yet."""
    share_clients: tuple[str, ...]
    """Addresses or networks (CIDR) that may mount the share; at least one where there is a gateway."""
    deidentify: bool
    """Whether results carry no patient, study or institution, but an opaque scan id."""
    max_decompression_workers: int
    max_reconstruction_jobs: int
    """How many GPU jobs may run at once: the cap on what the service spends per hour."""
    scans_per_job: int
    """How many waiting scans justify one more GPU job, whose instance takes minutes to start."""

    @classmethod
    def from_context(cls, context: Callable[[str], Any]) -> "Deployment":
        """Reads and checks the settings.

        Raises:
            ValueError: a field is missing or out of range; the message names it as it stands in cdk.json.
        """
        gateway_arn = context("raki:gateway_arn") or ""
        if gateway_arn and not gateway_arn.startswith("arn:"):
            raise ValueError(f"raki:gateway_arn is {gateway_arn!r}; an ARN of a Storage Gateway, or nothing, is needed")
        share_clients = tuple(client.strip() for client in (context("raki:share_clients") or "").split(",") if client)
        if gateway_arn and not share_clients:
            raise ValueError(
                "raki:share_clients is empty, and the share would be open to every host that reaches the gateway; "
                "name the networks that may mount it, as 10.1.0.0/16,10.2.3.4/32"
            )
        return cls(
            gateway_arn=gateway_arn,
            share_clients=share_clients,
            deidentify=_yes_or_no(context, "raki:deidentify"),
            max_decompression_workers=_positive(context, "raki:max_decompression_workers"),
            max_reconstruction_jobs=_positive(context, "raki:max_reconstruction_jobs"),
            scans_per_job=_positive(context, "raki:scans_per_job"),
        )


def _yes_or_no(context: Callable[[str], Any], key: str) -> bool:
    value = context(key)
    choices = {"true": True, "false": False}
    if str(value).lower() not in choices:
        raise ValueError(f"{key} is {value!r} in the context of cdk.json; true or false is needed")
    return choices[str(value).lower()]


def _positive(context: Callable[[str], Any], key: str) -> int:
    value = context(key)
    if value is None:
        raise ValueError(f"{key} is missing from the context in cdk.json; a whole number of 1 or more is needed")
    try:
        number = int(str(value))  # the command line's -c hands over strings
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"{key} is {value!r}; a whole number of 1 or more is needed")
    return number
