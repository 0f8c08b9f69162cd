"""Compaction: a Fargate task that takes new rows into the catalogue's files, by a schedule and after a deployment.

DuckDB and Arrow are larger than what a Lambda of an archive may be (AWS Lambda Developer Guide, "Lambda quotas": 250 MB
unpacked), and a catalogue that is made anew may take longer than one runs (15 minutes, same page).
"""

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.deployment import Deployment
from infra.log_groups import log_group
from infra.network.stack import NetworkStack
from infra.pipeline.decompression import ARCHITECTURES
from infra.pipeline.starting import deployed, one_task, starter
from infra.sources import USER, bare_linux, image, limit_files
from infra.storage.stack import StorageStack

VCPUS = 1
MEMORY_MIB = 8192
"""The most that a task of one vCPU may have. New rows are all held at once: those of a thousand scans of 20 images take
a quarter of a GB."""
LONGEST = Duration.hours(6)


class Compaction(Construct):
    """The task, and the two rules that start it.

    One at a time: a task that would still run when the next one starts has ended itself before. After a deployment a
    second one may run beside it, which is only wasteful.
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
        self.hours = deployment.catalogue_compaction_h
        self.task_role = iam.Role(self, "TaskRole", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        self.task = self._task(storage, deployment)
        role = starter(self, "Role", task=self.task, cluster=cluster)
        # What can't be started within an hour, the next one does.
        task = one_task(self.task, cluster=cluster, role=role, network=network, max_event_age=Duration.hours(1))
        events.Rule(
            self,
            "Schedule",
            description="raki: the catalogue is compacted",
            schedule=events.Schedule.rate(Duration.hours(self.hours)),
            targets=[task],
        )
        # The image shows that it works, and nobody is told for a day that there has been no compaction yet.
        events.Rule(
            self,
            "Deployed",
            description="raki: the catalogue is compacted after a deployment",
            event_pattern=deployed(self),
            targets=[task],
        )

    def _task(self, storage: StorageStack, deployment: Deployment) -> ecs.FargateTaskDefinition:
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            cpu=VCPUS * 1024,
            memory_limit_mib=MEMORY_MIB,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ARCHITECTURES[deployment.worker_architecture],
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
            task_role=self.task_role,
        )
        container = task.add_container(
            "Compactor",
            environment={
                "LIMIT_S": str(limit_s(self.hours)),
                "RESULTS_BUCKET": storage.results.bucket_name,
            },
            image=image("compact", deployment.worker_architecture),
            linux_parameters=bare_linux(self),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="compact", log_group=log_group(self, "Logs", key=storage.operations_key)
            ),
            readonly_root_filesystem=True,
            stop_timeout=Duration.seconds(30),
            user=USER,
        )
        limit_files(container)
        task.add_volume(name="scratch")
        container.add_mount_points(ecs.MountPoint(container_path="/scratch", read_only=False, source_volume="scratch"))
        return task


def limit_s(hours: int) -> int:
    """How long a compaction may take, in seconds, so that it has ended when the next one starts."""
    return int(min(LONGEST.to_seconds(), hours * 3600 - 600))
