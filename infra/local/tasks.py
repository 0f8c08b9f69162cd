"""ECS services: as many worker processes as the desired count says."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.local import state
from infra.local.account import Client
from infra.local.assembly import UnknownImage
from infra.local.containers import ContainerRequest, Containers
from infra.local.journal import Journal
from infra.local.programs import LogStream, Program
from infra.local.state import Model

DEFAULT_STOP_TIMEOUT_S = 30.0
# A worker that fails soon after its start is started again after twice the wait each time, as ECS does.
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_HEALTHY_AFTER_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of a service, and the process that stands for it."""

    arn: str
    definition: str
    program: Program
    stop_timeout_s: float
    started_s: float


class Services:
    """Brings the processes in line with the services that the server knows, whoever created or changed them."""

    def __init__(self, containers: Containers, connect: Callable[[str], Client], journal: Journal) -> None:
        self._containers = containers
        self._ecs = connect("ecs")
        self._journal = journal
        self._tasks: dict[str, list[Task]] = {}
        self._desired: dict[str, int] = {}
        self._wait_s: dict[str, float] = {}
        self._not_before_s: dict[str, float] = {}

    def step(self) -> None:
        """One look at all services."""
        services = {service.arn: service for service in state.services()}
        for arn, service in services.items():
            self._reconcile(arn, service)
        for arn in [arn for arn in self._tasks if arn not in services]:
            for task in self._tasks.pop(arn):
                self._stop(arn, task, "the service was deleted")

    def _reconcile(self, arn: str, service: Model) -> None:
        tasks = self._tasks.setdefault(arn, [])
        if self._desired.get(arn) != service.desired_count:
            self._desired[arn] = service.desired_count
            self._journal.note("ecs desired count", f"{service.name}: {service.desired_count}")
        definition = self._definition_arn(service.task_definition)
        for task in [task for task in tasks if task.program.exit_code is not None]:
            tasks.remove(task)
            self._exited(arn, service, task)
        for task in [task for task in tasks if task.definition != definition]:
            tasks.remove(task)
            self._stop(arn, task, "the service has a new task definition")
        while len(tasks) > service.desired_count:
            self._stop(arn, tasks.pop(), "scaling in")
        while len(tasks) < service.desired_count and time.monotonic() >= self._not_before_s.get(arn, 0.0):
            tasks.append(self._start(arn, service, definition))
        service.running_count = len(tasks)
        service.pending_count = service.desired_count - len(tasks)

    def _start(self, arn: str, service: Model, definition: str) -> Task:
        described = self._ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
        container = described["containerDefinitions"][0]
        try:
            started = self._ecs.run_task(
                cluster=service.cluster_arn,
                taskDefinition=definition,
                launchType="FARGATE",
                startedBy="ecs-svc",
                group=f"service:{service.name}",
                **_network(service),
            )["tasks"][0]
            task_id = started["taskArn"].rpartition("/")[2]
            program = self._containers.start(_request(container, f"{service.name}-{task_id[:8]}", task_id))
        except (UnknownImage, OSError):
            self._back_off(arn)
            raise
        self._journal.note("ecs task", f"{service.name}: started {task_id[:8]}")
        return Task(
            arn=started["taskArn"],
            definition=definition,
            program=program,
            stop_timeout_s=float(container.get("stopTimeout", DEFAULT_STOP_TIMEOUT_S)),
            started_s=time.monotonic(),
        )

    def _exited(self, arn: str, service: Model, task: Task) -> None:
        code = task.program.exit_code
        self._journal.note("ecs task", f"{service.name}: {_short(task)} exited with {code}")
        self._mark_stopped(arn, task, f"Essential container in task exited (exit code {code})")
        if code != 0 and time.monotonic() - task.started_s < _HEALTHY_AFTER_S:
            self._back_off(arn)
        else:
            self._wait_s.pop(arn, None)

    def _back_off(self, arn: str) -> None:
        wait_s = self._wait_s.get(arn, _FIRST_WAIT_S)
        self._not_before_s[arn] = time.monotonic() + wait_s
        self._wait_s[arn] = min(2 * wait_s, _LONGEST_WAIT_S)

    def _stop(self, arn: str, task: Task, reason: str) -> None:
        """Lets the worker finish what it is at, in the background, for as long as its definition gives it."""

        def stop() -> None:
            code = task.program.stop(task.stop_timeout_s)
            self._journal.note("ecs task", f"stopped {_short(task)}, exit code {code}: {reason}")

        self._mark_stopped(arn, task, reason)
        threading.Thread(target=stop, name="stop task", daemon=True).start()

    def _mark_stopped(self, arn: str, task: Task, reason: str) -> None:
        # The cluster is part of the service's long ARN, ...:service/CLUSTER/NAME.
        self._ecs.stop_task(cluster=arn.split("/")[1], task=task.arn, reason=reason)

    def _definition_arn(self, name_or_arn: str) -> str:
        definition = self._ecs.describe_task_definition(taskDefinition=name_or_arn)["taskDefinition"]
        return str(definition["taskDefinitionArn"])


def container_mounts(container: Mapping[str, Any]) -> dict[str, str]:
    """Path inside the container, and volume, of each of its mount points."""
    return {point["containerPath"]: point["sourceVolume"] for point in container.get("mountPoints", [])}


def log_stream(container: Mapping[str, Any], default_group: str, name: str) -> LogStream:
    """Where the awslogs driver would write."""
    options = container.get("logConfiguration", {}).get("options", {})
    prefix = options.get("awslogs-stream-prefix", "")
    return LogStream(group=options.get("awslogs-group", default_group), stream=f"{prefix}/{name}" if prefix else name)


def _request(container: Mapping[str, Any], name: str, task_id: str) -> ContainerRequest:
    return ContainerRequest(
        name=f"ecs-{name}",
        image=container["image"],
        command=container.get("command"),
        environment={pair["name"]: pair["value"] for pair in container.get("environment", [])},
        mounts=container_mounts(container),
        log=log_stream(container, "/ecs", f"{container['name']}/{task_id}"),
    )


def _network(service: Model) -> dict[str, Any]:
    return {"networkConfiguration": service.network_configuration} if service.network_configuration else {}


def _short(task: Task) -> str:
    return task.arn.rpartition("/")[2][:8]
