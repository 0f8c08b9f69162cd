"""The types of the templates that the local cloud does not create, one reason each, and what stands in for them.

A resource of such a type has a name and an ARN, so that what refers to it can be created, and does nothing. A type that
is neither here nor created fails the deployment: what nobody has thought about isn't left out in silence.
"""

from collections.abc import Callable
from typing import Any

from moto.cloudformation.exceptions import UnformattedGetAttTemplateException, ValidationError

from infra.local.account import ACCOUNT, REGION
from infra.local.moto.parts import find

Json = dict[str, Any]

_NO_PERMISSIONS = "permissions are not modelled"
_NO_BACKUPS = "what is here is as lasting as the work folder"
_NO_SAGEMAKER = "networks are trained by the programs of the repository, without SageMaker"

LEFT_OUT: dict[str, str] = {
    "AWS::Athena::WorkGroup": "DuckDB answers here what Athena does on AWS: `raki catalogue`",
    "AWS::Backup::BackupPlan": _NO_BACKUPS,
    "AWS::Backup::BackupSelection": _NO_BACKUPS,
    "AWS::Backup::BackupVault": _NO_BACKUPS,
    "AWS::Budgets::Budget": "nothing is billed here",
    "AWS::CloudTrail::Trail": "calls are not recorded",
    "AWS::CloudWatch::Alarm": "metrics are only written to logs; `raki alarms` says from these which would have fired",
    "AWS::CodeBuild::Project": "images are not built, their entry points run as processes",
    "AWS::EC2::SecurityGroupEgress": "every program runs on this machine's own network",
    "AWS::Glue::Database": "of Athena",
    "AWS::Glue::Table": "of Athena",
    "AWS::HealthImaging::Datastore": "nothing here imports DICOM; results stand in their bucket and on the share",
    "AWS::Lambda::EventInvokeConfig": "an asynchronous invocation that fails is not tried again",
    "AWS::Logs::QueryDefinition": "it is a saved query of the console",
    "AWS::S3::BucketPolicy": "moto would enforce it, and refuse every request, as none here comes by TLS",
    "AWS::SageMaker::NotebookInstance": _NO_SAGEMAKER,
    "AWS::SageMaker::NotebookInstanceLifecycleConfig": _NO_SAGEMAKER,
    "AWS::SNS::TopicPolicy": _NO_PERMISSIONS,
    "AWS::SQS::QueuePolicy": _NO_PERMISSIONS,
    "AWS::Scheduler::Schedule": "of schedules, only the rates of EventBridge rules run",
    "Custom::FileGateway": "there is no appliance to activate; whichever ARN a share names is that of a gateway",
}
"""Each type, and why. `raki local` writes those that a deployment has to events.log, as "not modelled"."""

_KNOWN_BY_ARN = ("AWS::SageMaker::",)
"""What a reference to a resource gets: of these its ARN, of the others its name."""

Skipped = Callable[[str, str], None]


def stand_in(skipped: Skipped) -> type:
    """The class that moto's CloudFormation takes for every type of `LEFT_OUT`.

    Args:
        skipped: told of the type and the reason of a resource that is left out.
    """

    class StandIn:
        """A resource that is only a name."""

        def __init__(self, kind: str, name: str) -> None:
            service, own = kind.lower().split("::")[-2:]
            self._name = name
            self._arn = f"arn:aws:{service}:{REGION}:{ACCOUNT}:{own}/{name}"
            self.physical_resource_id = self._arn if kind.startswith(_KNOWN_BY_ARN) else name

        @classmethod
        def has_cfn_attr(cls, attribute: str) -> bool:
            return attribute.endswith(("ARN", "Arn", "Name"))

        def is_created(self) -> bool:
            return True

        def get_cfn_attribute(self, attribute: str) -> str:
            if not self.has_cfn_attr(attribute):
                raise UnformattedGetAttTemplateException
            return self._name if attribute.endswith("Name") else self._arn

        @classmethod
        def create_from_cloudformation_json(
            cls, resource_name: str, _cloudformation_json: Json, _account: str, _region: str, **kwargs: str
        ) -> "StandIn":
            kind = kwargs["ResourceType"]
            skipped(kind, LEFT_OUT[kind])
            return cls(kind, resource_name)

        @classmethod
        def update_from_cloudformation_json(cls, original_resource: "StandIn", **_kwargs: object) -> "StandIn":
            return original_resource

        @classmethod
        def delete_from_cloudformation_json(cls, *_arguments: object) -> None:
            pass

    return StandIn


def with_stand_ins(original: Callable[[str], Any], skipped: Skipped) -> Callable[[str], Any]:
    """moto warns of a type that it lacks and goes on without it; what refers to it then fails, or gets nothing."""
    class_of_the_left_out = stand_in(skipped)

    def class_of(kind: str) -> Any:
        if kind in LEFT_OUT:
            return class_of_the_left_out
        if kind == "AWS::CloudFormation::CustomResource":  # a custom resource without a name for its type
            return original("Custom::Resource")
        found = original(kind)
        if found is None:
            raise ValidationError(message=unknown(kind))
        return found

    return class_of


def with_known_types(original: Callable[..., Any]) -> Callable[..., Any]:
    """Says before anything is created which resource has a type that isn't known."""

    def load(resources: Any) -> None:
        class_of = find("moto.cloudformation.parsing:resource_class_from_type")  # as it is by now
        for logical_id, resource in resources._resource_json_map.items():
            try:
                class_of(resource["Type"])
            except ValidationError as error:
                raise ValidationError(message=f"{logical_id}: {error.message}") from None
        original(resources)

    return load


def unknown(kind: str) -> str:
    """What is said of a type that is neither created nor left out."""
    return (
        f"the type {kind} is neither created by the local cloud nor left out by intent; create it in "
        "infra/local/deploy/resource_types.py, or name it with a reason in infra/local/deploy/left_out.py"
    )
