"""Importing: the Lambda that has AWS HealthImaging import finished results, and as whom HealthImaging does so."""

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.functions import Handler
from infra.storage.data_store import SERVICE
from infra.storage.stack import IMPORT_TIMEOUT, Imports, StorageStack


class Importing(Construct):
    """The Lambda, fed by the same event of a finished result as the sender, and by HealthImaging's own."""

    def __init__(self, scope: Construct, construct_id: str, *, storage: StorageStack, imports: Imports) -> None:
        super().__init__(scope, construct_id)
        # The confused deputy: HealthImaging takes the role on for this data store alone (its Developer Guide,
        # "Cross-service confused deputy prevention").
        self.data_access = iam.Role(
            self,
            "DataAccess",
            assumed_by=iam.ServicePrincipal(
                SERVICE,
                conditions={
                    "ArnEquals": {"aws:SourceArn": imports.data_store_arn},
                    "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                },
            ),
            description="raki: imports of results into AWS HealthImaging",
        )
        self.import_results = Handler(
            self,
            "ImportResults",
            name="import_results",
            environment={
                "DATA_ACCESS_ROLE_ARN": self.data_access.role_arn,
                "DATA_STORE_ID": imports.data_store_id,
                "IMPORT_DEAD_LETTERS_URL": storage.dead_letters["Import"].queue_url,
                "IMPORT_QUEUE_URL": imports.queue.queue_url,
                "IMPORTS_BUCKET": imports.bucket.bucket_name,
                "LEDGER_TABLE": storage.ledger.table_name,
                "RESULTS_BUCKET": storage.results.bucket_name,
            },
            key=storage.operations_key,
            timeout=IMPORT_TIMEOUT,
        )
        self.import_results.function.add_event_source_mapping(
            "Results",
            # One at a time: its images may take minutes to be read and copied.
            batch_size=1,
            event_source_arn=imports.queue.queue_arn,
            # The least that Lambda has; HealthImaging starts one job a second, and refuses more.
            max_concurrency=2,
            report_batch_item_failures=True,
        )
