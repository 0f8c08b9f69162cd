"""Log groups: kept for a while, encrypted with the deployment's own key, gone with the stack that writes them."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct


def log_group(scope: Construct, construct_id: str, *, key: kms.IKey) -> logs.LogGroup:
    """A log group of three months. The key's policy has to admit CloudWatch Logs, as the storage stack's does."""
    return logs.LogGroup(
        scope,
        construct_id,
        encryption_key=key,
        removal_policy=RemovalPolicy.DESTROY,
        retention=logs.RetentionDays.THREE_MONTHS,
    )
