"""What is in a raw file, and what raki can do with it, before anything is reconstructed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from raki.errors import PermanentError, UnsupportedScan
from raki.formats import Acquisitions
from raki.inspection.feasibility import Feasibility, feasibility_of
from raki.inspection.survey.facts import Counts, Noise, Origin, PhaseLines, Placement, Readout, Sorted, Survey, Timing
from raki.inspection.survey.header import text
from raki.inspection.survey.survey import survey, survey_acquisitions
from raki.planning import (
    AnySampling,
    PointSampling,
    Sampling,
    ScatteredSampling,
    default_device,
    find_plane_sampling,
    plans_of,
)
from raki.sandbox import contained


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """A file as it was given."""

    name: str
    """Without its folder."""
    n_bytes: int


@dataclass(frozen=True, kw_only=True)
class Acs:
    """The lines to calibrate on: a fully sampled block about the centre of k-space."""

    first_line: int
    n_lines: int
    is_separate: bool
    """Whether they were acquired apart from the image."""


@dataclass(frozen=True, kw_only=True)
class Partitions:
    """The second phase-encode direction of a 3-D scan; of the first frame, where frames sample points of their own."""

    n_encoded: int
    n_acquired_points: int
    """Of the points of both directions."""
    accelerations: tuple[int, int] | None
    """R along phase-encode, and along the partitions; None where the points lie on no lattice."""
    shift: int
    """Partitions by which each next acquired line is displaced (CAIPIRINHA)."""
    n_acs: int
    """Partitions of the calibration block inside k-space; 0 where there is none."""


@dataclass(frozen=True, kw_only=True)
class PhaseEncoding:
    """Which phase-encode lines of k-space were acquired, alike for all images. Its centre is line `n_encoded` // 2."""

    n_encoded: int | None
    n_acquired: int
    acceleration: int | None
    """R as the lines have it; None where they are not regular. Of a 3-D scan that of both directions together."""
    partitions: Partitions | None
    """Of a 3-D scan that raki can fill."""
    announced_acceleration: int | None
    """R as the header has it."""
    net_acceleration: float | None
    """Lines of the acquired range over lines acquired: R less what the calibration lines cost."""
    acs: Acs | None
    partial_fourier: float | None
    """Extent of the acquired range over what it would be if both sides of the centre were as long as the longer one."""
    n_never_acquired: tuple[int, int] | None
    """Lines at either end of k-space that were not meant to be acquired, nor will be filled."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that is known of a scan before it is reconstructed. None, or nothing in a list: the file doesn't tell."""

    files: tuple[RawFile, ...]
    format: str
    kind: str
    """The kind of scan in plain words, as "Cartesian 2-D multi-slice"."""
    origin: Origin
    timing: Timing
    counts: Counts
    readout: Readout | None
    phase_encoding: PhaseEncoding | None
    """None for trajectories that aren't made of phase-encode lines."""
    noise: Noise | None
    placement: Placement | None
    feasibility: Feasibility

    def to_json(self) -> str:
        """The same as JSON, the fields by their names."""
        return json.dumps(asdict(self), indent=2, allow_nan=False)


def inspect(
    files: Sequence[Path], *, device: str | None = None, within: Callable[..., Survey] = contained
) -> Inspection:
    """Inspects the raw files of one scan; the samples of the images are read once, and no image is made.

    The files are read in a process of their own, so that a broken one harms nothing else.

    Args:
        files: as for `raki.formats.open_scan`.
        device: where a reconstruction would be made; by default a CUDA device where there is one, else the processor.
        within: what reads the files in another process, `contained` or that of `raki.sandbox.Readers`.

    Raises:
        NotAScan, DamagedScan, UnsupportedScan: the files can't be opened at all. One that can be opened and not
            reconstructed is inspected, and `feasibility` has the reason.
        TransientError: the process was killed from outside.

    >>> import raki
    >>> from pathlib import Path
    >>> raki.simulate_scan(Path("scan.h5"), n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    >>> found = raki.inspect([Path("scan.h5")], device="cpu")
    >>> found.kind, found.phase_encoding.acceleration, found.feasibility.reconstructable
    ('Cartesian 2-D', 2, True)
    """
    return _inspection(survey(files, within=within), files, device)


