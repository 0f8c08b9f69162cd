"""ECS services are as many processes as their desired count says."""

import json
import os
import signal
from pathlib import Path

from tests.local.conftest import eventually, processes_of


def set_desired_count(cloud, outputs, n):
    cloud.client("ecs").update_service(cluster=outputs["Cluster"], service=outputs["Service"], desiredCount=n)


def running_tasks(cloud, outputs):
    ecs = cloud.client("ecs")
    arns = ecs.list_tasks(cluster=outputs["Cluster"], serviceName=outputs["Service"])["taskArns"]
    tasks = ecs.describe_tasks(cluster=outputs["Cluster"], tasks=arns)["tasks"] if arns else []
    return [task for task in tasks if task["lastStatus"] == "RUNNING"]


def printed(cloud) -> list[str]:
    logs = cloud.client("logs")
    try:
        return [event["message"] for event in logs.filter_log_events(logGroupName="worker-logs")["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def ready(cloud) -> list[dict]:
    """What the workers have said of themselves when they were ready to take a signal."""
    return [json.loads(line) for line in printed(cloud) if line.startswith("{")]


def command_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:  # gone meanwhile
        return []


def workers(cloud) -> list[int]:
    return [pid for pid in processes_of(cloud.endpoint) if b"serve" in command_of(pid)]


def sleepers(cloud) -> list[int]:
    return [pid for pid in processes_of(cloud.endpoint) if b"1000" in command_of(pid)]


def test_a_service_scales_out_and_in_with_real_processes(cloud, outputs):
    eventually(lambda: workers(cloud) == [])
    n_ready, n_ended = len(ready(cloud)), printed(cloud).count("goodbye")
    set_desired_count(cloud, outputs, 2)
    eventually(lambda: len(workers(cloud)) == 2)
    eventually(lambda: len(running_tasks(cloud, outputs)) == 2)
    described = cloud.client("ecs").describe_services(cluster=outputs["Cluster"], services=[outputs["Service"]])
    assert described["services"][0]["runningCount"] == 2

    eventually(lambda: len(ready(cloud)) == n_ready + 2)
    started = ready(cloud)[n_ready]
    environment = started["environment"]
    assert environment["COLOUR"] == "green", "the Dockerfile's ENV is the container's"
    assert environment["NUMBER"] == "3"
    assert "PYTEST_CURRENT_TEST" not in environment
    assert environment["TMPDIR"].startswith(str(Path(started["folder"]).parent))
    assert environment["SCRATCH"].endswith("/volumes/scratch/here"), "a volume stands where the process may write"

    os.kill(workers(cloud)[0], signal.SIGKILL)
    eventually(lambda: len(running_tasks(cloud, outputs)) == 1)
    # The third has to be ready to take a signal.
    eventually(lambda: len(ready(cloud)) == n_ready + 3)

    set_desired_count(cloud, outputs, 0)
    eventually(lambda: workers(cloud) == [] and running_tasks(cloud, outputs) == [])
    # Scaling in asks a worker to stop before it kills, and what a worker started ends with it.
    eventually(lambda: printed(cloud).count("goodbye") == n_ended + 2)
    eventually(lambda: sleepers(cloud) == [])
