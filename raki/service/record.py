"""A scan as the ledger knows it: its state, and what stands in its item."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from raki.service.table import Item

Options = Mapping[str, str | int | bool]
"""What a scan's own file asks for, by the names of the options."""


class State(StrEnum):
    """Where a scan is. `delivered` and `failed` are the ends."""

    ARRIVED = "arrived"
    DECOMPRESSING = "decompressing"
    PREPARED = "prepared"
    RECONSTRUCTING = "reconstructing"
    RECONSTRUCTED = "reconstructed"
    DELIVERED = "delivered"
    FAILED = "failed"


ORDER = list(State)
"""A scan only moves on in this order, but for a dropped file that is tried anew."""

BEFORE = {State.DECOMPRESSING: State.ARRIVED, State.RECONSTRUCTING: State.PREPARED}
"""The state from which a stage takes a scan up."""


ENDED = {":reconstructed": State.RECONSTRUCTED, ":delivered": State.DELIVERED, ":failed": State.FAILED}
HAS_RESULT = (State.RECONSTRUCTED, State.DELIVERED)
HAS_ENDED = "#state IN (:reconstructed, :delivered, :failed)"
"""In a condition of the table: the scan has its result, or none to come."""


class Outlet(StrEnum):
    """Where results go beside the share, by the attribute of a scan's item that says what came of it."""

    ARCHIVE = "sending"
    """The site's picture archive (PACS)."""
    HEALTHIMAGING = "importing"
    """A data store of AWS HealthImaging."""


class Reached(StrEnum):
    """How far a result has come on its way to an outlet."""

    SENT = "sent"
    STARTED = "started"
    """HealthImaging has a job for it."""
    WAITS = "waits"
    """It couldn't be sent, and is tried again."""
    GIVEN_UP = "given up"


@dataclass(frozen=True, kw_only=True)
class Sending:
    """What came of taking a result to an outlet."""

    reached: Reached
    to: str
    """AETITLE@HOST:PORT of an archive, the id of a data store."""
    at: datetime
    """When it was sent, or tried last."""
    digest: str
    """Of what was to be sent; see `raki.service.sending`."""
    reason: str = ""
    """Why it isn't there, in a sentence."""
    job: str = ""
    """Of HealthImaging: the id of the last job."""
    n_failed: int = 0
    """Of HealthImaging: how many jobs for what was to be imported have failed."""


@dataclass(frozen=True, kw_only=True)
class Announced:
    """That a result was announced to an outlet once more, having been forgotten there."""

    at: datetime
    """When, the last time."""
    n: int
    """How often."""


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """One scan as the ledger knows it."""

    scan_id: str
    state: State
    raw_key: str
    results_folder: str
    n_bytes: int
    n_owners: int = 0
    """How often the results folder had gone from one scan to another when this one got it."""
    noted_at: datetime | None = None
    """When it was first looked at, since it began."""
    asked: str | None = None
    """Digest of the file of options beside it, as it was read last."""
    version_id: str | None = None
    """Of the file as it was last seen; of the same bytes as the one that was read."""
    alias: str | None = None
    """What stands for the file's name and folder where anybody sees them, if the deployment takes identity out."""
    failure_class: str | None = None
    failure: str | None = None
    attempts: dict[State, int] = field(default_factory=dict)
    """How often each stage has taken the scan up, but for the times that the surroundings or a stop ended."""
    faults: dict[State, int] = field(default_factory=dict)
    """How often the surroundings have ended an attempt of each stage."""
    ill_since: dict[State, datetime] = field(default_factory=dict)
    """When they did so first."""
    not_before_s: int = 0
    """Seconds since 1970 before which nobody takes the scan up."""
    entered_at: dict[State, datetime] = field(default_factory=dict)
    """When the scan last entered each state."""
    lease_until_s: int = 0
    """Seconds since 1970 until which somebody holds it."""
    owner: str = ""
    """Who took it up last; of a job, what stands before the last hyphen is the id that Batch gave it."""
    remedied_at: datetime | None = None
    """When it was last set going again, having stood still."""
    n_remedies: int = 0
    """How often."""
    options: Options | None = None
    """What the scan's own file asked for when it was prepared last; None before, and by workers that didn't note it."""
    sending: Sending | None = None
    """None before a first try, and where the deployment has no picture archive."""
    importing: Sending | None = None
    """The same of HealthImaging."""
    announced: Mapping[Outlet, Announced] = field(default_factory=dict)
    """To which outlets its result was announced again."""

    def noted(self, outlet: Outlet) -> Sending | None:
        """What came of taking its result to an outlet."""
        return {Outlet.ARCHIVE: self.sending, Outlet.HEALTHIMAGING: self.importing}[outlet]

    @property
    def shown_name(self) -> str:
        """What reports and pages call the scan."""
        return self.alias or self.raw_key.rpartition("/")[2]


def read_record(item: Item) -> ScanRecord:
    """The record in a scan's item."""
    entered = {state: datetime.fromisoformat(item[f"{state}_at"]) for state in State if f"{state}_at" in item}
    return ScanRecord(
        scan_id=item["scan_id"],
        state=State(item["state"]),
        raw_key=item["raw_key"],
        results_folder=item["results_folder"],
        n_bytes=int(item["n_bytes"]),
        n_owners=int(item.get("n_owners", 0)),
        noted_at=datetime.fromisoformat(item["noted_at"]) if "noted_at" in item else None,
        asked=item.get("asked"),
        version_id=item.get("version_id") or None,
        alias=item.get("alias"),
        failure_class=item.get("failure_class"),
        failure=item.get("failure"),
        attempts={stage: int(item.get(f"{stage}_attempts", 0)) for stage in BEFORE},
        faults={stage: int(item.get(f"{stage}_faults", 0)) for stage in BEFORE},
        ill_since={
            stage: datetime.fromisoformat(item[f"{stage}_ill_since"])
            for stage in BEFORE
            if f"{stage}_ill_since" in item
        },
        not_before_s=int(item.get("not_before", 0)),
        entered_at=entered,
        lease_until_s=int(item.get("lease_until", 0)),
        owner=item.get("owner", ""),
        remedied_at=datetime.fromisoformat(item["remedied_at"]) if "remedied_at" in item else None,
        n_remedies=int(item.get("n_remedies", 0)),
        options=json.loads(item["options"]) if "options" in item else None,
        sending=_read_sending(json.loads(item["sending"])) if "sending" in item else None,
        importing=_read_sending(json.loads(item["importing"])) if "importing" in item else None,
        announced={
            outlet: _read_announced(json.loads(item[f"{outlet}_announced"]))
            for outlet in Outlet
            if f"{outlet}_announced" in item
        },
    )


def _read_announced(values: Mapping[str, Any]) -> Announced:
    return Announced(at=datetime.fromisoformat(values["at"]), n=int(values["n"]))


def _read_sending(values: Mapping[str, Any]) -> Sending:
    return Sending(
        reached=Reached(values["reached"]),
        to=values["to"],
        at=datetime.fromisoformat(values["at"]),
        digest=values["digest"],
        reason=values["reason"],
        job=values.get("job", ""),  # of notes from before there was such a thing
        n_failed=values.get("n_failed", 0),
    )
