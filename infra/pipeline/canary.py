"""Canary: after each deployment every image runs its own check, so that a bad one is found before a patient's scan.

Nothing waits for it: a deployment ends well without a quota or a GPU, and a check that fails is a mail.
"""

from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from infra.deployment import Deployment
from infra.log_groups import log_group
from infra.network.stack import NetworkStack
from infra.pipeline.decompression import Decompression
from infra.pipeline.reconstruction import Reconstruction
from infra.pipeline.starting import deployed, one_task, starter
from infra.sources import USER, bare_linux, image, limit_files
from infra.storage.stack import StorageStack

CHECK = ["--check"]
GROUP = "raki-canary"
"""By which the tasks are known in ECS's events."""


class Canary(Construct):
    """Two checks on Fargate, and with `raki:gpu_canary` a third one on a GPU instance."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: NetworkStack,
        storage: StorageStack,
        decompression: Decompression,
        reconstruction: Reconstruction,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        self._network, self._cluster = network, decompression.cluster
        # The worker's own task, in its own environment and with its own role.
        self._run_after_deployment("Decompress", decompression.task, "Worker")
        self._run_after_deployment("Reconstruct", self._reconstruct_task(storage, reconstruction), "Job")
        if deployment.gpu_canary:
            target = targets.BatchJob(
                reconstruction.job_queue.job_queue_arn,
                reconstruction.job_queue,
                reconstruction.job_definition_of("CanaryJob", command=CHECK).job_definition_arn,
                self,
                job_name="canary",
                retry_attempts=0,
            )
            self._after_deployment("Gpu", target)

    def _reconstruct_task(self, storage: StorageStack, reconstruction: Reconstruction) -> ecs.FargateTaskDefinition:
        """The job's image on a machine without a GPU: its imports, its settings, and a small reconstruction."""
        task = ecs.FargateTaskDefinition(self, "Task", cpu=2048, ephemeral_storage_gib=40, memory_limit_mib=8192)
        container = task.add_container(
            "Job",
            environment=dict(reconstruction.told),
            image=image("reconstruct"),
            linux_parameters=bare_linux(self),
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="canary", log_group=log_group(self, "Logs", key=storage.operations_key)
            ),
            readonly_root_filesystem=True,
            user=USER,
        )
        limit_files(container)
        task.add_volume(name="scratch")
        container.add_mount_points(ecs.MountPoint(container_path="/scratch", read_only=False, source_volume="scratch"))
        return task

    def _run_after_deployment(self, name: str, task: ecs.FargateTaskDefinition, container: str) -> None:
        target = one_task(
            task,
            cluster=self._cluster,
            network=self._network,
            overrides=[targets.ContainerOverride(container_name=container, command=CHECK)],
            role=starter(self, f"{name}Role", task=task, cluster=self._cluster),
        )
        rule = self._after_deployment(name, target).node.default_child
        assert isinstance(rule, events.CfnRule)
        rule.add_property_override("Targets.0.EcsParameters.Group", GROUP)  # the construct has no argument for it

    def _after_deployment(self, name: str, target: events.IRuleTarget) -> events.Rule:
        return events.Rule(
            self,
            name,
            description="raki: an image checks itself after a deployment",
            event_pattern=deployed(self),
            targets=[target],
        )
