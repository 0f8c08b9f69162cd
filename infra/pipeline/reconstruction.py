"""Reconstruction: GPU jobs on AWS Batch that drain the reconstruct queue, submitted by a Lambda from its depth."""

from aws_cdk import Aws, Duration, Size
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.costs.hourly import hourly_prices
from infra.deployment import Deployment
from infra.functions import Handler
from infra.gpus import VCPUS
from infra.log_groups import log_group
from infra.network.stack import NetworkStack
from infra.pipeline.instances import DEAREST_HOUR_USD, GpuInstances
from infra.pipeline.scratch import FOLDER, Scratch
from infra.pipeline.warm_hours import WarmHours
from infra.sources import OPEN_FILES, USER, image
from infra.storage.stack import StorageStack

# Of an instance's 16 GiB, the agent and the system keep some.
MEMORY = Size.mebibytes(14_000)
TRANSIENT_EXIT_CODE = "75"
NO_PREPARED_FOLDER = "none"
NO_MODELS = "none"
_REASONS = batch.JobStateTimeLimitActionsReason


class Reconstruction(Construct):
    """Compute environments, job queue and job definition, and the Lambda that dispatches jobs."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: NetworkStack,
        storage: StorageStack,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        self._network = network
        self._deployment = deployment
        self.scratch = self._scratch(storage)
        self.environments = self._environments()
        self.job_queue = batch.JobQueue(
            self,
            "JobQueue",
            compute_environments=[
                batch.OrderedComputeEnvironment(compute_environment=environment, order=order)
                for order, environment in enumerate(self.environments, start=1)
            ],
            # A job that can't start is given up, and with it the others behind it get their turn. The scans stay in
            # their queue, for which the dispatcher submits the next job.
            job_state_time_limit_actions=[
                batch.JobStateTimeLimitAction(max_time=Duration.hours(1), reason=reason)
                for reason in (
                    _REASONS.INSUFFICIENT_INSTANCE_CAPACITY,
                    _REASONS.COMPUTE_ENVIRONMENT_MAX_RESOURCE,
                    _REASONS.JOB_RESOURCE_REQUIREMENT,
                )
            ],
        )
        self.job_role = iam.Role(self, "JobRole", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        self.told = self._told(storage)
        self._logs = log_group(self, "Logs", key=storage.operations_key)
        self.job_definition = self.job_definition_of("Job")
        self.dispatch = self._dispatch(storage)

    def _scratch(self, storage: StorageStack) -> Scratch | None:
        if self._deployment.scratch == "nvme":
            return None
        return Scratch(self, "Scratch", network=self._network, storage=storage, deployment=self._deployment)

    def _environments(self) -> list[batch.ManagedEc2EcsComputeEnvironment]:
        """In the order in which Batch tries them.

        It moves on only when an environment can't take the job. A warm instance in any but the first would stand idle
        while the first starts another one; so warm instances have an environment of their own, off at other hours.
        Their limits together are the deployment's: what one market lacks, the other may not have beside its own share.
        """
        instances = GpuInstances(self, "Instances", network=self._network, scratch=self.scratch)
        n_spot, n_warm = self._deployment.spot_gpus, self._deployment.warm_gpus
        markets = [instances.environment(self, "Spot", max_instances=n_spot, spot=True)] if n_spot else []
        markets.append(instances.environment(self, "OnDemand", max_instances=self._deployment.on_demand_gpus))
        if not n_warm:
            return markets
        warm = instances.environment(self, "Warm", max_instances=n_warm, enabled=False)
        WarmHours(self, "WarmHours", environment=warm, min_vcpus=VCPUS * n_warm, deployment=self._deployment)
        return [warm, *markets]

    def _told(self, storage: StorageStack) -> dict[str, str]:
        """A job's environment."""
        return {
            "AWS_DEFAULT_REGION": Aws.REGION,  # which ECS tells tasks on Fargate only
            "COILS": str(self._deployment.coils),
            "COMBINE": self._deployment.combine,
            "EXPLAIN": "1" if self._deployment.explain else "0",
            "HOURLY_USD": hourly_prices(self._deployment),
            "LEDGER_TABLE": storage.ledger.table_name,
            "MAPS": "1" if self._deployment.maps else "0",
            "METHOD": self._deployment.method,
            "MISMATCH": self._deployment.mismatch,
            "MODEL": self._deployment.model,
            "MODELS": self._deployment.models or NO_MODELS,
            "PREPARED_FOLDER": f"/fsx{FOLDER}" if self.scratch else NO_PREPARED_FOLDER,
            "KSPACE": "1" if self._deployment.kspace else "0",
            "QUANTITIES": "1" if self._deployment.quantities else "0",
            "RAW_BUCKET": storage.raw.bucket_name,
            "RECONSTRUCT_DEAD_LETTERS_URL": storage.dead_letters["Reconstruct"].queue_url,
            "RECONSTRUCT_QUEUE_URL": storage.reconstruct_queue.queue_url,
            "RESULTS_BUCKET": storage.results.bucket_name,
            "SEED": str(self._deployment.seed),
            "WEIGHTS": "1" if self._deployment.weights else "0",
        }

    def job_definition_of(self, name: str, *, command: list[str] | None = None) -> batch.EcsJobDefinition:
        """A job of the image, by itself the one that drains the queue."""
        scope = self if command is None else Construct(self, f"{name}Parts")
        container = batch.EcsEc2ContainerDefinition(
            scope,
            "Container",
            command=command,
            cpu=VCPUS,
            environment=self.told,
            gpu=1,
            image=image("reconstruct"),
            job_role=self.job_role,
            linux_parameters=batch.LinuxParameters(scope, "Linux", init_process_enabled=True),
            logging=ecs.LogDrivers.aws_logs(stream_prefix="reconstruct", log_group=self._logs),
            memory=MEMORY,
            privileged=False,
            readonly_root_filesystem=True,
            # Batch passes no capabilities on (its API Reference, LinuxParameters); the user has none, and no core file
            # of one that crashed keeps a scan.
            ulimits=[
                batch.Ulimit(name=batch.UlimitName.CORE, soft_limit=0, hard_limit=0),
                batch.Ulimit(name=batch.UlimitName.NOFILE, soft_limit=OPEN_FILES, hard_limit=OPEN_FILES),
            ],
            user=USER,
            volumes=self._volumes(),
        )
        return batch.EcsJobDefinition(
            self,
            name,
            container=container,
            retry_attempts=3,
            retry_strategies=[
                batch.RetryStrategy.of(batch.Action.RETRY, batch.Reason.SPOT_INSTANCE_RECLAIMED),
                batch.RetryStrategy.of(batch.Action.RETRY, batch.Reason.custom(on_exit_code=TRANSIENT_EXIT_CODE)),
                # Without this last line Batch retries whatever matched nothing.
                batch.RetryStrategy.of(batch.Action.EXIT, batch.Reason.custom(on_reason="*")),
            ],
            timeout=Duration.hours(6),
        )

    def _volumes(self) -> list[batch.EcsVolume]:
        """Folders that the instance was prepared with."""
        volumes: list[batch.EcsVolume] = [
            batch.EcsVolume.host(
                name="scratch", container_path="/scratch", host_path="/mnt/nvme/scratch", readonly=False
            )
        ]
        if self.scratch:
            volumes.append(batch.EcsVolume.host(name="fsx", container_path="/fsx", host_path="/fsx", readonly=True))
        return volumes

    def _dispatch(self, storage: StorageStack) -> Handler:
        dispatch = Handler(
            self,
            "Dispatch",
            name="dispatch_reconstruction",
            environment={
                "INGEST_QUEUE_URL": storage.ingest_queue.queue_url,
                "INSTANCE_VCPUS": str(VCPUS),
                "JOB_DEFINITION": self.job_definition.job_definition_arn,
                "JOB_QUEUE": self.job_queue.job_queue_arn,
                "LEDGER_TABLE": storage.ledger.table_name,
                "MAX_JOBS": str(self._deployment.max_reconstruction_jobs),
                "RECONSTRUCT_QUEUE_URL": storage.reconstruct_queue.queue_url,
                "SURGE_JOBS": str(self._deployment.surge_jobs),
                "WARM_HOURS_A_DAY": str(min(24, int(self._deployment.warm_budget_usd_a_day / DEAREST_HOUR_USD))),
            },
            key=storage.operations_key,
        )
        dispatch.run_each_minute()
        dispatch.run_at_each_drop(storage.raw)
        return dispatch
