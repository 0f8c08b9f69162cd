"""Reconciliation: twice an hour a Lambda looks for scans that nothing will move any more, and sets them going."""

from aws_cdk import Duration
from constructs import Construct

from infra.functions import Handler
from infra.storage.stack import StorageStack

INTERVAL = Duration.minutes(30)
"""Each round reads the whole ledger and lists the raw bucket: a million scans cost about a dollar a day."""


class Reconciliation(Construct):
    """The Lambda and its schedule. Two rounds at a time do no harm."""

    def __init__(self, scope: Construct, construct_id: str, *, storage: StorageStack) -> None:
        super().__init__(scope, construct_id)
        self.reconcile = Handler(
            self,
            "Reconcile",
            name="reconcile",
            environment={
                "INGEST_QUEUE_URL": storage.ingest_queue.queue_url,
                "LEDGER_TABLE": storage.ledger.table_name,
                "RAW_BUCKET": storage.raw.bucket_name,
                "RECONSTRUCT_QUEUE_URL": storage.reconstruct_queue.queue_url,
                "REFRESH_QUEUE_URL": storage.refresh_queue.queue_url,
                "RESULTS_BUCKET": storage.results.bucket_name,
            },
            key=storage.operations_key,
            timeout=Duration.minutes(15),
        )
        self.reconcile.run_each(INTERVAL)
