"""What of moto is replaced, one entry and one reason each, and put back when the local cloud ends.

moto without Docker records what it is told and runs nothing. Here its models are tied to the executors, and the gaps
of its CloudFormation are closed. Everything that is touched is looked for at start-up: a moto that has changed says so
then, and not by a scan that never arrives.
"""

import importlib
import inspect
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from infra.local.account import Client
from infra.local.deploy import cloudformation, properties, resource_types
from infra.local.envelope import Json, service_event
from infra.local.moto import contents, state, versions
from infra.local.moto.parts import Replacement, find
from infra.local.moto.state import Model

# What is read or called, but not replaced.
USED = (
    "moto.awslambda.models:lambda_backends",
    "moto.awslambda.models:LambdaBackend.get_function",
    "moto.awslambda.models:LambdaBackend.list_event_source_mappings",
    "moto.batch.models:Job._add_parameters_to_command",
    "moto.batch.models:Job._get_attempt_duration",
    "moto.batch.models:Job._mark_stopped",
    "moto.batch.models:Job._start_attempt",
    "moto.batch.models:Job._stop_attempt",
    "moto.batch.models:Job._wait_for_dependencies",
    "moto.cloudformation.custom_model:CustomModel.set_data",
    "moto.cloudformation.models:Stack._create_output_map",
    "moto.cloudformation.models:Stack._parse_template",
    "moto.cloudformation.parsing:get_model_list.cache_clear",
    "moto.cloudformation.parsing:get_model_map.cache_clear",
    "moto.cloudformation.parsing:get_name_type_map.cache_clear",
    "moto.ec2.models:ec2_backends",
    "moto.ecs.models:EC2ContainerServiceBackend.run_task",
    "moto.events.models:EventPattern.matches_event",
    "moto.fsx.models:fsx_backends",
    "moto.logs.models:LogsBackend.ensure_log_group",
    "moto.logs.models:LogsBackend.ensure_log_stream",
    "moto.logs.models:LogsBackend.put_log_events",
    "moto.moto_api:state_manager.set_transition",
    "moto.moto_api:state_manager.unset_transition",
    "moto.s3.models:FakeKey.value",
    "moto.s3.models:MultipartChecksumBuilder",
    "moto.s3.models:S3Backend.get_object",
    "moto.s3.models:compute_checksum",
)
# moto moves a job or a task on whenever somebody looks at it; here only the executors do.
_MANUAL = {"progression": "manual", "times": 10**9}
_MANAGED_STATES = ("batch::job", "ecs::task")


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """The executors that moto's models are tied to."""

    connect: Callable[[str], Client]
    object_files: Path
    """The folder that holds the content of S3's objects."""
    received: Callable[[], contents.Content | None]
    """The part of an object that came with the request which is being answered, where it is stored already."""
    invoke: Callable[[Model, object], tuple[bytes, bool]]
    """Runs a Lambda function with an event; returns the payload and whether it is an error."""
    run_job: Callable[[Model], None]
    """Runs a Batch job to its end."""
    custom_resource: Callable[[Json], Json]
    """Sends a request to a custom resource's handler; returns the reply."""
    announce: Callable[[Json], None]
    """Told of S3's events for EventBridge."""
    nuisances: bool
    """Whether S3's notices come late, twice and out of order."""
    skipped: Callable[[str, str], None]
    """Told of the type of a resource that isn't created, and of the reason."""


