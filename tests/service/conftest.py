"""The ledger, a queue with dead letters and a results bucket, new for each test, in one moto server."""

import json
import uuid
from dataclasses import dataclass
from random import Random

import boto3
import pytest
from botocore.client import BaseClient
from moto.server import ThreadedMotoServer

from containers.decompress.__main__ import Worker
from containers.reconstruct.__main__ import Job
from raki.options import Options
from raki.service.bookkeeping import Bookkeeping
from raki.service.lease import Consumer
from raki.service.ledger import Ledger, State
from raki.service.protection import Protection
from raki.service.settings import DecompressSettings, ReconstructSettings
from raki.service.stage import Stage
from tests.embedded_metrics import logged
from tests.service.agent import running_agent
from tests.service.dropping import HOURLY_USD, KEY, deliver


@dataclass(frozen=True)
class Cloud:
    s3: BaseClient
    sqs: BaseClient
    ledger: Ledger
    books: Bookkeeping
    queue_url: str
    dead_letters_url: str
    bucket: str

    def stage(
        self, state: State = State.DECOMPRESSING, owner: str = "worker-1", protection: Protection | None = None
    ) -> Stage:
        return Stage(
            state=state,
            consumer=Consumer(self.sqs, self.queue_url, self.dead_letters_url),
            ledger=self.ledger,
            s3=self.s3,
            results_bucket=self.bucket,
            owner=owner,
            protection=protection or Protection(),
            jitter=Random(0),
        )

    def dead_letters(self) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=self.dead_letters_url, MaxNumberOfMessages=10)
        return [message["Body"] for message in found.get("Messages", [])]

    def n_messages(self) -> tuple[int, int]:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


def arrive(ledger, scan_id, scan):
    """Enters a scan that stands in the bucket."""
    record, _ = ledger.arrive(scan.key, lambda: (scan_id, scan))
    return record


@pytest.fixture
def agent():
    with running_agent() as agent:
        yield agent


@pytest.fixture
def written():
    """What the code under test logs."""
    with logged() as written:
        yield written


@pytest.fixture(scope="session")
def clients():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield [boto3.client(name, endpoint_url=f"http://{host}:{port}") for name in ("s3", "sqs", "dynamodb")]
    server.stop()


@pytest.fixture
def cloud(clients):
    s3, sqs, dynamodb = clients
    name = f"test-{uuid.uuid4()}"
    s3.create_bucket(Bucket=name)
    dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": 6}
    attributes = {"VisibilityTimeout": "30", "RedrivePolicy": json.dumps(redrive)}
    queue_url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    create_ledger_table(dynamodb, name)
    ledger, books = Ledger(dynamodb, name), Bookkeeping(dynamodb, name)
    return Cloud(s3=s3, sqs=sqs, ledger=ledger, books=books, queue_url=queue_url, dead_letters_url=dead, bucket=name)


def create_ledger_table(dynamodb: BaseClient, name: str) -> None:
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "scan_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "scan_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture
def site(cloud, raw, monkeypatch):
    """A scan in the raw bucket and its notification in the ingest queue; one bucket has all the roles."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.s3.meta.endpoint_url)
    deliver(cloud, KEY, raw.read_bytes())
    return cloud


@pytest.fixture
def reconstruct_queue(site):
    return site.sqs.create_queue(QueueName=f"{site.bucket}-reconstruct")["QueueUrl"]


@pytest.fixture
def worker(site, reconstruct_queue, agent):
    settings = DecompressSettings(
        deidentify=False,
        gateway_role=None,
        ingest_dead_letters_url=site.dead_letters_url,
        ingest_queue_url=site.queue_url,
        ledger_table=site.bucket,
        prepared_bucket=site.bucket,
        reconstruct_queue_url=reconstruct_queue,
        results_bucket=site.bucket,
        scan_id_key="key",
    )
    return Worker(settings, Protection(agent.uri))


@pytest.fixture
def job(site, reconstruct_queue, tmp_path, monkeypatch, request):
    monkeypatch.setattr("containers.reconstruct.__main__.PATIENCE_S", 0)
    settings = ReconstructSettings(
        hourly_usd=HOURLY_USD,
        ledger_table=site.bucket,
        models=None,
        prepared_folder=getattr(request, "param", str(tmp_path / "fsx")),
        raw_bucket=site.bucket,
        reconstruct_dead_letters_url=site.dead_letters_url,
        reconstruct_queue_url=reconstruct_queue,
        results_bucket=site.bucket,
    )
    return Job(settings, Options(seed=5))
