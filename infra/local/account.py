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


def connect(service: str, endpoint: str) -> Client:
    """A boto3 client of the local server.

    Nothing is tried twice: a repeated CreateStack would create everything twice, and the server is next door. It sends
    no checksum of objects, as a file gateway doesn't.
    """
    return boto3.session.Session().client(
        service,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        config=Config(
            read_timeout=600,
            request_checksum_calculation="when_required",
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
        endpoint_url=endpoint,
        region_name=REGION,
    )


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
