"""What happens in the local cloud, as a person follows it: one line an event, to a callback and to a file.

What programs print goes to CloudWatch Logs: to a `LogStream`.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened."""

    at: datetime
    what: str
    """Its kind, of a small set: "batch job", "ecs desired count", "lambda", "RefreshCache", "uploaded" and such."""
    detail: str

    def to_json(self) -> str:
        """One line of `events.log`."""
        return json.dumps({"at": self.at.isoformat(), "what": self.what, "detail": self.detail}, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class LogStream:
    """Where a program's output goes in CloudWatch Logs."""

    group: str
    stream: str


class Journal:
    """Writes events as JSON lines and passes each to a callback, one at a time whichever thread they come from."""

    def __init__(self, path: Path, report: Callable[[Event], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._report = report
        self._lock = threading.Lock()

    def note(self, what: str, detail: str) -> None:
        """Records that `what` happened just now."""
        event = Event(at=datetime.now(UTC), what=what, detail=detail)
        with self._lock:
            with self._path.open("a", encoding="utf-8") as log:
                log.write(event.to_json() + "\n")
            self._report(event)
