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


def test_a_rule_starts_a_task_once_and_it_is_over_when_its_process_ends(cloud, outputs, events):
    """As the compaction of the catalogue is started, with a command of the rule's own."""
    ecs, rules = cloud.client("ecs"), cloud.client("events")
    (service,) = ecs.describe_services(cluster=outputs["Cluster"], services=[outputs["Service"]])["services"]
    cluster = service["clusterArn"]
    asked = {
        "LaunchType": "FARGATE",
        "NetworkConfiguration": {"awsvpcConfiguration": {"AssignPublicIp": "DISABLED", "Subnets": ["subnet-1"]}},
        "TaskCount": 1,
        "TaskDefinitionArn": service["taskDefinition"],
    }
    command = json.dumps({"containerOverrides": [{"name": "Worker", "command": ["exit", "7"]}]})
    target = {"Id": "0", "Arn": cluster, "RoleArn": "arn:aws:iam::123456789012:role/starts", "EcsParameters": asked}
    rules.put_rule(
        Name="started once", EventPattern=json.dumps({"source": ["aws.batch"], "detail": {"jobName": ["go"]}})
    )
    rules.put_targets(Rule="started once", Targets=[target | {"Input": command}])
    before = printed(cloud).count("exiting")
    cloud.client("batch").submit_job(
        jobName="go",
        jobQueue=outputs["JobQueue"],
        jobDefinition=outputs["Job"],
        containerOverrides={"command": ["sleep", "0"]},
    )
    ended = eventually(
        lambda: [one.detail for one in events if one.what == "ecs task" and "ended with 7" in one.detail]
    )
    rules.remove_targets(Rule="started once", Ids=["0"])
    rules.delete_rule(Name="started once")
    assert ended
    assert printed(cloud).count("exiting") > before
    stopped = ecs.list_tasks(cluster=cluster, desiredStatus="STOPPED")["taskArns"]
    found = ecs.describe_tasks(cluster=cluster, tasks=stopped)["tasks"]
    assert [one["stoppedReason"] for one in found if "exit code 7" in one.get("stoppedReason", "")]
