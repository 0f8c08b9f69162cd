"""Task scale-in protection: what a worker asks the ECS agent for, so that scaling in doesn't end it in mid-work.

The requests and answers are those of the agent's endpoint, which passes them on to ECS: the developer guide, "Amazon
ECS task scale-in protection endpoint". As the work is, its minutes are real ones, whatever the speed of the cloud.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

AGENT_PATH = "/_local/ecs-agent/"
"""ECS_AGENT_URI is the server's address, this, and the task's id."""
STATE_PATH = "/task-protection/v1/state"
DEFAULT_MINUTES = 120
MOST_MINUTES = 2880

_OK = "200 OK"
_NO_TASK = "Failed to find a task for the request"

Json = dict[str, Any]
Answer = tuple[str, Json]


@dataclass(kw_only=True)
class _Task:
    arn: str
    service_arn: str
    until_s: float = 0.0
    """Seconds since the epoch."""


class Protections:
    """Which of the running tasks are protected, and until when.

    Args:
        desired_count: how many tasks a service is to have, by its ARN.
        clock: seconds since the epoch.
    """

    def __init__(self, desired_count: Callable[[str], int], clock: Callable[[], float] = time.time) -> None:
        self._desired_count = desired_count
        self._clock = clock
        self._lock = threading.Lock()
        self._tasks: dict[str, _Task] = {}

    def add(self, task_id: str, arn: str, service_arn: str) -> None:
        """A task of a service has started."""
        with self._lock:
            self._tasks[task_id] = _Task(arn=arn, service_arn=service_arn)

    def remove(self, task_id: str) -> None:
        """A task has ended."""
        with self._lock:
            self._tasks.pop(task_id, None)

    def give_up(self, task_id: str) -> bool:
        """Removes a task that is to be stopped, unless it is protected. From then on it gets no protection."""
        with self._lock:
            task = self._tasks.get(task_id)
            if task is not None and self._is_protected(task):
                return False
            self._tasks.pop(task_id, None)
            return True

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Status and body for a request to ECS_AGENT_URI; `path` begins with the task's id."""
        task_id, slash, rest = path.partition("/")
        with self._lock:
            task = self._tasks.get(task_id)
            if task is None or slash + rest != STATE_PATH or method not in ("GET", "PUT"):
                return "404 Not Found", {"error": {"Code": "ResourceNotFoundException", "Message": _NO_TASK}}
            return self._state(task) if method == "GET" else self._update(task, body)

    def _update(self, task: _Task, body: bytes) -> Answer:
        wanted = _read(body)
        if wanted is None:
            return _invalid("UpdateTaskProtection: failed to decode request", task)
        enabled, minutes = wanted
        if not 1 <= minutes <= MOST_MINUTES:
            return _invalid(f"expiresInMinutes is {minutes}; 1 to {MOST_MINUTES} are allowed", task)
        if enabled and self._is_blocked(task):
            return _OK, {"failure": {"Arn": task.arn, "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}}
        task.until_s = self._clock() + 60 * minutes if enabled else 0.0
        return self._state(task)

    def _is_blocked(self, task: _Task) -> bool:
        """With more protected tasks than are wanted none gets, or renews, its protection: one of them has to end."""
        protected = [
            one for one in self._tasks.values() if one.service_arn == task.service_arn and self._is_protected(one)
        ]
        n_protected = len(protected) + (task not in protected)
        return n_protected > self._desired_count(task.service_arn)

    def _state(self, task: _Task) -> Answer:
        enabled = self._is_protected(task)
        expires = datetime.fromtimestamp(task.until_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if enabled else None
        return _OK, {"protection": {"ExpirationDate": expires, "ProtectionEnabled": enabled, "TaskArn": task.arn}}

    def _is_protected(self, task: _Task) -> bool:
        return self._clock() < task.until_s


def _read(body: bytes) -> tuple[bool, int] | None:
    """Whether protection is wanted and for how many minutes; None for what the agent doesn't understand."""
    try:
        request = json.loads(body)
    except ValueError:
        return None
    if not isinstance(request, dict) or not set(request) <= {"ExpiresInMinutes", "ProtectionEnabled"}:
        return None
    enabled, minutes = request.get("ProtectionEnabled"), request.get("ExpiresInMinutes")
    minutes = DEFAULT_MINUTES if minutes is None else minutes
    return (enabled, minutes) if isinstance(enabled, bool) and isinstance(minutes, int) else None


def _invalid(message: str, task: _Task) -> Answer:
    return "400 Bad Request", {"error": {"Arn": task.arn, "Code": "InvalidParameterException", "Message": message}}
