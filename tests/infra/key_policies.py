"""What services of AWS need of a key, as their guides have it, and whether a key's policy gives it.

The evaluator knows what stands in our key policies and no more: `Allow` alone, actions with `*`, principals that are a
service, an account or anybody, and four operators of conditions.
"""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.infra.policies import as_list

ACCOUNT, REGION, ELSEWHERE = "123456789012", "us-east-1", "210987654321"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
FSX_ROLE = (
    "role/aws-service-role/s3.data-source.lustre.fsx.amazonaws.com/AWSServiceRoleForFSxS3Access_fs-0123456789abcdef0"
)
TRAIL = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/RakiStorage-Audit"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:RakiMonitoring-Alarms"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:RakiStorage-IngestQueue"
GROUP = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:RakiNetwork-FlowLogs"
STORE = "0123456789abcdef0123456789abcdef"
# AWS KMS Developer Guide, "AWS KMS permissions": what the wildcards of the guides stand for.
ACTIONS = (
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyPair",
    "kms:GenerateDataKeyPairWithoutPlaintext",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
WITHOUT_CONTEXT = ("kms:DescribeKey",)
"""Management operations have no encryption context: AWS KMS API reference, GrantConstraints."""


@dataclass(frozen=True)
class Request:
    """One call of KMS, as the policy sees it."""

    principal: str
    """A service, or the ARN of an identity."""
    action: str
    context: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Need:
    """A statement out of AWS's documentation: who, which actions, and what comes with the call."""

    guide: str
    key: str
    principal: str
    actions: tuple
    context: dict = field(default_factory=dict)
    setting: str = ""
    """That has to be on for it; empty: it is needed always."""

    def requests(self):
        for action in ACTIONS:
            if any(fnmatchcase(action, pattern) for pattern in self.actions):
                yield Request(self.principal, action, seen(action, self.context))


def seen(action, context):
    """What of the context comes with this action."""
    if action not in WITHOUT_CONTEXT:
        return context
    return {key: value for key, value in context.items() if not key.startswith("kms:EncryptionContext:")}


def encryption(key, value, **others):
    return {f"kms:EncryptionContext:{key}": value, **others}


OF_ENCRYPTION = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
CLOUDTRAIL = "AWS CloudTrail User Guide, Configure AWS KMS key policies for CloudTrail"
SNS = "Amazon SNS Developer Guide, Enable compatibility between event sources from AWS services and encrypted topics"
SQS = "Amazon SQS Developer Guide, Configure KMS permissions for AWS services"
NEEDS = (
    Need(
        f"{CLOUDTRAIL}: granting encrypt permissions for trails",
        "DataKey",
        "cloudtrail.amazonaws.com",
        ("kms:GenerateDataKey*",),
        encryption("aws:cloudtrail:arn", TRAIL, **{"aws:SourceArn": TRAIL}),
        "audit_data_events",
    ),
    Need(
        f"{CLOUDTRAIL}: kms:Decrypt, to create or update a trail where the bucket has an S3 Bucket Key",
        "DataKey",
        "cloudtrail.amazonaws.com",
        ("kms:Decrypt",),
        encryption("aws:cloudtrail:arn", TRAIL, **{"aws:SourceArn": TRAIL}),
        "audit_data_events",
    ),
    Need(
        f"{CLOUDTRAIL}: enable CloudTrail to describe KMS key properties",
        "DataKey",
        "cloudtrail.amazonaws.com",
        ("kms:DescribeKey",),
        encryption("aws:cloudtrail:arn", TRAIL),  # which doesn't come with it
        "audit_data_events",
    ),
    Need(
        "Amazon CloudWatch Logs User Guide, Encrypt log data in CloudWatch Logs using AWS KMS",
        "OperationsKey",
        f"logs.{REGION}.amazonaws.com",
        ("kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"),
        encryption("aws:logs:arn", GROUP),
    ),
    Need(
        f"{SNS}: CloudWatch alarms",
        "OperationsKey",
        "cloudwatch.amazonaws.com",
        ("kms:GenerateDataKey*", "kms:Decrypt"),
        encryption("aws:sns:topicArn", TOPIC),
    ),
    Need(
        f"{SNS}: EventBridge",
        "OperationsKey",
        "events.amazonaws.com",
        ("kms:GenerateDataKey*", "kms:Decrypt"),
        encryption("aws:sns:topicArn", TOPIC),
    ),
    Need(
        f"{SQS}: EventBridge, which names no source",
        "OperationsKey",
        "events.amazonaws.com",
        ("kms:GenerateDataKey", "kms:Decrypt"),
        encryption("aws:sqs:arn", QUEUE),
    ),
    Need(
        f"{SQS}: Amazon S3, which verifies a destination without naming the bucket",
        "OperationsKey",
        "s3.amazonaws.com",
        ("kms:GenerateDataKey", "kms:Decrypt"),
        encryption("aws:sqs:arn", QUEUE),
    ),
    Need(
        "FSx for Lustre User Guide, Working with server-side encrypted Amazon S3 buckets",
        "DataKey",
        f"arn:aws:iam::{ACCOUNT}:{FSX_ROLE}",
        OF_ENCRYPTION,
        encryption(
            "aws:s3:arn",
            "arn:aws:s3:::prepared",
            **{
                "aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:{FSX_ROLE}",
                "kms:CallerAccount": ACCOUNT,
                "kms:ViaService": f"s3.{REGION}.amazonaws.com",
            },
        ),
        "fsx",
    ),
    Need(
        "AWS HealthImaging Developer Guide, Data encryption",
        "DataKey",
        "medical-imaging.amazonaws.com",
        ("kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
        encryption(
            "aws:medical-imaging:datastoreId",
            STORE,
            **{"kms:EncryptionContext:kms-arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0"},
        ),
        "healthimaging",
    ),
    # What is done in the name of an identity of the account, whose own policies then say whether it may: the account
    # itself has to be admitted, or they say nothing (AWS KMS Developer Guide, "Default key policy").
    *(
        Need(guide, key, ROOT, actions)
        for key, guide, actions in (
            ("DataKey", "Storage Gateway User Guide, Encrypting your data: the role of a file share", OF_ENCRYPTION),
            ("DataKey", "Amazon EBS User Guide, Permissions for IAM users", ("kms:CreateGrant", *OF_ENCRYPTION)),
            ("DataKey", "FSx for Lustre User Guide, Encrypting data at rest", ("kms:CreateGrant", *OF_ENCRYPTION)),
            ("DataKey", "SageMaker AI Developer Guide, Protect data at rest", ("kms:CreateGrant", "kms:DescribeKey")),
            ("DataKey", "DynamoDB Developer Guide, Encryption at rest", ("kms:CreateGrant", *OF_ENCRYPTION)),
            ("OperationsKey", "AWS KMS Developer Guide, Default key policy", OF_ENCRYPTION),
        )
    ),
)


def allows(policy, request):
    """Whether a key's policy, as the template has it, allows the request by itself."""
    return any(_matches(resolved(statement), request) for statement in policy["Statement"])


def resolved(value):
    """A template's value as it will be in this account and region."""
    if isinstance(value, list):
        return [resolved(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"Ref"}:
        pseudo = {"AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::Region": REGION}
        return pseudo.get(value["Ref"], value["Ref"])
    if value.keys() == {"Fn::GetAtt"}:
        return f"arn:aws:s3:::{value['Fn::GetAtt'][0].lower()}"  # in key policies: buckets alone
    if value.keys() == {"Fn::Join"}:
        separator, parts = value["Fn::Join"]
        return separator.join(resolved(parts))
    return {key: resolved(one) for key, one in value.items()}


def _matches(statement, request):
    assert statement["Effect"] == "Allow"
    assert not {"NotAction", "NotPrincipal", "NotResource"} & set(statement)
    return (
        _is_one_of(statement["Principal"], request.principal)
        and any(fnmatchcase(request.action, pattern) for pattern in as_list(statement["Action"]))
        and all(
            _holds(operator, request.context.get(key), as_list(wanted))
            for operator, tests in statement.get("Condition", {}).items()
            for key, wanted in tests.items()
        )
    )


def _is_one_of(principals, asks):
    if principals == "*" or principals.get("AWS") == "*":
        return True
    kind = "AWS" if asks.startswith("arn:") else "Service"
    return asks in as_list(principals.get(kind, []))


def _holds(operator, value, wanted):
    """Without the key in the request a condition isn't met: IAM User Guide, "IAM JSON policy elements: Condition"."""
    if value is None:
        return False
    if operator in ("StringEquals", "ArnEquals"):
        return value in wanted
    if operator == "StringLike":
        return any(fnmatchcase(value, pattern) for pattern in wanted)
    assert operator == "ArnLike", operator
    return any(_arn_like(value, pattern) for pattern in wanted)


def _arn_like(arn, pattern):
    """Each of the six parts by itself: a `*` in one doesn't reach over the next colon, but in the last."""
    parts, patterns = arn.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) == 6 and all(map(fnmatchcase, parts, patterns))


def key_policies(template):
    """The policies of a template's keys, by the construct's name."""
    return {
        re.sub(r"[0-9A-F]{8}$", "", name): resource["Properties"]["KeyPolicy"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::KMS::Key"
    }
