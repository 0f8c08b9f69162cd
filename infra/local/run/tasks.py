"""ECS services, as many worker processes as the desired count says, and tasks that rules start once."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.local.account import Client
from infra.local.deploy.assembly import UnknownImage
from infra.local.journal import Journal
from infra.local.moto import state
from infra.local.moto.state import Model
from infra.local.run.containers import ContainerRequest, Containers, container_mounts, log_stream
from infra.local.run.programs import Program
from infra.local.run.protection import AGENT_PATH, Protections

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

    @property
    def id(self) -> str:
        """The last part of its ARN."""
        return self.arn.rpartition("/")[2]


class Services:
    """Brings the processes in line with the services that the server knows, whoever created or changed them."""

    def __init__(
        self,
        containers: Containers,
        connect: Callable[[str], Client],
        journal: Journal,
        *,
        endpoint: str,
        protections: Protections,
    ) -> None:
        self._agent = endpoint + AGENT_PATH
        self._protections = protections
        self._containers = containers
        self._ecs = connect("ecs")
        self._secrets = connect("secretsmanager")
        self._journal = journal
        self._tasks: dict[str, list[Task]] = {}
        self._desired: dict[str, int] = {}
        self._wait_s: dict[str, float] = {}
        self._not_before_s: dict[str, float] = {}
        self._waited_for: set[str] = set()
        self._alone: list[tuple[str, Task]] = []
        """Cluster, and task, of those that no service has."""

    def run_once(self, target: Mapping[str, Any]) -> None:
        """Starts what a rule's target asks for: a task that ends by itself."""
        cluster, asked = target["Arn"], target["EcsParameters"]
        described = self._ecs.describe_task_definition(taskDefinition=asked["TaskDefinitionArn"])["taskDefinition"]
        overrides = json.loads(target.get("Input") or "{}")
        command = next((one["command"] for one in overrides.get("containerOverrides", []) if "command" in one), None)
        started = self._ecs.run_task(
            cluster=cluster,
            taskDefinition=described["taskDefinitionArn"],
            launchType="FARGATE",
            networkConfiguration=_as_the_api_spells_it(asked["NetworkConfiguration"]),
        )["tasks"][0]["taskArn"]
        task = self._launch(described, started, described["family"], command=command)
        self._alone.append((cluster, task))

    def step(self) -> None:
        """One look at all services, and at the tasks that no service has."""
        for cluster, task in [one for one in self._alone if one[1].program.exit_code is not None]:
            self._alone.remove((cluster, task))
            code = task.program.exit_code
            self._journal.note("ecs task", f"{_short(task)} ended with {code}")
            reason = f"Essential container in task exited (exit code {code})"
            self._ecs.stop_task(cluster=cluster, task=task.arn, reason=reason)
        services = {service.arn: service for service in state.services()}
        for arn, service in services.items():
            self._reconcile(arn, service)
        for arn in [arn for arn in self._tasks if arn not in services]:
            for task in self._tasks.pop(arn):
                self._protections.remove(task.id)
                self._stop(arn, task, "the service was deleted")

    def _reconcile(self, arn: str, service: Model) -> None:
        tasks = self._tasks.setdefault(arn, [])
        if self._desired.get(arn) != service.desired_count:
            self._desired[arn] = service.desired_count
            self._journal.note("ecs desired count", f"{service.name}: {service.desired_count}")
        definition = state.task_definition(service.task_definition)
        for task in [task for task in tasks if task.program.exit_code is not None]:
            tasks.remove(task)
            self._exited(arn, service, task)
        for task in [task for task in tasks if task.definition != definition]:
            self._scale_in(arn, task, "the service has a new task definition")
        current = [task for task in tasks if task.definition == definition]
        for task in reversed(current):
            if len(current) > service.desired_count and self._scale_in(arn, task, "scaling in"):
                current.remove(task)
        while len(current) < service.desired_count and time.monotonic() >= self._not_before_s.get(arn, 0.0):
            current.append(self._start(arn, service, definition))
            tasks.append(current[-1])
        service.running_count = len(tasks)
        service.pending_count = service.desired_count - len(current)

    def _scale_in(self, arn: str, task: Task, reason: str) -> bool:
        """Stops a task unless it is protected; then it is asked again at the next look, until that is over."""
        if not self._protections.give_up(task.id):
            if task.arn not in self._waited_for:
                self._waited_for.add(task.arn)
                self._journal.note("ecs task", f"{_short(task)} is protected and goes on: {reason}")
            return False
        self._tasks[arn].remove(task)
        self._stop(arn, task, reason)
        return True

    def _start(self, arn: str, service: Model, definition: str) -> Task:
        described = self._ecs.describe_task_definition(taskDefinition=definition)["taskDefinition"]
        started = self._ecs.run_task(
            cluster=service.cluster_arn,
            taskDefinition=definition,
            launchType="FARGATE",
            startedBy="ecs-svc",
            group=f"service:{service.name}",
            **_network(service),
        )["tasks"][0]["taskArn"]
        task_id = started.rpartition("/")[2]
        self._protections.add(task_id, started, arn)
        try:
            return self._launch(described, started, service.name)
        except (UnknownImage, OSError) as error:
            self._protections.remove(task_id)
            self._mark_stopped(arn, started, f"CannotPullContainerError: {error}")
            self._back_off(arn)
            raise

    def _launch(
        self, described: Mapping[str, Any], arn: str, name: str, *, command: Sequence[str] | None = None
    ) -> Task:
        """The process that stands for a task.

        Raises:
            UnknownImage, OSError: there can be none.
        """
        task_id = arn.rpartition("/")[2]
        program = self._containers.start(self._request(described, f"{name}-{task_id[:8]}", task_id, command))
        self._journal.note("ecs task", f"{name}: started {task_id[:8]}")
        return Task(
            arn=arn,
            definition=described["taskDefinitionArn"],
            program=program,
            stop_timeout_s=float(described["containerDefinitions"][0].get("stopTimeout", DEFAULT_STOP_TIMEOUT_S)),
            started_s=time.monotonic(),
        )

    def _request(
        self, definition: Mapping[str, Any], name: str, task_id: str, command: Sequence[str] | None
    ) -> ContainerRequest:
        container = definition["containerDefinitions"][0]
        environment = {pair["name"]: pair["value"] for pair in container.get("environment", [])}
        environment |= {pair["name"]: self._secret(pair["valueFrom"]) for pair in container.get("secrets", [])}
        return ContainerRequest(
            name=f"ecs-{name}",
            image=container["image"],
            command=command or container.get("command"),
            environment=environment | {"ECS_AGENT_URI": self._agent + task_id},
            mounts=container_mounts(container, definition.get("volumes", [])),
            log=log_stream(container, "/ecs", f"{container['name']}/{task_id}"),
        )

    def _secret(self, arn: str) -> str:
        return str(self._secrets.get_secret_value(SecretId=arn)["SecretString"])

    def _exited(self, arn: str, service: Model, task: Task) -> None:
        self._protections.remove(task.id)
        code = task.program.exit_code
        self._journal.note("ecs task", f"{service.name}: {_short(task)} exited with {code}")
        self._mark_stopped(arn, task.arn, f"Essential container in task exited (exit code {code})")
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

        self._mark_stopped(arn, task.arn, reason)
        threading.Thread(target=stop, name="stop task", daemon=True).start()

    def _mark_stopped(self, arn: str, task_arn: str, reason: str) -> None:
        # The cluster is part of the service's long ARN, ...:service/CLUSTER/NAME.
        self._ecs.stop_task(cluster=arn.split("/")[1], task=task_arn, reason=reason)


def _network(service: Model) -> dict[str, Any]:
    return {"networkConfiguration": service.network_configuration} if service.network_configuration else {}


def _as_the_api_spells_it(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """CloudFormation has a capital where ECS has none."""
    (found,) = configuration.values()
    return {"awsvpcConfiguration": {name[:1].lower() + name[1:]: value for name, value in found.items()}}


def _short(task: Task) -> str:
    return task.id[:8]
