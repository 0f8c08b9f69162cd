"""Every line is a document that CloudWatch takes, and no dimension names a scan."""

import json
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.service import metrics
from raki.service.metrics import METRICS
from tests.embedded_metrics import metrics_in, metrics_of, named

numbers = st.floats(min_value=0, max_value=1e12) | st.integers(min_value=0, max_value=1 << 50)
DIMENSIONS = {
    "Stage": "decompressing",
    "State": "arrived",
    "Outcome": "failed",
    "FailureClass": "NotAScan",
    "Cause": "Quota",
}


@given(st.dictionaries(st.sampled_from(sorted(METRICS)), numbers, min_size=1))
def test_every_set_of_values_is_a_document_that_cloudwatch_takes(values):
    line = json.loads(json.dumps(metrics.embedded(values, {**DIMENSIONS, "scan_id": "abc"}, at_ms=1_700_000_000_000)))
    found = metrics_of(line)
    assert {name: value for name, value, _ in found} == values
    assert len(found) == len(values)
    for name, _, dimensions in found:
        assert tuple(dimensions) == METRICS[name].dimensions
    assert line["scan_id"] == "abc"


def test_a_dimension_never_names_a_scan():
    assert {name for metric in METRICS.values() for name in metric.dimensions} == set(DIMENSIONS)


def test_what_is_missing_or_unknown_is_named():
    with pytest.raises(ValueError, match="StageSeconds: the dimension Stage is missing"):
        metrics.embedded({"StageSeconds": 1.0}, {"scan_id": "abc"}, at_ms=0)
    with pytest.raises(ValueError, match="no such metric: Colour"):
        metrics.embedded({"Colour": 1.0}, {}, at_ms=0)


def test_without_values_a_line_is_no_metric(written):
    metrics.emit("taken up", {}, Stage="decompressing", attempt=2)
    line = json.loads(written.getvalue())
    assert (line["event"], line["attempt"]) == ("taken up", 2)
    assert metrics_of(line) == []


def test_lines_stay_whole_whoever_writes_at_the_same_time(written):
    def write():
        for _ in range(50):
            metrics.emit("entered", {"Entered": 1}, State="arrived", scan_id="x" * 200)
            logging.getLogger("raki.lease").warning("heartbeat failed")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(metrics_in(written.getvalue())) == 200


def test_a_line_still_says_what_happened_and_when(written):
    metrics.emit("prepared", {"RawBytes": 7}, scan_id="abc")
    line = json.loads(written.getvalue())
    assert (line["event"], line["level"], line["scan_id"]) == ("prepared", "INFO", "abc")
    assert line["time"].startswith("20")


def test_a_program_that_keeps_no_log_prints_no_metric(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("raki"), "handlers", [])
    metrics.emit("prepared", {"RawBytes": 7})
    assert capsys.readouterr() == ("", "")


def test_busy_and_idle_time_add_up_to_the_workers_life(written, monkeypatch):
    clock = iter([0.0, 5.0, 12.0, 13.0, 15.0, 45.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(clock))
    occupation = metrics.Occupation("reconstructing")
    with occupation.at_work():
        pass
    with pytest.raises(KeyError), occupation.at_work():
        raise KeyError
    occupation.end()
    found = metrics_in(written.getvalue())
    assert [value for name, value, _ in found if name == "BusySeconds"] == [7.0, 2.0]
    assert [value for name, value, _ in found if name == "IdleSeconds"] == [5.0, 1.0, 30.0]


def test_work_that_isnt_over_when_the_worker_ends_was_no_idleness(written, monkeypatch):
    """A job that is told to stop computes on in another thread until the process goes."""
    clock = iter([0.0, 5.0, 65.0, 66.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(clock))
    occupation = metrics.Occupation("reconstructing")
    with occupation.at_work():
        occupation.end()
    found = metrics_in(written.getvalue())
    assert [value for value, _ in named(found, "BusySeconds")] == [60.0, 1.0]
    assert [value for value, _ in named(found, "IdleSeconds")] == [5.0]
