"""What a role may do with a bucket, a queue or the ledger: each action, and the key's use through that service only.

The CDK's own grants allow families of actions (`s3:GetObject*`, `s3:List*`); a reviewer wants to read each one.
"""

from collections.abc import Mapping

from aws_cdk import Aws, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs


def allow(role: iam.IRole, *actions: str, on: list[str]) -> None:
    """Adds one statement to the role's policy."""
    role.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), resources=on))


def keep_to_account(resource: s3.Bucket | sqs.Queue) -> None:
    """No service of AWS does anything with it in another account's name, whatever else its policy allows.

    Where a service names an account at all: EventBridge does, S3 doesn't when it checks a queue. IAM User Guide, "The
    confused deputy problem"; AWS's "Data perimeter policy examples", EnforceConfusedDeputyProtection.
    """
    family, arns = (
        ("s3:*", [resource.bucket_arn, resource.arn_for_objects("*")])
        if isinstance(resource, s3.Bucket)
        else ("sqs:*", [resource.queue_arn])
    )
    resource.add_to_resource_policy(
        iam.PolicyStatement(
            sid="ServicesForThisAccount",
            actions=[family],
            conditions={
                "Bool": {"aws:PrincipalIsAWSService": "true"},
                "Null": {"aws:SourceAccount": "false"},
                "StringNotEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
            },
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            resources=arns,
        )
    )


def deny_deletion(bucket: s3.Bucket) -> None:
    """Nobody deletes what lies there, or a version of it, until somebody takes this out of the bucket's policy.

    Lifecycle rules go on: Amazon S3 User Guide, "Managing the lifecycle of objects": no policy of a bucket stops them.
    """
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid="NobodyDeletes",
            actions=["s3:DeleteObject", "s3:DeleteObjectVersion"],
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            resources=[bucket.arn_for_objects("*")],
        )
    )


def read_objects(
    role: iam.IRole, bucket: s3.Bucket, pattern: str = "*", *, with_tag: Mapping[str, str] | None = None
) -> None:
    """Reads objects whose keys match, and learns that one is missing (without ListBucket S3 answers "forbidden").

    Args:
        with_tag: only those that carry it.
    """
    tagged = {f"s3:ExistingObjectTag/{key}": value for key, value in (with_tag or {}).items()}
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=["s3:GetObject"],
            conditions={"StringEquals": tagged} if tagged else None,
            resources=[bucket.arn_for_objects(pattern)],
        )
    )
    allow(role, "s3:ListBucket", on=[bucket.bucket_arn])
    _use_key(role, bucket.encryption_key, "s3", "kms:Decrypt")


def write_objects(role: iam.IRole, bucket: s3.Bucket, pattern: str = "*") -> None:
    """Writes objects, whole or in parts; the parts are read again by S3 when they are put together."""
    allow(role, "s3:AbortMultipartUpload", "s3:PutObject", on=[bucket.arn_for_objects(pattern)])
    _use_key(role, bucket.encryption_key, "s3", "kms:Decrypt", "kms:GenerateDataKey")


def publish_results(role: iam.IRole, results: s3.Bucket) -> None:
    """Writes a scan's files and removes those of earlier runs, which it lists. Of what is there, it reads manifests."""
    write_objects(role, results)
    allow(role, "s3:DeleteObject", on=[results.arn_for_objects("*")])
    read_objects(role, results, "*/manifest.json")


def consume(role: iam.IRole, queue: sqs.Queue) -> None:
    """Receives, holds, gives back and deletes messages."""
    allow(
        role,
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
        on=[queue.queue_arn],
    )
    _use_key(role, queue.encryption_master_key, "sqs", "kms:Decrypt")


def send(role: iam.IRole, queue: sqs.Queue) -> None:
    """Sends messages."""
    allow(role, "sqs:SendMessage", on=[queue.queue_arn])
    _use_key(role, queue.encryption_master_key, "sqs", "kms:Decrypt", "kms:GenerateDataKey")


def use_ledger(role: iam.IRole, ledger: dynamodb.Table, *actions: str) -> None:
    """Does `actions` on the table. DynamoDB opens an encrypted table in the name of who asks."""
    allow(role, *actions, on=[ledger.table_arn])
    _use_key(role, ledger.encryption_key, "dynamodb", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt")


def pass_role(role: iam.IRole, passed: iam.IRole, *, to: str) -> None:
    """Names a role to one service, which then takes it on."""
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=["iam:PassRole"],
            conditions={"StringEquals": {"iam:PassedToService": to}},
            resources=[passed.role_arn],
        )
    )


def read_secret(role: iam.IRole, arn: str) -> None:
    """Reads one secret, whichever key of the account it is encrypted with: for this secret alone, through its service.

    AWS Secrets Manager User Guide, "Secret encryption and decryption": the encryption context has the secret's ARN.
    """
    allow(role, "secretsmanager:GetSecretValue", on=[arn])
    stack = Stack.of(role)
    of_secret = {
        "kms:EncryptionContext:SecretARN": arn,
        "kms:ViaService": f"secretsmanager.{stack.region}.amazonaws.com",
    }
    role.add_to_principal_policy(
        iam.PolicyStatement(
            actions=["kms:Decrypt"],
            conditions={"StringEquals": of_secret},
            resources=[stack.format_arn(service="kms", resource="key", resource_name="*")],
        )
    )


def read_own_secret(role: iam.IRole, arn: str, key: kms.IKey) -> None:
    """Reads a secret of the deployment's own, which is encrypted with `key`."""
    allow(role, "secretsmanager:GetSecretValue", on=[arn])
    _use_key(role, key, "secretsmanager", "kms:Decrypt")


def _use_key(role: iam.IRole, key: kms.IKey | None, service: str, *actions: str) -> None:
    if key is None:
        raise ValueError(f"what is reached through {service} has no key of the deployment's; give it one")
    via = {"StringEquals": {"kms:ViaService": f"{service}.{Stack.of(role).region}.amazonaws.com"}}
    role.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), conditions=via, resources=[key.key_arn]))
