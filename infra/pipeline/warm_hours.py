"""GPU instances that are kept running in a site's working hours."""

from aws_cdk import Aws, Duration, TimeZone
from aws_cdk import aws_batch as batch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from infra.deployment import Deployment


class WarmHours(Construct):
    """Two schedules that switch a compute environment on, with instances in it, and off again.

    A deployment that changes the environment sets it to what the template says, off, until the next morning.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        environment: batch.ManagedEc2EcsComputeEnvironment,
        min_vcpus: int,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        self._environment = environment
        self._deployment = deployment
        group = f"arn:{Aws.PARTITION}:scheduler:{Aws.REGION}:{Aws.ACCOUNT_ID}:schedule-group/default"
        self._role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID, "aws:SourceArn": group}},
            ),
        )
        self._switch("On", hour=deployment.warm_from, state="ENABLED", min_vcpus=min_vcpus)
        self._switch("Off", hour=deployment.warm_until, state="DISABLED", min_vcpus=0)

    def _switch(self, name: str, *, hour: int, state: str, min_vcpus: int) -> None:
        arn = self._environment.compute_environment_arn
        scheduler.Schedule(
            self,
            name,
            schedule=scheduler.ScheduleExpression.cron(
                hour=str(hour),
                minute="0",
                time_zone=TimeZone.of(self._deployment.time_zone),
                week_day=self._deployment.warm_days,
            ),
            target=targets.Universal(
                action="updateComputeEnvironment",
                input=scheduler.ScheduleTargetInput.from_object(
                    {"ComputeEnvironment": arn, "ComputeResources": {"MinvCpus": min_vcpus}, "State": state}
                ),
                # Long enough to outlast an update of the environment, too short to meet the other schedule.
                max_event_age=Duration.minutes(50),
                policy_statements=[iam.PolicyStatement(actions=["batch:UpdateComputeEnvironment"], resources=[arn])],
                role=self._role,
                service="batch",
            ),
        )
