"""Scans that stand still although nobody works on them and no message speaks of them: what puts each right.

Notifications and messages are lost rarely, and an operator may purge a queue or delete an object. Each of the steps
may be taken twice: what is announced is looked up in the bucket, and a scan that moves again is left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from raki.errors import Removed, Superseded
from raki.service.ledger import BEFORE, ScanRecord, State

STILL = timedelta(minutes=10)
"""How long a scan stands in a state, with nothing in the queue of its stage, until it is taken for lost.

SQS's counts of messages follow within about a minute (Amazon SQS Developer Guide, "Available CloudWatch metrics", and
GetQueueAttributes in the API reference: eventual consistency).
"""
OVERDUE = timedelta(hours=12)
"""The same while there are messages, any of which may be its own."""
AGAIN = timedelta(hours=1)
"""Between one remedy for a scan and the next."""
MAX_REMEDIES = 6
"""What so many haven't cured is given up, with a sentence."""

WITHOUT_A_PAGE = (Superseded.__name__, Removed.__name__)
"""Failures that another version's result, or nothing, stands for on the share."""

STAGES = {state: stage for stage, before in BEFORE.items() for state in (before, stage)}
"""The stage for which a scan waits, or that works on it."""


class Remedy(StrEnum):
    """What is done about a scan."""

    ANNOUNCE = "announce"
    """Its file is announced once more, as S3 does."""
    START_OVER = "start over"
    """It is put back to its arrival, whatever was made of it, and announced."""
    SHOW = "show"
    """Its manifest is announced once more, as S3 does."""
    REPORT = "report"
    """The page that says why it failed is written once more."""
    END = "end"
    """A newer version has its place."""
    GIVE_UP = "give up"
    ENTER = "enter"
    """A file that the ledger never saw is announced."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is known beside the ledger."""

    now: datetime
    has_messages: Mapping[State, bool]
    """Whether there are any, waiting, held or delayed, for each stage."""


def is_lost(record: ScanRecord, around: Surroundings) -> bool:
    """Whether nothing will move this scan: nobody holds it, nothing announces it, and it was left alone for long."""
    now_s = around.now.timestamp()
    # A failed scan whose page is shown has a time of delivery too.
    shown = State.DELIVERED in record.entered_at and record.state in (State.DELIVERED, State.FAILED)
    if shown or max(record.lease_until_s, record.not_before_s) > now_s:
        return False
    if record.remedied_at and around.now - record.remedied_at < AGAIN:
        return False
    stood = around.now - max(record.entered_at[record.state], _since(record.lease_until_s))
    return has_stood_still(stood, STAGES.get(record.state), around)


def has_stood_still(stood: timedelta, stage: State | None, around: Surroundings) -> bool:
    """Whether what waits for a stage, or for none, was left alone for so long that no message of its can be left."""
    return stood > (OVERDUE if stage and around.has_messages[stage] else STILL)


def remedy(record: ScanRecord, *, shown_outcome: str | None) -> Remedy | None:
    """What a lost scan needs; None where it has ended and everybody could see how.

    Args:
        record: the scan.
        shown_outcome: what the manifest in its results folder says became of this scan; None where there is none or
            it is another scan's.
    """
    if record.state is State.FAILED:
        if record.failure_class in WITHOUT_A_PAGE or record.n_remedies >= MAX_REMEDIES:
            return None
        return Remedy.SHOW if shown_outcome == "failed" else Remedy.REPORT
    if record.state is State.RECONSTRUCTED and shown_outcome == "reconstructed":
        return Remedy.SHOW
    if record.n_remedies >= MAX_REMEDIES:
        return Remedy.GIVE_UP
    if STAGES.get(record.state) is State.DECOMPRESSING:
        return Remedy.ANNOUNCE
    return Remedy.START_OVER


def _since(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
