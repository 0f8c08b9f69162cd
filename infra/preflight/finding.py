"""One line of what `raki preflight` finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from infra.deployment import Deployment


class State(StrEnum):
    """What a finding means for the deployment."""

    OK = "ok"
    ADVICE = "advice"
    """It can be deployed, but something of it will wait, fail at first or be less than was asked for."""
    BLOCKS = "blocks"
    UNKNOWN = "unknown"
    """Whoever asks may not look, or AWS didn't answer."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What there is, what is needed, and what is to be done about the difference."""

    subject: str
    found: str
    needed: str
    state: State
    remedy: str = ""
    """Empty where nothing is to be done."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it is to be deployed to, and how AWS is asked there."""

    client: Callable[[str], Any]
    """A boto3 client of this account and region, by its service's name."""
    account: str
    region: str
    deployment: Deployment


NO_SUCH_STACK = "ValidationError"
"""CloudFormation's word for it."""
NO_SUCH_THING = ("InvalidSubnetID.NotFound", "InvalidVpcID.NotFound", "ResourceNotFoundException")
"""What services say of a name that the settings have and the account doesn't."""


def asked(subject: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings, and one in place of those that AWS refuses to tell."""
    try:
        yield from findings
    except ClientError as error:
        what = error.response.get("Error", {})
        code = what.get("Code", "no code")
        if code in NO_SUCH_THING:
            yield Finding(
                subject=subject,
                found=what.get("Message", code).rstrip("."),
                needed="what the settings name",
                state=State.BLOCKS,
                remedy="correct the setting, or look at another account or region",
            )
            return
        yield Finding(
            subject=subject,
            found=f"{error.operation_name}: {code}",
            needed="an answer",
            state=State.UNKNOWN,
            remedy=f"look with credentials that may call {error.operation_name}, or by hand",
        )
    except (BotoCoreError, ResponseParserError) as error:
        yield Finding(
            subject=subject,
            found=str(error).partition("\n")[0].rstrip("."),
            needed="an answer",
            state=State.UNKNOWN,
            remedy="look whether the service is offered in this region and can be reached from here",
        )


def verdict(good: bool, *, otherwise: State = State.BLOCKS) -> State:
    """Good, or what it is if it isn't."""
    return State.OK if good else otherwise
