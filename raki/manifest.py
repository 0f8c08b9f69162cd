"""`manifest.json` of a result: which files are of it, and what they hold: a file of other content is of another run."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def entry(file: Path, name: str) -> dict[str, Any]:
    """Name, size in bytes and SHA-256 of a file, as a manifest lists it."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"name": name, "n_bytes": file.stat().st_size, "sha256": digest}


def manifest(
    entries: Iterable[dict[str, Any]], *, outcome: str, scan_id: str | None, remarks: Iterable[str]
) -> dict[str, Any]:
    """The manifest's content.

    Args:
        outcome: reconstructed or failed.
        scan_id: the service's opaque name of the scan; None where no service was at work.
        remarks: what there is to say of the scan, as that a part of it is missing.
    """
    return {
        "scan_id": scan_id,
        "outcome": outcome,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "remarks": list(remarks),
        "files": list(entries),
    }
