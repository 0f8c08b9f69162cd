"""What a local run has measured: the metrics that CloudWatch would make of the lines in its programs' logs.

Amazon CloudWatch User Guide, "Specification: Embedded metric format".
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Dimensions = frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value of one metric."""

    at_s: float
    """Seconds since 1970."""
    namespace: str
    name: str
    dimensions: Dimensions
    value: float


def samples_in(logs: Path) -> list[Sample]:
    """The metrics in all log files of a folder, in the order of time; lines that carry none are passed over.

    Args:
        logs: the folder `logs` of a local cloud's work folder; where it is missing nothing was measured.
    """
    found = [sample for file in sorted(logs.glob("*.log")) for sample in _samples_of_file(file)]
    return sorted(found, key=lambda sample: sample.at_s)


def _samples_of_file(file: Path) -> Iterator[Sample]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for text in lines:
            if '"_aws"' in text:
                yield from _samples_of_line(_parsed(text))


def _parsed(text: str) -> dict[str, Any]:
    """A line that a killed program left half written is as good as none."""
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _samples_of_line(line: dict[str, Any]) -> Iterator[Sample]:
    about = line.get("_aws", {})
    for directive in about.get("CloudWatchMetrics", ()):
        for names in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                yield Sample(
                    at_s=about["Timestamp"] / 1000,
                    namespace=directive["Namespace"],
                    name=metric["Name"],
                    dimensions=frozenset((name, str(line[name])) for name in names),
                    value=float(line[metric["Name"]]),
                )
