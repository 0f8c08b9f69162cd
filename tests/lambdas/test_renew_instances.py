"""The GPU instances' image is renewed once a week, and how old it is said each day."""

import json
import time

import pytest
from botocore.stub import ANY, Stubber

from lambdas import renew_instances as renew
from raki.service.renewal import DAY_S, Renewal
from tests.embedded_metrics import logged, metrics_in

ARNS = ("arn:spot", "arn:demand")


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setenv("COMPUTE_ENVIRONMENTS", ",".join(ARNS))
    monkeypatch.setenv("LEDGER_TABLE", "l")
    with Stubber(renew.BATCH) as batch, Stubber(renew.DYNAMODB) as ledger:
        yield batch, ledger
        batch.assert_no_pending_responses()
        ledger.assert_no_pending_responses()


@pytest.fixture
def said():
    with logged() as written:
        yield lambda: {name: value for name, value, _ in metrics_in(written.getvalue())}


def night(calls, renewal=None, *, statuses=("VALID", "VALID")):
    """What Batch and the ledger say."""
    batch, ledger = calls
    found = [
        {"computeEnvironmentName": arn, "computeEnvironmentArn": arn, "ecsClusterArn": "c", "status": status}
        for arn, status in zip(ARNS, statuses, strict=True)
    ]
    expected = {"computeEnvironments": list(ARNS)}
    batch.add_response("describe_compute_environments", {"computeEnvironments": found}, expected)
    ledger.add_response("get_item", {"Item": {"text": {"S": renewal.to_json()}}} if renewal else {})


def asked(calls, *arns):
    for arn in arns:
        # Jobs end first, for as long as one may run; without its own time Batch gives them half an hour.
        expected = {
            "computeEnvironment": arn,
            "computeResources": {"updateToLatestImageVersion": True},
            "updatePolicy": {"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": 360},
        }
        calls[0].add_response("update_compute_environment", {}, expected)


def kept(calls, renewal=None):
    text = {"S": renewal.to_json()} if renewal else ANY
    calls[1].add_response("put_item", {}, {"TableName": "l", "Item": {"scan_id": {"S": "#kept:renewal"}, "text": text}})


def ago(asked_days, done_days):
    now_s = time.time()
    return Renewal(asked_s=now_s - asked_days * DAY_S, done_s=now_s - done_days * DAY_S)


def test_in_the_first_night_every_environment_is_asked_for_the_newest_image(calls, said):
    night(calls)
    asked(calls, *ARNS)
    kept(calls)
    assert renew.handler({}, None) == {}
    assert said() == {}, "nothing is known of how old it is"


def test_it_is_done_when_all_environments_are_valid_again(calls, said):
    before = ago(1, 8)
    night(calls, before)
    kept(calls, Renewal(asked_s=before.asked_s, done_s=before.asked_s))
    renew.handler({}, None)
    assert said() == {"ImageAgeDays": pytest.approx(1, abs=0.01)}


@pytest.mark.parametrize("status", ["UPDATING", "INVALID"])
def test_while_one_is_changed_or_broken_none_is_asked_and_the_image_grows_old(calls, said, status):
    before = ago(1, 8)
    night(calls, before, statuses=("VALID", status))
    kept(calls, before)
    renew.handler({}, None)
    assert said() == {"ImageAgeDays": pytest.approx(8, abs=0.01)}


def test_within_the_week_nothing_is_asked(calls, said):
    before = ago(6, 6)
    night(calls, before)
    kept(calls, before)
    renew.handler({}, None)
    assert said() == {"ImageAgeDays": pytest.approx(6, abs=0.01)}


def test_an_environment_that_batch_refuses_to_renew_leaves_the_others_theirs_and_is_asked_again(calls, said):
    before = ago(7, 7)
    night(calls, before)
    calls[0].add_client_error("update_compute_environment", "ClientException")
    asked(calls, "arn:demand")
    kept(calls, before)
    assert renew.handler({}, None)["ImageAgeDays"] == pytest.approx(7, abs=0.01)


def test_what_is_kept_is_what_was_written():
    renewal = ago(1, 2)
    assert Renewal.from_json(renewal.to_json()) == renewal
    assert Renewal.from_json(None) == Renewal()
    assert json.loads(renewal.to_json()).keys() == {"asked_s", "done_s"}
