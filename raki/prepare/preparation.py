"""From the files of a raw scan to a prepared one: read, sort, clean, write, in bounded memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from errno import EFBIG, errorcode
from pathlib import Path

from raki.errors import DamagedScan, TransientError
from raki.formats import open_scan
from raki.identity.header import scrub_header, token_in_header
from raki.prepare.outputs import room_for
from raki.prepare.oversampling import remove_readout_oversampling
from raki.prepare.whitening import prewhiten
from raki.sandbox import Allowance, contained
from raki.scan import Scan
from raki.scan.prepared import write_prepared


def prepare(
    files: Sequence[Path],
    prepared: Path,
    *,
    noise: Path | None = None,
    token: str | None = None,
    within: Callable[..., None] = contained,
) -> None:
    """Reads the raw files of one scan and writes the prepared scan, one slice in memory at a time.

    The files are read in a process of their own, so that a broken one harms nothing else.

    Args:
        noise: as `raki.formats.open_scan` takes it.
        token: stands for patient and study from here on, and the header goes on without identity; None keeps it. A
            token that the site gave already stays.
        within: what runs it in another process, `contained` or that of `Readers`.

    Raises:
        NotAScan, DamagedScan, UnsupportedScan: as `raki.formats.open_scan` and `prewhiten`.
        TransientError: the process was killed from outside, or the disk is full.
    """
    reads = [*files, noise] if noise else list(files)
    n_bytes = sum(file.stat().st_size for file in reads if file.is_file())
    allowance = Allowance.for_size(n_bytes)
    with room_for(prepared) as part:
        within(prepare_here, list(files), part, token, noise, allowance=allowance, reads=reads, folder=part.parent)


def prepare_here(files: Sequence[Path], prepared: Path, token: str | None = None, noise: Path | None = None) -> None:
    """`prepare` in this process: for tests and measurements."""
    with open_scan(files, noise) as scan:
        cleaned = preprocess(scan)
        if token is not None:
            header_xml = scrub_header(scan.header_xml, token_in_header(scan.header_xml) or token)
            cleaned = replace(cleaned, header_xml=header_xml)
        try:
            write_prepared(cleaned, prepared)
        except OSError as error:
            if error.errno == EFBIG:
                raise DamagedScan(
                    "the scan takes more than its files can hold, as no raw data does; copy or export it again"
                ) from None
            raise TransientError(
                f"the prepared scan could not be written ({errorcode.get(error.errno or 0, type(error).__name__)}); "
                "free space on the disk, or try again"
            ) from None


def preprocess(scan: Scan) -> Scan:
    """Removes the readout oversampling, then whitens the noise where a noise scan tells how.

    The two act on different axes and commute; this order whitens half as many samples. A scan that is read slice by
    slice stays one: each slice is changed when it is asked for.

    Args:
        scan: as `raki.read_scan` gives it; it stays as it is.

    Raises:
        DamagedScan: the noise scan can't be what it is called: a channel is dead or recorded twice.

    >>> import raki
    >>> from pathlib import Path
    >>> raki.simulate_scan(Path("scan.h5"), n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    >>> scan = raki.read_scan(Path("scan.h5"))
    >>> scan.kspace.shape, raki.preprocess(scan).kspace.shape
    ((1, 4, 32, 64), (1, 4, 32, 32))
    """
    return prewhiten(remove_readout_oversampling(scan))
