"""What moto's CloudFormation makes otherwise of a resource's properties than AWS's: one wrapper and one reason each.

Each takes the model's function that creates it from a template and returns what takes its place.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from infra.local.account import ACCOUNT, Client
from infra.local.deploy.buckets import with_bucket_settings
from infra.local.moto import state
from infra.local.moto.parts import Replacement
from infra.local.moto.state import Model

Json = dict[str, Any]

ATTRIBUTES: list[tuple[str, Callable[[Model, str], Any]]] = [
    ("moto.batch.models:ComputeEnvironment", lambda environment, _attribute: environment.arn),
    ("moto.batch.models:JobDefinition", lambda definition, _attribute: definition.arn),
    ("moto.batch.models:JobQueue", lambda queue, _attribute: queue.arn),
    ("moto.ec2.models.vpcs:VPCEndPoint", lambda endpoint, _attribute: _dns_entries(endpoint)),
]
"""Types that have attributes in AWS and none in moto, and what a template gets."""


def replacements(connect: Callable[[str], Client]) -> list[Replacement]:
    """What is replaced, and by which function of the original.

    Args:
        connect: a boto3 client of a service of the same server.
    """
    wrappers: dict[str, Callable[[Any], Any]] = {
        "moto.awslambda.models:LambdaFunction": with_log_group,
        "moto.batch.models:ComputeEnvironment": partial(with_service_role, connect=connect),
        "moto.batch.models:JobDefinition": with_timeout,
        "moto.ec2.models.instances:Instance": with_machine_image,
        "moto.ecr.models:Repository": with_lower_name,
        "moto.kms.models:Alias": with_key_id,
        "moto.kms.models:Key": with_key_settings,
        "moto.s3.models:FakeBucket": partial(with_bucket_settings, connect=connect),
        "moto.ssm.models:Parameter": with_listed_tags,
    }
    return [(f"{model}.create_from_cloudformation_json", wrap) for model, wrap in wrappers.items()]


def with_key_id(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto's aliases find a key by its id alone; the CDK names it by ARN."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        properties = cloudformation_json["Properties"]
        properties["TargetKeyId"] = properties["TargetKeyId"].rpartition("/")[2]
        return original(resource_name, cloudformation_json, *args, **kwargs)

    return create


def with_key_settings(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto reads a key's policy and tags in the form that the API takes; a template has them in another."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        properties = cloudformation_json["Properties"]
        properties["KeyPolicy"] = json.dumps(properties["KeyPolicy"])
        properties["Tags"] = [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in properties.get("Tags", [])]
        return original(resource_name, cloudformation_json, *args, **kwargs)

    return create


def with_listed_tags(original: Callable[..., Any]) -> Callable[..., Any]:
    """A parameter's tags are a mapping in a template, unlike everybody else's."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        properties = cloudformation_json["Properties"]
        properties["Tags"] = [{"Key": key, "Value": value} for key, value in properties.get("Tags", {}).items()]
        return original(resource_name, cloudformation_json, *args, **kwargs)

    return create


def with_log_group(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto knows no other log group than /aws/lambda/NAME."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        function = original(resource_name, cloudformation_json, *args, **kwargs)
        group = cloudformation_json["Properties"].get("LoggingConfig", {}).get("LogGroup")
        if group:
            function.logs_group_name = group
        return function

    return create


def with_lower_name(original: Callable[..., Any]) -> Callable[..., Any]:
    """CloudFormation makes the names of repositories in small letters, as ECR wants them."""

    def create(resource_name: str, *args: Model, **kwargs: Model) -> Model:
        return original(resource_name.lower(), *args, **kwargs)

    return create


def with_machine_image(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto doesn't look for the image in the launch template."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        properties = cloudformation_json["Properties"]
        properties.setdefault("ImageId", state.machine_image())
        return original(resource_name, cloudformation_json, *args, **kwargs)

    return create


def with_service_role(original: Callable[..., Any], connect: Callable[[str], Client]) -> Callable[..., Any]:
    """Without a role AWS takes Batch's service-linked one; and the CDK writes the type in small letters."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        properties = cloudformation_json["Properties"]
        properties["Type"] = properties["Type"].upper()
        if "ServiceRole" not in properties:
            properties["ServiceRole"] = _batch_role(connect("iam"))
        return original(resource_name, cloudformation_json, *args, **kwargs)

    return create


def with_timeout(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto looks for the timeout under a name that no template uses, and can't do without a retry strategy."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        properties = cloudformation_json["Properties"]
        properties.setdefault("RetryStrategy", {})
        properties["timeout"] = properties.get("Timeout", {})
        return original(resource_name, cloudformation_json, *args, **kwargs)

    return create


def _batch_role(iam: Client) -> str:
    name = "AWSServiceRoleForBatch"
    roles = iam.list_roles(PathPrefix="/aws-service-role/batch.amazonaws.com/")["Roles"]
    if not roles:
        iam.create_role(RoleName=name, Path="/aws-service-role/batch.amazonaws.com/", AssumeRolePolicyDocument="{}")
    return f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/batch.amazonaws.com/{name}"


def _dns_entries(endpoint: Model) -> list[str]:
    return [f"{entry['hosted_zone_id']}:{entry['dns_name']}" for entry in endpoint.dns_entries]
