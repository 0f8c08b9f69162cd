"""A task that is protected goes on working, whatever the service is scaled to, until its protection ends."""

import json
import urllib.request
from urllib.error import HTTPError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.run.protection import STATE_PATH, Protections
from tests.local.conftest import eventually
from tests.local.test_tasks import ready, running_tasks, set_desired_count, workers

ARN, SERVICE = "arn:aws:ecs:us-east-1:123456789012:task/cluster/one", "arn:aws:ecs:us-east-1:123456789012:service/c/s"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def protections(clock):
    made = Protections(lambda _service: 1, clock)
    made.add("one", ARN, SERVICE)
    return made


def put(protections, task_id="one", **wanted):
    return protections.answer("PUT", task_id + STATE_PATH, json.dumps(wanted).encode())


def get(protections, task_id="one"):
    return protections.answer("GET", task_id + STATE_PATH, b"")


def test_protection_is_told_as_the_agent_tells_it(protections):
    off = {"protection": {"ExpirationDate": None, "ProtectionEnabled": False, "TaskArn": ARN}}
    assert get(protections) == ("200 OK", off)
    on = {"protection": {"ExpirationDate": "2027-01-15T10:00:00Z", "ProtectionEnabled": True, "TaskArn": ARN}}
    assert put(protections, ProtectionEnabled=True) == ("200 OK", on), "two hours where no time is given"
    assert get(protections) == ("200 OK", on)
    assert put(protections, ProtectionEnabled=False) == ("200 OK", off)


def test_protection_ends_in_time(protections, clock):
    put(protections, ProtectionEnabled=True, ExpiresInMinutes=1)
    clock.now_s += 59
    assert not protections.give_up("one")
    clock.now_s += 2
    assert get(protections)[1]["protection"]["ProtectionEnabled"] is False
    assert protections.give_up("one")


def test_a_task_that_is_given_up_gets_no_protection_any_more(protections):
    assert protections.give_up("one")
    status, answer = put(protections, ProtectionEnabled=True)
    assert status.startswith("404")
    assert answer["error"]["Code"] == "ResourceNotFoundException"


@given(st.integers(), st.booleans())
def test_one_minute_to_two_days(minutes, enabled):
    protections = Protections(lambda _service: 1)
    protections.add("one", ARN, SERVICE)
    status, answer = put(protections, ProtectionEnabled=enabled, ExpiresInMinutes=minutes)
    if 1 <= minutes <= 2880:
        assert answer["protection"]["ProtectionEnabled"] is enabled
    else:
        assert (status, answer["error"]["Code"]) == ("400 Bad Request", "InvalidParameterException")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"ProtectionEnabled": "yes"}', b'{"ProtectionEnabled": true, "Minutes": 5}']
)
def test_what_is_not_understood_is_refused(protections, body):
    status, answer = protections.answer("PUT", "one" + STATE_PATH, body)
    assert (status, answer["error"]["Code"]) == ("400 Bad Request", "InvalidParameterException")


def test_no_more_tasks_are_protected_than_are_wanted(protections):
    protections.add("two", ARN[:-3] + "two", SERVICE)
    assert "protection" in put(protections, ProtectionEnabled=True)[1]
    blocked = ("200 OK", {"failure": {"Arn": ARN[:-3] + "two", "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}})
    assert put(protections, "two", ProtectionEnabled=True) == blocked
    assert get(protections, "two")[1]["protection"]["ProtectionEnabled"] is False
    protections.remove("one")
    assert "protection" in put(protections, "two", ProtectionEnabled=True)[1]


def ask_agent(uri, **wanted):
    request = urllib.request.Request(uri + STATE_PATH, json.dumps(wanted).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


@pytest.fixture
def start_workers(cloud, outputs):
    """Starts workers; returns their agents' addresses once they are ready."""

    def start(n_workers):
        eventually(lambda: workers(cloud) == [])
        already = len(ready(cloud))
        set_desired_count(cloud, outputs, n_workers)
        eventually(lambda: len(ready(cloud)) == already + n_workers)
        return [worker["environment"]["ECS_AGENT_URI"] for worker in ready(cloud)[already:]]

    yield start
    set_desired_count(cloud, outputs, 0)
    eventually(lambda: running_tasks(cloud, outputs) == [] and workers(cloud) == [])


@pytest.mark.parametrize("n_busy", [0, 1])
def test_scaling_in_takes_the_idle_worker_and_waits_for_the_busy_one(cloud, outputs, events, start_workers, n_busy):
    agents = start_workers(2)
    busy, idle = agents[n_busy], agents[1 - n_busy]
    arn = ask_agent(busy, ProtectionEnabled=True, ExpiresInMinutes=30)["protection"]["TaskArn"]
    set_desired_count(cloud, outputs, 0)

    (left,) = eventually(lambda: (tasks := running_tasks(cloud, outputs)) and len(tasks) == 1 and tasks)
    assert left["taskArn"] == arn
    with pytest.raises(HTTPError, match="404"):
        ask_agent(idle, ProtectionEnabled=True)
    assert ask_agent(busy, ProtectionEnabled=True)["failure"]["Reason"] == "DEPLOYMENT_BLOCKED", "none are wanted"
    assert any("protected and goes on" in event.detail for event in events)

    ask_agent(busy, ProtectionEnabled=False)
    eventually(lambda: running_tasks(cloud, outputs) == [])


def test_a_deployment_waits_for_the_busy_worker(cloud, outputs, start_workers):
    ecs = cloud.client("ecs")
    service = {"cluster": outputs["Cluster"], "service": outputs["Service"]}
    (busy,) = start_workers(1)
    ask_agent(busy, ProtectionEnabled=True)
    (task,) = running_tasks(cloud, outputs)
    old = ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
    new = ecs.register_task_definition(
        family=old["family"], containerDefinitions=old["containerDefinitions"], memory="512", volumes=old["volumes"]
    )["taskDefinition"]["taskDefinitionArn"]
    try:
        ecs.update_service(**service, taskDefinition=new)
        both = eventually(lambda: (tasks := running_tasks(cloud, outputs)) and len(tasks) == 2 and tasks)
        assert {task["taskDefinitionArn"] for task in both} == {old["taskDefinitionArn"], new}
        ask_agent(busy, ProtectionEnabled=False)
        eventually(lambda: [task["taskDefinitionArn"] for task in running_tasks(cloud, outputs)] == [new])
    finally:
        ecs.update_service(**service, taskDefinition=old["taskDefinitionArn"], desiredCount=0)
