"""A site whose share a scan has come to, for the tests of the containers: what is dropped, worked on and read."""

import json
from datetime import UTC, datetime
from urllib.parse import quote_plus

KEY = "Mustermann/Max 1.h5"
HOURLY_USD = json.dumps({"region": "r", "read": "2026-11", "worker": 0.36, "gpus": {"A10G": 3.6}, "spot_factor": 0.25})


def deliver(site, key, content=None):
    """S3's notification of the object in the ingest queue, and before it the object where it is new."""
    if content is not None:
        site.s3.put_object(Bucket=site.bucket, Key=key, Body=content)
    etag = site.s3.head_object(Bucket=site.bucket, Key=key)["ETag"]
    s3 = {"bucket": {"name": site.bucket}, "object": {"key": quote_plus(key), "eTag": etag}}
    record = {"eventTime": datetime.now(UTC).isoformat(), "s3": s3}
    site.sqs.send_message(QueueUrl=site.queue_url, MessageBody=json.dumps({"Records": [record]}))


def work(site, worker, job):
    """Everything that waits in the queues."""
    worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
    job.drain()


def read(site, name, folder="Mustermann/Max 1"):
    return site.s3.get_object(Bucket=site.bucket, Key=f"{folder}/{name}")["Body"].read()
