"""When the image of the GPU instances is renewed, and since when it is what it is. Pure; the ledger keeps it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

DAY_S = 86400
EVERY_DAYS = 7
KEPT = "renewal"
"""Under this name the ledger's bookkeeping has it."""


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """Times in seconds since 1970; 0: never."""

    asked_s: float = 0.0
    """When Batch was last asked for the newest image."""
    done_s: float = 0.0
    """When it was asked for the last time that all environments took it."""

    def seen(self, statuses: Sequence[str]) -> "Renewal":
        """With what has come of it: Batch has done as asked where every environment is valid again."""
        return replace(self, done_s=self.asked_s) if all(status == "VALID" for status in statuses) else self

    def is_due(self, now_s: float, statuses: Sequence[str]) -> bool:
        """Whether it is to be asked for now; not while an environment is being changed, or is broken."""
        return now_s - self.done_s > (EVERY_DAYS - 0.5) * DAY_S and all(status == "VALID" for status in statuses)

    def age_days(self, now_s: float) -> float | None:
        """Of the image, since it was last asked for; None where it never was."""
        return (now_s - self.done_s) / DAY_S if self.done_s else None

    def to_json(self) -> str:
        """As the ledger keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> "Renewal":
        """What `to_json` wrote; without it, nothing has been asked for yet."""
        return cls(**json.loads(text)) if text else cls()
