"""What moto's CloudFormation leaves out of a template's resources: one wrapper and one reason each.

Each takes moto's function and returns what takes its place.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from infra.local.account import ACCOUNT, Client
from infra.local.custom_resources import CustomResourceFailed
from infra.local.moto_parts import find
from infra.local.state import Model

Json = dict[str, Any]


def with_bucket_settings(original: Callable[..., Any], connect: Callable[[str], Client]) -> Callable[..., Any]:
    """moto takes encryption and tags from a template only."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        bucket = original(resource_name, cloudformation_json, *args, **kwargs)
        properties = cloudformation_json.get("Properties", {})
        s3 = connect("s3")
        if "VersioningConfiguration" in properties:
            s3.put_bucket_versioning(
                Bucket=resource_name, VersioningConfiguration=properties["VersioningConfiguration"]
            )
        if "LifecycleConfiguration" in properties:
            rules = [_lifecycle_rule(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]
            s3.put_bucket_lifecycle_configuration(Bucket=resource_name, LifecycleConfiguration={"Rules": rules})
        return bucket

    return create


def with_real_handlers(_original: Callable[..., Any], send: Callable[[Json], Json]) -> Callable[..., Any]:
    """moto answers in the background: nothing can be read from it, and some resources are created twice."""
    model_type = find("moto.cloudformation.custom_model:CustomModel")

    def create(
        resource_name: str, cloudformation_json: Json, _account_id: str, region_name: str, **kwargs: Model
    ) -> Model:
        reply = send(
            {
                "RequestType": "Create",
                "ServiceToken": cloudformation_json["Properties"]["ServiceToken"],
                "StackId": kwargs["StackId"],
                "LogicalResourceId": kwargs["LogicalId"],
                "ResourceType": kwargs["ResourceType"],
                "ResourceProperties": cloudformation_json["Properties"],
            }
        )
        physical_id = reply.get("PhysicalResourceId") or resource_name
        model = model_type(region_name, "", kwargs["LogicalId"], physical_id)
        model.set_data(reply.get("Data") or {})
        return model

    return create


def with_exports(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto loses outputs and imports where a change set makes a stack, as the CDK's command line does."""

    def execute(backend: Model, *args: Model, **kwargs: Model) -> None:
        for stack in backend.stacks.values():
            stack.resource_map.cross_stack_resources = backend.exports
        original(backend, *args, **kwargs)
        for stack in [stack for stack in backend.stacks.values() if stack.template]:
            stack._parse_template()
            stack.output_map = stack._create_output_map()
            # moto looks at outputs whose condition is false as well, and fails over them: such a stack exports nothing.
            with contextlib.suppress(Exception):
                backend.exports.update({export.name: export for export in stack.exports})

    return execute


def with_local_address(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto takes the first part of 127.0.0.1 in a template's URL for the name of a bucket."""

    def get(template_url: str, *args: Model, **kwargs: Model) -> Model:
        return original(template_url.replace("//127.0.0.1", "//localhost"), *args, **kwargs)

    return get


def with_log_group(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto knows no other log group than /aws/lambda/NAME."""

    def create(resource_name: str, cloudformation_json: Json, *args: Model, **kwargs: Model) -> Model:
        function = original(resource_name, cloudformation_json, *args, **kwargs)
        group = cloudformation_json["Properties"].get("LoggingConfig", {}).get("LogGroup")
        if group:
            function.logs_group_name = group
        return function

    return create


def with_named_failure(original: Callable[..., Any]) -> Callable[..., Any]:
    """A stack's failure names the resource and its reason; moto's is a bare exception, or a status 500."""
    validation_error = find("moto.cloudformation.exceptions:ValidationError")

    def create(logical_id: str, resource_json: Json, *args: Model, **kwargs: Model) -> Model:
        try:
            return original(logical_id, resource_json, *args, **kwargs)
        except ResourceFailed:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, CustomResourceFailed) else f"{type(error).__name__}: {error}"
            raise ResourceFailed(message=f"{logical_id} ({resource_json['Type']}) failed: {reason}") from error

    class ResourceFailed(validation_error):  # type: ignore[misc, valid-type]
        """Raised once, where the resource failed; those that refer to it pass it on."""

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


def with_skipped_types(original: Callable[..., Any], skipped: Callable[[str], None]) -> Callable[..., Any]:
    """A type that nobody models is left out with a note, instead of a warning on the terminal."""
    class_of = find("moto.cloudformation.parsing:get_model_map")

    def parse(logical_id: str, resource_json: Json, resources_map: Model) -> Model:
        kind = resource_json["Type"]
        if kind not in class_of() and not kind.startswith("Custom::"):
            skipped(kind)
            return None
        return original(logical_id, resource_json, resources_map)

    return parse


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


def _lifecycle_rule(rule: Json) -> Json:
    """A rule of a template in the words of the S3 API."""
    tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in rule.get("TagFilters", [])]
    conditions: Json = {"Prefix": rule.get("Prefix", "")}
    if tags:
        conditions = {"And": {"Prefix": rule.get("Prefix", ""), "Tags": tags}}
    translated: Json = {"Status": rule["Status"], "Filter": conditions}
    if "Id" in rule:
        translated["ID"] = rule["Id"]
    if "ExpirationInDays" in rule:
        translated["Expiration"] = {"Days": rule["ExpirationInDays"]}
    if "Transitions" in rule:
        translated["Transitions"] = [
            {"StorageClass": step["StorageClass"], "Days": step["TransitionInDays"]} for step in rule["Transitions"]
        ]
    if "AbortIncompleteMultipartUpload" in rule:
        translated["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    return translated
