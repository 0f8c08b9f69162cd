"""From the files of a raw scan to a prepared one: read, sort, clean, write, in bounded memory."""

from collections.abc import Sequence
from pathlib import Path

from raki.containment import Allowance, contained
from raki.formats import open_scan
from raki.prepared import write_prepared
from raki.preprocess import preprocess


def prepare(files: Sequence[Path], prepared: Path) -> None:
    """Reads the raw files of one scan and writes the prepared scan, one slice in memory at a time.

    The files are read in a process of their own, so that a broken one harms nothing else.

    Raises:
        NotAScan, DamagedScan, UnsupportedScan: as `raki.formats.open_scan` and `raki.preprocess.preprocess`.
        TransientError: the process was killed from outside, or the disk is full.
    """
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    contained(prepare_here, list(files), prepared, allowance=Allowance.for_size(n_bytes))


def prepare_here(files: Sequence[Path], prepared: Path) -> None:
    """`prepare` in this process: for tests and measurements."""
    with open_scan(files) as scan:
        write_prepared(preprocess(scan), prepared)
