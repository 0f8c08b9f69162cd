"""What holds data: the three buckets, the queues that they and the stages notify, and the ledger."""

from aws_cdk import CfnOutput, Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_notifications as notifications
from aws_cdk import aws_sqs as sqs
from constructs import Construct

# How often a scan is attempted stands in the ledger, which gives it up with a report. Deliveries are no attempts: one
# that finds the scan busy is none, nor one that is given back because a task stops. Only a message that nobody can
# understand, or whose end can't be recorded, is delivered this often and reaches the dead letters.
MAX_RECEIVE_COUNT = 50
# A gateway that can't be reached for days: its results wait, as long as SQS allows.
MAX_REFRESH_COUNT = 1000


class StorageStack(Stack):
    """Kept when the rest is torn down.

    The notified queues stand beside their buckets: a notification ties a bucket and its queue together in both
    directions, which two stacks can't be.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id, description="raki: raw scans, results, queues and ledger")
        self.raw = self._bucket("Raw", versioned=True, lifecycle_rules=_archiving())
        # No notification of ours may ever be put on this bucket: FSx keeps its own there.
        # Longer than a request may lie among the dead letters.
        self.prepared = self._bucket("Prepared", lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(21))])
        self.results = self._bucket("Results")

        self.ingest_queue = self._queue("Ingest", visibility_timeout=Duration.minutes(2))
        self.reconstruct_queue = self._queue("Reconstruct", visibility_timeout=Duration.minutes(2))
        # Six times the timeout of the Lambda that it feeds, as AWS advises, and the minute that a batch is gathered.
        self.refresh_queue = self._queue(
            "Refresh", visibility_timeout=Duration.minutes(5), max_receive_count=MAX_REFRESH_COUNT
        )

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

    def _queue(
        self, name: str, *, visibility_timeout: Duration, max_receive_count: int = MAX_RECEIVE_COUNT
    ) -> sqs.Queue:
        dead_letters = sqs.Queue(self, f"{name}DeadLetters", enforce_ssl=True, retention_period=Duration.days(14))
        return sqs.Queue(
            self,
            f"{name}Queue",
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=max_receive_count),
            enforce_ssl=True,
            retention_period=Duration.days(7),
            visibility_timeout=visibility_timeout,
        )


def _archiving() -> list[s3.LifecycleRule]:
    """Raw scans move to Deep Archive by a tag that the reconstruction sets, so never before a result is safe.

    Versions that were replaced follow without one: the gateway makes two of each file.
    """
    archive = s3.StorageClass.DEEP_ARCHIVE
    return [
        s3.LifecycleRule(
            tag_filters={"raki": "reconstructed"},
            transitions=[s3.Transition(storage_class=archive, transition_after=Duration.days(30))],
        ),
        s3.LifecycleRule(
            noncurrent_version_transitions=[
                s3.NoncurrentVersionTransition(storage_class=archive, transition_after=Duration.days(30))
            ]
        ),
    ]
