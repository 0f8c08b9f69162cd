"""Which scans came last, without reading the whole ledger: for each hour an item that holds its arrivals."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from raki.service.table import Table

LOG = logging.getLogger("raki.arrivals")

KEPT = timedelta(days=7)
"""After which DynamoDB removes an hour's item, and how far back anybody looks."""


def note_arrival(table: Table, scan_id: str, at: datetime) -> None:
    """Adds an arrival to its hour's. What fails is logged: only a page that people look at lacks it then.

    An item holds 400 KB (Amazon DynamoDB Developer Guide, "Quotas"): some 8,000 arrivals an hour.
    """
    at = at.astimezone(UTC)
    arrival = f"{at.isoformat(timespec='milliseconds')} {scan_id}"
    try:
        table.include(_key(at), arrival, expires_at=int((at + KEPT).timestamp()))
    except ClientError:
        LOG.warning("arrival not noted", exc_info=True, extra={"scan_id": scan_id})


def last_arrivals(table: Table, now: datetime, most: int) -> list[str]:
    """Ids of the scans that arrived last, at most so many, the newest first."""
    found: dict[str, None] = {}
    for key in _hours(now):
        found |= {arrival.partition(" ")[2]: None for arrival in sorted(table.included(key), reverse=True)}
        if len(found) >= most:
            break
    return list(found)[:most]


def _hours(now: datetime) -> Iterator[str]:
    """Keys of the hours that are looked at, the last one first."""
    n_hours = int(KEPT.total_seconds() // 3600)
    return (_key(now.astimezone(UTC) - timedelta(hours=n)) for n in range(-1, n_hours))  # clocks differ


def _key(at: datetime) -> str:
    return f"#arrived:{at:%Y-%m-%dT%H}"
