"""A local cloud in a process of its own, for an assembly other than that of the other tests: a process has one cloud.

Run as a program with the folders of the assembly, the work and the share: it deploys, prints its endpoint or the
failure, and ends with its standard input.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from infra.local.cloud import LocalCloud, LocalSettings
from infra.local.deploy.deployment import DeploymentFailed

SPEED = 60.0


class NotDeployed(Exception):
    pass


@dataclass(frozen=True)
class Deployed:
    endpoint: str
    work: Path
    share: Path

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.endpoint)

    @property
    def outputs(self) -> dict[str, str]:
        stacks = self.client("cloudformation").describe_stacks()["Stacks"]
        return {item["OutputKey"]: item["OutputValue"] for stack in stacks for item in stack.get("Outputs", [])}

    def events(self, what: str) -> list[str]:
        lines = [json.loads(line) for line in (self.work / "events.log").read_text().splitlines()]
        return [line["detail"] for line in lines if line["what"] == what]


@contextmanager
def deployed(assembly: Path, folder: Path) -> Iterator[Deployed]:
    work, share = folder / "work", folder / "share"
    argv = [sys.executable, "-W", "error", "-m", "tests.local.deploying", str(assembly), str(work), str(share)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        answer = json.loads(process.stdout.readline() or '{"failed": "the process ended"}')
        if "failed" in answer:
            raise NotDeployed(answer["failed"])
        yield Deployed(endpoint=answer["endpoint"], work=work, share=share)
        process.stdin.close()
        assert process.wait(120) == 0


def main(assembly: Path, work: Path, share: Path) -> None:
    with LocalCloud(LocalSettings(assembly=assembly, work=work, share=share, speed=SPEED)) as cloud:
        try:
            cloud.deploy()
        except DeploymentFailed as failure:
            say(failed=str(failure))
            return
        say(endpoint=cloud.endpoint)
        sys.stdin.read()


def say(**answer: str) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