def inspect_acquisitions(
    format_name: str, acquisitions: Acquisitions, *, files: Sequence[Path] = (), device: str | None = None
) -> Inspection:
    """Inspects a raw file that is open, in this process. Arguments are those of `inspect`."""
    return _inspection(survey_acquisitions(format_name, acquisitions), files, device)


def _inspection(found: Survey, files: Sequence[Path], device: str | None) -> Inspection:
    sampling = _sampling(found)
    return Inspection(
        files=tuple(RawFile(name=text(file.name) or "unnamed", n_bytes=file.stat().st_size) for file in files),
        format=found.format,
        kind=found.kind,
        origin=found.origin,
        timing=found.timing,
        counts=found.counts,
        readout=found.readout,
        phase_encoding=_phase_encoding(found, None if isinstance(sampling, PermanentError) else sampling),
        noise=found.noise,
        placement=found.placement,
        feasibility=feasibility_of(found, sampling, device or default_device()),
    )


def _sampling(found: Survey) -> AnySampling | PermanentError:
    """The pattern of the lines, or why there is none that raki can fill."""
    lines = found.outcome if isinstance(found.outcome, Sorted) else found.phase_lines
    if lines is None:
        return UnsupportedScan("the phase-encode lines form no pattern that raki knows; it needs every R-th line")
    try:
        if isinstance(lines, Sorted) and lines.points is not None:
            return find_plane_sampling(lines.points)
        return plans_of(lines.sampled, len(np.atleast_2d(lines.sampled)))[0].sampling
    except UnsupportedScan as refusal:
        return refusal


def _phase_encoding(found: Survey, sampling: AnySampling | None) -> PhaseEncoding | None:
    if found.n_encoded_lines is None:
        return None
    return PhaseEncoding(
        n_encoded=found.n_encoded_lines,
        n_acquired=sampling.n_acquired if isinstance(sampling, Sampling) else found.n_acquired_lines,
        acceleration=sampling.acceleration if sampling else None,
        partitions=None if sampling is None or isinstance(sampling, Sampling) else _partitions(sampling),
        announced_acceleration=found.announced_acceleration,
        net_acceleration=sampling.net_acceleration if sampling else None,
        acs=_acs(found.phase_lines, sampling),
        partial_fourier=_partial_fourier(sampling) if sampling else None,
        n_never_acquired=_never_acquired(sampling) if sampling else None,
    )


def _partitions(sampling: PointSampling | ScatteredSampling) -> Partitions:
    left, right = sampling.block[2:] if sampling.block else (0, 0)
    return Partitions(
        n_encoded=sampling.acquired.shape[1],
        n_acquired_points=sampling.n_acquired,
        accelerations=(sampling.cell.n_pe, sampling.cell.n_pe2) if isinstance(sampling, PointSampling) else None,
        shift=sampling.cell.shift if isinstance(sampling, PointSampling) else 0,
        n_acs=right - left,
    )


def _acs(lines: PhaseLines | None, sampling: AnySampling | None) -> Acs | None:
    """The lines that are calibrated on: inside the image all neighbouring ones, whatever the protocol flagged."""
    if isinstance(sampling, PointSampling | ScatteredSampling) and sampling.block:
        return Acs(first_line=sampling.block[0], n_lines=sampling.n_acs_lines, is_separate=False)
    if lines is None or lines.acs_lines is None:
        return None
    first, stop = lines.acs_lines
    if sampling is not None and sampling.acs_lines is not None and not lines.acs_is_separate:
        first, stop = sampling.acs_lines
    return Acs(first_line=first, n_lines=stop - first, is_separate=lines.acs_is_separate)


def _partial_fourier(sampling: AnySampling) -> float:
    """1.0 where both sides reach as far out as a lattice of every R-th line allows."""
    first, stop = sampling.acquired_range
    centre = sampling.n_pe // 2
    longer, shorter = max(centre - first, stop - centre), min(centre - first, stop - centre)
    return 1.0 if longer - shorter <= sampling.acceleration else (stop - first) / (2 * longer)


def _never_acquired(sampling: AnySampling) -> tuple[int, int]:
    first, stop = sampling.filled_lines()
    return first, sampling.n_pe - stop
