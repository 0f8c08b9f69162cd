"""A Lambda of this service: one handler out of `lambdas/`, and the schedule that most of them run on."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.log_groups import log_group
from infra.permissions import keep_to_account
from infra.sources import lambda_code
from raki.names import NOTES, OPTIONS_FILE, UNFINISHED

TIMEOUT = Duration.seconds(30)
NO_SCANS = ("Thumbs.db", "desktop.ini", OPTIONS_FILE, *UNFINISHED, *NOTES)
"""Endings of keys for which no machine needs to be started; see `raki.names`."""


class Handler(Construct):
    """`lambdas.<name>.handler` with exactly the environment that its settings read.

    Outside the VPC unless it has to reach something in there: it calls AWS's services, by HTTPS, and holds no scan.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        environment: Mapping[str, str],
        key: kms.IKey,
        timeout: Duration = TIMEOUT,
        vpc: ec2.IVpc | None = None,
        vpc_subnets: ec2.SubnetSelection | None = None,
        security_group: ec2.ISecurityGroup | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        logs = log_group(self, "Logs", key=key)
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        logs.grant_write(self.role)
        self.function = lambda_.Function(
            self,
            "Function",
            code=lambda_code(),
            environment=environment,
            handler=f"lambdas.{name}.handler",
            log_group=logs,
            memory_size=256,
            role=self.role,
            runtime=lambda_.Runtime.PYTHON_3_14,
            security_groups=[security_group] if security_group else None,
            timeout=timeout,
            vpc=vpc,
            vpc_subnets=vpc_subnets,
        )

    def run_each_minute(self) -> None:
        """One minute is the shortest rate that EventBridge has."""
        self.run_each(Duration.minutes(1), "EachMinute")

    def run_at_each_drop(self, raw: s3.IBucket) -> None:
        """Runs it within seconds when files were dropped, once for all of a second; the schedule stays behind it.

        The notice says nothing of the file. EventBridge User Guide, "Amazon S3 event notifications with EventBridge";
        its patterns, "anything-but" with a list of suffixes.
        """
        notices = sqs.Queue(
            self,
            "Notices",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.minutes(1),
            visibility_timeout=Duration.minutes(3),
        )
        keep_to_account(notices)
        dropped = events.EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={
                "bucket": {"name": [raw.bucket_name]},
                "object": {"key": [{"anything-but": {"suffix": ["/", *NO_SCANS]}}]},
            },
        )
        target = targets.SqsQueue(notices, message=events.RuleTargetInput.from_object({"notice": "a file was dropped"}))
        events.Rule(self, "Dropped", event_pattern=dropped, targets=[target])
        # More at a time would only wait for each other. The least that Lambda has is two.
        self.function.add_event_source_mapping(
            "Notices",
            batch_size=1000,
            event_source_arn=notices.queue_arn,
            max_batching_window=Duration.seconds(1),
            max_concurrency=2,
        )
        notices.grant_consume_messages(self.role)

    def run_each(self, interval: Duration, construct_id: str = "Schedule") -> None:
        """Runs it on a schedule. The next run is the retry of one that failed."""
        events.Rule(
            self,
            construct_id,
            schedule=events.Schedule.rate(interval),
            targets=[targets.LambdaFunction(self.function, retry_attempts=0)],
        )
        self.function.configure_async_invoke(retry_attempts=0)
