"""`raki preflight`: whether an account and a region can take the deployment that cdk.json asks for."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.deployment import Deployment, SettingsError
from raki.errors import RakiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.preflight.finding import Finding

CONSOLE = Console()
SETTINGS = Path(__file__).parents[2] / "cdk.json"
COLOURS = {"ok": "green", "advice": "yellow", "blocks": "red", "unknown": "magenta"}


class NotReady(RakiError):
    """The account or the region can't take the deployment yet; the lines above say what blocks it."""

    exit_code = 37


def preflight(
    context: Annotated[
        list[str] | None,
        typer.Option("--context", "-c", metavar="KEY=VALUE", help="A setting, as `cdk deploy` takes it."),
    ] = None,
    region: Annotated[str | None, typer.Option(help="Where to deploy to, instead of the profile's own.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of AWS's own configuration.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say whether the account and region can take the deployment that cdk.json asks for, and what to ask for.

    It only reads. Of quotas, what the deployment takes is compared with what the account may have; what else runs there
    comes on top.
    """
    findings = list(_findings(_deployment(context or []), region, profile))
    if as_json:
        typer.echo(json.dumps(as_values(findings), indent=2))
    else:
        CONSOLE.print(as_table(findings))
    if blocking := [one.subject for one in findings if one.state == "blocks"]:
        raise NotReady(f"{len(blocking)} of {len(findings)} lines block the deployment: {', '.join(blocking)}")


def as_values(findings: "Iterable[Finding]") -> dict[str, Any]:
    """The document of `--json`."""
    values = [asdict(one) for one in findings]
    return {
        "ready": not any(one["state"] == "blocks" for one in values),
        "unknown": sum(one["state"] == "unknown" for one in values),
        "findings": values,
    }


def as_table(findings: "Iterable[Finding]") -> Table:
    """The table for people."""
    table = Table(show_lines=True)
    for title in ("", "what", "found", "needed", "what to do"):
        table.add_column(title, overflow="fold")
    for one in findings:
        state = f"[{COLOURS[one.state]}]{one.state}[/]"
        table.add_row(state, *(escape(text) for text in (one.subject, one.found, one.needed, one.remedy)))
    return table


def _findings(deployment: Deployment, region: str | None, profile: str | None) -> "Iterable[Finding]":
    client, where, why = connected(region, profile)
    from infra.preflight.checks import identity, look
    from infra.preflight.finding import Finding, State

    if client is None:
        yield Finding(
            subject="credentials",
            found=why,
            needed="a region and credentials",
            state=State.BLOCKS,
            remedy="name them by --region and --profile, or by aws configure",
        )
        return
    place, who = identity(client, where, deployment)
    yield who
    if place:
        yield from look(place)


def connected(region: str | None, profile: str | None) -> "tuple[Callable[[str], Any] | None, str, str]":
    """How clients are made, and the region; or neither, and why.

    Raises:
        NotInstalled: boto3 is missing.
    """
    from functools import cache

    from raki.commands.operating import NotInstalled

    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ModuleNotFoundError:
        raise NotInstalled("raki preflight needs the package boto3: pip install 'raki-mri[service]'") from None
    try:
        session = boto3.session.Session(profile_name=profile, region_name=region)
    except BotoCoreError as error:
        return None, "", str(error).rstrip(".")
    if not session.region_name:
        return None, "", "no region is set"
    config = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "max_attempts": 4})
    return cache(lambda service: session.client(service, config=config)), session.region_name, ""


def _deployment(context: list[str]) -> Deployment:
    """The settings of cdk.json, and over them what is given."""
    settings = json.loads(SETTINGS.read_text(encoding="utf-8"))["context"]
    for setting in context:
        key, equals, value = setting.partition("=")
        if not equals:
            raise typer.BadParameter(f"{setting} is no KEY=VALUE, as raki:profile=clinic", param_hint="--context")
        settings[key] = value
    try:
        return Deployment.from_context(settings)
    except SettingsError as error:
        raise typer.BadParameter(str(error), param_hint="cdk.json or --context") from None
