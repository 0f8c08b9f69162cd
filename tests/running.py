"""`raki local` as a process of its own, and how a test talks to it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import boto3
import pytest
from botocore.client import BaseClient

from raki.service.ledger import Ledger, ScanRecord, State

RAKI = str(Path(sys.executable).parent / "raki")
PATIENCE_S = 150
POLL_S = 0.2


@dataclass(frozen=True)
class Service:
    process: subprocess.Popen
    share: Path
    work: Path
    endpoint: str

    def client(self, name: str) -> BaseClient:
        return boto3.client(name, endpoint_url=self.endpoint)

    def output(self, key: str) -> str:
        (stack,) = self.client("cloudformation").describe_stacks(StackName="RakiStorage")["Stacks"]
        return next(output["OutputValue"] for output in stack["Outputs"] if output["OutputKey"] == key)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.client("dynamodb"), self.output("LedgerTable"))

    @cached_property
    def _scan_ids(self) -> dict[str, str]:
        return {}

    def scan(self, key: str) -> ScanRecord | None:
        """Looked for among all scans until it is there, and by its id from then on: moto is slow to tell of many."""
        if key not in self._scan_ids:
            self._scan_ids.update((scan.raw_key, scan.scan_id) for scan in self.ledger.scans())
        return self.ledger.get(self._scan_ids[key]) if key in self._scan_ids else None

    def drop(self, file: Path, key: str) -> None:
        target = self.share / "raw" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)

    def wait_until(self, condition, what: str):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "raki local has ended by itself"
            if found := condition():
                return found
            time.sleep(POLL_S)
        pytest.fail(
            f"{what} did not happen in {PATIENCE_S} s; the last events:\n" + "\n".join(map(str, self.events[-25:]))
        )

    def wait_for_results(self, folder: str) -> Path:
        place = self.share / "results" / folder
        self.wait_until(lambda: is_complete(place), f"the results of {folder} on the share")
        return place

    def wait_for_end(self, key: str) -> ScanRecord:
        def ended():
            scan = self.scan(key)
            return scan if scan and State.DELIVERED in scan.entered_at else None

        return self.wait_until(ended, f"the end of {key}")

    @property
    def events(self) -> list[dict]:
        return [json.loads(line) for line in (self.work / "events.log").read_text().splitlines()]

    def happened(self, what: str) -> list[dict]:
        return [event for event in self.events if event["what"] == what]

    def processes(self, name: str) -> list[int]:
        """Ids of the service's own processes that run the module `name`."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    command = (folder / "cmdline").read_bytes().split(b"\0")
                    environment = (folder / "environ").read_bytes()
                except OSError:
                    continue
                if name.encode() in command and self.endpoint.encode() in environment:
                    found.append(int(folder.name))
        return found


def is_complete(folder: Path) -> bool:
    manifest = folder / "manifest.json"
    if not manifest.exists():
        return False
    return all((folder / entry["name"]).exists() for entry in json.loads(manifest.read_text())["files"])


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Service]:
    """Starts the service in `folder`, stops it with Ctrl-C's signal, and sees that nothing is left of it."""
    command = [RAKI, "local", "--share", str(folder / "share"), "--work", str(folder / "work"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if "Ctrl-C ends" in line:
                    break
            words = " ".join(said).split()
            endpoint = next((word.strip(",") for word in words if word.startswith("http://127.0.0.1:")), None)
            assert endpoint, f"raki local said: {''.join(said)}"
            service = Service(process=process, share=folder / "share", work=folder / "work", endpoint=endpoint)
            yield service
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=30)[0]
        finally:
            process.kill()
    assert process.returncode == 0, rest
    assert "Traceback" not in rest, rest
    for module in ("containers.decompress", "containers.reconstruct", "awslambdaric"):
        assert not service.processes(module), f"{module} outlived raki local"
