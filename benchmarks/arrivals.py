"""The scans of a week: when each is dropped on the share, and how large it is. Made up, but as hospitals make them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random

HOUR_S = 3600
DAY_S = 24 * HOUR_S
WEEK_S = 7 * DAY_S

# Outpatients from seven to six, inpatients into the evening, emergencies at night.
HOURLY = (3, 2, 2, 2, 2, 3, 6, 15, 25, 30, 30, 30, 25, 25, 28, 28, 25, 20, 12, 8, 6, 5, 4, 3)
WEEKEND = 0.35
"""What a day of the weekend has of a weekday's scans."""

MEDIAN_GB = 0.8
SPREAD = 1.0
"""Standard deviation of the logarithm."""
LEAST_GB, MOST_GB = 0.1, 10.0

IN_BURSTS = 0.2
"""Part of all scans that come as many at once: an examination copied when it is over, a list that was held back."""
BURST = (5, 30)
BURST_S = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One scan."""

    at_s: float
    """When it stands in the bucket, in seconds since the night to Monday."""
    gb: float
    """As dropped, in 1e9 bytes."""


def arrivals(scans_a_day: float, *, seed: int, weeks: int = 1) -> list[Arrival]:
    """Scans of some weeks, the earliest first; `scans_a_day` in the mean over a week."""
    random = Random(seed)
    per_hour = 7 * scans_a_day / (sum(HOURLY) * (5 + 2 * WEEKEND))
    times = list(_poisson(random, per_hour * (1 - IN_BURSTS), weeks))
    for start_s in _poisson(random, per_hour * IN_BURSTS / (sum(BURST) / 2), weeks):
        times += [start_s + random.uniform(0, BURST_S) for _ in range(random.randint(*BURST))]
    end_s = weeks * WEEK_S
    return [Arrival(at_s=at_s, gb=_gb(random)) for at_s in sorted(times) if at_s < end_s]


def intensity(at_s: float) -> float:
    """How busy the hour is, as one of `HOURLY`."""
    day, within_s = divmod(at_s % WEEK_S, DAY_S)
    return HOURLY[int(within_s // HOUR_S)] * (WEEKEND if day >= 5 else 1.0)


def _poisson(random: Random, per_hour: float, weeks: int) -> Iterator[float]:
    """Times of events that come `per_hour` times the hour's intensity."""
    starts = [float(start_s) for start_s in range(0, weeks * WEEK_S + 1, HOUR_S)]
    for start_s, end_s in pairwise(starts):
        rate = per_hour * intensity(start_s) / HOUR_S
        at_s = start_s + random.expovariate(rate)
        while at_s < end_s:
            yield at_s
            at_s += random.expovariate(rate)


def _gb(random: Random) -> float:
    return min(MOST_GB, max(LEAST_GB, random.lognormvariate(math.log(MEDIAN_GB), SPREAD)))
