"""The repository as the CDK's assets see it: which files go into the Lambdas and into the images."""

from pathlib import Path
from typing import Literal

from aws_cdk import Duration, IgnoreMode
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_lambda as lambda_
from aws_cdk.aws_ecr_assets import Platform
from constructs import Construct

REPOSITORY = Path(__file__).parents[1]
OPEN_FILES = 4096
"""Of a container: a study of a few thousand files is read one by one, never all at once."""
USER = "10001:10001"
"""Who a container runs as, whatever its image says; the user of the Dockerfiles, to whom scratch belongs."""

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


def bare_linux(scope: Construct) -> ecs.LinuxParameters:
    """For a container on Fargate: no capability of the kernel's, and a first process of Docker's own.

    That passes SIGTERM on, and collects what a reader's own process leaves behind. No container here needs a
    capability: each runs as a user who has none, and what walls it puts up (`raki.sandbox`) ask for none. Amazon ECS
    API Reference, KernelCapabilities: Fargate drops any, and adds SYS_PTRACE at most.
    """
    linux = ecs.LinuxParameters(scope, "Linux", init_process_enabled=True)
    linux.drop_capabilities(ecs.Capability.ALL)
    return linux


def limit_files(container: ecs.ContainerDefinition) -> None:
    """Open files, the one limit that Fargate lets a task set (Amazon ECS Developer Guide, "Resource limits")."""
    container.add_ulimits(ecs.Ulimit(name=ecs.UlimitName.NOFILE, soft_limit=OPEN_FILES, hard_limit=OPEN_FILES))


def worker_health_check() -> ecs.HealthCheck:
    """The HEALTHCHECK of the worker's Dockerfile for its task definition, since ECS reads none out of an image."""
    return ecs.HealthCheck(
        command=["CMD", "python", "-m", "containers.health"],
        interval=Duration.seconds(60),
        retries=3,
        start_period=Duration.seconds(120),
        timeout=Duration.seconds(30),
    )
