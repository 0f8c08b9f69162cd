"""What a file may grow to when it is read, in proportion to its size: one measure for all formats."""

from raki.errors import DamagedScan

# Small files may pack well: the table of acquisitions, whose rows are nearly alike, before all.
FREE_BYTES = 64 << 20
# Raw data is noise and hardly packs; lines that are stored as zeros do, and scans keep one line in sixteen at least.
MOST_GROWTH = 32


def growth_allowed(n_file_bytes: int) -> int:
    """Bytes that all that is in a file of this size may unpack to."""
    return FREE_BYTES + MOST_GROWTH * n_file_bytes


def require_in_proportion(n_bytes: int, n_file_bytes: int, what: str) -> None:
    """Raises DamagedScan where `what` takes more bytes than a file of this size may hold."""
    if n_bytes > growth_allowed(n_file_bytes):
        raise DamagedScan(
            f"{what} takes {n_bytes} bytes, and the file has {n_file_bytes} in all; raw data never packs so well: "
            "copy or export the scan again"
        )
