"""Where moto's CloudFormation makes a stack otherwise than AWS's: one wrapper and one reason each.

Each takes moto's function and returns what takes its place.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from moto.cloudformation.exceptions import ValidationError

from infra.local.deploy.custom_resources import CustomResourceFailed
from infra.local.deploy.left_out import Skipped, with_known_types, with_stand_ins
from infra.local.moto import state
from infra.local.moto.parts import Replacement, find
from infra.local.moto.state import Model

Json = dict[str, Any]


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


def replacements(send: Callable[[Json], Json], skipped: Skipped) -> list[Replacement]:
    """What is replaced, and by which function of the original.

    Args:
        send: sends a request to a custom resource's handler; returns the reply.
        skipped: told of the type of a resource that isn't created, and of the reason.
    """
    parsing = "moto.cloudformation.parsing"
    return [
        (
            "moto.cloudformation.custom_model:CustomModel.create_from_cloudformation_json",
            partial(with_real_handlers, send=send),
        ),
        ("moto.cloudformation.models:CloudFormationBackend.execute_change_set", with_exports),
        ("moto.cloudformation.models:get_stack_from_s3_url", with_local_address),
        (f"{parsing}:parse_and_create_resource", with_named_failure),
        (f"{parsing}:resource_class_from_type", partial(with_stand_ins, skipped=skipped)),
        (f"{parsing}:ResourceMap.load", with_known_types),
        (f"{parsing}:ResourceMap.parse_ssm_parameter", with_public_parameters),
        ("moto.cloudformation.responses:get_stack_from_s3_url", with_local_address),
    ]


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


class ResourceFailed(ValidationError):
    """Raised once, where the resource failed; those that refer to it pass it on."""


def with_named_failure(original: Callable[..., Any]) -> Callable[..., Any]:
    """A stack's failure names the resource and its reason; moto's is a bare exception, or a status 500."""

    def create(logical_id: str, resource_json: Json, *args: Model, **kwargs: Model) -> Model:
        try:
            return original(logical_id, resource_json, *args, **kwargs)
        except ResourceFailed:
            raise
        except Exception as error:
            reason = str(error) if isinstance(error, CustomResourceFailed) else f"{type(error).__name__}: {error}"
            raise ResourceFailed(message=f"{logical_id} ({resource_json['Type']}) failed: {reason}") from error

    return create


def with_public_parameters(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto knows few of the parameters that AWS publishes; any machine image does, as no machine is started."""

    def value_of(resources: Model, name: str, kind: str) -> Any:
        try:
            return original(resources, name, kind)
        except AttributeError:
            if kind != "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>":
                raise ValidationError(message=f"the parameter {name} isn't in the Parameter Store") from None
            return state.machine_image()

    return value_of
