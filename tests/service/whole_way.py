"""A scan's whole way in one process: worker, job and refresh on buckets and queues of moto's, with the work left out.

What is left out is arithmetic: a prepared scan, and an image, are the bytes of the raw one.
"""

import functools
import json
import time
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import quote_plus

import boto3
import boto3.s3.inject
import moto.sqs.models
from boto3.s3.transfer import S3Transfer, TransferConfig
from moto.core.utils import unix_time_millis

import containers.decompress.__main__ as decompress
import containers.reconstruct.__main__ as reconstruct
from raki.options import Options
from raki.service import ledger as ledger_module
from raki.service import stage as stage_module
from raki.service.ledger import Ledger
from raki.service.protection import Protection
from raki.service.settings import DecompressSettings, ReconstructSettings
from tests.service.conftest import create_ledger_table
from tests.service.dropping import HOURLY_USD

LEASE_S = 120


class Clock:
    """Everybody's time, SQS's too, which passes when it is told to."""

    ahead_s = 0.0

    def time(self):
        return time.time() + self.ahead_s

    def __getattr__(self, name):
        return getattr(time, name)


class WholeWay:
    """Construct within `mock_aws`."""

    def __init__(self, monkeypatch):
        self.clock = Clock()
        for module in (ledger_module, stage_module):
            monkeypatch.setattr(module, "time", self.clock)
        monkeypatch.setattr(moto.sqs.models, "unix_time_millis", lambda: unix_time_millis() + self.clock.ahead_s * 1000)
        _leave_out_the_work(monkeypatch)
        session = boto3.Session()
        for moment in ("before-call", "after-call"):
            session.events.register(moment, self._hear)
        # A client takes longer to make than a scan on its way through the service.
        monkeypatch.setattr(boto3, "client", functools.cache(session.client))
        self.listener = None
        """Told of each call to AWS, by the name of botocore's event."""
        self.s3, self.sqs, dynamodb = (boto3.client(name) for name in ("s3", "sqs", "dynamodb"))
        name = f"t{uuid.uuid4().hex}"
        self.raw, self.prepared, self.results = (f"{name}-{kind}" for kind in ("raw", "prepared", "results"))
        for bucket in (self.raw, self.prepared, self.results):
            self.s3.create_bucket(Bucket=bucket)
        for bucket in (self.raw, self.results):
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        self.dead = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        self.ingest, self.requests = (self._queue(f"{name}-{kind}") for kind in ("ingest", "requests"))
        create_ledger_table(dynamodb, name)
        self.ledger = Ledger(dynamodb, name)
        self.table = name
        self._worker, self._job = self.worker(), self.job()

    def drop(self, content, key="site/a.h5"):
        """Puts the file there; its notification comes when it is announced."""
        put = self.s3.put_object(Bucket=self.raw, Key=key, Body=content)
        what = {"key": quote_plus(key), "eTag": put["ETag"].strip('"'), "versionId": put["VersionId"]}
        record = {
            "eventTime": datetime.now(UTC).isoformat(),
            "s3": {"bucket": {"name": self.raw}, "object": {**what, "size": len(content)}},
        }
        return json.dumps({"Records": [record]})

    def announce(self, notification):
        self.sqs.send_message(QueueUrl=self.ingest, MessageBody=notification)

    def worker(self):
        """A new one, which has never been killed."""
        settings = DecompressSettings(
            deidentify=False,
            gateway_role=None,
            ingest_dead_letters_url=self.dead,
            ingest_queue_url=self.ingest,
            ledger_table=self.table,
            prepared_bucket=self.prepared,
            reconstruct_queue_url=self.requests,
            results_bucket=self.results,
            scan_id_key="key",
        )
        return decompress.Worker(settings, Protection())

    def decompress(self, worker=None):
        worker = worker or self._worker
        worker._stage.serve(worker._handle, wait_s=0, until_empty=True)

    def job(self):
        settings = ReconstructSettings(
            hourly_usd=HOURLY_USD,
            ledger_table=self.table,
            models=None,
            prepared_folder=None,
            raw_bucket=self.raw,
            reconstruct_dead_letters_url=self.dead,
            reconstruct_queue_url=self.requests,
            results_bucket=self.results,
        )
        # One lane makes its calls in the same order each time.
        return reconstruct.Job(settings, Options(seed=5), n_lanes=1)

    def reconstruct(self):
        self._job.drain()

    def refresh(self, folder="site/a"):
        """What the Lambda does about a manifest that it is told of."""
        if "manifest.json" in self.shown(folder):
            self.ledger.deliver(json.loads(self.shown(folder)["manifest.json"])["scan_id"])

    def shown(self, folder="site/a"):
        found = self.s3.list_objects_v2(Bucket=self.results, Prefix=f"{folder}/").get("Contents", [])
        return {
            item["Key"].rpartition("/")[2]: self.s3.get_object(Bucket=self.results, Key=item["Key"])["Body"].read()
            for item in found
        }

    def scans(self):
        return list(self.ledger.scans())

    def let_leases_end(self):
        self.clock.ahead_s += 3 * LEASE_S

    def n_messages(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(
            int(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][name])
            for url in (self.ingest, self.requests)
            for name in names
        )

    def finish(self):
        """Everything that is left to do is done."""
        for _ in range(9):
            self.decompress()
            self.reconstruct()
            for record in self.scans():
                self.refresh(record.results_folder)
            if self.n_messages() == 0:
                break
            self.let_leases_end()

    def _hear(self, event_name, **_):
        if self.listener is not None:
            self.listener(event_name)

    def _queue(self, name):
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1000})
        attributes = {"VisibilityTimeout": str(LEASE_S), "RedrivePolicy": redrive}
        return self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]


def _leave_out_the_work(monkeypatch):
    monkeypatch.setattr(reconstruct, "PATIENCE_S", 0)
    # In this thread: a thread of the transfer would swallow what a test lets happen in it.
    monkeypatch.setattr(
        boto3.s3.inject,
        "S3Transfer",
        lambda client, _config=None: S3Transfer(client, TransferConfig(use_threads=False)),
    )

    def unpack(stream, n_bytes, folder, **_):
        raw = folder / "raw"
        raw.write_bytes(stream.read())
        return [raw]

    monkeypatch.setattr(decompress, "unpack_within", unpack)
    monkeypatch.setattr(decompress, "prepare", lambda raw, prepared, **_: prepared.write_bytes(raw[0].read_bytes()))
    monkeypatch.setattr(reconstruct, "is_large", lambda _result: False)  # of a stand-in
    monkeypatch.setattr(reconstruct, "kept_kspace", lambda *_, **__: None)
    monkeypatch.setattr(reconstruct, "open_prepared", lambda path: path.open("rb"))
    monkeypatch.setattr(
        reconstruct,
        "reconstruct_within",
        lambda _chosen, scan, _progress, **_: SimpleNamespace(
            seconds={}, images={}, maps={}, weights=(), phase=None, image=scan.read(), scan=SimpleNamespace(remarks=())
        ),
    )

    def write_results(reconstruction, folder, **_):
        folder.mkdir()
        image = folder / "image"
        image.write_bytes(reconstruction.image)
        return [image]

    monkeypatch.setattr(reconstruct, "write_results", write_results)
