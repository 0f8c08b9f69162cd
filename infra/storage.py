"""What holds data: the three buckets, the queues that they and the stages notify, and the ledger."""

from aws_cdk import CfnOutput, Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_notifications as notifications
from aws_cdk import aws_sqs as sqs
from constructs import Construct

# A message is tried four times; on the fifth delivery the consumer records the failure (see raki.service.stage),
# on the sixth once more if that was cut short. Only a message that nobody can even understand, or whose failure
# can't be recorded, reaches the dead letters.
MAX_RECEIVE_COUNT = 6


class StorageStack(Stack):
    """Kept when the rest is torn down.

    The notified queues stand beside their buckets: a notification ties a bucket and its queue together in both
    directions, which two stacks can't be.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id, description="raki: raw scans, results, queues and ledger")
        self.raw = self._bucket("Raw", versioned=True, lifecycle_rules=[_archive_once_reconstructed()])
        # No notification of ours may ever be put on this bucket: FSx keeps its own there.
        self.prepared = self._bucket("Prepared", lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(7))])
        self.results = self._bucket("Results")

        self.ingest_queue = self._queue("Ingest", visibility_timeout=Duration.minutes(2))
        self.reconstruct_queue = self._queue("Reconstruct", visibility_timeout=Duration.minutes(2))
        # Six times the timeout of the Lambda that it feeds, as AWS advises.
        self.refresh_queue = self._queue("Refresh", visibility_timeout=Duration.minutes(3))

        self.raw.add_event_notification(s3.EventType.OBJECT_CREATED, notifications.SqsDestination(self.ingest_queue))
        self.results.add_event_notification(
            s3.EventType.OBJECT_CREATED,
            notifications.SqsDestination(self.refresh_queue),
            s3.NotificationKeyFilter(suffix="/manifest.json"),
        )
        self.ledger = dynamodb.Table(
            self,
            "Ledger",
            partition_key=dynamodb.Attribute(name="scan_id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=RemovalPolicy.RETAIN,
        )

        for name, value in {
            "LedgerTable": self.ledger.table_name,
            "RawBucket": self.raw.bucket_name,
            "ResultsBucket": self.results.bucket_name,
        }.items():
            CfnOutput(self, name, value=value)

    @property
    def scan_id_key(self) -> str:
        """Key of the hash that makes scan ids: the random part of this stack's own id, as lasting as the data."""
        return Fn.select(2, Fn.split("/", self.stack_id))

    def _bucket(
        self, name: str, *, versioned: bool = False, lifecycle_rules: list[s3.LifecycleRule] | None = None
    ) -> s3.Bucket:
        abandoned = s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(3))
        return s3.Bucket(
            self,
            name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            lifecycle_rules=[abandoned, *(lifecycle_rules or [])],
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
            versioned=versioned,
        )

    def _queue(self, name: str, *, visibility_timeout: Duration) -> sqs.Queue:
        dead_letters = sqs.Queue(self, f"{name}DeadLetters", enforce_ssl=True, retention_period=Duration.days(14))
        return sqs.Queue(
            self,
            f"{name}Queue",
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=MAX_RECEIVE_COUNT),
            enforce_ssl=True,
            retention_period=Duration.days(7),
            visibility_timeout=visibility_timeout,
        )


def _archive_once_reconstructed() -> s3.LifecycleRule:
    """Raw scans move to Deep Archive by a tag that the reconstruction sets, so never before a result is safe."""
    return s3.LifecycleRule(
        tag_filters={"raki": "reconstructed"},
        transitions=[s3.Transition(storage_class=s3.StorageClass.DEEP_ARCHIVE, transition_after=Duration.days(30))],
    )
