"""From single measurements to what a method is worth: ratios to an opponent on the same case."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

TUNED = "tuned_grappa"
ACCELERATION_GROUPS: dict[str, Collection[int]] = {"2-3": (2, 3), "4-6": (4, 5, 6), "all": range(1, 100)}


class Case(NamedTuple):
    """One slice, undersampled in one way."""

    scan: str
    slice_index: int
    acceleration: int
    n_acs_lines: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one method made of one case."""

    case: Case
    method: str
    scores: dict[str, float]
    seconds: float
    """Wall time of one slice; where several were filled together, their mean."""
    detail: str = ""
    """What the method chose, where it says."""


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """One method beside another over a group of cases; all figures inside the object."""

    method: str
    opponent: str
    accelerations: str
    n_cases: int
    geometric_mean: float
    """Of the ratios of NMSE; below 1 the method is closer to the answer than its opponent."""
    worst: float
    """The largest ratio of NMSE."""
    worst_case: Case
    high_frequency_error: float
    """Geometric mean of the ratios of this error."""
    ssim_gain: float
    """Mean of SSIM minus the opponent's: it has a fixed scale, and may be negative."""


def ratios(measurements: Sequence[Measurement], method: str, opponent: str, figure: str = "nmse") -> dict[Case, float]:
    """A figure of `method` over that of `opponent`, for each case that both were measured on."""
    scores = {(one.case, one.method): one.scores[figure] for one in measurements}
    cases = [one.case for one in measurements if one.method == method and (one.case, opponent) in scores]
    return {case: scores[case, method] / scores[case, opponent] for case in cases}


def aggregates(measurements: Sequence[Measurement], against: Sequence[tuple[str, str]]) -> list[Aggregate]:
    """An aggregate for each pair of method and opponent and each group of accelerations that has a case."""
    return [
        _aggregate(measurements, method, opponent, group)
        for method, opponent in against
        for group, accelerations in ACCELERATION_GROUPS.items()
        if any(case.acceleration in accelerations for case in ratios(measurements, method, opponent))
    ]


def _aggregate(measurements: Sequence[Measurement], method: str, opponent: str, group: str) -> Aggregate:
    chosen = [one for one in measurements if one.case.acceleration in ACCELERATION_GROUPS[group]]
    errors = ratios(chosen, method, opponent)
    ssim = {(one.case, one.method): one.scores["ssim"] for one in chosen}
    worst_case = max(errors, key=lambda case: errors[case])
    return Aggregate(
        method=method,
        opponent=opponent,
        accelerations=group,
        n_cases=len(errors),
        geometric_mean=geometric_mean(errors.values()),
        worst=errors[worst_case],
        worst_case=worst_case,
        high_frequency_error=geometric_mean(ratios(chosen, method, opponent, "high_frequency_error").values()),
        ssim_gain=sum(ssim[case, method] - ssim[case, opponent] for case in errors) / len(errors),
    )


def pairs(methods: Sequence[str]) -> list[tuple[str, str]]:
    """Who is compared with whom: every method with tuned GRAPPA, and raki with every other method."""
    others = [("raki", method) for method in methods if method != "raki" and "raki" in methods]
    return [(method, TUNED) for method in methods] + others


def geometric_mean(values: Collection[float]) -> float:
    """The mean that treats twice as good and half as good as opposites."""
    return math.exp(sum(math.log(value) for value in values) / len(values))
