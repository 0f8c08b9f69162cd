"""What an operator does about one scan: ends it, or sets it going again; each by one conditional write."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from botocore.client import BaseClient

from raki.errors import Cancelled, Superseded
from raki.service import objects, pages
from raki.service.arrivals import note_arrival
from raki.service.ledger import Ledger
from raki.service.record import ENDED, HAS_ENDED, ScanRecord, State
from raki.service.table import Table

CANCELLED = "The scan was cancelled by an operator before it had a result."
OF_THE_FILE = (
    "raw_bucket",
    "raw_key",
    "results_folder",
    "n_owners",
    "n_bytes",
    "alias",
    "asked",
    "version_id",
    "noted_at",
)
"""What of a scan's item stays when it begins anew; all else is of the run before."""


class Interventions:
    """Raises botocore's ClientError where DynamoDB refuses for any reason but a condition."""

    def __init__(self, client: BaseClient, table: str) -> None:
        self._table = Table(client, table)

    def cancel(self, scan_id: str) -> bool:
        """Ends a scan that waits or is being worked on; False when it has ended, or its result is just being shown.

        A worker that has it in hand finds out by its next heartbeat, and at the latest before it writes a manifest: of
        `Ledger.seal` and this the first one counts. A seal whose owner's lease has run out, or who gave the scan back,
        is void.
        """
        now = datetime.now(UTC)
        return self._table.update(
            scan_id,
            {
                "state": State.FAILED,
                "failed_at": now.isoformat(),
                "failure_class": Cancelled.__name__,
                "failure": CANCELLED,
                "lease_until": 0,
            },
            condition=f"attribute_exists(scan_id) AND NOT {HAS_ENDED} "
            "AND (attribute_not_exists(sealed) OR #sealed <> #owner OR #lease_until < :now)",
            values={**ENDED, ":now": int(now.timestamp())},
        )

    def restart(self, record: ScanRecord) -> bool:
        """Puts a scan that has ended back to its arrival, as if dropped just now; False where it has moved since.

        It is as new: attempts that were used up, and whoever still believes to have it in hand, count no more.
        """
        item = self._table.get(record.scan_id)
        if item is None or record.state not in ENDED.values():
            return False
        now = datetime.now(UTC)
        note_arrival(self._table, record.scan_id, now)
        kept = {name: item[name] for name in OF_THE_FILE if name in item}
        return self._table.put(
            {
                **kept,
                "scan_id": record.scan_id,
                "state": State.ARRIVED,
                "arrived_at": now.isoformat(),
            },
            condition=f"#state = :state AND #{record.state}_at = :entered",
            values={":state": record.state, ":entered": record.entered_at[record.state].isoformat()},
        )


def show_cancelled(s3: BaseClient, results_bucket: str, ledger: Ledger, record: ScanRecord) -> None:
    """Leaves nothing in a cancelled scan's folder but the page that says so, for as long as it is cancelled.

    Raises:
        Superseded: it was set going again meanwhile, or a newer version has the folder.
    """

    def go_on() -> None:
        ledger.check_current(record)
        if not is_cancelled(ledger, record.scan_id):
            raise Superseded("the scan was set going again")

    go_on()
    with TemporaryDirectory() as scratch:
        files = pages.write_error_report(Path(scratch), record, Cancelled(CANCELLED))
        objects.publish(s3, results_bucket, record, files, outcome="failed", go_on=go_on, seal=go_on)


def is_cancelled(ledger: Ledger, scan_id: str) -> bool:
    """Whether the scan is ended by an operator, and nobody has set it going again."""
    found = ledger.get(scan_id)
    return found is not None and found.failure_class == Cancelled.__name__
