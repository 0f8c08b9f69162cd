"""Which folder on the share a scan's results go to."""

from datetime import UTC

from raki.service.messages import ScanArrived
from raki.service.table import Table

ENDINGS = (".gz", ".tgz", ".tar", ".zip", ".zst", ".xz", ".h5", ".hdf5", ".mrd", ".dat")


def results_folder(raw_key: str) -> str:
    """The path on the share of a scan's results: its own path less the endings of archives and formats."""
    folder, _, name = raw_key.rpartition("/")
    while (stem := _without_ending(name)) != name:
        name = stem
    return f"{folder}/{name}" if folder else name


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


def _without_ending(name: str) -> str:
    for ending in ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name
