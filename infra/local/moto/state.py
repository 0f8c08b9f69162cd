"""What the server holds, read from moto's models inside its own process.

`server.adaptations` and `deploy` know models too, for what they change and for the types that moto lacks.

Everything here could be asked through boto3 as well; it is asked several times a second, and a call costs some
milliseconds. What changes something goes through the public API wherever that has a call for it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, TypeAlias

from moto.awslambda.models import lambda_backends
from moto.core.utils import unix_time_millis
from moto.ec2.models import ec2_backends
from moto.ecs.models import ecs_backends
from moto.events.models import events_backends
from moto.fsx.models import fsx_backends
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from infra.local.account import ACCOUNT, REGION
from infra.local.journal import LogStream

# An instance of one of moto's classes, which have no types to speak of.
Model: TypeAlias = Any


def services() -> list[Model]:
    """The ECS services that are neither deleted nor being deleted, of all clusters."""
    return [service for service in list(ecs_backends[ACCOUNT][REGION].services.values()) if service.status == "ACTIVE"]


def desired_count(service_arn: str) -> int:
    """How many tasks the service is to have; 0 for one that is gone."""
    return next((int(service.desired_count) for service in services() if service.arn == service_arn), 0)


def file_systems() -> list[str]:
    """The ids of the FSx file systems."""
    return list(fsx_backends[ACCOUNT][REGION].file_systems)


def machine_image() -> str:
    """The id of an image that moto knows: as no machine is started, each is as good."""
    return str(next(iter(ec2_backends[ACCOUNT][REGION].amis)))


def event_source_mappings() -> list[Model]:
    """The enabled mappings from a queue to a Lambda."""
    mappings = lambda_backends[ACCOUNT][REGION].list_event_source_mappings(event_source_arn=None, function_name=None)
    return [mapping for mapping in list(mappings) if mapping.enabled and ":sqs:" in mapping.event_source_arn]


def rules() -> Iterator[Model]:
    """The enabled EventBridge rules of all buses."""
    for bus in list(events_backends[ACCOUNT][REGION].event_buses.values()):
        yield from (rule for rule in list(bus.rules.values()) if rule.state == "ENABLED")


def function(name_or_arn: str) -> Model:
    """The Lambda function."""
    return lambda_backends[ACCOUNT][REGION].get_function(name_or_arn)


def task_definition(name_or_arn: str) -> str:
    """The ARN of a task definition; of its newest revision where none is named."""
    return str(ecs_backends[ACCOUNT][REGION].describe_task_definition(name_or_arn).arn)


def has_messages(queue_arn: str) -> bool:
    """Whether a message of the queue could be received now."""
    return any(queue.messages for queue in queues() if queue.queue_arn == queue_arn)


def queues() -> list[Model]:
    """The SQS queues."""
    return list(sqs_backends[ACCOUNT][REGION].queues.values())


def stored_object(bucket: str, key: str, version_id: str | None) -> Model:
    """The object's model, or None."""
    return s3_backends[ACCOUNT]["aws"].get_object(bucket, key, version_id=version_id)


def upload(bucket: str, upload_id: str) -> Model:
    """The file of an upload in parts that is under way, or None."""
    found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    multipart = found and found.multiparts.get(upload_id)
    return multipart and multipart.upload


def put_log_line(log: LogStream, line: str) -> None:
    """Appends a line to CloudWatch Logs. A line that the service wouldn't take is dropped: logging ends no program."""
    if not line:
        return
    logs = logs_backends[ACCOUNT][REGION]
    with contextlib.suppress(Exception):
        logs.ensure_log_group(log.group)
        logs.ensure_log_stream(log.group, log.stream)
        logs.put_log_events(log.group, log.stream, [{"timestamp": int(unix_time_millis()), "message": line}])
