"""Which of AWS's events are told to the operator, in which words: the rules' own patterns, on events as documented."""

import json
import re

import pytest

from infra.monitoring.notices import BLOCKED
from tests.service.test_blocked import DOCUMENTED

QUEUE, CLUSTER, SERVICE = "arn:queue", "arn:cluster", "raki-service"


@pytest.fixture(scope="module")
def rules(all_reviewed):
    """Pattern and text of each rule that tells the operator."""
    resources = all_reviewed["clinic"].templates["RakiMonitoring"]["Resources"]
    found = {}
    for name, one in resources.items():
        if one["Type"] == "AWS::Events::Rule":
            (target,) = one["Properties"]["Targets"]
            text = target.get("InputTransformer", {}).get("InputTemplate") or target["Input"]
            short = re.sub(r"^Notices|[0-9A-F]{8}$", "", name)
            found[short] = (named(one["Properties"]["EventPattern"]), text)
    return found


def named(value):
    """A pattern with a word in the place of each reference."""
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in ("Fn::ImportValue", "Ref", "Fn::GetAtt"):
            text = json.dumps(value)
            return QUEUE if "JobQueue" in text else CLUSTER if "Cluster" in text else SERVICE
        if "Fn::Join" in value:
            return "".join(map(named, value["Fn::Join"][1]))
        if "Fn::Select" in value:
            return SERVICE
        return {key: named(one) for key, one in value.items()}
    return [named(one) for one in value] if isinstance(value, list) else value


def matches(pattern, event):
    """As much of EventBridge's patterns as the rules use.

    Amazon EventBridge User Guide, "Comparison operators for use in event patterns"; of an array one member is enough.
    """
    for key, wanted in pattern.items():
        there = event.get(key) if isinstance(event, dict) else None
        if isinstance(wanted, dict):
            members = there if isinstance(there, list) else [there if there is not None else {}]
            if not any(matches(wanted, one) for one in members):
                return False
        elif not any(fits(one, value) for one in wanted for value in (there if isinstance(there, list) else [there])):
            return False
    return True


def fits(wanted, value):
    if not isinstance(wanted, dict):
        return value == wanted
    ((operator, argument),) = wanted.items()
    if operator == "exists":
        return (value is not None) == argument
    if value is None:
        return False
    if operator == "prefix":
        return value.startswith(argument)
    assert operator == "anything-but"
    if isinstance(argument, dict):
        prefixes = argument["prefix"] if isinstance(argument["prefix"], list) else [argument["prefix"]]
        return not value.startswith(tuple(prefixes))
    return value not in argument


def told(rules, event):
    return {name for name, (pattern, _) in rules.items() if matches(pattern, event)}


def blocked(reason, queue=QUEUE):
    """AWS Batch User Guide, "Job queue blocked events"."""
    detail = {"jobQueue": queue, "jobId": "i", "status": "RUNNABLE", "statusReason": reason}
    return {"source": "aws.batch", "detail-type": "Batch Job Queue Blocked", "detail": detail}


def failed(**container):
    detail = {"jobQueue": QUEUE, "jobId": "i", "status": "FAILED", "statusReason": "Task failed to start"}
    detail |= {"container": container} if container else {}
    return {"source": "aws.batch", "detail-type": "Batch Job State Change", "detail": detail}


def task(**detail):
    """Amazon ECS Developer Guide, "Amazon ECS task state change events"."""
    plain = {"clusterArn": CLUSTER, "group": f"service:{SERVICE}", "lastStatus": "STOPPED", "containers": [{}]}
    return {"source": "aws.ecs", "detail-type": "ECS Task State Change", "detail": plain | detail}


@pytest.mark.parametrize("reason", [one for one in DOCUMENTED if one])
def test_each_documented_reason_of_a_blocked_queue_is_told_once_in_words_of_its_own(rules, reason):
    (name,) = told(rules, blocked(reason))
    assert reason.startswith(BLOCKED[name][0])
    assert BLOCKED[name][1] in rules[name][1]
    assert told(rules, blocked(reason, queue="arn:another")) == set()


def test_a_reason_that_nobody_knows_yet_is_told_too(rules):
    assert told(rules, blocked("MISCONFIGURATION:SOMETHING_NEW - ...")) == {"JobQueueBlocked"}


def test_a_job_whose_image_cannot_be_pulled_is_told_apart_from_one_that_failed(rules):
    assert told(rules, failed(reason="CannotPullContainerError: pull image manifest ...")) == {"JobImageNotPulled"}
    assert told(rules, failed(exitCode=1, reason="Essential container exited")) == {"JobFailed"}
    assert told(rules, failed(exitCode=1)) == told(rules, failed()) == {"JobFailed"}


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("CannotPullContainerError: ref pull has been retried 5 time(s)", "WorkerImageNotPulled"),
        ("CannotPullImageManifestError: Error response from daemon", "WorkerImageNotPulled"),
        ("ResourceInitializationError: unable to pull secrets or registry auth", "WorkerNotInitialised"),
        ("Timeout waiting for network interface provisioning to complete.", "WorkerNotStarted"),
    ],
)
def test_a_worker_that_never_came_up_is_told_with_its_cause(rules, reason, name):
    assert told(rules, task(stopCode="TaskFailedToStart", stoppedReason=reason)) == {name}
    # One that ended by itself, or was scaled in, and one of another service, are nothing to tell of.
    assert told(rules, task(stopCode="ServiceSchedulerInitiated", stoppedReason="Scaling activity initiated")) == set()
    assert told(rules, task(stopCode="TaskFailedToStart", stoppedReason=reason, group="service:other")) == set()


def test_no_place_and_a_rolled_back_deployment_are_told_of_this_service(rules):
    for kind, detail, name in (
        ("ECS Service Action", {"eventName": "SERVICE_TASK_PLACEMENT_FAILURE", "reason": "RESOURCE:FARGATE"},
         "NoPlaceForWorker"),
        ("ECS Deployment State Change", {"eventName": "SERVICE_DEPLOYMENT_FAILED"}, "DeploymentFailed"),
    ):  # fmt: skip
        event = {"source": "aws.ecs", "detail-type": kind, "detail": detail, "resources": [SERVICE]}
        assert told(rules, event) == {name}
        assert told(rules, event | {"resources": ["another"]}) == set()


def test_a_canary_that_fails_is_told_and_one_that_passes_is_not(rules):
    of_canary = {"group": "raki-canary", "stopCode": "EssentialContainerExited"}
    assert told(rules, task(**of_canary, containers=[{"exitCode": 1}])) == {"CanaryFailed"}
    assert told(rules, task(**of_canary, containers=[{"exitCode": 0}])) == set()
    never = {"group": "raki-canary", "stopCode": "TaskFailedToStart", "stoppedReason": "CannotPullContainerError"}
    assert told(rules, task(**never)) == {"CanaryNotStarted"}


def test_every_notice_has_the_cause_and_what_to_do(rules):
    for name, (_, text) in rules.items():
        assert text.strip('"').startswith("raki: "), name
        assert len(text) < 1000, name
