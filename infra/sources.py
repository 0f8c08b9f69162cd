"""The repository as the CDK's assets see it: which files go into the Lambdas and into the images."""

from pathlib import Path
from typing import Literal

from aws_cdk import Duration, IgnoreMode
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_ecr_assets import Platform

REPOSITORY = Path(__file__).parents[1]

# Read as a .dockerignore: everything is out but what is named, so that an asset's hash changes with its code alone.
_LAMBDA_MODULES = ("__init__", "errors", "manifest", "names", "wording")
_LAMBDA_FILES = ["*", "!lambdas", "!raki/service", *(f"!raki/{name}.py" for name in _LAMBDA_MODULES)]
_IMAGE_FILES = ["*", "!raki", "!pyproject.toml", "!LICENSE", "!NOTICE", "!containers/*.py", "!containers/*.txt"]
_NO_FILES = ["**/__pycache__", "**/*.pyc"]

_PLATFORMS = {"x86_64": Platform.LINUX_AMD64, "arm64": Platform.LINUX_ARM64}


def lambda_code() -> lambda_.Code:
    """All handlers and `raki.service`: one archive, no dependency but the runtime's own boto3."""
    return lambda_.Code.from_asset(str(REPOSITORY), exclude=[*_LAMBDA_FILES, *_NO_FILES], ignore_mode=IgnoreMode.DOCKER)


def image(name: str, architecture: Literal["x86_64", "arm64"] = "x86_64") -> ecs.ContainerImage:
    """The image of `containers/<name>`, built when it is deployed. A change to the other image alone makes no new one.

    One for another architecture than the building machine's is built in emulation, which Docker has to be set up for.
    """
    return ecs.ContainerImage.from_asset(
        str(REPOSITORY),
        file=f"containers/{name}/Dockerfile",
        exclude=[*_IMAGE_FILES, f"!containers/{name}", *_NO_FILES],
        ignore_mode=IgnoreMode.DOCKER,
        platform=_PLATFORMS[architecture],
    )


def worker_health_check() -> ecs.HealthCheck:
    """The HEALTHCHECK of the worker's Dockerfile for its task definition, since ECS reads none out of an image."""
    return ecs.HealthCheck(
        command=["CMD", "python", "-m", "containers.health"],
        interval=Duration.seconds(60),
        retries=3,
        start_period=Duration.seconds(120),
        timeout=Duration.seconds(30),
    )
