"""The alarms of the synthesised templates, as far as a rehearsal needs them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.alarms.samples import Dimensions
from infra.local.deploy.assembly import stacks

Json = dict[str, Any]
GENERATED = re.compile(r"^Alarms|[0-9A-F]{8}$")
"""What CloudFormation's names have around an alarm's own: the construct that holds them, and a hash."""
ALONE = "value"
"""The id of a metric that is watched without an expression."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One metric that an alarm watches, and what is made of a period's values."""

    namespace: str
    name: str
    dimensions: Dimensions
    statistic: str

    def __str__(self) -> str:
        by = ", ".join(value for _, value in sorted(self.dimensions))
        return f"{self.statistic} of {self.name}" + (f" ({by})" if by else "")


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One alarm. Of a query over AWS's own metrics (`SELECT ...`) there is the text alone, and nothing in `watched`."""

    name: str
    says: str
    watched: Mapping[str, Watched]
    """By the ids that `expression` names them by."""
    expression: str
    period_s: int
    threshold: float
    comparison: str
    """As CloudWatch names it, "GreaterThanThreshold" and such."""
    n_periods: int
    n_to_alarm: int
    """How many of `n_periods` neighbouring ones have to break the threshold."""
    missing: str
    """What a period without a value counts as: "notBreaching", "breaching", "ignore" or "missing"."""


def alarms_of(assembly: Path) -> list[Alarm]:
    """All alarms of an assembly, in the order of their names.

    Raises:
        FileNotFoundError: `assembly` is no cloud assembly.
    """
    found = (
        alarm for stack in stacks(assembly) for alarm in _alarms_of_template(json.loads(stack.template.read_text()))
    )
    return sorted(found, key=lambda alarm: alarm.name)


def _alarms_of_template(template: Json) -> Iterator[Alarm]:
    for logical_id, resource in template.get("Resources", {}).items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            yield _alarm(GENERATED.sub("", logical_id), resource["Properties"])


def _alarm(name: str, properties: Json) -> Alarm:
    rows = properties.get("Metrics", [{"Id": ALONE, "MetricStat": _alone(properties)}])
    (result,) = (row for row in rows if row.get("ReturnData", True))
    periods: list[int] = [row.get("Period") or row.get("MetricStat", {}).get("Period", 0) for row in (result, *rows)]
    return Alarm(
        name=name,
        says=properties["AlarmDescription"],
        watched={row["Id"]: _watched(row["MetricStat"]) for row in rows if "MetricStat" in row},
        expression=_text(result.get("Expression", result["Id"])),
        period_s=next(filter(None, periods)),
        threshold=float(properties["Threshold"]),
        comparison=properties["ComparisonOperator"],
        n_periods=int(properties["EvaluationPeriods"]),
        n_to_alarm=int(properties.get("DatapointsToAlarm") or properties["EvaluationPeriods"]),
        missing=properties.get("TreatMissingData", "missing"),
    )


def _alone(properties: Json) -> Json:
    """An alarm on one metric, said as one on several says it."""
    names = ("Namespace", "MetricName", "Dimensions")
    return {
        "Metric": {name: properties[name] for name in names if name in properties},
        "Period": properties.get("Period"),
        "Stat": properties.get("Statistic") or properties.get("ExtendedStatistic"),
    }


def _watched(row: Json) -> Watched:
    metric = row["Metric"]
    pairs = [(one["Name"], one["Value"]) for one in metric.get("Dimensions", ())]
    return Watched(
        namespace=metric["Namespace"],
        name=metric["MetricName"],
        dimensions=frozenset((name, _text(value)) for name, value in pairs),
        statistic=row["Stat"],
    )


def _text(value: str | Json) -> str:
    """With the name of a resource in it, which only a deployment gives, it stays as the template has it."""
    return value if isinstance(value, str) else json.dumps(value)
