"""Reads a cloud assembly, `cdk.out`: its stacks in the order of deployment, its files and its container images."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from infra.local.account import ACCOUNT, REGION


@dataclass(frozen=True, kw_only=True)
class StackTemplate:
    """One stack to deploy."""

    name: str
    template: Path


@dataclass(frozen=True, kw_only=True)
class FileAsset:
    """A file or folder that a template refers to by bucket and key."""

    source: Path
    zipped: bool
    """Whether the object is a zip archive of the folder `source`."""
    bucket: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Image:
    """What stands for a container image: a build context, and what its Dockerfile says of how it starts."""

    directory: Path
    entry_point: list[str]
    command: list[str]
    environment: dict[str, str]


class UnknownImage(RuntimeError):
    """An image that isn't built from this assembly, or whose Dockerfile doesn't say what to run."""


def stacks(assembly: Path) -> list[StackTemplate]:
    """The assembly's stacks, each after those that it depends on.

    Raises:
        FileNotFoundError: `assembly` is no cloud assembly.
    """
    artifacts = _read_json(assembly / "manifest.json")["artifacts"]
    order = TopologicalSorter({name: artifact.get("dependencies", []) for name, artifact in artifacts.items()})
    return [
        StackTemplate(
            name=artifacts[name]["properties"].get("stackName", name),
            template=assembly / artifacts[name]["properties"]["templateFile"],
        )
        for name in order.static_order()
        if artifacts.get(name, {}).get("type") == "aws:cloudformation:stack"
    ]


def file_assets(assembly: Path) -> Iterator[FileAsset]:
    """Everything that is to be uploaded before the stacks are created, their own templates among it."""
    for manifest in _asset_manifests(assembly):
        for asset in manifest.get("files", {}).values():
            for destination in asset["destinations"].values():
                yield FileAsset(
                    source=assembly / asset["source"]["path"],
                    zipped=asset["source"]["packaging"] == "zip",
                    bucket=_filled(destination["bucketName"]),
                    key=_filled(destination["objectKey"]),
                )


def image(assembly: Path, reference: str) -> Image:
    """The image that a task or job definition refers to by `reference`, a registry address and a tag.

    Raises:
        UnknownImage: no image of the assembly has this tag, or its Dockerfile isn't understood.
    """
    tag = reference.rpartition(":")[2]
    for manifest in _asset_manifests(assembly):
        for asset in manifest.get("dockerImages", {}).values():
            if tag in (destination["imageTag"] for destination in asset["destinations"].values()):
                directory = assembly / asset["source"]["directory"]
                dockerfile = directory / asset["source"].get("dockerFile", "Dockerfile")
                return _read_dockerfile(directory.resolve(), dockerfile)
    raise UnknownImage(f"the image {reference} is none of the assembly's: build it from a directory of the repository")


def _read_dockerfile(directory: Path, dockerfile: Path) -> Image:
    """The last ENTRYPOINT and CMD, in their JSON form, and every ENV; what is built before them is this machine's."""
    text = re.sub(r"\\\n", " ", dockerfile.read_text())
    starts: dict[str, list[str]] = {"ENTRYPOINT": [], "CMD": []}
    environment: dict[str, str] = {}
    for instruction, rest in re.findall(r"^[ \t]*(ENTRYPOINT|CMD|ENV|FROM)[ \t]+(.*?)[ \t]*$", text, re.MULTILINE):
        if instruction == "FROM":
            starts, environment = {"ENTRYPOINT": [], "CMD": []}, {}
        elif instruction == "ENV":
            environment.update({name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|\S*)', rest)})
        else:
            starts[instruction] = _exec_form(dockerfile, instruction, rest)
    if not starts["ENTRYPOINT"]:
        raise UnknownImage(f"{dockerfile} has no ENTRYPOINT: say there what the container runs")
    return Image(directory=directory, entry_point=starts["ENTRYPOINT"], command=starts["CMD"], environment=environment)


def _exec_form(dockerfile: Path, instruction: str, text: str) -> list[str]:
    try:
        parts = json.loads(text)
    except ValueError:
        parts = None
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise UnknownImage(f'{dockerfile}: {instruction} {text} is not in the form ["program", "argument"]')
    return parts


def _asset_manifests(assembly: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(assembly.glob("*.assets.json")):
        yield _read_json(path)


def _filled(text: str) -> str:
    values = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws"}
    return re.sub(r"\$\{([A-Za-z:]+)\}", lambda found: values[found[1]], text)


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content
