"""Patching: a Lambda that has the GPU instances start from AWS's newest image once a week."""

from aws_cdk import Aws, Duration, TimeZone
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from infra.deployment import Deployment
from infra.functions import Handler
from infra.permissions import allow
from infra.pipeline.reconstruction import Reconstruction
from infra.storage.stack import StorageStack

QUIET_HOUR = 3
"""Of a site's night: instances that are idle are replaced then, and jobs end first."""


class Patching(Construct):
    """The Lambda and its schedule. Decompression needs none: Fargate's hosts are AWS's to patch, and so is their task's
    retirement (Amazon ECS Developer Guide, "Task retirement and maintenance for AWS Fargate")."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        storage: StorageStack,
        reconstruction: Reconstruction,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        arns = [environment.compute_environment_arn for environment in reconstruction.environments]
        self.renew = Handler(
            self,
            "Renew",
            name="renew_instances",
            environment={"COMPUTE_ENVIRONMENTS": ",".join(arns), "LEDGER_TABLE": storage.ledger.table_name},
            key=storage.operations_key,
        )
        group = f"arn:{Aws.PARTITION}:scheduler:{Aws.REGION}:{Aws.ACCOUNT_ID}:schedule-group/default"
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID, "aws:SourceArn": group}},
            ),
        )
        allow(role, "lambda:InvokeFunction", on=[self.renew.function.function_arn])
        scheduler.Schedule(
            self,
            "EachNight",
            schedule=scheduler.ScheduleExpression.cron(
                hour=str(QUIET_HOUR), minute="0", time_zone=TimeZone.of(deployment.time_zone)
            ),
            target=targets.LambdaInvoke(
                self.renew.function,
                max_event_age=Duration.hours(1),
                retry_attempts=2,
                # The construct would let it invoke each version too.
                role=role.without_policy_updates(),
            ),
        )
