"""A worker with a scan in hand is protected, an idle one is not, and no answer of the agent's fails anything."""

import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.service import protection as module
from raki.service.protection import Protection
from tests.service.agent import BLOCKED, ODD, THROTTLED, TIMED_OUT, running_agent

REFUSALS = [BLOCKED, THROTTLED, TIMED_OUT, *ODD]


@pytest.fixture
def impatient(monkeypatch):
    """Half of the protection's time is over at once."""
    monkeypatch.setattr(module, "RENEW_AFTER_S", 0.0)
    monkeypatch.setattr(module, "RETRY_AFTER_S", 0.0)


def test_only_the_transitions_are_asked_for(agent):
    protection = Protection(agent.uri)
    protection.give_up()
    for _ in range(3):
        protection.hold()
    for _ in range(3):
        protection.give_up()
    assert agent.asked == [{"ProtectionEnabled": True, "ExpiresInMinutes": 30}, {"ProtectionEnabled": False}]


def test_the_next_scan_is_protected_at_once(agent):
    protection = Protection(agent.uri)
    protection.hold()
    protection.give_up()
    protection.hold()
    assert agent.is_protected


def test_protection_is_renewed_when_half_of_it_is_over(agent, impatient):
    protection = Protection(agent.uri)
    protection.hold()
    assert protection.is_long_held
    protection.hold()
    assert [body["ProtectionEnabled"] for body in agent.asked] == [True, True]
    assert protection.is_long_held, "a renewal begins no new spell"
    protection.give_up()
    assert not protection.is_long_held


@pytest.mark.parametrize("uri", [None, ""])
def test_where_there_is_no_agent_nothing_is_asked(uri):
    protection = Protection(uri)
    protection.hold()
    assert protection.give_up()
    assert not protection.is_long_held


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_is_logged_and_tried_again_later(agent, refusal, caplog, monkeypatch):
    agent.refusal = refusal
    protection = Protection(agent.uri)
    protection.hold()
    protection.hold()
    assert agent.n_requests == 1, "not at once"
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.message == "protection refused"
    body = refusal[1]
    if refusal in (BLOCKED, THROTTLED, TIMED_OUT):
        assert record.reason == (body["failure"]["Reason"] if "failure" in body else body["error"]["Code"])
    assert "arn:" not in record.reason
    agent.refusal = None
    monkeypatch.setattr(module.time, "monotonic", lambda before=module.time.monotonic: before() + 61)
    protection.hold()
    assert agent.is_protected


def test_an_agent_that_is_gone_or_slow_fails_nothing(caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = Protection(f"http://127.0.0.1:{free.getsockname()[1]}/api/0123")
        gone.hold()
        assert not gone.give_up()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = Protection(f"http://127.0.0.1:{silent.getsockname()[1]}/api/0123", timeout_s=0.05)
        slow.hold()
    Protection("not an address").hold()
    reasons = [record.reason for record in caplog.records]
    assert reasons == ["ConnectionRefusedError", "ConnectionRefusedError", "TimeoutError", "answer not understood"]


def test_a_yes_that_came_too_late_is_taken_back(agent):
    agent.delay_s = 0.3
    protection = Protection(agent.uri, timeout_s=0.05)
    protection.hold()
    for _ in range(1000):
        if agent.is_protected:
            break
        time.sleep(0.01)
    agent.delay_s, protection._timeout_s = 0.0, 5.0
    assert protection.give_up()
    assert not agent.is_protected


def test_no_proxy_stands_between_a_task_and_its_agent(agent, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    Protection(agent.uri).hold()
    assert agent.is_protected


steps = st.lists(st.tuples(st.sampled_from(["hold", "give_up"]), st.sampled_from([None, None, *REFUSALS])), max_size=8)


@settings(max_examples=40)
@given(steps=steps)
def test_whatever_the_agent_answers_no_call_raises_and_an_idle_task_ends_unprotected(steps):
    with running_agent() as agent:
        protection = Protection(agent.uri)
        for call, refusal in steps:
            agent.refusal = refusal
            getattr(protection, call)()
        agent.refusal = None
        protection.give_up()
        assert not agent.is_protected
