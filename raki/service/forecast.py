"""What is learnt of scans: how long they take, and when they come. Pure; the ledger keeps it between calls."""

import json
from dataclasses import asdict, dataclass, replace

ENOUGH = 10
HOUR_S = 3600
HOURS_A_WEEK = 168
RECENT_S = 900
"""Arrivals of so long tell what this hour is like."""
WEIGHT = 0.5
"""Of the last week against all those before it."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a stage has done so far."""

    n: int = 0
    """Scans."""
    seconds: float = 0.0
    """Of work on them, all together."""

    def seconds_a_scan(self, *, otherwise: float) -> float:
        """In the mean; `otherwise` until there are enough of them to tell."""
        return self.seconds / self.n if self.n >= ENOUGH else otherwise


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What was seen of arrivals. Hours are those of the week since 1970, a Thursday, in UTC."""

    hourly: tuple[float, ...] = (0.0,) * HOURS_A_WEEK
    """Scans that came in each hour of the week, in the mean over the weeks, later ones weighing more."""
    seen: tuple[tuple[float, int], ...] = ()
    """Time in seconds since 1970, and how many scans had come by then, for the last while; the earliest first."""
    hour: int = -1
    """The hour since 1970 that is being counted."""
    in_hour: int = 0

    def observed(self, now_s: float, total: int) -> "Forecast":
        """With what is seen now: `total` scans have come since counting began.

        SQS's counts are approximate, so that a total may be smaller than the one before.
        """
        known = max([count for _, count in self.seen], default=total)
        total = max(total, known)
        hour = int(now_s // HOUR_S)
        learnt = self if hour == self.hour else self._turned(hour)
        recent = [one for one in self.seen if one[0] > now_s - RECENT_S]
        at_s = now_s
        if recent and now_s - recent[-1][0] < 60:  # called at every arrival too, it keeps no more than a few
            at_s, _ = recent.pop()
        recent.append((at_s, total))
        return replace(learnt, seen=tuple(recent), in_hour=learnt.in_hour + total - known)

    def scans_a_second(self, now_s: float, *, ahead_s: float) -> float:
        """What is to be expected in a while: between what this hour of the week was like and what has come lately."""
        learnt = self.hourly[int((now_s + ahead_s) // HOUR_S) % HOURS_A_WEEK] / HOUR_S
        if not self.seen:
            return learnt
        (since_s, before), (_, total) = self.seen[0], self.seen[-1]
        lately = (total - before) / max(now_s - since_s, RECENT_S / 3)
        return (learnt + lately) / 2

    def is_worth_keeping_warm(self, now_s: float, *, ahead_s: float, hours_a_day: int) -> bool:
        """Whether the hour ahead is among the day's busiest, of which so many can be paid for."""
        hour = int((now_s + ahead_s) // HOUR_S)
        day = hour - hour % 24
        of_day = [self.hourly[one % HOURS_A_WEEK] for one in range(day, day + 24)]
        busiest = sorted(range(24), key=lambda one: (-of_day[one], one))[:hours_a_day]
        return hour - day in busiest and of_day[hour - day] >= 1

    def to_json(self) -> str:
        """As the ledger keeps it: some kilobytes."""
        return json.dumps(asdict(self) | {"hourly": [round(count, 2) for count in self.hourly]})

    @classmethod
    def from_json(cls, text: str) -> "Forecast":
        """What `to_json` wrote."""
        values = json.loads(text)
        return cls(
            hourly=tuple(values["hourly"]),
            seen=tuple((at_s, total) for at_s, total in values["seen"]),
            hour=values["hour"],
            in_hour=values["in_hour"],
        )

    def _turned(self, hour: int) -> "Forecast":
        """When an hour is over, its count goes into what is learnt; an hour in which nobody counted teaches nothing."""
        if self.hour < 0:
            return replace(self, hour=hour, in_hour=0)
        hourly, place = list(self.hourly), self.hour % HOURS_A_WEEK
        before = hourly[place]
        hourly[place] = WEIGHT * self.in_hour + (1 - WEIGHT) * before if before else float(self.in_hour)
        return replace(self, hourly=tuple(hourly), hour=hour, in_hour=0)
