"""Reads log lines as CloudWatch does: what the specification of the embedded metric format demands, and no more."""

import json
import logging
from contextlib import contextmanager
from io import StringIO

from botocore.session import get_session

from raki.service import log

UNITS = set(get_session().get_service_model("cloudwatch").shape_for("StandardUnit").enum)


@contextmanager
def logged():
    """What a container or a Lambda writes to its standard output, as one growing text."""
    logger = logging.getLogger("raki")
    before = logger.handlers[:], logger.level, logger.propagate
    log.configure().handlers[0].setStream(written := StringIO())
    try:
        yield written
    finally:
        logger.handlers[:], _, logger.propagate = before
        logger.setLevel(before[1])


def metrics_in(text):
    """All metrics of the lines in `text`: name, value and dimensions. Every line has to be one JSON object."""
    return [metric for line in text.splitlines() for metric in metrics_of(json.loads(line))]


def metrics_of(line):
    """The metrics of one line, in CloudWatch's own terms."""
    assert isinstance(line, dict)
    if "_aws" not in line:
        return []
    assert isinstance(line["_aws"]["Timestamp"], int)
    found = []
    for directive in line["_aws"]["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert directive["Namespace"] == "raki"
        assert len(directive["Dimensions"]) >= 1
        assert 1 <= len(directive["Metrics"]) <= 100
        for names in directive["Dimensions"]:
            assert len(names) <= 30
            assert all(isinstance(line[name], str) and line[name] for name in names)
            for metric in directive["Metrics"]:
                assert metric["Unit"] in UNITS
                assert isinstance(line[metric["Name"]], int | float)
                assert not isinstance(line[metric["Name"]], bool)
                found.append((metric["Name"], line[metric["Name"]], {name: line[name] for name in names}))
    return found


def named(found, name):
    """Values and dimensions of one metric."""
    return [(value, dimensions) for metric, value, dimensions in found if metric == name]
