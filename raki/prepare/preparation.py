"""From the files of a raw scan to a prepared one: read, sort, clean, write, in bounded memory."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from errno import errorcode
from pathlib import Path

from threadpoolctl import threadpool_limits

from raki.errors import TransientError
from raki.formats import open_scan
from raki.identity import scrub_header, token_in_header
from raki.prepare.containment import Allowance, contained
from raki.prepare.oversampling import remove_readout_oversampling
from raki.prepare.whitening import prewhiten
from raki.scan import Scan
from raki.scan.prepared import write_prepared


def prepare(
    files: Sequence[Path], prepared: Path, *, token: str | None = None, within: Callable[..., None] = contained
) -> None:
    """Reads the raw files of one scan and writes the prepared scan, one slice in memory at a time.

    The files are read in a process of their own, so that a broken one harms nothing else.

    Args:
        token: stands for patient and study from here on, and the header goes on without identity; None keeps it. A
            token that the site gave already stays.
        within: what runs it in another process, `contained` or that of `Readers`.

    Raises:
        NotAScan, DamagedScan, UnsupportedScan: as `raki.formats.open_scan` and `prewhiten`.
        TransientError: the process was killed from outside, or the disk is full.
    """
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    within(prepare_here, list(files), prepared, token, allowance=Allowance.for_size(n_bytes))


def prepare_here(files: Sequence[Path], prepared: Path, token: str | None = None) -> None:
    """`prepare` in this process: for tests and measurements."""
    # The products are small, and two threads work beside this one: more of them would wait for each other, spinning.
    with threadpool_limits(1, "blas"), open_scan(files) as scan:
        cleaned = preprocess(scan)
        if token is not None:
            header_xml = scrub_header(scan.header_xml, token_in_header(scan.header_xml) or token)
            cleaned = replace(cleaned, header_xml=header_xml)
        try:
            write_prepared(cleaned, prepared)
        except OSError as error:
            raise TransientError(
                f"the prepared scan could not be written ({errorcode.get(error.errno or 0, type(error).__name__)}); "
                "free space on the disk, or try again"
            ) from None


def preprocess(scan: Scan) -> Scan:
    """Removes the readout oversampling, then whitens the noise where a noise scan tells how.

    The two act on different axes and commute; this order whitens half as many samples. A scan that is read slice by
    slice stays one: each slice is changed when it is asked for.
    """
    return prewhiten(remove_readout_oversampling(scan))
