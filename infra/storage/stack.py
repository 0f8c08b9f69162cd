"""What holds data: keys, buckets, the queues that they and the stages notify, and the ledger."""

from dataclasses import dataclass
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_notifications as notifications
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.deployment import OFF, Deployment
from infra.log_groups import log_bucket
from infra.permissions import keep_to_account
from infra.storage.backups import Backups
from infra.storage.data_store import data_store
from infra.storage.keys import data_key, operations_key

# How often a scan is attempted stands in the ledger, which gives it up with a report. Deliveries are no attempts: one
# that finds the scan busy is none, nor one that is given back because a task stops or because AWS, or the way to a
# gateway, fails for hours. So messages are delivered as often as SQS allows; one that nobody can understand is put
# among the dead letters by who finds that. Amazon SQS API reference, SetQueueAttributes, RedrivePolicy.
MAX_RECEIVE_COUNT = 1000
RETENTION = Duration.days(7)
SEND_RETENTION = Duration.days(10)
"""Longer than the sender tries for (`raki.service.sending`), and shorter than what it gives up is kept."""
REPLACED_RAW_DAYS = 1
RECONSTRUCTED = {"raki": "reconstructed"}
"""The tag that the reconstruction sets, on the raw and on the prepared scan, once the result is safe."""
IMPORT_TIMEOUT = Duration.minutes(10)
"""Of the Lambda that the import queue feeds, which reads and copies a result's images."""


@dataclass(frozen=True, kw_only=True)
class Imports:
    """What results pass on their way into AWS HealthImaging, and where they arrive."""

    bucket: s3.Bucket
    """Holds copies of what is imported, under input/, and what HealthImaging says of it, under output/."""
    queue: sqs.Queue
    data_store_id: str
    data_store_arn: str


