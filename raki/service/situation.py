"""What a scan is doing, since when and for how long, as tables and the status page tell it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from raki.errors import Cancelled, NoiseAlone, Removed, Superseded
from raki.service.record import BEFORE, ORDER, ScanRecord, State


class Activity(StrEnum):
    """What a scan is doing."""

    WAITS = "waits"
    RUNS = "runs"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NOTED = "noted"
    """It has no image, and nothing has failed: a noise scan by itself, a version that was replaced."""


WITHOUT_FAILURE = {
    Cancelled.__name__: Activity.CANCELLED,
    **dict.fromkeys((NoiseAlone.__name__, Removed.__name__, Superseded.__name__), Activity.NOTED),
}
"""By the class that the ledger has for it, what isn't a failure."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A scan at one moment."""

    activity: Activity
    since: datetime
    """When it entered its state."""
    seconds: float
    """How long it has waited or run by now; of one that has ended, how long it took from the drop on the share."""


def situation(record: ScanRecord, now: datetime) -> Situation:
    """What the scan is doing now."""
    since = record.entered_at[record.state]
    activity = _activity(record)
    if activity in (Activity.WAITS, Activity.RUNS):
        seconds = (now - since).total_seconds()
    else:
        since = max(since, record.entered_at.get(State.DELIVERED, since)) if record.state is State.FAILED else since
        seconds = (since - record.entered_at[State.ARRIVED]).total_seconds()
    return Situation(activity=activity, since=since, seconds=max(0.0, seconds))


def shown_state(record: ScanRecord) -> str:
    """The scan's state; of one that the ledger has as failed, and that hasn't: cancelled or noted."""
    activity = _activity(record)
    return activity if activity in WITHOUT_FAILURE.values() else record.state


def count_states(records: Iterable[ScanRecord]) -> dict[str, int]:
    """How many scans are in each state that one is in, in the order of a scan's way."""
    counts = Counter(shown_state(record) for record in records)
    return {state: counts[state] for state in (*State, Activity.CANCELLED, Activity.NOTED) if counts[state]}


def history(record: ScanRecord, now: datetime) -> Iterator[tuple[State, datetime, float | None]]:
    """The states of the scan's last run, in their order: when it entered each, and how many seconds it was in it.

    None for the state that it has ended in.
    """
    arrived = record.entered_at[State.ARRIVED]
    entered = sorted(
        ((at, ORDER.index(state), state) for state, at in record.entered_at.items() if at >= arrived),
    )
    for (at, _, state), following in zip(entered, [*entered[1:], None], strict=True):
        if following:
            yield state, at, (following[0] - at).total_seconds()
        else:
            yield state, at, None if _has_ended(record) else max(0.0, (now - at).total_seconds())


def changed(records: Sequence[ScanRecord], seen: dict[str, tuple[State, datetime]]) -> Iterator[ScanRecord]:
    """Those that have entered a state since they were last looked at, in the order in which they did.

    Args:
        records: as they are now.
        seen: what was there at the last look; it is brought up to date.
    """
    entered = {record.scan_id: (record.state, record.entered_at[record.state]) for record in records}
    news = [record for record in records if seen.get(record.scan_id) != entered[record.scan_id]]
    seen |= entered
    yield from sorted(news, key=lambda record: record.entered_at[record.state])


def duration(seconds: float) -> str:
    """So many seconds as a person says them: `14 s`, `3 min`, `2 h 5 min`, `4 d 2 h`."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes:.0f} min"
    if hours < 48:
        return f"{int(hours)} h {int(minutes) % 60} min"
    return f"{int(days)} d {int(hours) % 24} h"


def _has_ended(record: ScanRecord) -> bool:
    return _activity(record) not in (Activity.WAITS, Activity.RUNS)


def _activity(record: ScanRecord) -> Activity:
    if record.state in BEFORE:
        return Activity.RUNS
    if record.state is State.DELIVERED:
        return Activity.DONE
    if record.state is State.FAILED:
        return WITHOUT_FAILURE.get(record.failure_class or "", Activity.FAILED)
    return Activity.WAITS
