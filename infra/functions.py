"""A Lambda of this service: one handler out of `lambdas/`, and the schedule that most of them run on."""

from collections.abc import Mapping

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.sources import lambda_code

TIMEOUT = Duration.seconds(30)


class Handler(Construct):
    """`lambdas.<name>.handler` with exactly the environment that its settings read."""

    def __init__(self, scope: Construct, construct_id: str, *, name: str, environment: Mapping[str, str]) -> None:
        super().__init__(scope, construct_id)
        log_group = logs.LogGroup(
            self, "Logs", removal_policy=RemovalPolicy.DESTROY, retention=logs.RetentionDays.THREE_MONTHS
        )
        self.function = lambda_.Function(
            self,
            "Function",
            code=lambda_code(),
            environment=environment,
            handler=f"lambdas.{name}.handler",
            log_group=log_group,
            memory_size=256,
            runtime=lambda_.Runtime.PYTHON_3_13,
            timeout=TIMEOUT,
        )

    def run_each_minute(self) -> None:
        """One minute is the shortest rate that EventBridge has."""
        events.Rule(
            self,
            "EachMinute",
            schedule=events.Schedule.rate(Duration.minutes(1)),
            targets=[targets.LambdaFunction(self.function)],
        )