class Adaptations:
    """The replacements, made by `install` and undone by `remove`."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        """Checks that moto has everything, then replaces it.

        Raises:
            MotoChanged: moto lacks something that is used or replaced.
        """
        for path in USED:
            find(path)
        replacements = self._replacements()
        for path, _ in replacements:
            find(path)
        for path, wrap in replacements:
            self._replace(path, wrap(find(path)))  # which an earlier one may have replaced
        for model, attribute in properties.ATTRIBUTES:
            self._add(model, "get_cfn_attribute", attribute)
        self._add("moto.s3.models:FakeKey", "__deepcopy__", contents.without_content)
        # The CDK's command line asks for it. Here nothing outlives the server anyway.
        self._add(
            "moto.cloudformation.responses:CloudFormationResponse",
            "update_termination_protection",
            lambda _response: find("moto.core.responses:EmptyResult")(),
        )
        resource_types.use_connection(self._hooks.connect)
        _forget_resource_types()
        for model in _MANAGED_STATES:
            find("moto.moto_api:state_manager").set_transition(model, _MANUAL)

    def remove(self) -> None:
        """Puts everything back as it was."""
        while self._undo:
            self._undo.pop()()
        _forget_resource_types()
        for model in _MANAGED_STATES:
            find("moto.moto_api:state_manager").unset_transition(model)

    def _announce(self, _account: str, bucket: Model, event_name: str, key: Model) -> None:
        """moto would look for the rules itself, and knows no Lambda or queue as their targets."""
        detail = {
            "bucket": {"name": bucket.name},
            "object": {"key": key.name, "size": key.size, "version-id": key.version_id},
            "reason": event_name.split(":")[1],
        }
        kind = find("moto.s3.notifications:_detail_type")(event_name)
        self._hooks.announce(service_event("aws.s3", kind, [bucket.arn], detail))

    def _replacements(self) -> list[Replacement]:
        """What is replaced, and by which function of the original; each of those says why."""
        hooks = self._hooks
        return [
            *contents.replacements(hooks.object_files, hooks.received),
            *versions.replacements(nuisances=hooks.nuisances),
            *cloudformation.replacements(hooks.custom_resource, hooks.skipped),
            *properties.replacements(hooks.connect),
            ("moto.awslambda.models:LambdaBackend.create_event_source_mapping", _without_push),
            ("moto.awslambda.models:LambdaFunction.invoke", lambda _: self._invoke),
            ("moto.dynamodb.responses:DynamoHandler.call_action", _one_at_a_time),
            ("moto.s3.notifications:_send_event_bridge_message", lambda _: self._announce),
            ("moto.batch.models:Job._container_details", _with_exit_code),
            ("moto.batch.models:Job.run", lambda _: hooks.run_job),
            (
                "moto.ecs.models:EC2ContainerServiceBackend._calculate_task_resource_requirements",
                _with_memory_of_the_task,
            ),
            # Off by default, as it takes a moment; the templates' roles use AWS's own policies.
            ("moto.iam.models:load_iam_aws_managed_policies", lambda _: lambda: True),
        ]

    def _replace(self, path: str, replacement: Callable[..., Any]) -> None:
        """`replacement` takes what a caller passes, and the instance first where the original is a method."""
        owner, name = _owner_of(path)
        raw = inspect.getattr_static(owner, name)
        n_hidden = 1 if isinstance(raw, classmethod) else 0

        def call(*args: Model, **kwargs: Model) -> Model:
            return replacement(*args[n_hidden:], **kwargs)

        # As the original is bound to its class or not, so must be what takes its place.
        kind = type(raw) if isinstance(raw, (classmethod, staticmethod)) else None
        setattr(owner, name, kind(call) if kind else call)
        self._undo.append(lambda: setattr(owner, name, raw))

    def _add(self, owner_path: str, name: str, attribute: Callable[..., Any]) -> None:
        owner = find(owner_path)
        if not hasattr(owner, name):
            setattr(owner, name, attribute)
            self._undo.append(lambda: delattr(owner, name))

    def _invoke(self, function: Model, body: str, request_headers: Model, response_headers: Model) -> bytes:
        """moto needs Docker for it, and makes the caller of an asynchronous invocation wait."""
        event = json.loads(body) if body else {}
        if request_headers.get("x-amz-invocation-type", "RequestResponse") == "Event":
            threading.Thread(target=self._hooks.invoke, args=(function, event), name="invoke", daemon=True).start()
            return b""
        payload, failed = self._hooks.invoke(function, event)
        if failed:
            response_headers["x-amz-function-error"] = "Unhandled"
        return payload


def _owner_of(path: str) -> tuple[ModuleType | type, str]:
    module_name, _, attributes = path.partition(":")
    owner, _, name = attributes.rpartition(".")
    return (find(f"{module_name}:{owner}") if owner else importlib.import_module(module_name)), name


def _forget_resource_types() -> None:
    """moto looks for types once and remembers them; ours come and go."""
    for name in ("get_model_list", "get_model_map", "get_name_type_map"):
        find(f"moto.cloudformation.parsing:{name}").cache_clear()


def _without_push(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto runs the function inside the SendMessage or PutObject that fills the queue; here the queue is polled."""

    def create(backend: Model, spec: Json) -> Model:
        mapping = original(backend, spec)
        for queue in state.queues():
            queue.lambda_event_source_mappings.clear()
        return mapping

    return create


def _one_at_a_time(original: Callable[..., Any]) -> Callable[..., Any]:
    """A condition holds when its change is made, as DynamoDB promises; moto's threads may get in between.

    And while one writes, another one's Scan fails. Amazon DynamoDB Developer Guide, "Condition expressions".
    """
    lock = threading.Lock()

    def call(handler: Model) -> Model:
        with lock:
            return original(handler)

    return call


def _with_exit_code(original: Callable[..., Any]) -> Callable[..., Any]:
    """moto's description of a finished job leaves the container's exit code out."""

    def details(job: Model) -> Json:
        described: Json = original(job)
        return described if job.exit_code is None else described | {"exitCode": job.exit_code}

    return details


def _with_memory_of_the_task(original: Callable[..., Any]) -> Callable[..., Any]:
    """A Fargate container may have no memory of its own; moto adds None up."""

    def requirements(task_definition: Model) -> Json:
        for container in task_definition.container_definitions:
            if not {"memory", "Memory", "memoryReservation", "MemoryReservation"} & set(container):
                container["memory"] = int(task_definition.memory or 512)
        needed: Json = original(task_definition)
        return needed

    return requirements
