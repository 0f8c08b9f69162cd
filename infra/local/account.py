"""The one account and region that the local cloud plays, and how programs reach it."""

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

import boto3
from botocore.config import Config

# A boto3 client: its methods exist only at run time, made from the service's description.
Client: TypeAlias = Any

ACCOUNT = "123456789012"
REGION = "us-east-1"
# The server checks no signature, but no client starts without a key.
KEY_ID = "local"
SECRET = "local"  # noqa: S105
_INHERITED = ("PATH", "LANG", "HOME")


def connect(service: str, endpoint: str, key_id: str = KEY_ID) -> Client:
    """A boto3 client of the local server, as whoever has the key.

    Nothing is tried twice: a repeated CreateStack would create everything twice, and the server is next door.
    """
    client: Client = boto3.session.Session().client(
        service,
        aws_access_key_id=key_id,
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=600, s3={"addressing_style": "path"}),
        endpoint_url=endpoint,
        region_name=REGION,
    )
    client.meta.events.register("before-call.s3.CopyObject", _name_a_checksum)
    return client


def _name_a_checksum(params: dict[str, Any], **_: object) -> None:
    """Where objects are locked by default moto asks copies for it, as AWS does for what is sent."""
    params["headers"]["x-amz-sdk-checksum-algorithm"] = "CRC64NVME"


def program_environment(endpoint: str, own: Mapping[str, object]) -> dict[str, str]:
    """What a Lambda or a container finds in its environment: what its template gives it and where the cloud is."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment.update(
        AWS_ACCESS_KEY_ID=KEY_ID,
        AWS_DEFAULT_REGION=REGION,
        AWS_ENDPOINT_URL=endpoint,
        AWS_REGION=REGION,
        AWS_SECRET_ACCESS_KEY=SECRET,
        PYTHONUNBUFFERED="1",
    )
    environment.update({name: str(value) for name, value in own.items()})
    return environment
