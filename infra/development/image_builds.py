"""Images of a commit: two repositories, and a build that fills them."""

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from infra.log_groups import log_group
from infra.permissions import allow, read_objects
from infra.storage.stack import StorageStack

IMAGES = ("decompress", "reconstruct")
SOURCES = "source"
"""The folder of the bucket of sources that archives lie in, each as COMMIT.zip."""
KEPT_IMAGES = 20

PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
PUSH = ("ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart")

LATEST = "latest"
"""The archive that was built last, beside those of its commits."""
NEWEST = "NEWEST_BASES"
"""The variable that asks for bases as they are now, instead of those that the Dockerfiles pin."""
BASES = (
    r"sed -n 's,^FROM [$]{REGISTRY}/\(python:[^@]*\)@.*,public.ecr.aws/docker/library/\1,p;"
    r" s,^FROM \(nvidia/[^@]*\)@.*,\1,p' containers/*/Dockerfile"
)

# CodeBuild names the source that it was started with; the archive's name is the commit, and so the tag.
COMMANDS = (
    'TAG=$(basename "$CODEBUILD_SOURCE_REPO_URL" .zip)',
    # Each month's build takes the newest bases of the same versions, and names their digests in its log.
    f'if [ "${{{NEWEST}:-}}" ]; then TAG=monthly-$(date +%Y-%m);'
    f" {BASES} | sort -u | xargs -n 1 docker pull; sed -i 's/@sha256:[0-9a-f]*//' containers/*/Dockerfile; fi",
    'aws ecr get-login-password | docker login --username AWS --password-stdin "${DECOMPRESS%%/*}"',
    'docker build --file containers/decompress/Dockerfile --tag "$DECOMPRESS:$TAG" .',
    'docker build --file containers/reconstruct/Dockerfile --tag "$RECONSTRUCT:$TAG" .',
    'docker push "$DECOMPRESS:$TAG"',
    'docker push "$RECONSTRUCT:$TAG"',
)


class ImageBuilds(Construct):
    """Builds both Dockerfiles of an archive of the repository for x86_64, and keeps the images under its commit.

    A build reaches the internet, runs what its source says, and is the master of its machine (Docker asks for that).
    So who writes sources is who may: people by their own permissions, and never the notebook.
    """

    def __init__(self, scope: Construct, construct_id: str, *, storage: StorageStack, sources: s3.Bucket) -> None:
        super().__init__(scope, construct_id)
        self.repositories = {name: self._repository(name, storage) for name in IMAGES}
        logs = log_group(self, "Logs", key=storage.operations_key)
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "codebuild.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
            ),
        )
        logs.grant_write(role)
        read_objects(role, sources, f"{SOURCES}/*")
        allow(role, "s3:GetObjectVersion", on=[sources.arn_for_objects(f"{SOURCES}/*")])
        self._allow_push(role)
        self.project = codebuild.Project(
            self,
            "Project",
            build_spec=codebuild.BuildSpec.from_object(
                {"version": "0.2", "phases": {"build": {"commands": list(COMMANDS)}}}
            ),
            description="raki: the images of one commit",
            encryption_key=storage.operations_key,
            environment=codebuild.BuildEnvironment(
                build_image=codebuild.LinuxBuildImage.STANDARD_7_0,
                compute_type=codebuild.ComputeType.MEDIUM,
                environment_variables={
                    name.upper(): codebuild.BuildEnvironmentVariable(value=repository.repository_uri)
                    for name, repository in self.repositories.items()
                },
                privileged=True,  # the build runs Docker
            ),
            grant_report_group_permissions=False,
            logging=codebuild.LoggingOptions(cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=logs)),
            # The CDK would add what a build of any kind may need.
            role=role.without_policy_updates(),
            source=codebuild.Source.s3(bucket=sources, path=f"{SOURCES}/COMMIT.zip"),
            timeout=Duration.hours(1),
        )
        self.rebuild_each_month(sources)

    def rebuild_each_month(self, sources: s3.Bucket) -> None:
        """Builds what was built last on the newest bases: a build that fails, or a scan's finding, is seen in time.

        The service is deployed from pinned bytes all the same: what is found comes to it by a commit.
        """
        group = f"arn:{Aws.PARTITION}:scheduler:{Aws.REGION}:{Aws.ACCOUNT_ID}:schedule-group/default"
        conditions = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID, "aws:SourceArn": group}}
        role = iam.Role(
            self,
            "ScheduleRole",
            assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com", conditions=conditions),
        )
        request = {
            "EnvironmentVariablesOverride": [{"Name": NEWEST, "Value": "1"}],
            "ProjectName": self.project.project_name,
            "SourceLocationOverride": f"{sources.bucket_name}/{SOURCES}/{LATEST}.zip",
        }
        build = iam.PolicyStatement(actions=["codebuild:StartBuild"], resources=[self.project.project_arn])
        scheduler.Schedule(
            self,
            "EachMonth",
            schedule=scheduler.ScheduleExpression.cron(day="1", hour="4", minute="0"),
            target=targets.Universal(
                action="startBuild",
                input=scheduler.ScheduleTargetInput.from_object(request),
                policy_statements=[build],
                role=role,
                service="codebuild",
            ),
        )

    def _allow_push(self, role: iam.IRole) -> None:
        """Lets a role pull and push images; a tag that exists stays what it is."""
        # Signing in knows no resource.
        allow(role, "ecr:GetAuthorizationToken", on=["*"])
        allow(role, *PULL, *PUSH, on=[repository.repository_arn for repository in self.repositories.values()])

    def _repository(self, name: str, storage: StorageStack) -> ecr.Repository:
        return ecr.Repository(
            self,
            name.capitalize(),
            encryption=ecr.RepositoryEncryption.KMS,
            encryption_key=storage.operations_key,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[ecr.LifecycleRule(description="the newest", max_image_count=KEPT_IMAGES)],
            removal_policy=RemovalPolicy.RETAIN,
        )
