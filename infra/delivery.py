"""Delivery: the file shares on the gateway, and the Lambda that makes finished results appear on them."""

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_storagegateway as storagegateway
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import Handler
from infra.storage import StorageStack

NO_SHARE = "none"
"""What the Lambda is told where no gateway is deployed: a result is then delivered as soon as it is in the bucket."""


class Delivery(Construct):
    """`raw` for dropping scans and a read-only `results`, and their refresh."""

    def __init__(self, scope: Construct, construct_id: str, *, storage: StorageStack, deployment: Deployment) -> None:
        super().__init__(scope, construct_id)
        self.results_share_arn = NO_SHARE
        if deployment.gateway_arn:
            self.gateway_role = iam.Role(
                self, "GatewayRole", assumed_by=iam.ServicePrincipal("storagegateway.amazonaws.com")
            )
            self._share("raw", storage.raw, deployment, read_only=False)
            results = self._share("results", storage.results, deployment, read_only=True)
            self.results_share_arn = results.attr_file_share_arn
        self.refresh = Handler(
            self,
            "Refresh",
            name="refresh_gateway",
            environment={"LEDGER_TABLE": storage.ledger.table_name, "RESULTS_SHARE_ARN": self.results_share_arn},
        )
        # A gateway takes one refresh a minute, of up to 50 folders: what ends within a minute is refreshed together.
        self.refresh.function.add_event_source(
            event_sources.SqsEventSource(
                storage.refresh_queue,
                batch_size=50,
                max_batching_window=Duration.seconds(60),
                # The least that Lambda has. More pollers would only be refused by the gateway.
                max_concurrency=2,
                report_batch_item_failures=True,
            )
        )

    def _share(
        self, name: str, bucket: s3.Bucket, deployment: Deployment, *, read_only: bool
    ) -> storagegateway.CfnNFSFileShare:
        share = storagegateway.CfnNFSFileShare(
            self,
            name.capitalize(),
            default_storage_class="S3_STANDARD",
            file_share_name=name,
            gateway_arn=deployment.gateway_arn,
            location_arn=bucket.bucket_arn,
            client_list=list(deployment.share_clients),
            object_acl="bucket-owner-full-control",
            read_only=read_only,
            role=self.gateway_role.role_arn,
            squash="RootSquash",
        )
        share.node.add_dependency(self.gateway_role)  # with its policy, which CloudFormation makes apart
        Validations.of(share).acknowledge(
            Acknowledgment(
                id="CloudFormation-Validate::F3006",
                reason="CloudFormation has had this type since 2026; the CDK's own list is older.",
            )
        )
        return share
