"""What moto's CloudFormation leaves out of a bucket: versions, lifecycle rules, locks, who may not be let in.

Encryption and tags it has. Access logs are not written: moto wants the log bucket's policy for that, and policies are
left out.
"""

from collections.abc import Callable
from typing import Any

from infra.local.account import Client
from infra.local.moto.state import Model

Json = dict[str, Any]


def with_bucket_settings(original: Callable[..., Any], connect: Callable[[str], Client]) -> Callable[..., Any]:
    """Sets by the server's own API what a template says of a bucket."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        bucket = original(resource_name, cloudformation_json, *args, **kwargs)
        properties = cloudformation_json.get("Properties", {})
        for name, put in _settings(connect("s3"), resource_name).items():
            if name in properties:
                put(properties[name])
        return bucket

    return create


def _settings(s3: Client, bucket: str) -> dict[str, Callable[[Any], object]]:
    """In this order: a lock needs versions."""
    return {
        "VersioningConfiguration": lambda value: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=value),
        "LifecycleConfiguration": lambda value: s3.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}
        ),
        "ObjectLockConfiguration": lambda value: s3.put_object_lock_configuration(
            Bucket=bucket, ObjectLockConfiguration=value
        ),
        "PublicAccessBlockConfiguration": lambda value: s3.put_public_access_block(
            Bucket=bucket, PublicAccessBlockConfiguration=value
        ),
    }


def _lifecycle_rule(rule: Json) -> Json:
    """A rule of a template in the words of the S3 API."""
    tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in rule.get("TagFilters", [])]
    conditions: Json = {"Prefix": rule.get("Prefix", "")}
    if tags:
        conditions = {"And": {"Prefix": rule.get("Prefix", ""), "Tags": tags}}
    translated: Json = {"Status": rule["Status"], "Filter": conditions}
    if "Id" in rule:
        translated["ID"] = rule["Id"]
    expiration = {}
    if "ExpirationInDays" in rule:
        expiration["Days"] = rule["ExpirationInDays"]
    if "ExpiredObjectDeleteMarker" in rule:
        expiration["ExpiredObjectDeleteMarker"] = rule["ExpiredObjectDeleteMarker"]
    if expiration:
        translated["Expiration"] = expiration
    if "Transitions" in rule:
        translated["Transitions"] = [
            {"StorageClass": step["StorageClass"], "Days": step["TransitionInDays"]} for step in rule["Transitions"]
        ]
    if "NoncurrentVersionTransitions" in rule:
        translated["NoncurrentVersionTransitions"] = [
            {"StorageClass": step["StorageClass"], "NoncurrentDays": step["TransitionInDays"]}
            for step in rule["NoncurrentVersionTransitions"]
        ]
    # The same words in both.
    for name in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if name in rule:
            translated[name] = rule[name]
    return translated
