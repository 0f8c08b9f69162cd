"""Delivery: the file shares on the gateway, and the Lambda that makes finished results appear on them."""

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import Handler
from infra.gateway.shares import Shares
from infra.storage.stack import StorageStack

NO_SHARE = "none"
"""What the Lambda is told where no gateway is deployed: a result is then delivered as soon as it is in the bucket."""


class Delivery(Construct):
    """The shares where there is a gateway, and the refresh of `results`."""

    def __init__(
        self, scope: Construct, construct_id: str, *, storage: StorageStack, deployment: Deployment, gateway_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.results_share_arn: str | None = None
        self.gateway_roles: tuple[iam.Role, ...] = ()
        self.raw_role: iam.Role | None = None
        if gateway_arn:
            shares = Shares(self, "Shares", storage=storage, deployment=deployment, gateway_arn=gateway_arn)
            self.results_share_arn = shares.results_arn
            self.gateway_roles = (shares.raw_role, shares.results_role)
            self.raw_role = shares.raw_role
        self.refresh = Handler(
            self,
            "Refresh",
            name="refresh_gateway",
            environment={
                "LEDGER_TABLE": storage.ledger.table_name,
                "REFRESH_QUEUE_URL": storage.refresh_queue.queue_url,
                "REFRESH_SPACING_S": "60",
                "REFRESH_DEAD_LETTERS_URL": storage.dead_letters["Refresh"].queue_url,
                "RESULTS_BUCKET": storage.results.bucket_name,
                "RESULTS_SHARE_ARN": self.results_share_arn or NO_SHARE,
            },
            key=storage.operations_key,
        )
        # A gateway takes one refresh a minute, of up to 50 folders. The first result is refreshed at once; what ends
        # within the minute after that is put off, and refreshed together.
        self.refresh.function.add_event_source_mapping(
            "Results",
            batch_size=50,
            event_source_arn=storage.refresh_queue.queue_arn,
            max_batching_window=Duration.seconds(1),
            # The least that Lambda has. More pollers would only be refused by the gateway.
            max_concurrency=2,
            report_batch_item_failures=True,
        )
