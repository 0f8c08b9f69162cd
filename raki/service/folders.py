"""Where on the share a scan's options may stand, and which folder its results go to."""

from datetime import UTC

from raki.names import options_beside, scan_name
from raki.service.messages import ScanArrived
from raki.service.table import Table


def results_folder(raw_key: str) -> str:
    """The path on the share of a scan's results: its own path less the endings of archives and formats."""
    folder, _, name = raw_key.rpartition("/")
    return f"{folder}/{scan_name(name)}" if folder else scan_name(name)


def options_keys(raw_key: str) -> list[str]:
    """The keys beside a scan's at which its options may stand; the first that is there counts, alone."""
    folder, slash, name = raw_key.rpartition("/")
    return [folder + slash + beside for beside in options_beside(name)]


def claim_folder(table: Table, scan: ScanArrived, scan_id: str) -> str:
    """The scan's results folder; its whole key, or the key with the scan's id, where another file has that already.

    `scan.h5` and `scan.tar.gz` in one folder are two scans: their images must never mix. The newest version of a
    file owns the folder; a late duplicate of an older version's notification changes nothing.
    """
    dropped = scan.at.astimezone(UTC).isoformat()
    for candidate in (results_folder(scan.key), scan.key, f"{scan.key}.{scan_id}"):
        table.update(
            _key(candidate),
            {"raw_key": scan.key, "current": scan_id, "dropped_at": dropped},
            condition="attribute_not_exists(scan_id) OR (#raw_key = :key AND #dropped_at < :dropped)",
            values={":key": scan.key, ":dropped": dropped},
        )
        item = table.get(_key(candidate))
        if item and item["raw_key"] == scan.key:
            return candidate
    raise AssertionError(f"scan {scan_id}: a folder that carries the scan's own id has no other owner")


def owner_of(table: Table, folder: str) -> str | None:
    """The id of the scan whose results stand, or will stand, in the folder."""
    item = table.get(_key(folder))
    return item["current"] if item else None


def _key(folder: str) -> str:
    return f"#folder:{folder}"
