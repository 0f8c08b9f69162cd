"""Why a GPU job gets no instance, by what Batch's own documentation has it say."""

import pytest

from raki.service.blocked import Cause, Runnable, diagnose

# AWS Batch User Guide, "Jobs stuck in a RUNNABLE status": `statusReason` while the job is stuck.
DOCUMENTED = {
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type "
    "[g5.xlarge]": Cause.CAPACITY,
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue cannot meet the CPU "
    "requirement of the job.": Cause.MISFIT,
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) is higher than that "
    "can be met by the CE(s) attached to the job queue.": Cause.MISFIT,
    "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS - Batch service role has a permission issue.": Cause.ENVIRONMENT,
    "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED - Your compute environment associated with this job "
    "queue has an unsupported instance type configuration.": Cause.ENVIRONMENT,
    "ACTION_REQUIRED - CE(s) associated with the job queue are invalid.": Cause.ENVIRONMENT,
    "UNDETERMINED - Batch job is blocked, root cause is undetermined.": Cause.UNKNOWN,
    "": Cause.UNKNOWN,
}
QUEUE = {"state": "ENABLED", "status": "VALID"}


def environment(name="Spot", *, state="ENABLED", status="VALID", desired=0, most=16, reason=None):
    found = {"computeEnvironmentName": name, "state": state, "status": status}
    found["computeResources"] = {"desiredvCpus": desired, "maxvCpus": most}
    return found | ({"statusReason": reason} if reason else {})


def cause(reason="", *environments, queue=QUEUE, allowed=(64.0, 64.0)):
    there = environments or (environment(),)
    return diagnose(reason, queue, there, vcpus_allowed=allowed, vcpus_needed=4)


@pytest.mark.parametrize("reason", DOCUMENTED)
def test_each_documented_reason_has_its_cause_and_is_told_in_awss_words(reason):
    found = cause(reason)
    assert found.cause is DOCUMENTED[reason]
    assert found.reason == (reason or "AWS Batch gives no reason")


def test_a_queue_or_an_environment_that_is_broken_comes_before_what_batch_says_of_the_job():
    capacity = next(iter(DOCUMENTED))
    broken = environment("OnDemand", status="INVALID", reason="CLIENT_ERROR - Not authorized")
    found = cause(capacity, environment(), broken)
    assert found.cause is Cause.ENVIRONMENT
    assert found.reason == "compute environment OnDemand INVALID: CLIENT_ERROR - Not authorized"
    assert cause(capacity, queue=QUEUE | {"state": "DISABLED"}).cause is Cause.ENVIRONMENT
    off = environment("Warm", state="DISABLED", status="INVALID")
    assert cause(capacity, off).reason == "all compute environments are disabled"
    assert cause(capacity, off, environment()).cause is Cause.CAPACITY, "warm instances are off at night"


def test_full_environments_are_a_limit_and_a_small_quota_is_one():
    full = environment(desired=16)
    assert cause("", full, environment("OnDemand", desired=12, most=12)).cause is Cause.LIMIT
    assert cause("", full, environment("OnDemand", most=12)).cause is Cause.UNKNOWN
    found = cause(allowed=(0.0, 3.0))
    assert (found.cause, found.reason) == (Cause.QUOTA, "quotas of 0, 3 vCPU, an instance has 4")
    assert cause(allowed=(0.0, 4.0)).cause is Cause.UNKNOWN, "one market is enough to start one"
    assert cause(allowed=()).cause is Cause.UNKNOWN


def test_a_job_waits_since_it_was_first_seen_to_and_not_since_it_was_made():
    """One that a spot instance was taken from waits anew."""
    first = Runnable(None, [{"jobId": "a"}], now_s=1000.0)
    assert first.is_changed
    assert first.longest(now_s=1000.0) == ("a", 0.0)
    later = Runnable(first.to_json(), [{"jobId": "a"}, {"jobId": "b"}], now_s=1060.0)
    assert later.longest(now_s=1060.0) == ("a", 60.0)
    same = Runnable(later.to_json(), [{"jobId": "a"}, {"jobId": "b"}], now_s=1120.0)
    assert not same.is_changed
    runs = Runnable(same.to_json(), [{"jobId": "b"}], now_s=1180.0)
    assert runs.longest(now_s=1180.0) == ("b", 120.0)
    again = Runnable(runs.to_json(), [{"jobId": "a"}, {"jobId": "b"}], now_s=1240.0)
    assert again.longest(now_s=1240.0) == ("b", 180.0)
    assert Runnable(again.to_json(), [], now_s=1300.0).longest(now_s=1300.0) == (None, 0.0)
    assert not Runnable(None, [], now_s=0.0).is_changed
