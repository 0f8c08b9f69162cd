"""The local cloud that chaos befalls, and what can be seen of it from outside."""

import base64
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import h5py
from awscrt import checksums

from benchmarks.chaos_faults import APP, Requests
from benchmarks.chaos_plan import QUEUES
from infra.local.account import KEY_ID, REGION, SECRET
from infra.local.cloud import LocalCloud, LocalSettings
from infra.local.run import tasks
from raki.phantom.simulation import simulate_scan
from raki.service import reconciliation
from raki.service.ledger import Ledger, ScanRecord, State
from raki.service.messages import scan_id_of
from raki.service.settings import ReconcileSettings, from_environment

SPEED = 60.0
STILL = timedelta(seconds=30)
"""Stands for the reconciler's ten minutes. Longer than any wait between two attempts is here."""
AGAIN = timedelta(seconds=60)
OVERDUE = timedelta(hours=1)
RESTART_S = 2.0
"""Stands for the minute after which ECS, at the latest, starts a worker anew."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One running cloud, and the folder of its share."""

    cloud: LocalCloud
    requests: Requests
    folder: Path

    @cached_property
    def _storage(self) -> dict[str, Any]:
        (stack,) = self.cloud.client("cloudformation").describe_stacks(StackName="RakiStorage")["Stacks"]
        return dict(stack)

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Of the stack that holds the data, by their names."""
        return {output["OutputKey"]: output["OutputValue"] for output in self._storage["Outputs"]}

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self._dynamodb, self.outputs["LedgerTable"])

    @cached_property
    def _dynamodb(self) -> Any:
        """Tries again, unlike the cloud's own client: moto's Scan fails where somebody writes just then."""
        return boto3.client(
            "dynamodb",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            endpoint_url=self.cloud.endpoint,
            region_name=REGION,
        )

    @cached_property
    def queues(self) -> dict[str, str]:
        """URLs of the three queues, and of their dead letters as NAME-dead."""
        found = {}
        for url in self.cloud.client("sqs").list_queues()["QueueUrls"]:
            for name in QUEUES:
                if f"-{name}Queue" in url:
                    found[name] = url
                elif f"-{name}DeadLetters" in url:
                    found[f"{name}-dead"] = url
        return found

    @cached_property
    def reconcile_settings(self) -> ReconcileSettings:
        functions = self.cloud.client("lambda").list_functions()["Functions"]
        (variables,) = (f["Environment"]["Variables"] for f in functions if f["Handler"] == "lambdas.reconcile.handler")
        return from_environment(ReconcileSettings, variables)

    @property
    def results(self) -> Path:
        return self.folder / "share" / "results"

    def put(self, key: str, content: bytes) -> None:
        """Into the bucket, as the gateway does: there it has its notification."""
        place = {"Bucket": self.outputs["RawBucket"], "Key": key}
        self.cloud.client("s3").put_object(**place, Body=content, ChecksumAlgorithm="CRC64NVME")

    def scan_id(self, key: str, content: bytes) -> str:
        """That of the scan which such a content under such a key is."""
        # As raki.service.standing and infra/storage make them.
        known_by = f"CRC64NVME:{crc64(content)}:{len(content)}"
        secret = self.cloud.client("secretsmanager").get_secret_value(SecretId=self.outputs["ScanIdKey"])
        return scan_id_of(self.outputs["RawBucket"], key, known_by, secret["SecretString"])

    def records(self) -> dict[str, ScanRecord]:
        """All that the ledger knows, by id."""
        return {record.scan_id: record for record in self.ledger.scans()}

    def manifest(self, folder: str) -> dict[str, Any]:
        """As the share shows it; empty where it shows none."""
        try:
            found: dict[str, Any] = json.loads((self.results / folder / "manifest.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def image(self, folder: str) -> str:
        """A digest of the samples of the image on the share; empty where there is none."""
        try:
            with h5py.File(self.results / folder / "image.h5") as file:
                return hashlib.sha256(file["dataset/image_0/data"][()].tobytes()).hexdigest()
        except (OSError, KeyError):
            return ""

    def n_messages(self, queue: str) -> int:
        """Waiting, held and delayed."""
        names = ["", "NotVisible", "Delayed"]
        names = [f"ApproximateNumberOfMessages{name}" for name in names]
        sqs = self.cloud.client("sqs")
        told = sqs.get_queue_attributes(QueueUrl=self.queues[queue], AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)

    def purge(self, queue: str) -> bool:
        """Takes all messages out, once a minute at most. Amazon SQS API reference, "PurgeQueue"."""
        sqs = self.cloud.client("sqs")
        try:
            sqs.purge_queue(QueueUrl=self.queues[queue])
        except sqs.exceptions.PurgeQueueInProgress:
            return False
        return True

    def reconcile(self) -> Counter[str]:
        """One round of the reconciler, whose waits are seconds here."""
        from lambdas.reconcile import Clients, Reconciler  # noqa: PLC0415 - connects to AWS when it is loaded

        clients = Clients(s3=self.cloud.client("s3"), sqs=self.cloud.client("sqs"), dynamodb=self._dynamodb)
        with patch.multiple(reconciliation, STILL=STILL, AGAIN=AGAIN, OVERDUE=OVERDUE):
            return Counter(Reconciler(self.reconcile_settings, clients).run(datetime.now(UTC)))

    def is_shown(self, record: ScanRecord) -> bool:
        """Whether it has come to its end, and the share shows which."""
        return State.DELIVERED in record.entered_at and (
            self.manifest(record.results_folder).get("scan_id") == record.scan_id
        )


@contextmanager
def running(folder: Path, assembly: Path) -> Iterator[Service]:
    """Starts the cloud with the layer that spoils its requests in front of it; ends what it has started."""
    settings = LocalSettings(share=folder / "share", work=folder / "work", assembly=assembly, speed=SPEED)
    requests = Requests()
    environment = {"AWS_SDK_UA_APP_ID": APP, "AWS_DEFAULT_REGION": "us-east-1"}
    with (
        patch.dict(os.environ, environment),
        patch.object(tasks, "_LONGEST_WAIT_S", RESTART_S),
        requests.installed(),
        _quiet(folder / "chaos.log"),
        LocalCloud(settings) as cloud,
    ):
        cloud.deploy()
        yield Service(cloud=cloud, requests=requests, folder=folder)


@contextmanager
def _quiet(path: Path) -> Iterator[None]:
    """What the reconciler logs in this process goes into a file."""
    logger = logging.getLogger("raki")
    before, level, propagate = logger.handlers[:], logger.level, logger.propagate
    import lambdas.reconcile  # noqa: PLC0415, F401 - it configures its logs when it is loaded

    handler = logging.FileHandler(path, encoding="utf-8")
    logger.handlers[:] = [handler]
    try:
        yield
    finally:
        handler.close()
        logger.handlers[:] = before
        logger.setLevel(level)
        logger.propagate = propagate


def crc64(content: bytes) -> str:
    """As S3 states it; see `raki.service.standing`."""
    return base64.b64encode(checksums.crc64nvme(content).to_bytes(8, "big")).decode()


def contents(folder: Path, n_sound: int) -> list[bytes]:
    """Tiny scans, and after them a file that is none."""
    made = []
    for number in range(n_sound):
        path = folder / f"{number}.h5"
        simulate_scan(path, n_slices=1, n_coils=2, matrix=24, acceleration=2, n_acs_lines=8, seed=number)
        made.append(path.read_bytes())
    return [*made, b"Dear grandma, " * 100]
