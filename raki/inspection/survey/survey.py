"""What heads and header tell of the raw files of a scan, whether or not raki can make images of it.

The files are read as `raki.prepare` reads them, the samples once: what was acquired, and which recordings are of one
image, is decided by them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from ismrmrd import xsd

from raki.errors import PermanentError
from raki.formats import Acquisitions, open_raw
from raki.formats.scan_reader import sorted_scan
from raki.formats.sorting.encodings import in_one_encoding
from raki.inspection.survey.facts import Sorted, Survey
from raki.inspection.survey.header import announced_acceleration, count, kind_of, origin_of, timing_of, trajectory_of
from raki.inspection.survey.lines import counts_of, is_image, noise_of, phase_lines_of, readout_of
from raki.inspection.survey.placement import placement_of
from raki.prepare import preprocess
from raki.sandbox import Allowance, contained
from raki.scan import Scan
from raki.scan.arrays import LineMask, LinesByImage, PointMask, PointsByFrame
from raki.scan.header import parse_header

GRIDS = ("cartesian", "epi")


def survey(files: Sequence[Path], *, within: Callable[..., Survey] = contained) -> Survey:
    """Surveys the files of one scan, in a process of its own.

    Args:
        within: what runs it in another process, `contained` or that of `Readers`.

    Raises:
        NotAScan, DamagedScan, UnsupportedScan: the files can't be opened at all; see `raki.formats.open_raw`.
        TransientError: the process was killed from outside.
    """
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    return within(survey_here, list(files), allowance=Allowance.for_size(n_bytes), reads=files)


def survey_here(files: Sequence[Path]) -> Survey:
    """`survey` in this process."""
    with open_raw(files) as (format_, acquisitions):
        return survey_acquisitions(format_.name, acquisitions)


def survey_acquisitions(format_name: str, acquisitions: Acquisitions) -> Survey:
    """Surveys a file that is open. Needs memory for the heads and the noise."""
    header = _header(acquisitions)
    heads, encoding = _encoded(acquisitions, header)
    image = heads[is_image(heads)]
    counts = counts_of(heads)
    is_on_grid = encoding is not None and trajectory_of(encoding) in GRIDS and len(image) > 0
    return Survey(
        format=format_name,
        kind=kind_of(encoding, n_slices=counts.n_slices, n_partitions=counts.n_partitions),
        origin=origin_of(header),
        timing=timing_of(header, encoding),
        counts=counts,
        readout=readout_of(heads, encoding),
        noise=noise_of(heads),
        placement=placement_of(heads, encoding) if encoding else None,
        n_encoded_lines=_n_encoded(encoding) if is_on_grid else None,
        n_acquired_lines=len(np.unique(image["idx"]["kspace_encode_step_1"])),
        announced_acceleration=announced_acceleration(encoding),
        phase_lines=phase_lines_of(heads, encoding) if encoding and is_on_grid else None,
        outcome=_outcome(acquisitions),
    )


def _header(acquisitions: Acquisitions) -> xsd.ismrmrdHeader | None:
    try:
        return parse_header(acquisitions.header_xml)
    except PermanentError:
        return None


def _encoded(
    acquisitions: Acquisitions, header: xsd.ismrmrdHeader | None
) -> tuple[np.ndarray, xsd.encodingType | None]:
    """The heads, and the image's encoding; that of most lines where raki makes no image of them."""
    heads = acquisitions.heads
    if header is None:
        return heads, None
    try:
        encoded = in_one_encoding(acquisitions, header)
    except PermanentError:
        n_lines = np.bincount(heads["encoding_space_ref"][is_image(heads)], minlength=1)[: len(header.encoding)]
        return heads, header.encoding[int(n_lines.argmax())]
    return encoded.heads, encoded.encoding


def _n_encoded(encoding: xsd.encodingType | None) -> int | None:
    return count(encoding.encodedSpace.matrixSize.y) if encoding else None


def _lines(scan: Scan) -> LineMask | LinesByImage:
    if scan.slab:
        return np.asarray(scan.sampled.any(axis=1))
    return scan.sampled if scan.sampled_by_image is None else scan.sampled_by_image


def _points(scan: Scan) -> PointMask | PointsByFrame | None:
    if scan.slab is None:
        return None
    return scan.sampled if scan.sampled_by_frame is None else scan.sampled_by_frame


def _outcome(acquisitions: Acquisitions) -> Sorted | PermanentError:
    """What a reconstruction would start from: the scan as it is prepared, but for the samples of the image."""
    try:
        scan = preprocess(sorted_scan(acquisitions))
    except PermanentError as refusal:
        return refusal
    _, n_coils, _, n_ro = scan.kspace.shape
    return Sorted(
        n_images=len(scan.frames) * scan.groups.n_slices if scan.groups else len(scan.kspace),
        n_coils=n_coils,
        n_ro=n_ro,
        sampled=_lines(scan),
        points=_points(scan),
        n_separate_acs_lines=None if scan.acs is None else scan.acs.shape[2],
        n_separate_acs_points=scan.acs.shape[3] if scan.acs is not None and scan.slab else None,
        has_noise=scan.noise is not None,
        remarks=scan.remarks,
    )
