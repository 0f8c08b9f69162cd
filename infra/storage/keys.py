"""The deployment's two keys: one for what holds patients' data, one for what tells of the work on it."""

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

OF_ENCRYPTION = ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")
TO_SEND = ("kms:Decrypt", "kms:GenerateDataKey*")
"""What a service needs to put something encrypted into a topic, or a record into a bucket."""


def data_key(scope: Construct, construct_id: str, *, with_fsx: bool, with_trail: bool) -> kms.Key:
    """Encrypts buckets, the ledger, a persistent file system, and CloudTrail's record of who read what."""
    key = _key(scope, construct_id, "raki: scans, results and ledger")
    if with_fsx:
        # FSx's service-linked role reads and writes the prepared bucket. It is made with the file system: only the
        # beginning of its name is known (FSx user guide, "Working with server-side encrypted Amazon S3 buckets").
        name = "s3.data-source.lustre.fsx.amazonaws.com/AWSServiceRoleForFSxS3Access_*"
        of_role = {
            "ArnLike": {"aws:PrincipalArn": f"arn:{Aws.PARTITION}:iam::{Aws.ACCOUNT_ID}:role/aws-service-role/{name}"},
            "StringEquals": {"kms:CallerAccount": Aws.ACCOUNT_ID},
        }
        _admit(key, iam.AnyPrincipal(), *OF_ENCRYPTION, "kms:DescribeKey", conditions=of_role)
    if with_trail:
        trails = _of_the_account("kms:EncryptionContext:aws:cloudtrail:arn", "cloudtrail", "trail/*")
        cloudtrail = iam.ServicePrincipal("cloudtrail.amazonaws.com")
        _admit(key, cloudtrail, *TO_SEND, conditions=trails)
        _let_describe(key, cloudtrail)
    return key


def operations_key(scope: Construct, construct_id: str) -> kms.Key:
    """Encrypts queues, logs and the topic of the alarms, for the services of AWS that write to them.

    Never a bucket that notifies a queue: bucket, queue and key would each need the others first. Who fills the queues,
    S3 and EventBridge, is admitted where they are told to.
    """
    key = _key(scope, construct_id, "raki: queues, logs and alarms")
    # EventBridge names no source when it publishes; of what is encrypted for it, the topic is known.
    topics = _of_the_account("kms:EncryptionContext:aws:sns:topicArn", "sns", "*")
    groups = _of_the_account("kms:EncryptionContext:aws:logs:arn", "logs", "*")
    logs = iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")
    _admit(key, logs, *OF_ENCRYPTION, conditions=groups)
    _let_describe(key, logs)
    _admit(key, iam.ServicePrincipal("cloudwatch.amazonaws.com"), *TO_SEND, conditions=topics)
    _admit(key, iam.ServicePrincipal("events.amazonaws.com"), *TO_SEND, conditions=topics)
    return key


def _admit(key: kms.Key, principal: iam.IPrincipal, *actions: str, conditions: dict[str, dict[str, str]]) -> None:
    key.add_to_resource_policy(
        iam.PolicyStatement(
            actions=list(actions),
            conditions=conditions,
            principals=[principal],
            resources=["*"],  # in a key's policy: the key
        )
    )


def _let_describe(key: kms.Key, principal: iam.IPrincipal) -> None:
    """Lets a service look at the key's state before it takes it, without which CreateTrail fails, and all with it.

    In a statement of its own: whoever describes a key names no encryption context, so that a condition on one is never
    met (AWS KMS API reference, GrantConstraints: management operations, such as DescribeKey, have none). AWS CloudTrail
    User Guide, "Enable CloudTrail to describe KMS key properties".
    """
    key.add_to_resource_policy(
        iam.PolicyStatement(actions=["kms:DescribeKey"], principals=[principal], resources=["*"])
    )


def _key(scope: Construct, construct_id: str, description: str) -> kms.Key:
    return kms.Key(
        scope,
        construct_id,
        description=description,
        enable_key_rotation=True,
        removal_policy=RemovalPolicy.RETAIN,
    )


def _of_the_account(condition_key: str, service: str, resource: str) -> dict[str, dict[str, str]]:
    return {"ArnLike": {condition_key: f"arn:{Aws.PARTITION}:{service}:*:{Aws.ACCOUNT_ID}:{resource}"}}
