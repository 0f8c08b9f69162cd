"""Decompression: Fargate workers on the ingest queue, their number set by a Lambda from the queue's depth."""

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import Handler
from infra.log_groups import log_group
from infra.network.stack import NetworkStack
from infra.permissions import read_own_secret
from infra.sources import USER, bare_linux, image, limit_files, worker_health_check
from infra.storage.stack import StorageStack

ARCHITECTURES = {"x86_64": ecs.CpuArchitecture.X86_64, "arm64": ecs.CpuArchitecture.ARM64}


class Decompression(Construct):
    """The worker's cluster, task and service, and the Lambda that scales them."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: NetworkStack,
        storage: StorageStack,
        deployment: Deployment,
        gateway_role: iam.Role | None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.cluster = ecs.Cluster(
            self, "Cluster", container_insights_v2=ecs.ContainerInsights.ENABLED, vpc=network.vpc
        )
        self.task_role = iam.Role(self, "TaskRole", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        self.task = ecs.FargateTaskDefinition(
            self,
            "Task",
            cpu=2048,
            ephemeral_storage_gib=200,
            memory_limit_mib=8192,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ARCHITECTURES[deployment.worker_architecture],
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
            task_role=self.task_role,
        )
        self._add_worker(self.task, storage, deployment, gateway_role)
        self.service = self._service(self.task, network)
        self.scale = self._scale(storage, deployment)

    def _add_worker(
        self,
        task: ecs.FargateTaskDefinition,
        storage: StorageStack,
        deployment: Deployment,
        gateway_role: iam.Role | None,
    ) -> None:
        worker = task.add_container(
            "Worker",
            environment={
                "DEIDENTIFY": "1" if deployment.deidentify else "0",
                "GATEWAY_ROLE": gateway_role.role_id if gateway_role else "none",
                "INGEST_DEAD_LETTERS_URL": storage.dead_letters["Ingest"].queue_url,
                "INGEST_QUEUE_URL": storage.ingest_queue.queue_url,
                "LEDGER_TABLE": storage.ledger.table_name,
                "PREPARED_BUCKET": storage.prepared.bucket_name,
                "RECONSTRUCT_QUEUE_URL": storage.reconstruct_queue.queue_url,
                "RESULTS_BUCKET": storage.results.bucket_name,
            },
            health_check=worker_health_check(),
            image=image("decompress", deployment.worker_architecture),
            linux_parameters=bare_linux(self),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="decompress", log_group=log_group(self, "Logs", key=storage.operations_key)
            ),
            readonly_root_filesystem=True,
            # The agent reads it when a task starts, by the execution role, and tells the container alone.
            secrets={"SCAN_ID_KEY": self._scan_id_key(task, storage)},
            stop_timeout=Duration.seconds(120),
            user=USER,
        )
        limit_files(worker)
        task.add_volume(name="scratch")
        worker.add_mount_points(ecs.MountPoint(container_path="/scratch", read_only=False, source_volume="scratch"))

    def _scan_id_key(self, task: ecs.FargateTaskDefinition, storage: StorageStack) -> ecs.Secret:
        read_own_secret(task.obtain_execution_role(), storage.scan_id_key_arn, storage.data_key)
        secret = secretsmanager.Secret.from_secret_complete_arn(self, "ScanIdKey", storage.scan_id_key_arn)
        return ecs.Secret.from_secrets_manager(secret)

    def _service(self, task: ecs.FargateTaskDefinition, network: NetworkStack) -> ecs.FargateService:
        # The desired count is the Lambda's: a count in the template would reset the fleet at every deployment.
        return ecs.FargateService(
            self,
            "Service",
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            cluster=self.cluster,
            min_healthy_percent=0,
            security_groups=[network.workers],
            task_definition=task,
            vpc_subnets=network.private,
        )

    def _scale(self, storage: StorageStack, deployment: Deployment) -> Handler:
        scale = Handler(
            self,
            "Scale",
            name="scale_decompression",
            environment={
                "CLUSTER": self.cluster.cluster_name,
                "INGEST_QUEUE_URL": storage.ingest_queue.queue_url,
                "LEDGER_TABLE": storage.ledger.table_name,
                "MAX_WORKERS": str(deployment.max_decompression_workers),
                "SERVICE": self.service.service_name,
                "SURGE_WORKERS": str(deployment.surge_workers),
            },
            key=storage.operations_key,
        )
        scale.run_each_minute()
        scale.run_at_each_drop(storage.raw)
        return scale
