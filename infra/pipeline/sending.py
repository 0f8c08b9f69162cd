"""Sending: one small Fargate task that sends finished results to the site's picture archive (PACS)."""

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.deployment import Deployment
from infra.log_groups import log_group
from infra.network.stack import NetworkStack
from infra.pipeline.decompression import ARCHITECTURES
from infra.sources import USER, bare_linux, image, limit_files, worker_health_check
from infra.storage.stack import StorageStack

MEMORY_MIB = 2048
"""Files go from the disk to the network piece by piece; one that has to be encoded anew is held three times."""


class Sending(Construct):
    """The sender's task and service.

    One runs all the time, so that a result goes out seconds after it is there: a quarter of a CPU, which costs less
    than what would have to start and stop it. What waits for an archive that is down waits in the queue.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: NetworkStack,
        storage: StorageStack,
        deployment: Deployment,
        cluster: ecs.Cluster,
    ) -> None:
        super().__init__(scope, construct_id)
        if storage.send_queue is None or network.senders is None:
            raise ValueError("there is no picture archive to send to; raki:pacs names one")
        self.task_role = iam.Role(self, "TaskRole", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            cpu=256,
            memory_limit_mib=MEMORY_MIB,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ARCHITECTURES[deployment.worker_architecture],
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
            task_role=self.task_role,
        )
        sender = task.add_container(
            "Sender",
            environment={
                "LEDGER_TABLE": storage.ledger.table_name,
                "MEMORY_MIB": str(MEMORY_MIB),
                "PACS": deployment.pacs,
                "PACS_CALLING": deployment.pacs_calling,
                # The name of a secret, and not what it holds: that is read by the task itself, at its start.
                "PACS_CERTIFICATE": deployment.pacs_certificate or "none",
                "PACS_TLS": "1" if deployment.pacs_tls else "0",
                "PACS_TRUSTED": deployment.trusted_certificates or "none",
                "SEND_DEAD_LETTERS_URL": storage.dead_letters["Send"].queue_url,
                "SEND_QUEUE_URL": storage.send_queue.queue_url,
            },
            health_check=worker_health_check(),
            image=image("send", deployment.worker_architecture),
            linux_parameters=bare_linux(self),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="send", log_group=log_group(self, "Logs", key=storage.operations_key)
            ),
            readonly_root_filesystem=True,
            stop_timeout=Duration.seconds(120),
            user=USER,
        )
        limit_files(sender)
        task.add_volume(name="scratch")
        sender.add_mount_points(ecs.MountPoint(container_path="/scratch", read_only=False, source_volume="scratch"))
        self.service = ecs.FargateService(
            self,
            "Service",
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            cluster=cluster,
            desired_count=1,
            # Never two at a time, of which both might send the same result.
            max_healthy_percent=100,
            min_healthy_percent=0,
            security_groups=[network.senders],
            task_definition=task,
            vpc_subnets=network.private,
        )
