"""When the scans of a day come: by a hospital's hours, or evenly over some. An assumption that a site may replace."""

from collections.abc import Iterator
from dataclasses import dataclass

HOURLY = (3, 2, 2, 2, 2, 3, 6, 15, 25, 30, 30, 30, 25, 25, 28, 28, 25, 20, 12, 8, 6, 5, 4, 3)
"""Scans by the hour of the day, as `python -m benchmarks scaling` and `bill` have them; a test compares both."""
AT_ONCE = 1.23
"""Scans that come together, in the mean: there a fifth of them in bursts of 5 to 30, 1 / (0.8 + 0.2 / 17.5)."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """A day of scans."""

    parts: tuple[float, ...]
    """What each part of the day has of them, in any measure."""
    minutes: float
    """Of each part."""
    at_once: float
    """How many come together, in the mean."""

    def rates(self, scans_a_day: float) -> Iterator[tuple[float, float]]:
        """Of each part of the day, which share of the day's scans comes in it, and how many a minute."""
        total = sum(self.parts)
        for part in self.parts:
            yield part / total, scans_a_day * part / total / self.minutes


HOSPITAL = Course(parts=HOURLY, minutes=60, at_once=AT_ONCE)


def evenly(hours: float) -> Course:
    """As many in each minute of so many hours, one by one."""
    return Course(parts=(1.0,), minutes=60 * hours, at_once=1)
