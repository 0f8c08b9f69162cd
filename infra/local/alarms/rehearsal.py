"""What each alarm would have done: the samples by its periods, its expression, its threshold."""

import operator
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

from infra.local.alarms.metric_math import Value, evaluate
from infra.local.alarms.samples import Sample
from infra.local.alarms.templates import Alarm, Watched
from raki.service.metrics import NAMESPACE

STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = MappingProxyType(
    {"Average": statistics.fmean, "Maximum": max, "Minimum": min, "SampleCount": len, "Sum": sum}
)
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {
        "GreaterThanOrEqualToThreshold": operator.ge,
        "GreaterThanThreshold": operator.gt,
        "LessThanOrEqualToThreshold": operator.le,
        "LessThanThreshold": operator.lt,
    }
)


class Verdict(StrEnum):
    """What an alarm would have done."""

    FIRED = "would have fired"
    QUIET = "stayed quiet"
    NOT_MEASURED = "not measured here"
    """It watches a metric of AWS's own, which no program of ours writes."""


@dataclass(frozen=True, kw_only=True)
class Period:
    """One period of an alarm in which something was measured."""

    begins: datetime
    value: float
    breaks: bool
    """Whether the value is on the wrong side of the threshold."""


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """An alarm, and what became of it."""

    alarm: Alarm
    verdict: Verdict
    n_samples: int
    """Values that its metrics had."""
    periods: tuple[Period, ...]
    fired_at: datetime | None
    """The beginning of the first period with which it would have fired."""

    @property
    def worst(self) -> Period | None:
        """The period that is furthest towards the threshold or beyond it."""
        pick = min if self.alarm.comparison.startswith("Less") else max
        return pick(self.periods, key=lambda period: period.value, default=None)


def rehearse(alarms: Iterable[Alarm], samples: Sequence[Sample]) -> list[Rehearsed]:
    """What each alarm would have done on these samples.

    Periods are those of the templates and by the clock, as on AWS, however fast schedules ran. No silence before the
    first sample or after the last one counts.

    Raises:
        NotUnderstood: an alarm on our metrics has an expression that isn't evaluated here.
        ValueError: it has a statistic or a comparison that isn't known here.
    """
    return [_rehearsed(alarm, samples) for alarm in alarms]


def _rehearsed(alarm: Alarm, samples: Sequence[Sample]) -> Rehearsed:
    if not alarm.watched or any(watched.namespace != NAMESPACE for watched in alarm.watched.values()):
        return Rehearsed(alarm=alarm, verdict=Verdict.NOT_MEASURED, n_samples=0, periods=(), fired_at=None)
    found = {key: [sample for sample in samples if _is_of(sample, watched)] for key, watched in alarm.watched.items()}
    values = _values(alarm, found)
    breaks = _breaks(alarm)
    fired = _first_to_fire(alarm, {index: breaks(value) for index, value in values.items()}, samples)
    return Rehearsed(
        alarm=alarm,
        verdict=Verdict.QUIET if fired is None else Verdict.FIRED,
        n_samples=sum(map(len, found.values())),
        periods=tuple(
            Period(begins=_begins(alarm, index), value=value, breaks=breaks(value))
            for index, value in sorted(values.items())
        ),
        fired_at=None if fired is None else _begins(alarm, fired),
    )


def _is_of(sample: Sample, watched: Watched) -> bool:
    return (sample.namespace, sample.name, sample.dimensions) == (watched.namespace, watched.name, watched.dimensions)


def _values(alarm: Alarm, found: Mapping[str, Sequence[Sample]]) -> dict[int, float]:
    """The expression's value in each period with a sample, by the period's number since 1970."""
    by_period: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for key, samples in found.items():
        for sample in samples:
            by_period[_index(alarm, sample)][key].append(sample.value)
    values: dict[int, float] = {}
    for index, of_period in by_period.items():
        inputs: dict[str, Value] = {
            key: _statistic(watched)(of_period[key]) if key in of_period else None
            for key, watched in alarm.watched.items()
        }
        value = evaluate(alarm.expression, inputs)
        if value is not None:
            values[index] = value
    return values


def _statistic(watched: Watched) -> Callable[[Sequence[float]], float]:
    if watched.statistic not in STATISTICS:
        raise ValueError(f"the statistic {watched.statistic} is not known here; {', '.join(STATISTICS)} are")
    return STATISTICS[watched.statistic]


def _breaks(alarm: Alarm) -> Callable[[float], bool]:
    if alarm.comparison not in COMPARISONS:
        raise ValueError(f"the comparison {alarm.comparison} is not known here; {', '.join(COMPARISONS)} are")
    return lambda value: COMPARISONS[alarm.comparison](value, alarm.threshold)


def _first_to_fire(alarm: Alarm, broken: Mapping[int, bool], samples: Sequence[Sample]) -> int | None:
    """The number of the period with which `n_to_alarm` of the last `n_periods` break the threshold."""
    if not samples:
        return None
    first, last = _index(alarm, samples[0]), _index(alarm, samples[-1])
    silent = alarm.missing == "breaching"
    for end in range(first, last + 1):
        window = range(max(first, end - alarm.n_periods + 1), end + 1)
        if sum(broken.get(index, silent) for index in window) >= alarm.n_to_alarm:
            return end
    return None


def _index(alarm: Alarm, sample: Sample) -> int:
    return int(sample.at_s // alarm.period_s)


def _begins(alarm: Alarm, index: int) -> datetime:
    return datetime.fromtimestamp(index * alarm.period_s, UTC)
