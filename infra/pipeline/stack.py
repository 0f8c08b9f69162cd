"""What works on the data: decompression, reconstruction, delivery, sending, and who may do what."""

from aws_cdk import Aws, CfnOutput, Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.deployment import Deployment
from infra.network.stack import NetworkStack
from infra.permissions import (
    allow,
    consume,
    pass_role,
    publish_results,
    read_objects,
    read_secret,
    send,
    use_ledger,
    write_objects,
)
from infra.pipeline.canary import Canary
from infra.pipeline.compaction import Compaction
from infra.pipeline.decompression import Decompression
from infra.pipeline.delivery import Delivery
from infra.pipeline.importing import Importing
from infra.pipeline.operators import Operators
from infra.pipeline.patching import Patching
from infra.pipeline.reconciliation import Reconciliation
from infra.pipeline.reconstruction import Reconstruction
from infra.pipeline.sending import Sending
from infra.storage.data_store import SERVICE
from infra.storage.stack import Imports, StorageStack

ROWS, CATALOGUE = "*/catalogue.jsonl", "raki-catalogue/*"
"""As `raki.catalogue` calls what lies beside a result, and what it makes of all."""
STATUS_PAGE = "raki-status/status.html"
"""As `raki.service.status_page` calls it."""


class PipelineStack(Stack):
    """Holds nothing: may be torn down and deployed again at any time."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: NetworkStack,
        storage: StorageStack,
        gateway_arn: str,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id, description="raki: decompression, reconstruction and delivery")
        self.delivery = Delivery(self, "Delivery", storage=storage, deployment=deployment, gateway_arn=gateway_arn)
        self.decompression = Decompression(
            self,
            "Decompression",
            network=network,
            storage=storage,
            deployment=deployment,
            gateway_role=self.delivery.raw_role,
        )
        self.reconstruction = Reconstruction(
            self, "Reconstruction", network=network, storage=storage, deployment=deployment
        )
        self.patching = Patching(
            self, "Patching", storage=storage, reconstruction=self.reconstruction, deployment=deployment
        )
        self.canary = Canary(
            self,
            "Canary",
            network=network,
            storage=storage,
            decompression=self.decompression,
            reconstruction=self.reconstruction,
            deployment=deployment,
        )
        self.reconciliation = Reconciliation(self, "Reconciliation", storage=storage, deployment=deployment)
        self.sending: Sending | None = None
        if deployment.pacs:
            cluster = self.decompression.cluster
            self.sending = Sending(
                self, "Sending", network=network, storage=storage, deployment=deployment, cluster=cluster
            )
        self.compaction: Compaction | None = None
        if deployment.compacts:
            self.compaction = Compaction(
                self,
                "Compaction",
                network=network,
                storage=storage,
                deployment=deployment,
                cluster=self.decompression.cluster,
            )
        self.importing: Importing | None = None
        if storage.imports:
            self.importing = Importing(self, "Importing", storage=storage, imports=storage.imports)

        # What `raki status` and the other commands of an operator look up.
        groups = [found.log_group_name for found in self.node.find_all() if isinstance(found, logs.LogGroup)]
        CfnOutput(self, "LogGroups", value=Fn.join(",", groups))
        if deployment.operators:
            Operators(
                self,
                "Operators",
                storage=storage,
                log_groups=[found for found in self.node.find_all() if isinstance(found, logs.LogGroup)],
                arns=deployment.operators,
            )
        CfnOutput(self, "TakesIdentityOut", value=str(deployment.deidentify).lower())

        # All permissions of the pipeline, in the order in which a scan needs them.
        self._let_workers_be_scaled(storage)
        self._let_workers_prepare(storage)
        self._let_jobs_be_dispatched(storage)
        self._let_jobs_reconstruct(storage)
        self._let_instances_be_renewed(storage)
        if deployment.models:
            self._let_jobs_read_models(deployment.models)
        self._let_results_be_shown(storage)
        self._let_lost_scans_be_found(storage)
        if self.sending and storage.send_queue:
            self._let_results_be_sent(self.sending.task_role, storage, storage.send_queue)
        if self.sending and deployment.pacs_certificate:
            read_secret(self.sending.task_role, deployment.pacs_certificate)
        if self.importing and storage.imports:
            self._let_results_be_imported(self.importing, storage, storage.imports)
        if self.compaction:
            self._let_rows_be_compacted(self.compaction.task_role, storage)

    def _let_workers_be_scaled(self, storage: StorageStack) -> None:
        scale = self.decompression.scale.role
        allow(scale, "sqs:GetQueueAttributes", on=[storage.ingest_queue.queue_arn])
        use_ledger(scale, storage.ledger, "dynamodb:GetItem", "dynamodb:UpdateItem")
        allow(scale, "ecs:DescribeServices", "ecs:UpdateService", on=[self.decompression.service.service_arn])

    def _let_workers_prepare(self, storage: StorageStack) -> None:
        worker = self.decompression.task_role
        consume(worker, storage.ingest_queue)
        send(worker, storage.dead_letters["Ingest"])
        # Whoever holds a scan asks ECS not to be the one that is stopped.
        tasks = self.format_arn(
            service="ecs", resource="task", resource_name=f"{self.decompression.cluster.cluster_name}/*"
        )
        allow(worker, "ecs:GetTaskProtection", "ecs:UpdateTaskProtection", on=[tasks])
        use_ledger(worker, storage.ledger, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        read_objects(worker, storage.raw)
        write_objects(worker, storage.prepared)
        send(worker, storage.reconstruct_queue)
        publish_results(worker, storage.results)  # error reports
        # The version of a scan that has its result already.
        allow(worker, "s3:PutObjectTagging", "s3:PutObjectVersionTagging", on=[storage.raw.arn_for_objects("*")])

    def _let_jobs_be_dispatched(self, storage: StorageStack) -> None:
        dispatch = self.reconstruction.dispatch.role
        allow(
            dispatch,
            "sqs:GetQueueAttributes",
            on=[storage.ingest_queue.queue_arn, storage.reconstruct_queue.queue_arn],
        )
        use_ledger(dispatch, storage.ledger, "dynamodb:GetItem", "dynamodb:PutItem")
        allow(
            dispatch,
            "batch:SubmitJob",
            on=[
                self.reconstruction.job_definition.job_definition_arn,
                self.reconstruction.job_queue.job_queue_arn,
            ],
        )
        # A job that hangs is ended. TerminateJob can be allowed by job only, not by queue, and Batch makes up the ids.
        jobs = self.format_arn(service="batch", resource="job", resource_name="*")
        allow(dispatch, "batch:TerminateJob", on=[jobs])
        use_ledger(dispatch, storage.ledger, "dynamodb:GetItem")
        # Neither these nor quotas know resource-level permissions. The last three say why a job gets no instance.
        allow(
            dispatch,
            "batch:ListJobs",
            "batch:DescribeComputeEnvironments",
            "batch:DescribeJobQueues",
            "servicequotas:GetServiceQuota",
            on=["*"],
        )

    def _let_jobs_reconstruct(self, storage: StorageStack) -> None:
        job = self.reconstruction.job_role
        consume(job, storage.reconstruct_queue)
        send(job, storage.dead_letters["Reconstruct"])
        use_ledger(job, storage.ledger, "dynamodb:GetItem", "dynamodb:UpdateItem")
        read_objects(job, storage.prepared)
        publish_results(job, storage.results)
        # The tag that both buckets' lifecycles wait for.
        allow(job, "s3:PutObjectTagging", "s3:PutObjectVersionTagging", on=[storage.raw.arn_for_objects("*")])
        allow(job, "s3:PutObjectTagging", on=[storage.prepared.arn_for_objects("*")])

    def _let_instances_be_renewed(self, storage: StorageStack) -> None:
        renew = self.patching.renew.role
        allow(renew, "batch:DescribeComputeEnvironments", on=["*"])  # which knows no resource
        arns = [environment.compute_environment_arn for environment in self.reconstruction.environments]
        allow(renew, "batch:UpdateComputeEnvironment", on=arns)
        use_ledger(renew, storage.ledger, "dynamodb:GetItem", "dynamodb:PutItem")

    def _let_jobs_read_models(self, models: str) -> None:
        """Of a bucket that is named, under its prefix. The development layer's has the data key, as what jobs read."""
        bucket, _, prefix = models.removeprefix("s3://").partition("/")
        job, arn = self.reconstruction.job_role, f"arn:{Aws.PARTITION}:s3:::{bucket}"
        allow(job, "s3:GetObject", on=[f"{arn}/{prefix}/*" if prefix else f"{arn}/*"])
        allow(job, "s3:ListBucket", on=[arn])

    def _let_results_be_shown(self, storage: StorageStack) -> None:
        refresh = self.delivery.refresh.role
        consume(refresh, storage.refresh_queue)
        send(refresh, storage.dead_letters["Refresh"])
        read_objects(refresh, storage.results, "*/manifest.json")
        write_objects(refresh, storage.results, STATUS_PAGE)
        use_ledger(refresh, storage.ledger, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        if self.delivery.results_share_arn:
            allow(refresh, "storagegateway:RefreshCache", on=[self.delivery.results_share_arn])

    def _let_lost_scans_be_found(self, storage: StorageStack) -> None:
        reconcile = self.reconciliation.reconcile.role
        use_ledger(reconcile, storage.ledger, "dynamodb:GetItem", "dynamodb:Scan", "dynamodb:UpdateItem")
        # HeadObject needs what GetObject needs.
        read_objects(reconcile, storage.raw)
        publish_results(reconcile, storage.results)  # pages of what is given up
        outlets = [*filter(None, [storage.send_queue]), *([storage.imports.queue] if storage.imports else [])]
        for queue in (storage.ingest_queue, storage.reconstruct_queue, *outlets):
            allow(reconcile, "sqs:GetQueueAttributes", on=[queue.queue_arn])
        for queue in (storage.ingest_queue, storage.refresh_queue, *outlets):
            send(reconcile, queue)

    def _let_results_be_imported(self, importing: Importing, storage: StorageStack, imports: Imports) -> None:
        role = importing.import_results.role
        consume(role, imports.queue)
        send(role, storage.dead_letters["Import"])
        use_ledger(role, storage.ledger, "dynamodb:GetItem", "dynamodb:UpdateItem")
        read_objects(role, storage.results, "*/manifest.json")
        read_objects(role, storage.results, "*.dcm")
        write_objects(role, imports.bucket, "input/*")
        read_objects(role, imports.bucket, "output/*")
        # What a job may be asked is limited by its data store.
        allow(
            role,
            "medical-imaging:GetDICOMImportJob",
            "medical-imaging:StartDICOMImportJob",
            on=[imports.data_store_arn],
        )
        pass_role(role, importing.data_access, to=SERVICE)
        # AWS HealthImaging Developer Guide, "Setting up", "Create an IAM role for import".
        read_objects(importing.data_access, imports.bucket, "input/*")
        write_objects(importing.data_access, imports.bucket, "output/*")

    def _let_results_be_sent(self, sender: iam.Role, storage: StorageStack, queue: sqs.Queue) -> None:
        consume(sender, queue)
        send(sender, storage.dead_letters["Send"])
        read_objects(sender, storage.results, "*/manifest.json")
        read_objects(sender, storage.results, "*.dcm")
        use_ledger(sender, storage.ledger, "dynamodb:GetItem", "dynamodb:UpdateItem")

    def _let_rows_be_compacted(self, compactor: iam.Role, storage: StorageStack) -> None:
        """Of results their rows alone: that a manifest is there, it sees in the listing. Images are none of its."""
        read_objects(compactor, storage.results, ROWS)
        read_objects(compactor, storage.results, CATALOGUE)
        write_objects(compactor, storage.results, CATALOGUE)
        allow(compactor, "s3:DeleteObject", on=[storage.results.arn_for_objects(CATALOGUE)])
