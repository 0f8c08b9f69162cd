"""Deploys a cloud assembly as `cdk deploy` does: assets into the bootstrap bucket, then the stacks, in order."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from infra.local.account import REGION, Client
from infra.local.deploy import assembly
from infra.local.journal import Journal

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = "30"


class DeploymentFailed(RuntimeError):
    """A stack wasn't created; the message names the resource and its reason."""


def deploy(path: Path, connect: Callable[[str], Client], journal: Journal) -> None:
    """Creates every stack of the assembly at `path`.

    Raises:
        DeploymentFailed: a stack can't be created.
    """
    connect("ssm").put_parameter(Name=BOOTSTRAP_PARAMETER, Value=BOOTSTRAP_VERSION, Type="String", Overwrite=True)
    _upload_assets(path, connect("s3"))
    cloudformation = connect("cloudformation")
    for stack in assembly.stacks(path):
        try:
            cloudformation.create_stack(
                StackName=stack.name,
                TemplateBody=stack.template.read_text(),
                Capabilities=["CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            )
        except ClientError as error:
            raise DeploymentFailed(f"stack {stack.name}: {error.response['Error']['Message']}") from error
        except ResponseParserError as error:
            raise DeploymentFailed(f"stack {stack.name}: the server failed, logs/server.log says at what") from error
        status = cloudformation.describe_stacks(StackName=stack.name)["Stacks"][0]["StackStatus"]
        if status != "CREATE_COMPLETE":
            raise DeploymentFailed(f"stack {stack.name} ended as {status}")
        journal.note("deployed", f"stack {stack.name}")


def _upload_assets(path: Path, s3: Client) -> None:
    buckets = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for asset in assembly.file_assets(path):
        if asset.bucket not in buckets:
            create_bucket(s3, asset.bucket)
            buckets.add(asset.bucket)
        body = _zip(asset.source) if asset.zipped else asset.source.read_bytes()
        s3.put_object(Bucket=asset.bucket, Key=asset.key, Body=body)


def create_bucket(s3: Client, name: str) -> None:
    """A bucket of the region."""
    place = {} if REGION == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
    s3.create_bucket(Bucket=name, **place)


def _zip(folder: Path) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                target.write(path, path.relative_to(folder).as_posix())
    return archive.getvalue()
