"""The stacks of every profile, synthesised once and looked at by AWS's and HIPAA's rule packs on the way."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks, HIPAASecurityChecks
from filelock import FileLock

from infra.deployment import Deployment
from infra.local.deploy.synth import REPOSITORY
from infra.service import build
from tests.infra.simulator import decide, install

GATEWAY_ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"
CERTIFICATE_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:raki/pacs-AbCdEf"
# Between them they have every resource that a setting can ask for.
DEPLOYMENTS = MappingProxyType(
    {
        "minimal": {"raki:gateway_arn": GATEWAY_ARN, "raki:share_clients": "10.1.0.0/16"},
        "clinic": {
            "raki:gateway_arn": GATEWAY_ARN,
            "raki:share_protocol": "smb",
            "raki:smb_users": "@radiology",
            "raki:alarm_email": "operator@example.org",
            "raki:operators": "arn:aws:iam::123456789012:role/radiology, arn:aws:iam::123456789012:user/ann",
            "raki:monthly_budget_usd": "500",
            "raki:healthimaging": "new",
            "raki:pacs": "ARCHIVE@10.9.8.7:11112",
            "raki:pacs_tls": "true",
            "raki:pacs_certificate": CERTIFICATE_ARN,
            "raki:worker_architecture": "arm64",
        },
        "research": {
            "raki:gateway_on_ec2": "true",
            "raki:share_protocol": "smb",
            "raki:smb_authentication": "guest",
            "raki:share_clients": "10.1.0.0/16",
            "raki:audit_data_events": "true",
            "raki:backup": "cross-region",
            "raki:backup_copy_to": "arn:aws:backup:eu-central-1:123456789012:backup-vault:raki",
            "raki:object_lock_days": "30",
            "raki:scratch": "fsx-persistent",
            "raki:warm_gpus": "1",
            "raki:catalogue": "true",
            "raki:models": "s3://raki-models/clinic",
            "raki:researchers": "arn:aws:iam::123456789012:role/research",
        },
    }
)


@dataclass(frozen=True)
class Reviewed:
    """One deployment's templates by stack, and what the rule packs found."""

    folder: Path
    templates: dict
    findings: list
    """Rule and construct of what nobody has acknowledged."""
    acknowledged: set
    """Rules, with their pack, of what somebody has, and the reason."""


@pytest.fixture(scope="session", params=DEPLOYMENTS)
def reviewed(request, all_reviewed) -> Reviewed:
    return all_reviewed[request.param]


@pytest.fixture(scope="session")
def all_reviewed(tmp_path_factory, worker_id) -> dict[str, Reviewed]:
    """Every deployment of `DEPLOYMENTS`; made by the first process that asks."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "profiles"
    with FileLock(folder.with_suffix(".lock")):
        for profile in DEPLOYMENTS:
            if not (folder / profile / "validation-report.json").exists():
                synthesise_reviewed(folder / profile, {"raki:profile": profile, **DEPLOYMENTS[profile]})
    return {profile: read_reviewed(folder / profile) for profile in DEPLOYMENTS}


@pytest.fixture(scope="session")
def simulate(tmp_path_factory):
    """Gives of each case whether a simulator of IAM by other people allows it; see `tests.infra.simulator`."""
    folder = tmp_path_factory.mktemp("iam")
    install(folder)
    return partial(decide, folder)


def synthesise_reviewed(folder: Path, settings: dict) -> None:
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    app = cdk.App(context=context, outdir=str(folder))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), HIPAASecurityChecks(app))
    build(app, Deployment.from_context({**context, **settings}))
    try:
        app.synth()
    except RuntimeError as error:
        if "ValidationFailed" not in str(error):  # findings, which the report tells better
            raise


def read_reviewed(folder: Path) -> Reviewed:
    templates = {
        path.name.partition(".")[0]: json.loads(path.read_text()) for path in sorted(folder.glob("*.template.json"))
    }
    report = json.loads((folder / "validation-report.json").read_text())
    findings = [
        (violation["ruleName"], construct["constructPath"])
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    ]
    acknowledged = {
        (violation["acknowledgedId"], violation["reason"])
        for plugin in report["pluginReports"]
        for violation in plugin.get("suppressedViolations", [])
    }
    return Reviewed(folder=folder, templates=templates, findings=findings, acknowledged=acknowledged)
