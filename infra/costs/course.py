"""When the scans of a day come: by a hospital's hours, or evenly over some. An assumption that a site may replace."""

from collections.abc import Iterator
from dataclasses import dataclass

HOURLY = (3, 2, 2, 2, 2, 3, 6, 15, 25, 30, 30, 30, 25, 25, 28, 28, 25, 20, 12, 8, 6, 5, 4, 3)
"""Scans by the hour of the day, as `python -m benchmarks scaling` and `bill` have them; a test compares both."""
IN_BURSTS, BURST = 0.2, 17.5
"""Part of the scans that come many at once, and how many in the mean: an examination, a list that was held back."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """A day of scans."""

    parts: tuple[float, ...]
    """What each part of the day has of them, in any measure."""
    minutes: float
    """Of each part."""
    in_bursts: float
    """Part of the scans that come many at once."""
    burst: float
    """How many these are, in the mean."""

    @property
    def at_once(self) -> float:
        """How many scans come together, in the mean over all arrivals."""
        return 1 / (1 - self.in_bursts + self.in_bursts / self.burst)

    def rates(self, scans_a_day: float) -> Iterator[tuple[float, float]]:
        """Of each part of the day, which share of the day's scans comes in it, and how many a minute."""
        total = sum(self.parts)
        for part in self.parts:
            yield part / total, scans_a_day * part / total / self.minutes


HOSPITAL = Course(parts=HOURLY, minutes=60, in_bursts=IN_BURSTS, burst=BURST)


def evenly(hours: float) -> Course:
    """As many in each minute of so many hours, one by one."""
    return Course(parts=(1.0,), minutes=60 * hours, in_bursts=0, burst=1)
