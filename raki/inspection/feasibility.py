"""What raki can do with a scan: which methods can fill its missing lines, what that takes, and what is lacking."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raki.errors import NoCalibration, PermanentError
from raki.inspection.memory import Extent
from raki.inspection.remarks import about_acceleration, about_header, about_noise
from raki.inspection.survey.facts import Sorted, Survey
from raki.planning import (
    AnySampling,
    Block,
    PointSampling,
    Sampling,
    ScatteredSampling,
    methods,
    n_cores,
    off_centre_warning,
    origin_of,
    shared_block,
)
from raki.plugins import kept_off_stdout


@dataclass(frozen=True, kw_only=True)
class MethodFeasibility:
    """Whether a method can fill the missing lines."""

    method: str
    usable: bool
    reason: str | None
    """What it needs and what there is; None where it is usable."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The error that the default method would end with."""

    failure_class: str
    exit_code: int
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Feasibility:
    """What can be done with a scan that isn't reconstructed yet."""

    reconstructable: bool
    """Whether any method is usable."""
    sentence: str
    refusal: Refusal | None
    methods: tuple[MethodFeasibility, ...]
    """All of `raki.planning.methods()`."""
    device: str
    memory_mib: int | None
    """What the default method takes on this machine, measured to a quarter; None where it isn't usable."""
    remarks: tuple[str, ...]
    """Sentences on what is lacking and what comes of it."""


def feasibility_of(found: Survey, sampling: AnySampling | PermanentError, device: str) -> Feasibility:
    """The verdict on a surveyed scan; `sampling` is that of its lines, or why raki can't fill them."""
    if isinstance(found.outcome, PermanentError):
        return _refused(found, found.outcome, device)
    if isinstance(sampling, PermanentError):
        return _refused(found, sampling, device)
    start = found.outcome
    by_method = tuple(_method(name, start, sampling) for name in methods())
    lacking = next((each.reason for each in by_method if each.method == "raki"), None)
    refusal = None if lacking is None else NoCalibration(f"the missing lines can't be filled in: raki {lacking}")
    return Feasibility(
        reconstructable=True,
        sentence=refusal.sentence if refusal else _sentence(start, sampling),
        refusal=_refusal(refusal) if refusal else None,
        methods=by_method,
        device=device,
        memory_mib=None if refusal else memory_bytes(found, start, sampling, device) >> 20,
        remarks=(*start.remarks, *(() if refusal else _about_lines(found, start, sampling)), *_about_header(found)),
    )


def n_acs_lines(start: Sorted, sampling: AnySampling) -> int:
    """Lines to calibrate on, wherever they were acquired."""
    if start.n_separate_acs_lines is not None:
        return start.n_separate_acs_lines
    shared = _shared_block(start)
    return shared[1] - shared[0] if shared else sampling.n_acs_lines


def _n_acs_samples(start: Sorted, sampling: AnySampling) -> int:
    """Of a line of the calibration lines; of a block of points, its points of a line."""
    if isinstance(sampling, Sampling):
        return start.n_ro
    if start.n_separate_acs_points is not None:
        return start.n_separate_acs_points
    block = _shared_block(start) or sampling.block
    return block[3] - block[2] if block else 0


def _shared_block(start: Sorted) -> Block | None:
    return None if start.points is None or start.points.ndim == 2 else shared_block(start.points)


def memory_bytes(found: Survey, start: Sorted, sampling: AnySampling, device: str) -> int:
    """What `raki` and its maps take at most: as many slices as there are cores at a time, one on a GPU."""
    n_rows, n_columns = found.placement.matrix if found.placement else (sampling.n_pe, start.n_ro)
    extent = Extent(
        n_coils=start.n_coils,
        n_pe=sampling.n_pe,
        n_ro=start.n_ro,
        n_images=start.n_images,
        n_pixels=n_rows * n_columns,
        has_gaps=sampling.acceleration > 1,
        is_scattered=isinstance(sampling, ScatteredSampling),
    )
    return extent.bytes_needed(n_cores() if device == "cpu" else 1)


def _method(method: str, start: Sorted, sampling: AnySampling) -> MethodFeasibility:
    if sampling.acceleration == 1:
        return MethodFeasibility(method=method, usable=True, reason=None)
    try:
        with kept_off_stdout():
            needed = methods()[method].obstacles(
                sampling, n_acs_lines(start, sampling), _n_acs_samples(start, sampling)
            )
            reason = next(iter(needed), None)
    except (Exception, SystemExit) as error:
        if origin_of(method).is_ours:
            raise
        reason = f"can't say what it needs ({type(error).__name__} in {origin_of(method).origin})"
    return MethodFeasibility(method=method, usable=reason is None, reason=reason)


def _refused(found: Survey, error: PermanentError, device: str) -> Feasibility:
    return Feasibility(
        reconstructable=False,
        sentence=error.sentence,
        refusal=_refusal(error),
        methods=tuple(MethodFeasibility(method=name, usable=False, reason=str(error)) for name in methods()),
        device=device,
        memory_mib=None,
        remarks=tuple(_about_header(found)),
    )


def _refusal(error: PermanentError) -> Refusal:
    return Refusal(failure_class=error.failure_class, exit_code=error.exit_code, sentence=error.sentence)


def _sentence(start: Sorted, sampling: AnySampling) -> str:
    if isinstance(sampling, ScatteredSampling):
        return (
            f"The missing points lie on no lattice and can be filled in by SPIRiT (R={sampling.net_acceleration:.1f}, "
            f"{start.n_coils} coils)."
        )
    if isinstance(sampling, PointSampling):
        r = f"R={sampling.cell.n_pe} x {sampling.cell.n_pe2}"
        if sampling.acceleration > 1:
            return f"The missing points can be filled in ({r}, {start.n_coils} coils)."
        return "No point is missing: raki makes the images, and has nothing to fill in."
    first, stop = sampling.acquired_range
    if sampling.acceleration > 1:
        return f"The missing lines can be filled in (R={sampling.acceleration}, {start.n_coils} coils)."
    if not np.atleast_2d(start.sampled)[:, first:stop].all():
        return "No line is missing but for those that were lost, which can be filled in."
    return "No line is missing: raki makes the images, and has nothing to fill in."


def _about_lines(found: Survey, start: Sorted, sampling: AnySampling) -> Iterator[str]:
    yield from about_noise(has_noise=start.has_noise, acceleration=sampling.acceleration)
    yield from about_acceleration(
        announced=found.announced_acceleration,
        acceleration=sampling.acceleration,
        n_acs_lines=n_acs_lines(start, sampling),
        n_coils=start.n_coils,
    )
    if start.n_separate_acs_lines is None and isinstance(sampling, Sampling):
        yield from off_centre_warning(sampling, sampling.n_pe // 2)


def _about_header(found: Survey) -> Iterator[str]:
    yield from about_header(found.origin, found.timing, is_placed=found.placement is not None)
