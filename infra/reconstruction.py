"""Reconstruction: GPU jobs on AWS Batch that drain the reconstruct queue, submitted by a Lambda from its depth."""

from aws_cdk import Duration, RemovalPolicy, Size
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import Handler
from infra.network import Network
from infra.sources import image
from infra.storage import StorageStack

# One 24 GB or 16 GB GPU, 4 vCPU, 16 GiB each; several types, so that spot capacity is found.
INSTANCE_TYPES = ["g6.xlarge", "g5.xlarge", "g4dn.xlarge"]
VCPUS = 4
# Of the 16 GiB, the agent and the system keep some.
MEMORY = Size.mebibytes(14_000)
TRANSIENT_EXIT_CODE = "75"


class Reconstruction(Construct):
    """Compute environments, job queue and job definition, and the Lambda that dispatches jobs."""

    def __init__(
        self, scope: Construct, construct_id: str, *, network: Network, storage: StorageStack, deployment: Deployment
    ) -> None:
        super().__init__(scope, construct_id)
        max_vcpus = VCPUS * deployment.max_reconstruction_jobs
        self.job_queue = batch.JobQueue(
            self,
            "JobQueue",
            compute_environments=[
                batch.OrderedComputeEnvironment(
                    compute_environment=self._environment("Spot", network, max_vcpus, spot=True), order=1
                ),
                batch.OrderedComputeEnvironment(
                    compute_environment=self._environment("OnDemand", network, max_vcpus, spot=False), order=2
                ),
            ],
        )
        self.job_role = iam.Role(self, "JobRole", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        self.job_definition = self._job_definition(storage)
        self.dispatch = Handler(
            self,
            "Dispatch",
            name="dispatch_reconstruction",
            environment={
                "JOB_DEFINITION": self.job_definition.job_definition_arn,
                "JOB_QUEUE": self.job_queue.job_queue_arn,
                "MAX_JOBS": str(deployment.max_reconstruction_jobs),
                "RECONSTRUCT_QUEUE_URL": storage.reconstruct_queue.queue_url,
                "SCANS_PER_JOB": str(deployment.scans_per_job),
            },
        )
        self.dispatch.run_each_minute()

    def _environment(
        self, name: str, network: Network, max_vcpus: int, *, spot: bool
    ) -> batch.ManagedEc2EcsComputeEnvironment:
        return batch.ManagedEc2EcsComputeEnvironment(
            self,
            name,
            images=[batch.EcsMachineImage(image_type=batch.EcsMachineImageType.ECS_AL2023_NVIDIA)],
            instance_types=[ec2.InstanceType(name) for name in INSTANCE_TYPES],
            maxv_cpus=max_vcpus,
            minv_cpus=0,
            spot=spot,
            use_optimal_instance_classes=False,
            vpc=network.vpc,
            vpc_subnets=network.private,
        )

    def _job_definition(self, storage: StorageStack) -> batch.EcsJobDefinition:
        container = batch.EcsEc2ContainerDefinition(
            self,
            "Container",
            cpu=VCPUS,
            environment={
                "LEDGER_TABLE": storage.ledger.table_name,
                "RAW_BUCKET": storage.raw.bucket_name,
                "RECONSTRUCT_QUEUE_URL": storage.reconstruct_queue.queue_url,
                "RESULTS_BUCKET": storage.results.bucket_name,
            },
            gpu=1,
            image=image("reconstruct"),
            job_role=self.job_role,
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="reconstruct",
                log_group=logs.LogGroup(
                    self, "Logs", removal_policy=RemovalPolicy.DESTROY, retention=logs.RetentionDays.THREE_MONTHS
                ),
            ),
            memory=MEMORY,
            readonly_root_filesystem=True,
        )
        return batch.EcsJobDefinition(
            self,
            "Job",
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