class StorageStack(Stack):
    """Kept when the rest is torn down.

    The notified queues stand beside their buckets: a notification ties a bucket and its queue together in both
    directions, which two stacks can't be. For the same reason the queues have a key of their own.
    """

    def __init__(self, scope: Construct, construct_id: str, *, deployment: Deployment) -> None:
        super().__init__(
            scope,
            construct_id,
            description="raki: raw scans, results, queues and ledger",
            termination_protection=True,
        )
        self._dead_letters: dict[str, sqs.Queue] = {}
        self.data_key = data_key(
            self, "DataKey", with_fsx=deployment.scratch != "nvme", with_trail=deployment.audit_data_events
        )
        self.operations_key = operations_key(self, "OperationsKey")
        self._access_logs = log_bucket(self, "AccessLogs")
        self.raw = self._bucket(
            "Raw",
            event_bridge_enabled=True,
            versioned=True,
            lifecycle_rules=_archiving(deployment),
            lock_days=deployment.object_lock_days,
        )
        # No notification of ours may ever be put on this bucket: FSx keeps its own there.
        self.prepared = self._bucket("Prepared", lifecycle_rules=_expiring(deployment))
        # AWS Backup has S3 tell EventBridge; the CDK would take that back at the next change of its notifications.
        events_of_results = deployment.pacs or deployment.healthimaging or deployment.backup != OFF
        replaced = s3.LifecycleRule(noncurrent_version_expiration=Duration.days(30))
        self.results = self._bucket(
            "Results",
            event_bridge_enabled=True if events_of_results else None,
            versioned=True,
            lifecycle_rules=[replaced],
        )

        self.ingest_queue = self._queue("Ingest", visibility_timeout=Duration.minutes(2))
        self.reconstruct_queue = self._queue("Reconstruct", visibility_timeout=Duration.minutes(2))
        # Six times the timeout of the Lambda that it feeds, as AWS advises, and the minute that a batch is gathered.
        self.refresh_queue = self._queue("Refresh", visibility_timeout=Duration.minutes(5))

        self.raw.add_event_notification(s3.EventType.OBJECT_CREATED, notifications.SqsDestination(self.ingest_queue))
        if deployment.has_gateway:
            self._let_gateways_tell()
        self.results.add_event_notification(
            s3.EventType.OBJECT_CREATED,
            notifications.SqsDestination(self.refresh_queue),
            s3.NotificationKeyFilter(suffix="/manifest.json"),
        )
        self.send_queue = self._send_queue(deployment.pacs) if deployment.pacs else None
        self.imports = self._imports(deployment.healthimaging) if deployment.healthimaging else None
        self.ledger = self._ledger()
        self.scan_id_key_arn = self._scan_id_key()
        if deployment.backup != OFF:
            arns = [self.raw.bucket_arn, self.results.bucket_arn, self.ledger.table_arn]
            Backups(self, "Backups", key=self.data_key, arns=arns, deployment=deployment)
        if deployment.audit_data_events:
            self._audit()
        for name, value in {
            "IngestQueueUrl": self.ingest_queue.queue_url,
            "LedgerTable": self.ledger.table_name,
            "RawBucket": self.raw.bucket_name,
            "ResultsBucket": self.results.bucket_name,
            "ScanIdKey": self.scan_id_key_arn,
        }.items():
            CfnOutput(self, name, value=value)

    @property
    def dead_letters(self) -> dict[str, sqs.Queue]:
        """The dead letters of each queue, by the queue's name."""
        return dict(self._dead_letters)

    def _bucket(
        self,
        name: str,
        *,
        lifecycle_rules: list[s3.LifecycleRule],
        event_bridge_enabled: bool | None = None,
        versioned: bool = False,
        lock_days: int = 0,
    ) -> s3.Bucket:
        abandoned = s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(3))
        retention = s3.ObjectLockRetention.compliance(Duration.days(lock_days)) if lock_days else None
        bucket = s3.Bucket(
            self,
            name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            bucket_key_enabled=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self.data_key,
            enforce_ssl=True,
            event_bridge_enabled=event_bridge_enabled,
            lifecycle_rules=[abandoned, *lifecycle_rules],
            minimum_tls_version=1.2,
            object_lock_default_retention=retention,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=RemovalPolicy.RETAIN,
            server_access_logs_bucket=self._access_logs,
            server_access_logs_prefix=f"{name.lower()}/",
            versioned=versioned,
        )
        keep_to_account(bucket)
        return bucket

    def _let_gateways_tell(self) -> None:
        """Of a file that is whole: nobody has written to it for the settling time.

        Amazon S3 File Gateway user guide, "Getting notified about file operations".
        """
        uploaded = events.EventPattern(
            source=["aws.storagegateway"],
            detail_type=["Storage Gateway Object Upload Event"],
            detail={"bucket-name": [self.raw.bucket_name]},
        )
        target = targets.SqsQueue(self.ingest_queue, dead_letter_queue=self._dead_letters["Ingest"])
        events.Rule(self, "FileUploaded", event_pattern=uploaded, targets=[target])

    def _send_queue(self, archive: str) -> sqs.Queue:
        """What is to be sent to the picture archive: each manifest once more, by another way than to the share.

        S3 itself notifies one queue of an object: configurations of the same event must not overlap. Amazon S3 User
        Guide, "Configuring event notifications using object key name filtering".
        """
        queue = self._queue("Send", visibility_timeout=Duration.minutes(2), retention_period=SEND_RETENTION)
        target = targets.SqsQueue(queue, dead_letter_queue=self._dead_letters_queue("SendEvents"))
        events.Rule(self, "ResultCompleted", event_pattern=self._completed, targets=[target])
        CfnOutput(self, "SendQueueUrl", value=queue.queue_url)
        CfnOutput(self, "Pacs", value=archive)
        return queue

    @property
    def _completed(self) -> events.EventPattern:
        """A manifest was written.

        What can't be delivered for a day is lost, unless the target has dead letters: EventBridge User Guide, "Using
        dead-letter queues to process undelivered events".
        """
        return events.EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={
                "bucket": {"name": [self.results.bucket_name]},
                "object": {"key": [{"suffix": "/manifest.json"}]},
            },
        )

    def _imports(self, named: str) -> Imports:
        """What is to be imported into HealthImaging: each manifest once more, and each job that has ended."""
        store = data_store(self, "ImageStore", named=named, key=self.data_key)
        # Jobs take all that lies below a prefix, and only DICOM files may: so they are copied. The copies are of use
        # until the job has ended, its reports to who asks why.
        copies = s3.LifecycleRule(prefix="input/", expiration=Duration.days(3))
        reports = s3.LifecycleRule(prefix="output/", expiration=Duration.days(30))
        # As AWS advises, six times the timeout of the Lambda that it feeds.
        queue = self._queue(
            "Import",
            visibility_timeout=Duration.minutes(6 * IMPORT_TIMEOUT.to_minutes()),
            retention_period=SEND_RETENTION,
        )
        target = targets.SqsQueue(queue, dead_letter_queue=self._dead_letters_queue("ImportEvents"))
        events.Rule(self, "ResultToImport", event_pattern=self._completed, targets=[target])
        # AWS HealthImaging Developer Guide, "Using Amazon EventBridge with HealthImaging".
        ended = events.EventPattern(
            source=["aws.medical-imaging"],
            detail_type=["Import Job Completed", "Import Job Failed"],
            detail={"datastoreId": [store]},
        )
        events.Rule(self, "ImportEnded", event_pattern=ended, targets=[target])
        CfnOutput(self, "ImportQueueUrl", value=queue.queue_url)
        CfnOutput(self, "DataStore", value=store)
        return Imports(
            bucket=self._bucket("Imports", lifecycle_rules=[copies, reports]),
            queue=queue,
            data_store_id=store,
            data_store_arn=self.format_arn(service="medical-imaging", resource="datastore", resource_name=store),
        )

    def _queue(self, name: str, *, visibility_timeout: Duration, retention_period: Duration = RETENTION) -> sqs.Queue:
        dead_letters = self._dead_letters_queue(name)
        queue = sqs.Queue(
            self,
            f"{name}Queue",
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=MAX_RECEIVE_COUNT),
            retention_period=retention_period,
            visibility_timeout=visibility_timeout,
            **self._encryption,
        )
        keep_to_account(queue)
        return queue

    def _dead_letters_queue(self, name: str) -> sqs.Queue:
        queue = sqs.Queue(self, f"{name}DeadLetters", retention_period=Duration.days(14), **self._encryption)
        keep_to_account(queue)
        self._dead_letters[name] = queue
        return queue

    @property
    def _encryption(self) -> dict[str, Any]:
        return {
            "data_key_reuse": Duration.hours(1),
            "encryption": sqs.QueueEncryption.KMS,
            "encryption_master_key": self.operations_key,
            "enforce_ssl": True,
        }

    def _ledger(self) -> dynamodb.Table:
        return dynamodb.Table(
            self,
            "Ledger",
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            deletion_protection=True,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self.data_key,
            partition_key=dynamodb.Attribute(name="scan_id", type=dynamodb.AttributeType.STRING),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=RemovalPolicy.RETAIN,
            # No scan has it: of the bookkeeping only what is of no use any more after a while.
            time_to_live_attribute="expires_at",
        )

    def _scan_id_key(self) -> str:
        """ARN of the key of the hash that makes scan ids and aliases: generated by AWS, known to no template.

        As lasting as the data: under another key a scan that is announced again would be another scan. So there is no
        rotation; see infra/README.md, "The key of the scan ids".
        """
        secret = secretsmanager.CfnSecret(
            self,
            "IdKey",
            description="raki: key of the scan ids; kept as long as the ledger",
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                exclude_punctuation=True, password_length=64
            ),
            kms_key_id=self.data_key.key_arn,
        )
        secret.apply_removal_policy(RemovalPolicy.RETAIN)
        return secret.ref

    def _audit(self) -> None:
        """CloudTrail's record of every reading and writing of a scan or a result, whoever it was."""
        trail = cloudtrail.Trail(
            self,
            "Audit",
            bucket=log_bucket(self, "AuditLogs", access_logs=self._access_logs),
            enable_file_validation=True,
            encryption_key=self.data_key,
            include_global_service_events=False,
            is_multi_region_trail=False,
            management_events=cloudtrail.ReadWriteType.NONE,
        )
        trail.add_s3_event_selector(
            [cloudtrail.S3EventSelector(bucket=bucket) for bucket in (self.raw, self.prepared, self.results)],
            include_management_events=False,
        )


def _expiring(deployment: Deployment) -> list[s3.LifecycleRule]:
    """Prepared scans can be made again. One without a result stays longer than a request may lie among dead letters."""
    used = Duration.days(deployment.keep_prepared_days)
    return [
        s3.LifecycleRule(tag_filters=RECONSTRUCTED, expiration=used),
        s3.LifecycleRule(expiration=Duration.days(21)),
    ]


def _archiving(deployment: Deployment) -> list[s3.LifecycleRule]:
    """Raw scans move to Deep Archive by a tag that the reconstruction sets, so never before a result is safe.

    Versions that were replaced follow without one, and soon: the gateway makes two of each file, nobody reads the first
    again, and nothing raw is ever deleted.
    """
    archive, after = s3.StorageClass.DEEP_ARCHIVE, Duration.days(deployment.archive_after_days)
    return [
        s3.LifecycleRule(
            tag_filters=RECONSTRUCTED,
            transitions=[s3.Transition(storage_class=archive, transition_after=after)],
        ),
        s3.LifecycleRule(
            noncurrent_version_transitions=[
                s3.NoncurrentVersionTransition(storage_class=archive, transition_after=Duration.days(REPLACED_RAW_DAYS))
            ]
        ),
    ]
