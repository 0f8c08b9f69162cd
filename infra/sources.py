"""The repository as the CDK's assets see it: which files go into the Lambdas and into the images."""

from pathlib import Path

from aws_cdk import IgnoreMode
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_ecr_assets import Platform

REPOSITORY = Path(__file__).parents[1]

# Read as a .dockerignore: everything is out but what is named, so that an asset's hash changes with its code alone.
_LAMBDA_FILES = ["*", "!lambdas", "!raki/__init__.py", "!raki/errors.py", "!raki/service", "**/__pycache__"]
_IMAGE_FILES = ["*", "!raki", "!containers", "!pyproject.toml", "**/__pycache__"]


def lambda_code() -> lambda_.Code:
    """All three handlers and `raki.service`: one archive, no dependency but the runtime's own boto3."""
    return lambda_.Code.from_asset(str(REPOSITORY), exclude=_LAMBDA_FILES, ignore_mode=IgnoreMode.DOCKER)


def image(name: str) -> ecs.ContainerImage:
    """The image of `containers/<name>`, built from the repository when it is deployed."""
    return ecs.ContainerImage.from_asset(
        str(REPOSITORY),
        file=f"containers/{name}/Dockerfile",
        exclude=_IMAGE_FILES,
        ignore_mode=IgnoreMode.DOCKER,
        platform=Platform.LINUX_AMD64,
    )
