"""What works on the data: network, decompression, reconstruction, delivery, and who may do what."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.decompression import Decompression
from infra.delivery import NO_SHARE, Delivery
from infra.deployment import Deployment
from infra.network import Network
from infra.reconstruction import Reconstruction
from infra.storage import StorageStack


class PipelineStack(Stack):
    """Holds nothing: may be torn down and deployed again at any time."""

    def __init__(self, scope: Construct, construct_id: str, *, storage: StorageStack, deployment: Deployment) -> None:
        super().__init__(scope, construct_id, description="raki: decompression, reconstruction and delivery")
        network = Network(self, "Network")
        self.decompression = Decompression(
            self, "Decompression", network=network, storage=storage, deployment=deployment
        )
        self.reconstruction = Reconstruction(
            self, "Reconstruction", network=network, storage=storage, deployment=deployment
        )
        self.delivery = Delivery(self, "Delivery", storage=storage, deployment=deployment)
        self._grant(storage)

    def _grant(self, storage: StorageStack) -> None:
        """All permissions of the pipeline, in the order in which a scan needs them."""
        scale = self.decompression.scale.function
        storage.ingest_queue.grant(scale, "sqs:GetQueueAttributes")
        storage.ledger.grant(scale, "dynamodb:UpdateItem")
        scale.add_to_role_policy(
            iam.PolicyStatement(
                actions=["ecs:DescribeServices", "ecs:UpdateService"],
                resources=[self.decompression.service.service_arn],
            )
        )

        worker = self.decompression.task_role
        storage.ingest_queue.grant_consume_messages(worker)
        storage.ledger.grant(worker, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        storage.raw.grant_read(worker)
        storage.prepared.grant_put(worker)
        storage.reconstruct_queue.grant_send_messages(worker)
        self._grant_publishing(storage, worker)  # error reports

        dispatch = self.reconstruction.dispatch.function
        storage.reconstruct_queue.grant(dispatch, "sqs:GetQueueAttributes")
        self.reconstruction.job_definition.grant_submit_job(dispatch, self.reconstruction.job_queue)
        # ListJobs knows no resource-level permission.
        dispatch.add_to_role_policy(iam.PolicyStatement(actions=["batch:ListJobs"], resources=["*"]))

        job = self.reconstruction.job_role
        storage.reconstruct_queue.grant_consume_messages(job)
        storage.ledger.grant(job, "dynamodb:GetItem", "dynamodb:UpdateItem")
        storage.prepared.grant_read(job)
        self._grant_publishing(storage, job)
        job.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:PutObjectTagging", "s3:PutObjectVersionTagging"],
                resources=[storage.raw.arn_for_objects("*")],
            )
        )

        refresh = self.delivery.refresh.function
        storage.results.grant_read(refresh, "*/manifest.json")
        storage.ledger.grant(refresh, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        if self.delivery.results_share_arn != NO_SHARE:
            refresh.add_to_role_policy(
                iam.PolicyStatement(
                    actions=["storagegateway:RefreshCache"], resources=[self.delivery.results_share_arn]
                )
            )
            self._grant_gateway(storage)

    def _grant_gateway(self, storage: StorageStack) -> None:
        """What the user guide of S3 File Gateway asks for: writing on the raw share, reading on the other."""
        gateway = self.delivery.gateway_role
        storage.raw.grant_read_write(gateway)
        storage.raw.grant_put_acl(gateway)
        storage.results.grant_read(gateway)
        gateway.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:GetAccelerateConfiguration", "s3:GetBucketLocation"],
                resources=[storage.raw.bucket_arn, storage.results.bucket_arn],
            )
        )

    def _grant_publishing(self, storage: StorageStack, role: iam.IRole) -> None:
        """Writes a scan's files and removes those that an earlier manifest lists, no more."""
        storage.results.grant_put(role)
        storage.results.grant_read(role, "*/manifest.json")
        storage.results.grant_delete(role)
