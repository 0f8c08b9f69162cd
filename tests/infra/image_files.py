"""Reads the files that the container images are made of."""

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.sources import REPOSITORY

NAMES = ["compact", "decompress", "reconstruct", "send"]
# The service runs no streaming server: its image is built by hand.
ALL = [*NAMES, "serve"]
# torch's build for CUDA asks for these. The one that tests run with may be another, which doesn't.
CUDA = re.compile(r"(nvidia|cuda)-|triton$")


def read_dockerfile(name: str) -> list[tuple[str, str]]:
    """Instructions and what follows them, continued lines joined, arguments of the build put in by their defaults."""
    text = (REPOSITORY / f"containers/{name}/Dockerfile").read_text()
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    for argument, default in re.findall(r"^ARG (\w+)=(\S+)\n", text, re.MULTILINE):
        text = re.sub(rf"^ARG {argument}=.*\n", "", text, flags=re.MULTILINE).replace(f"${{{argument}}}", default)
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


def last(name: str, instruction: str) -> str:
    return [rest for found, rest in read_dockerfile(name) if found == instruction][-1]


def copied_to(name: str, root: str) -> list[tuple[str, str]]:
    """The files that the build stage copies below a folder, as patterns, and where below it."""
    copies = [rest.split() for found, rest in read_dockerfile(name) if found == "COPY" and "--from" not in rest]
    return [(source, target[len(root) + 1 :]) for *sources, target in copies for source in sources
            if target.startswith(f"{root}/")]  # fmt: skip


def requirements(file: str) -> dict[str, Requirement]:
    lines = re.sub(r"\\\n", " ", (REPOSITORY / file).read_text()).splitlines()
    found = [Requirement(line.split(" --hash")[0].split("#")[0]) for line in lines if re.match(r"[A-Za-z]", line)]
    return {canonicalize_name(one.name): one for one in found}


def asked_for(name: str) -> dict[str, Requirement]:
    return requirements(f"containers/{name}/requirements.in")


def locked(name: str) -> dict[str, str]:
    lock = requirements(f"containers/{name}/requirements.txt")
    return {one: str(requirement.specifier) for one, requirement in lock.items()}
