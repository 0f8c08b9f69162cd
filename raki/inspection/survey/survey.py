"""What heads and header tell of the raw files of a scan, whether or not raki can make images of it.

The files are read as `raki.prepare` reads them, up to the samples of the image; noise is read. So what is wrong with a
sample of the image doesn't show here.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ismrmrd import xsd

from raki.errors import PermanentError
from raki.formats import Acquisitions, open_raw
from raki.formats.scan_reader import sorted_scan
from raki.inspection.survey.facts import Sorted, Survey
from raki.inspection.survey.header import announced_acceleration, count, kind_of, origin_of, timing_of, trajectory_of
from raki.inspection.survey.lines import counts_of, is_image, noise_of, phase_lines_of, readout_of
from raki.inspection.survey.placement import placement_of
from raki.prepare import Allowance, contained, preprocess
from raki.scan.header import parse_header

GRIDS = ("cartesian", "epi")


def survey(files: Sequence[Path]) -> Survey:
    """Surveys the files of one scan, in a process of its own.

    Raises:
        NotAScan, DamagedScan, UnsupportedScan: the files can't be opened at all; see `raki.formats.open_raw`.
        TransientError: the process was killed from outside.
    """
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    return contained(survey_here, list(files), allowance=Allowance.for_size(n_bytes))


def survey_here(files: Sequence[Path]) -> Survey:
    """`survey` in this process."""
    with open_raw(files) as (format_, acquisitions):
        return survey_acquisitions(format_.name, acquisitions)


def survey_acquisitions(format_name: str, acquisitions: Acquisitions) -> Survey:
    """Surveys a file that is open. Needs memory for the heads and the noise."""
    heads = acquisitions.heads
    header = _header(acquisitions)
    image = heads[is_image(heads)]
    encoding = _encoding(header, image)
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


def _encoding(header: xsd.ismrmrdHeader | None, image: np.ndarray) -> xsd.encodingType | None:
    """The encoding that most lines refer to."""
    if header is None:
        return None
    n_lines = np.bincount(image["encoding_space_ref"], minlength=1)[: len(header.encoding)]
    return header.encoding[int(n_lines.argmax())]


def _n_encoded(encoding: xsd.encodingType | None) -> int | None:
    return count(encoding.encodedSpace.matrixSize.y) if encoding else None


def _outcome(acquisitions: Acquisitions) -> Sorted | PermanentError:
    """What a reconstruction would start from: the scan as it is prepared, but for the samples of the image."""
    try:
        scan = preprocess(sorted_scan(acquisitions))
    except PermanentError as refusal:
        return refusal
    n_images, n_coils, _, n_ro = scan.kspace.shape
    return Sorted(
        n_images=n_images,
        n_coils=n_coils,
        n_ro=n_ro,
        sampled=scan.sampled,
        n_separate_acs_lines=None if scan.acs is None else scan.acs.shape[2],
        has_noise=scan.noise is not None,
    )
