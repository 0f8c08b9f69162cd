"""Every metric and every field of a log line that the dashboard, the alarms and the saved queries name is emitted."""

import ast
import logging
import re

import pytest

from infra.local.deploy.synth import REPOSITORY
from infra.monitoring.queries import FAILURES, WHERE_IS_A_SCAN
from raki.service.metrics import METRICS, NAMESPACE
from tests.infra.test_monitoring import Template, metrics_of

PROGRAMS = ("raki/service", "lambdas", "containers")
BY_CLOUDWATCH = {"@timestamp"}


def trees():
    for folder in PROGRAMS:
        for file in sorted((REPOSITORY / folder).rglob("*.py")):
            yield file.relative_to(REPOSITORY).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def keys_of(tree):
    """The names that dictionaries are made with or added to in a piece of code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
        if isinstance(node, ast.Subscript) and isinstance(getattr(node.slice, "value", None), str):
            yield node.slice.value


def logging_calls(tree):
    """The calls that write a log line with fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "emit" or any(keyword.arg == "extra" for keyword in node.keywords):
                yield node


@pytest.fixture(scope="module")
def emitted_metrics():
    """Those of the table that code names anywhere but in the table."""
    found = set()
    for file, tree in trees():
        table = next((one for one in tree.body if isinstance(one, ast.AnnAssign) and one.target.id == "METRICS"), None)
        code = [one for one in tree.body if one is not table] if file == "raki/service/metrics.py" else tree.body
        words = {one.value for part in code for one in ast.walk(part) if isinstance(one, ast.Constant)}
        found |= METRICS.keys() & {word for word in words if isinstance(word, str)}
    return found


@pytest.fixture(scope="module")
def emitted_fields():
    """The fields that a line can have: of every call that logs, and those that the formatter adds."""
    found = set()
    for file, tree in trees():
        if file == "raki/service/log.py":
            found |= set(keys_of(tree))
        for call in logging_calls(tree):
            found |= {keyword.arg for keyword in call.keywords} - {"extra", "exc_info", None}
            found |= {key for keyword in call.keywords if keyword.arg == "extra" for key in keys_of(keyword.value)}
    return found


@pytest.fixture(scope="module", params=["clinic", "research"])
def monitoring(request, all_reviewed):
    return Template(all_reviewed[request.param].templates)


def test_every_metric_of_ours_on_the_dashboard_and_in_alarms_is_emitted(monitoring, emitted_metrics):
    shown = {name for namespace, name, _, _ in monitoring.plotted if namespace == NAMESPACE}
    watched = {one["MetricName"] for alarm in monitoring.alarms.values() for one in metrics_of(alarm)
               if one["Namespace"] == NAMESPACE}  # fmt: skip
    assert len(shown) > 10
    assert watched
    assert shown | watched <= emitted_metrics


def test_the_table_of_metrics_has_none_that_nothing_emits(emitted_metrics):
    assert emitted_metrics == set(METRICS)


def fields_in(query):
    """The fields that a query of Logs Insights reads."""
    made = set(re.findall(r"\bas (\w+)", query))
    asked = " ".join(re.findall(r"\b(?:fields|filter|sort) ([^|]*)", query))
    words = re.sub(r"'[^']*'|\{\{\w+\}\}|\bas \w+", " ", asked)
    return set(re.findall(r"@?\b[A-Za-z_]\w*", words)) - made - {"coalesce", "in", "desc", "asc", "and", "or"}


def test_every_field_of_a_saved_query_and_of_the_dashboards_is_emitted(monitoring, emitted_fields):
    queries = [one["QueryString"] for one in monitoring.of("AWS::Logs::QueryDefinition").values()]
    queries += [widget["properties"]["query"] for widget in monitoring.widgets if "query" in widget["properties"]]
    assert len(queries) == 3
    for query in queries:
        assert len(fields_in(query)) > 5
        assert fields_in(query) - emitted_fields == BY_CLOUDWATCH, query


def test_the_query_for_one_scan_shows_each_field_by_which_a_stage_a_state_or_a_class_is_said(emitted_fields):
    asked = fields_in("\n| ".join(WHERE_IS_A_SCAN.lines))
    spelt = {name for name in emitted_fields if name.lower().replace("_", "") in {"stage", "state", "failureclass"}}
    assert {"Stage", "stage", "State", "FailureClass", "failure_class"} == spelt
    assert spelt <= asked


def test_levels_that_a_query_asks_for_are_levels():
    asked = re.findall(r"'([A-Z]+)'", "".join(FAILURES.lines))
    assert asked
    assert set(asked) <= logging.getLevelNamesMapping().keys()


def test_the_words_of_a_query_are_told_apart():
    query = "fields @timestamp, coalesce(Stage, stage) as at_stage\n| filter level in ['ERROR'] and id = '{{scan_id}}'"
    assert fields_in(query) == {"@timestamp", "Stage", "stage", "level", "id"}
