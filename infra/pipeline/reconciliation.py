"""Reconciliation: twice an hour a Lambda looks for scans that nothing will move any more, and results not sent on."""

from aws_cdk import Duration
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import Handler
from infra.storage.stack import StorageStack

INTERVAL = Duration.minutes(30)
"""Each round reads the whole ledger and lists the raw bucket: a million scans cost about a dollar a day."""

NOT_THERE = "none"
"""What the Lambda is told of what isn't deployed."""


class Reconciliation(Construct):
    """The Lambda and its schedule. Two rounds at a time do no harm."""

    def __init__(self, scope: Construct, construct_id: str, *, storage: StorageStack, deployment: Deployment) -> None:
        super().__init__(scope, construct_id)
        self.reconcile = Handler(
            self,
            "Reconcile",
            name="reconcile",
            environment={
                "DATA_STORE_ID": storage.imports.data_store_id if storage.imports else NOT_THERE,
                "IMPORT_QUEUE_URL": storage.imports.queue.queue_url if storage.imports else NOT_THERE,
                "INGEST_QUEUE_URL": storage.ingest_queue.queue_url,
                "LEDGER_TABLE": storage.ledger.table_name,
                "PACS": deployment.pacs or NOT_THERE,
                "RAW_BUCKET": storage.raw.bucket_name,
                "RECONSTRUCT_QUEUE_URL": storage.reconstruct_queue.queue_url,
                "REFRESH_QUEUE_URL": storage.refresh_queue.queue_url,
                "RESULTS_BUCKET": storage.results.bucket_name,
                "SEND_QUEUE_URL": storage.send_queue.queue_url if storage.send_queue else NOT_THERE,
            },
            key=storage.operations_key,
            timeout=Duration.minutes(15),
        )
        self.reconcile.run_each(INTERVAL)
