"""EventBridge rules: schedules, and events that services send, to Lambda functions, queues, topics and tasks."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from infra.local.account import Client
from infra.local.envelope import Json, service_event
from infra.local.journal import Journal
from infra.local.moto import state
from infra.local.moto.state import Model

_UNIT_S = {"minute": 60, "hour": 3600, "day": 86400}


class Rules:
    """The rules that the server knows, whoever put them there.

    Args:
        run_task: starts the task that a target asks for.
    """

    def __init__(
        self, connect: Callable[[str], Client], journal: Journal, *, speed: float, run_task: Callable[[Json], None]
    ) -> None:
        self._run_task = run_task
        self._lambda = connect("lambda")
        self._sns = connect("sns")
        self._sqs = connect("sqs")
        self._journal = journal
        self._speed = speed
        self._next_s: dict[str, float] = {}
        self._refused: set[str] = set()

    def step(self) -> None:
        """Fires the schedules that are due. A new rule is due at once."""
        now_s = time.monotonic()
        for rule in state.rules():
            interval_s = self._interval_s(rule)
            if interval_s is not None and now_s >= self._next_s.get(rule.arn, 0.0):
                self._next_s[rule.arn] = now_s + interval_s
                self._send(rule, service_event("aws.events", "Scheduled Event", [rule.arn], {}))

    def fire(self, event: Json) -> None:
        """Sends an event of a service to all rules whose pattern it matches."""
        for rule in state.rules():
            if rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(event):
                self._send(rule, event)

    def job_changed(self, job: Model) -> None:
        """Sends AWS Batch's event for a job that has entered another state."""
        detail = json.loads(json.dumps(job.describe(), default=str))
        detail["jobArn"] = job.arn
        self.fire(service_event("aws.batch", "Batch Job State Change", [job.arn], detail))

    def _send(self, rule: Model, event: Json) -> None:
        for target in list(rule.targets):
            body = message(target, event)
            service = target["Arn"].split(":")[2]
            if service == "lambda":
                self._lambda.invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=body.encode())
            elif service == "sqs":
                queue = self._sqs.get_queue_url(QueueName=target["Arn"].rpartition(":")[2])
                self._sqs.send_message(QueueUrl=queue["QueueUrl"], MessageBody=body)
            elif service == "sns":
                # Mail is never sent from here; the journal is where an operator reads it.
                self._journal.note("notice", f"{target['Arn'].rpartition(':')[2]}: {body}")
                self._sns.publish(TopicArn=target["Arn"], Message=body)
            elif service == "ecs":
                self._run_task(target)
            else:
                self._refuse(rule, f"its target {target['Arn']} is no Lambda, queue, topic or task")

    def _interval_s(self, rule: Model) -> float | None:
        expression = rule.scheduled_expression
        if not expression:
            return None
        rate = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
        if rate is None:
            self._refuse(rule, f"its schedule {expression} is no rate; only those run locally")
            return None
        return int(rate[1]) * _UNIT_S[rate[2]] / self._speed

    def _refuse(self, rule: Model, reason: str) -> None:
        if rule.arn not in self._refused:
            self._refused.add(rule.arn)
            self._journal.note("not modelled", f"rule {rule.name}: {reason}")


def message(target: Json, event: Json) -> str:
    """What a target gets: the event, or what the rule makes of it.

    EventBridge user guide, "Amazon EventBridge input transformation": a name in angle brackets is replaced by what its
    path finds in the event, as text within quotes and as JSON elsewhere.
    """
    if "Input" in target:
        return str(target["Input"])
    transformer = target.get("InputTransformer")
    if transformer is None:
        return json.dumps(event)
    paths, template = transformer.get("InputPathsMap", {}), transformer["InputTemplate"]

    def replacement(found: re.Match[str]) -> str:
        if found[1] not in paths:
            return found[0]
        value = _at(event, paths[found[1]])
        is_quoted = len(re.findall(r'(?<!\\)"', template[: found.start()])) % 2 == 1
        return json.dumps(value)[1:-1] if is_quoted and isinstance(value, str) else json.dumps(value)

    return re.sub(r"<([\w-]+)>", replacement, template)


def _at(event: Any, path: str) -> Any:
    for name in path.split(".")[1:]:
        event = event.get(name, "") if isinstance(event, dict) else ""
    return event
