"""A log line is one JSON object that says what went wrong and where, and never what an exception quotes."""

import json
import logging

import pytest
from botocore.exceptions import ClientError

from raki.service import log
from raki.service.messages import NotUnderstood, ReconstructionRequested


@pytest.fixture
def line(capsys):
    """What the logger writes of the exception in hand."""
    logger = logging.getLogger("raki")
    before = logger.handlers[:], logger.propagate

    def written() -> dict:
        log.configure().exception("it failed", extra={"scan_id": "s"})
        return json.loads(capsys.readouterr().out)

    yield written
    logger.handlers[:], logger.propagate = before


def test_an_exception_is_named_by_its_type_and_our_innermost_line(line):
    try:
        ReconstructionRequested.from_json('{"Mustermann": 1}')
    except NotUnderstood:
        found = line()
    assert (found["event"], found["level"], found["scan_id"]) == ("it failed", "ERROR", "s")
    assert found["exception"] == "NotUnderstood"
    assert found["at"].startswith("raki.service.messages:")
    assert "Mustermann" not in json.dumps(found)


def test_a_call_that_aws_refused_is_named_with_its_code(line):
    try:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Mustermann.h5"}}, "GetObject")
    except ClientError:
        found = line()
    assert (found["call"], found["code"]) == ("GetObject", "AccessDenied")
    assert "Mustermann" not in json.dumps(found)
