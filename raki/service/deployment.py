"""Where the parts of a deployment are: asked of CloudFormation, on AWS and in the local cloud alike."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from raki.errors import RakiError

ADDRESS_FILE = "cloud.json"
"""In the work folder of a local cloud, while that runs: what a boto3 client needs to reach it, and the share's path."""
WORK_FOLDERS = (".raki-local", "demo/work")
"""Where one that runs in the current folder has its work: by default, and by `make demo`."""
PATIENT = Config(retries={"mode": "adaptive", "max_attempts": 5})


class NoDeployment(RakiError):
    """There is no deployment of raki where it was looked for, or no way to it."""

    exit_code = 30


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployment, and how its services are reached."""

    where: str
    """In words."""
    connect: Callable[[str], BaseClient]
    ledger_table: str
    raw_bucket: str
    results_bucket: str
    ingest_queue_url: str
    scan_id_key: str
    """Read from its secret when the deployment is looked up, and kept nowhere."""
    log_groups: tuple[str, ...]
    takes_identity_out: bool
    send_queue_url: str = ""
    """Empty where results are sent to no picture archive."""
    pacs: str = ""
    """That archive, as AETITLE@HOST:PORT."""
    import_queue_url: str = ""
    """Empty where results are not imported into AWS HealthImaging."""
    data_store: str = ""
    """The id of the data store that they are imported into."""
    share: Path | None = None
    """The folder that stands for the share of a local cloud."""


def find_deployment(
    *, stack: str | None = None, profile: str | None = None, local: Path | None = None, folder: Path
) -> Deployment:
    """The deployment that is meant: what is named, else a local cloud that runs in `folder`, else AWS's.

    Args:
        stack: what the names of its stacks begin with.
        profile: of AWS's own configuration.
        local: the work folder of a local cloud.
        folder: where to look for one that isn't named.

    Raises:
        NoDeployment: there is none, or no way to it; the sentence says what to do.
    """
    if local is None and stack is None and profile is None:
        local = next((folder / name for name in WORK_FOLDERS if (folder / name / ADDRESS_FILE).exists()), None)
    if local is not None:
        return _local(local, stack or "Raki")
    try:
        session = boto3.session.Session(profile_name=profile)
        described = _described(lambda name: _client(session, name), stack or "Raki")
    except (BotoCoreError, ClientError) as error:
        raise NoDeployment(
            f"no deployment can be looked up on AWS: {str(error).rstrip('.')}. Name it by --stack and "
            "--profile, or a local cloud's work folder by --local"
        ) from error
    region = session.region_name
    return Deployment(
        where=f"AWS, {region}, stacks {stack or 'Raki'}*", connect=lambda name: _client(session, name), **described
    )


def _client(session: boto3.session.Session, name: str) -> BaseClient:
    return session.client(name, config=PATIENT)


def _local(work: Path, stack: str) -> Deployment:
    file = work / ADDRESS_FILE
    try:
        address: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise NoDeployment(
            f"no local cloud runs in '{work}', for there is no {ADDRESS_FILE} in it: start `raki local`, or name its "
            "--work folder by --local"
        ) from None
    share = Path(address.pop("share"))
    session = boto3.session.Session()

    def connect(name: str) -> BaseClient:
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return session.client(name, config=config, **address)

    try:
        described = _described(connect, stack)
    except (BotoCoreError, ClientError) as error:
        raise NoDeployment(
            f"the local cloud of '{work}' doesn't answer, or has nothing deployed ({type(error).__name__}): start "
            "`raki local` anew, or name a deployment on AWS by --stack"
        ) from error
    return Deployment(where=f"the local cloud at {address['endpoint_url']}", connect=connect, share=share, **described)


def _described(connect: Callable[[str], BaseClient], stack: str) -> dict[str, Any]:
    """The fields of a deployment that its stacks tell of."""
    cloudformation = connect("cloudformation")
    (storage,) = cloudformation.describe_stacks(StackName=f"{stack}Storage")["Stacks"]
    (pipeline,) = cloudformation.describe_stacks(StackName=f"{stack}Pipeline")["Stacks"]
    outputs = {
        output["OutputKey"]: output["OutputValue"] for found in (storage, pipeline) for output in found["Outputs"]
    }
    needed = (
        "LedgerTable",
        "RawBucket",
        "ResultsBucket",
        "IngestQueueUrl",
        "ScanIdKey",
        "LogGroups",
        "TakesIdentityOut",
    )
    if missing := [name for name in needed if name not in outputs]:
        raise NoDeployment(
            f"the stacks {stack}Storage and {stack}Pipeline have no output {missing[0]}: they were deployed by an "
            "earlier version; deploy this one"
        )
    return {
        "ledger_table": outputs["LedgerTable"],
        "raw_bucket": outputs["RawBucket"],
        "results_bucket": outputs["ResultsBucket"],
        "ingest_queue_url": outputs["IngestQueueUrl"],
        "scan_id_key": connect("secretsmanager").get_secret_value(SecretId=outputs["ScanIdKey"])["SecretString"],
        "log_groups": tuple(outputs["LogGroups"].split(",")),
        "takes_identity_out": outputs["TakesIdentityOut"] == "true",
        "send_queue_url": outputs.get("SendQueueUrl", ""),
        "pacs": outputs.get("Pacs", ""),
        "import_queue_url": outputs.get("ImportQueueUrl", ""),
        "data_store": outputs.get("DataStore", ""),
    }
