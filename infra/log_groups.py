"""Where logs go: groups that are gone with the stack that writes them, and buckets that outlive it, undeleted."""

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.permissions import deny_deletion, keep_to_account


def log_group(scope: Construct, construct_id: str, *, key: kms.IKey) -> logs.LogGroup:
    """A log group of three months. The key's policy has to admit CloudWatch Logs, as the storage stack's does."""
    return logs.LogGroup(
        scope,
        construct_id,
        encryption_key=key,
        removal_policy=RemovalPolicy.DESTROY,
        retention=logs.RetentionDays.THREE_MONTHS,
    )


def log_bucket(scope: Construct, construct_id: str, *, access_logs: s3.Bucket | None = None) -> s3.Bucket:
    """Who read and wrote what, for 400 days: kept in versions, which nobody deletes before.

    No Object Lock: S3 delivers access logs to no bucket that has a retention period by default. And S3's own
    encryption, the only one that it delivers them with (Amazon S3 User Guide, "Enabling Amazon S3 server access
    logging").
    """
    bucket = s3.Bucket(
        scope,
        construct_id,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        lifecycle_rules=[
            s3.LifecycleRule(expiration=Duration.days(400), noncurrent_version_expiration=Duration.days(30))
        ],
        minimum_tls_version=1.2,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        removal_policy=RemovalPolicy.RETAIN,
        server_access_logs_bucket=access_logs,
        server_access_logs_prefix=f"{construct_id.lower()}/" if access_logs else None,
        versioned=True,
    )
    deny_deletion(bucket)
    keep_to_account(bucket)
    return bucket
