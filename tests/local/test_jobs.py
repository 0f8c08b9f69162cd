"""Batch jobs run their definition's command, with attempts, exit codes and a timeout."""

import json
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.run.jobs import wants_retry
from raki.service.jobs import end_job, has_in_hand
from raki.service.record import ScanRecord, State
from tests.local.conftest import eventually
from tests.local.test_functions import bodies

# The definition's own is short, and a busy machine may need longer to start a process.
LONG = {"attemptDurationSeconds": 60}


def finish(cloud, outputs, *command, timeout=LONG):
    batch = cloud.client("batch")
    submitted = batch.submit_job(
        jobName="-".join(command).replace(".", ""),
        jobQueue=outputs["JobQueue"],
        jobDefinition=outputs["Job"],
        containerOverrides={"command": list(command)},
        **({"timeout": timeout} if timeout else {}),
    )

    def finished():
        (job,) = batch.describe_jobs(jobs=[submitted["jobId"]])["jobs"]
        return job if job["status"] in ("SUCCEEDED", "FAILED") else None

    return eventually(finished, within_s=60.0)


@pytest.mark.parametrize(
    ("command", "status", "exit_codes"),
    [
        (["exit", "0"], "SUCCEEDED", [0]),
        (["fail-once", "75"], "SUCCEEDED", [75, 0]),
        (["exit", "75"], "FAILED", [75, 75, 75]),
        (["exit", "10"], "FAILED", [10]),
    ],
)
def test_only_a_transient_exit_code_is_tried_again(cloud, outputs, command, status, exit_codes):
    job = finish(cloud, outputs, *command)
    assert job["status"] == status
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == exit_codes
    assert job["container"]["exitCode"] == exit_codes[-1]
    assert job["statusReason"] == "Essential container in task exited"
    logs = cloud.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=job["container"]["logStreamName"]
    )
    assert [event["message"] for event in logs["events"]] == ["exiting"]


def test_a_job_out_of_time_fails_and_isnt_tried_again(cloud, outputs):
    job = finish(cloud, outputs, "sleep", "60", timeout={"attemptDurationSeconds": 1})
    assert job["status"] == "FAILED"
    assert len(job["attempts"]) == 1
    assert "exceeded timeout" in job["statusReason"]


def test_the_definitions_own_timeout_counts(cloud, outputs):
    job = finish(cloud, outputs, "sleep", "61", timeout=None)
    assert "exceeded timeout" in job["statusReason"]


def test_a_terminated_job_says_who_ended_it(cloud, outputs):
    batch = cloud.client("batch")
    job_id = batch.submit_job(
        jobName="terminated",
        jobQueue=outputs["JobQueue"],
        jobDefinition=outputs["Job"],
        containerOverrides={"command": ["sleep", "62"]},
        timeout=LONG,
    )["jobId"]

    def job():
        return batch.describe_jobs(jobs=[job_id])["jobs"][0]

    eventually(lambda: job()["status"] == "RUNNING")
    batch.terminate_job(jobId=job_id, reason="the operator said so")
    eventually(lambda: job()["status"] == "FAILED")
    assert job()["statusReason"] == "the operator said so"
    assert len(job()["attempts"]) == 1


def test_an_operator_ends_the_job_that_has_a_scan_and_sees_it_end(cloud, outputs):
    batch = cloud.client("batch")
    job_id = batch.submit_job(
        jobName="cancelled",
        jobQueue=outputs["JobQueue"],
        jobDefinition=outputs["Job"],
        containerOverrides={"command": ["sleep", "63"]},
        timeout=LONG,
    )["jobId"]
    eventually(lambda: batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] == "RUNNING")
    now = datetime.now(UTC)
    record = ScanRecord(
        scan_id="s",
        state=State.RECONSTRUCTING,
        raw_key="a.h5",
        results_folder="a",
        n_bytes=1,
        owner=f"{job_id}-0a1b2c3d",
        lease_until_s=int(now.timestamp()) + 60,
        entered_at={State.ARRIVED: now},
    )
    assert has_in_hand(record)
    assert end_job(batch, record) == job_id
    job = batch.describe_jobs(jobs=[job_id])["jobs"][0]
    assert (job["status"], job["statusReason"]) == ("FAILED", "raki cancel --now")
    assert end_job(batch, record) is None, "it has ended"


def test_a_failed_job_is_an_event_that_rules_can_match(cloud, outputs):
    job = finish(cloud, outputs, "exit", "11")

    def announced():
        found = [json.loads(body)["detail"] for body in bodies(cloud, outputs["FailureQueue"])]
        return [detail for detail in found if detail["jobId"] == job["jobId"]]

    (detail,) = eventually(announced)
    assert detail["status"] == "FAILED"
    assert detail["container"]["exitCode"] == 11


conditions = st.lists(
    st.fixed_dictionaries(
        {"action": st.sampled_from(["RETRY", "EXIT", "retry", "exit"])},
        optional={"onExitCode": st.text(string.digits + "*", min_size=1, max_size=3), "onReason": st.just("*")},
    ),
    max_size=4,
)


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 255), conditions)
def test_a_first_entry_that_matches_everything_decides(exit_code, rest):
    assert wants_retry([{"action": "RETRY", "onReason": "*"}, *rest], str(exit_code), "x")
    assert not wants_retry([{"action": "EXIT", "onReason": "*"}, *rest], str(exit_code), "x")


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 255))
def test_without_a_match_batch_tries_again(exit_code):
    assert wants_retry([], str(exit_code), "x")
    assert wants_retry([{"action": "EXIT", "onExitCode": "256"}], str(exit_code), "x")


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 255))
def test_an_exit_code_matches_itself_only(exit_code):
    entries = [{"action": "RETRY", "onExitCode": "75"}, {"action": "EXIT", "onReason": "*"}]
    assert wants_retry(entries, str(exit_code), "x") == (exit_code == 75)
