"""Development: where the next network is made and tried on prepared scans, and how it becomes an image.

From the notebook to the service:

1. In the notebook, prepared scans are read from /fsx/prepared, or from the prepared bucket where there is no FSx. What
   is learnt or measured goes into the model bucket. Where there is no way to a package index, wheels come through that
   bucket too.
2. The network becomes a module of `raki` and an entry beside the other methods, with its tests, and is committed.
3. The output `BuildCommand` uploads the commit and starts the build, from a developer's own machine and by his own
   permissions. Both images then lie in the repositories under the commit's id, scanned for known holes, and are never
   changed.
4. `cdk deploy RakiPipeline` from the same commit brings it into the service, with images that it builds itself from
   the same Dockerfiles: the next GPU job runs it.

The notebook starts no build, writes no source and no image, and has no way to the internet: what it reads of scans
stays in the account.
"""

from aws_cdk import Aws, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.deployment import Deployment
from infra.development.image_builds import LATEST, SOURCES, ImageBuilds
from infra.development.notebook import Notebook
from infra.log_groups import log_bucket
from infra.network.stack import NetworkStack
from infra.permissions import allow, keep_to_account, read_objects, write_objects
from infra.pipeline.scratch import Scratch
from infra.storage.stack import StorageStack


class DevelopmentStack(Stack):
    """A notebook, a bucket for models, image repositories and their build. The bucket and the images outlive it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: NetworkStack,
        storage: StorageStack,
        scratch: Scratch | None,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id, description="raki: notebook, models, images")
        # A bucket of its own for who read and wrote what: the storage stack's would have to know this stack.
        access_logs = log_bucket(self, "AccessLogs")
        self.models = self._bucket("Models", storage, access_logs)
        self.sources = self._bucket("Sources", storage, access_logs)
        self.builds = ImageBuilds(self, "Builds", storage=storage, sources=self.sources)
        self.notebook = Notebook(
            self,
            "Notebook",
            network=network,
            storage=storage,
            scratch=scratch,
            endpoints=deployment.egress == "endpoints",
            gpu=deployment.notebook_gpu,
        )
        self._grant(storage)
        self._tell()

    def _grant(self, storage: StorageStack) -> None:
        """What whoever works in the notebook may do: never read a raw scan, nor write into what the service reads."""
        role = self.notebook.role
        read_objects(role, storage.prepared)
        read_objects(role, self.models)
        write_objects(role, self.models)
        allow(role, "sagemaker:StopNotebookInstance", on=[self.notebook.arn])
        # SageMaker writes there what the start script said, in the name of this role.
        logs = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws/sagemaker/NotebookInstances"
        allow(role, "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", on=[logs, f"{logs}:*"])

    def _tell(self) -> None:
        archive = f"{self.sources.bucket_name}/{SOURCES}/$COMMIT.zip"
        latest = f"{self.sources.bucket_name}/{SOURCES}/{LATEST}.zip"
        build = (
            "COMMIT=$(git rev-parse HEAD) && git archive --format=zip --output=/tmp/source.zip HEAD"
            f" && aws s3 cp /tmp/source.zip s3://{archive} && aws s3 cp /tmp/source.zip s3://{latest}"
            " && aws codebuild start-build"
            f" --project-name {self.builds.project.project_name} --source-location-override {archive}"
        )
        for name, value in {
            "BuildCommand": build,
            "ModelBucket": self.models.bucket_name,
            "NotebookName": self.notebook.name,
            **{
                f"{name.capitalize()}Repository": repository.repository_uri
                for name, repository in self.builds.repositories.items()
            },
        }.items():
            CfnOutput(self, name, value=value)

    def _bucket(self, name: str, storage: StorageStack, access_logs: s3.Bucket) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            bucket_key_enabled=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=storage.data_key,
            enforce_ssl=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=Duration.days(3),
                    noncurrent_version_expiration=Duration.days(90),
                )
            ],
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"{name.lower()}/",
            versioned=True,
        )
        keep_to_account(bucket)
        return bucket
