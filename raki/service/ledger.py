"""The ledger: one DynamoDB item a scan, which says where it is, who works on it and how it ended.

Every change is one conditional write, so that stages may run twice on the same message, at the same time or
after a crash, and the scan still ends in one state. Items whose key starts with `#` are bookkeeping, no scans.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum

from botocore.client import BaseClient

from raki.errors import RakiError, Removed, Superseded, TransientError
from raki.service import metrics
from raki.service.arrivals import last_arrivals, note_arrival
from raki.service.folders import Place, find_place, owner_of, take_place
from raki.service.forecast import Pace
from raki.service.messages import ScanArrived
from raki.service.record import BEFORE, ENDED, HAS_ENDED, ORDER, Options, ScanRecord, State, read_record
from raki.service.table import Table

__all__ = ["BEFORE", "ORDER", "Claim", "Ledger", "ScanRecord", "State"]


class Claim(StrEnum):
    """What came of the attempt to take a scan up."""

    GRANTED = "granted"
    BUSY = "busy"
    """Another worker holds an unexpired lease: come back later."""
    RESTING = "resting"
    """An attempt failed, and the wait before the next isn't over: `ScanRecord.not_before_s` says when it is."""
    OVER = "over"
    """The scan is past this stage: the message is a duplicate."""


class Ledger:
    """Reads and writes the table. Raises botocore's ClientError where DynamoDB refuses for any other reason."""

    def __init__(self, client: BaseClient, table: str) -> None:
        self._table = Table(client, table)

    def arrive(
        self, raw_key: str, look: Callable[[], tuple[str, ScanArrived] | None], *, alias: str | None = None
    ) -> tuple[ScanRecord, ScanArrived] | None:
        """Enters the version of a file that stands in the bucket; None where none does.

        What stands there decides, and no notification: they come late, twice and out of order. The scan that it holds
        takes the results folder over. It is taken up anew if it has ended and another one had the folder since, or
        other options are beside it now; if it failed and was dropped again since, or because it didn't stand there for
        a while. Any other version of the same bytes is noted, and nothing else.

        Args:
            raw_key: the file's key.
            look: looks into the bucket; the id of the scan that stands there and the scan, or None.
            alias: what the results folder is called, and the scan in its report, where that isn't the file's name.
        """
        while True:
            place = find_place(self._table, raw_key, alias)
            found = look()
            if found is None:
                self.forget_versions(raw_key)
                return None
            scan_id, scan = found
            if taken := take_place(self._table, place, raw_key, scan_id):
                break
        self._enter(scan_id, scan, taken, alias)
        self._note_seen(raw_key, scan.versions)
        record = self.get(scan_id)
        assert record is not None
        return record, scan

    def _enter(self, scan_id: str, scan: ScanArrived, place: Place, alias: str | None) -> None:
        dropped = scan.at.astimezone(UTC).isoformat()
        version = {"version_id": scan.version_id or ""}
        item = {
            "scan_id": scan_id,
            "state": State.ARRIVED,
            "raw_bucket": scan.bucket,
            "raw_key": scan.key,
            "results_folder": place.folder,
            "n_owners": place.n_owners,
            "n_bytes": scan.n_bytes,
            "arrived_at": dropped,
            "asked": scan.asked or "",
            "noted_at": _now(),
        }
        item |= version | ({"alias": alias} if alias else {})
        others = {} if scan.asked is None else {":asked": scan.asked, ":prepared": State.PREPARED}

        note_arrival(self._table, scan_id, scan.at)

        def enter() -> bool:
            entered = self._table.put(
                item,
                condition="attribute_not_exists(scan_id) "
                "OR (#state IN (:reconstructed, :delivered, :failed) AND #n_owners < :n_owners) "
                "OR (#state = :failed AND (#failed_at < :dropped OR #version_id <> :version_id "
                "OR #failure_class IN (:superseded, :removed))) "
                + ("OR (#state IN (:prepared, :reconstructed, :delivered) AND #asked <> :asked)" if others else ""),
                values={
                    **ENDED,
                    **others,
                    ":version_id": version["version_id"],
                    ":dropped": dropped,
                    ":n_owners": place.n_owners,
                    ":superseded": Superseded.__name__,
                    ":removed": Removed.__name__,
                },
            )
            return _count(scan_id, State.ARRIVED, entered)

        # A scan that is being worked on goes on, for the folder as it is now. If it ends just then, it hasn't.
        if not enter() and not self._table.update(
            scan_id, {"n_owners": place.n_owners, **version}, condition=f"NOT {HAS_ENDED}", values=ENDED
        ):
            _ = enter() or self._table.update(scan_id, version, condition=HAS_ENDED, values=ENDED)

    def forget_versions(self, raw_key: str) -> None:
        """Of a file that is there no more: should it come back as it was, it is news."""
        self._note_seen(raw_key, "")

    def _note_seen(self, raw_key: str, versions: str) -> None:
        self._table.replace({"scan_id": _seen_key(raw_key), "versions": versions})

    def has_seen(self, scan: ScanArrived) -> bool:
        """Whether the ledger knows just these versions of a file and of what belongs to it."""
        return (self._table.get(_seen_key(scan.key)) or {}).get("versions") == scan.versions

    def current(self, raw_key: str, *, alias: str | None = None) -> str | None:
        """Id of the scan that has, or had last, a file's results folder; None where no worker has seen that file."""
        return find_place(self._table, raw_key, alias).current

    def note_content(self, raw_key: str, *, sha256: str, n_bytes: int, scan_id: str) -> None:
        """Notes which scan certain bytes are, of a file of this name."""
        self._table.include(_content_key(raw_key), f"{n_bytes} {sha256} {scan_id}")

    def known_contents(self, raw_key: str, n_bytes: int) -> dict[str, str]:
        """Of the scans of a file's name that were as large: by SHA-256 their ids."""
        known = (entry.split(" ") for entry in self._table.included(_content_key(raw_key)))
        return {sha256: scan_id for size, sha256, scan_id in known if int(size) == n_bytes}

    def claim(self, scan_id: str, stage: State, *, owner: str, lease_s: int) -> Claim:
        """Takes a scan up for `stage`, or takes it over where the last owner's lease ran out.

        Whichever message asks: the wait after a failed attempt holds for each of a scan's messages.
        """
        now_s = int(time.time())
        taken = self._table.update(
            scan_id,
            {"state": stage, f"{stage}_at": _now(), "owner": owner, "lease_until": _in(lease_s), "sealed": ""},
            condition="(attribute_not_exists(not_before) OR #not_before <= :now) "
            "AND (#state = :before OR (#state = :stage AND (#lease_until < :now OR #owner = :owner)))",
            values={":before": BEFORE[stage], ":stage": stage, ":now": now_s, ":owner": owner},
            counts={f"{stage}_attempts": 1},
        )
        if _count(scan_id, stage, taken):
            return Claim.GRANTED
        record = self.get(scan_id)
        # A request may overtake the note that its scan is prepared: that is early, not over.
        if record is None or ORDER.index(record.state) > ORDER.index(stage):
            return Claim.OVER
        return Claim.RESTING if record.not_before_s > now_s else Claim.BUSY

    def renew(self, scan_id: str, *, owner: str, lease_s: int) -> bool:
        """Extends a lease; False when somebody else has taken the scan over, or it has ended."""
        return self._table.update(
            scan_id,
            {"lease_until": _in(lease_s)},
            condition="#owner = :owner AND NOT #state IN (:failed, :delivered)",
            values={":owner": owner, ":failed": State.FAILED, ":delivered": State.DELIVERED},
        )

    def seal(self, scan_id: str, *, owner: str) -> bool:
        """Notes that the owner is about to write the manifest: from here on the scan can't be cancelled.

        False when it has been, or somebody else has taken the scan over.
        """
        return self._table.update(
            scan_id,
            {"sealed": owner},
            condition="#owner = :owner AND NOT #state IN (:failed, :delivered)",
            values={":owner": owner, ":failed": State.FAILED, ":delivered": State.DELIVERED},
        )

    def release(self, scan_id: str, stage: State, *, owner: str, counts: bool, after_s: int = 0) -> None:
        """Gives a scan back, so that the next worker need wait `after_s` seconds only, and not for the lease to end.

        `counts`: whether this was an attempt that failed; being told to stop is none.
        """
        self._table.update(
            scan_id,
            {"lease_until": 0, "not_before": _in(after_s)},
            condition="#owner = :owner AND #state = :stage",
            values={":owner": owner, ":stage": stage},
            counts={f"{stage}_attempts": 0 if counts else -1},
        )

    def postpone(self, scan_id: str, stage: State, *, owner: str, after_s: int) -> None:
        """Gives a scan back whose attempt the surroundings ended: that is a fault of theirs, and no attempt."""
        self._table.update(
            scan_id,
            {"lease_until": 0, "not_before": _in(after_s)},
            first={f"{stage}_ill_since": _now()},
            condition="#owner = :owner AND #state = :stage",
            values={":owner": owner, ":stage": stage},
            counts={f"{stage}_attempts": -1, f"{stage}_faults": 1},
        )

    def finish(
        self, scan_id: str, state: State, *, owner: str, options: Options | None = None, asked: str | None = None
    ) -> bool:
        """Ends the owner's stage in `state`; False when somebody else has taken the scan over.

        Args:
            options: what the scan's own file asks for, which holds for the stages that follow.
            asked: digest of the file of options beside the scan, as it was read.
        """
        noted = {} if options is None else {"options": json.dumps(dict(options))}
        noted |= {} if asked is None else {"asked": asked}
        entered = self._table.update(
            scan_id,
            {"state": state, f"{state}_at": _now(), "lease_until": 0, **noted},
            condition="#owner = :owner AND NOT #state IN (:failed, :delivered)",
            values={":owner": owner, ":failed": State.FAILED, ":delivered": State.DELIVERED},
        )
        return _count(scan_id, state, entered)

    def fail(self, scan_id: str, error: RakiError, *, owner: str | None = None, n_owners: int | None = None) -> bool:
        """Ends a scan as failed; False when it has a result, or has failed, already.

        Args:
            owner: who had it in hand; False also when he has lost it, be it that it was cancelled and set going again.
            n_owners: of the record that was looked at; False also when the scan has got its folder back since.
        """
        conditions = [f"NOT {HAS_ENDED}"]
        conditions += [] if owner is None else ["#owner = :owner"]
        conditions += [] if n_owners is None else ["#n_owners = :n_owners"]
        return self._fail(scan_id, error, condition=" AND ".join(conditions), owner=owner or "", n_owners=n_owners or 0)

    def _fail(self, scan_id: str, error: RakiError, *, condition: str, owner: str = "", n_owners: int = 0) -> bool:
        entered = self._table.update(
            scan_id,
            {
                "state": State.FAILED,
                "failed_at": _now(),
                "failure_class": error.failure_class,
                "failure": error.sentence,
                "lease_until": 0,
            },
            condition=condition,
            values={
                name: value
                for name, value in {**ENDED, ":owner": owner, ":n_owners": n_owners}.items()
                if name in condition
            },
        )
        return _count(scan_id, State.FAILED, entered)

    def deliver(self, scan_id: str) -> bool:
        """Notes that the share shows the result; a failed scan, whose error page is shown, stays failed.

        False when the scan has not ended yet: its files can be seen a moment before the ledger knows of them.
        """
        now = _now()
        entered = self._table.update(
            scan_id,
            {"state": State.DELIVERED, "delivered_at": now},
            condition="#state = :reconstructed",
            values={":reconstructed": State.RECONSTRUCTED},
        )
        return _count(scan_id, State.DELIVERED, entered) or self._table.update(
            scan_id,
            {"delivered_at": now},
            condition="#state IN (:failed, :delivered)",
            values={":failed": State.FAILED, ":delivered": State.DELIVERED},
        )

    def take_in_hand(self, record: ScanRecord, *, starts_over: bool) -> bool:
        """Notes that a scan which stands still is set going again; False where it has moved since it was read.

        `starts_over`: it is put back to its arrival, and who may still be at work on it has lost it.
        """
        changes: dict[str, object] = {"remedied_at": _now()}
        if starts_over:
            changes |= {"state": State.ARRIVED, "owner": "", "lease_until": 0}
        remedied_at = record.remedied_at.isoformat() if record.remedied_at else ""
        taken = self._table.update(
            record.scan_id,
            changes,
            condition=f"#state = :state AND #{record.state}_at = :entered "
            "AND (attribute_not_exists(remedied_at) OR #remedied_at = :remedied)",
            values={
                ":state": record.state,
                ":entered": record.entered_at[record.state].isoformat(),
                ":remedied": remedied_at,
            },
            counts={"n_remedies": 1},
        )
        _count(record.scan_id, State.ARRIVED, taken and starts_over)
        return taken

    def overtake(self, scan_id: str) -> bool:
        """Ends a scan whose result is replaced by a newer version's before the share has shown it."""
        return self._fail(scan_id, _overtaken(), condition="#state = :reconstructed")

    def check_current(self, record: ScanRecord) -> None:
        """Sees whether the results folder is still this version's.

        Raises:
            Superseded: another version has taken over the folder, and is in the ledger.
            TransientError: it has, but isn't in the ledger yet.
        """
        owner = owner_of(self._table, record.results_folder)
        if owner in (record.scan_id, None):
            return
        if self.get(owner) is None:
            raise TransientError("a newer version of the file is on its way into the ledger")
        raise _overtaken()

    def get(self, scan_id: str) -> ScanRecord | None:
        """The scan's record, read consistently; None when the ledger doesn't know it."""
        item = self._table.get(scan_id)
        return read_record(item) if item else None

    def scans(self) -> Iterator[ScanRecord]:
        """All scans, in no order."""
        return (read_record(item) for item in self._table.scan() if not item["scan_id"].startswith("#"))

    def last_scans(self, now: datetime, most: int) -> list[ScanRecord]:
        """The scans that arrived last, at most so many, of the last week, the newest first."""
        found = [self.get(scan_id) for scan_id in last_arrivals(self._table, now, most)]
        return [record for record in found if record]

    def note_work(self, stage: State, seconds: float) -> None:
        """Counts a scan that has passed the stage after so much work."""
        self._table.add(f"#work:{stage}", {"n": 1, "milliseconds": round(seconds * 1000)})

    def pace(self, stage: State) -> Pace:
        """What the stage has done so far."""
        item = self._table.get(f"#work:{stage}") or {}
        return Pace(n=int(item.get("n", 0)), seconds=int(item.get("milliseconds", 0)) / 1000)


def _overtaken() -> Superseded:
    return Superseded(
        "A newer version of this file was dropped while this one was being worked on. "
        "The newer version's result stands in the folder, or will; nothing is left to do."
    )


def _count(scan_id: str, state: State, entered: bool) -> bool:
    """Counts a scan that has entered a state; hands on whether it has."""
    if entered:
        metrics.emit("entered", {"Entered": 1}, State=state, scan_id=scan_id)
    return entered


def _seen_key(raw_key: str) -> str:
    return f"#seen:{raw_key}"


def _content_key(raw_key: str) -> str:
    return f"#content:{raw_key}"


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _in(seconds: int) -> int:
    return int(time.time()) + seconds
