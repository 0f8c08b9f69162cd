"""Decompression: Fargate workers on the ingest queue, their number set by a Lambda from the queue's depth."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import Handler
from infra.network import Network
from infra.sources import image
from infra.storage import StorageStack


class Decompression(Construct):
    """The worker's cluster, task and service, and the Lambda that scales them."""

    def __init__(
        self, scope: Construct, construct_id: str, *, network: Network, storage: StorageStack, deployment: Deployment
    ) -> None:
        super().__init__(scope, construct_id)
        cluster = ecs.Cluster(self, "Cluster", vpc=network.vpc)
        task = ecs.FargateTaskDefinition(self, "Task", cpu=2048, memory_limit_mib=8192, ephemeral_storage_gib=200)
        self._add_worker(task, storage, deployment)
        self.task_role = task.task_role
        # The desired count is the Lambda's: a count in the template would reset the fleet at every deployment.
        self.service = ecs.FargateService(
            self,
            "Service",
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            cluster=cluster,
            min_healthy_percent=0,
            task_definition=task,
            vpc_subnets=network.private,
        )
        self.scale = Handler(
            self,
            "Scale",
            name="scale_decompression",
            environment={
                "CLUSTER": cluster.cluster_name,
                "INGEST_QUEUE_URL": storage.ingest_queue.queue_url,
                "LEDGER_TABLE": storage.ledger.table_name,
                "MAX_WORKERS": str(deployment.max_decompression_workers),
                "SERVICE": self.service.service_name,
            },
        )
        self.scale.run_each_minute()

    def _add_worker(self, task: ecs.FargateTaskDefinition, storage: StorageStack, deployment: Deployment) -> None:
        worker = task.add_container(
            "Worker",
            environment={
                "DEIDENTIFY": "1" if deployment.deidentify else "0",
                "INGEST_QUEUE_URL": storage.ingest_queue.queue_url,
                "LEDGER_TABLE": storage.ledger.table_name,
                "PREPARED_BUCKET": storage.prepared.bucket_name,
                "RECONSTRUCT_QUEUE_URL": storage.reconstruct_queue.queue_url,
                "RESULTS_BUCKET": storage.results.bucket_name,
                "SCAN_ID_KEY": storage.scan_id_key,
            },
            image=image("decompress"),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="decompress",
                log_group=logs.LogGroup(
                    self, "Logs", removal_policy=RemovalPolicy.DESTROY, retention=logs.RetentionDays.THREE_MONTHS
                ),
            ),
            readonly_root_filesystem=True,
            stop_timeout=Duration.seconds(120),
        )
        task.add_volume(name="scratch")
        worker.add_mount_points(ecs.MountPoint(container_path="/scratch", read_only=False, source_volume="scratch"))
