"""What raki can do with a scan: which methods can fill its missing lines, what that takes, and what is lacking."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from raki.errors import NoCalibration, PermanentError
from raki.inspection.memory import Extent
from raki.inspection.survey.facts import Sorted, Survey
from raki.kspace import ADVISED_ACS_LINES, HIGH_ACCELERATION, Sampling, methods, off_centre_warning


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
    """All of `raki.kspace.methods()`."""
    device: str
    memory_mib: int | None
    """What the default method takes on this machine, measured to a quarter; None where it isn't usable."""
    remarks: tuple[str, ...]
    """Sentences on what is lacking and what comes of it."""


def feasibility_of(found: Survey, sampling: Sampling | PermanentError, device: str) -> Feasibility:
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
        sentence=refusal.sentence if refusal else _sentence(start, sampling.acceleration),
        refusal=_refusal(refusal) if refusal else None,
        methods=by_method,
        device=device,
        memory_mib=None if refusal else memory_bytes(found, start, sampling, device) >> 20,
        remarks=(*(() if refusal else _about_lines(found, start, sampling)), *_about_header(found)),
    )


def n_acs_lines(start: Sorted, sampling: Sampling) -> int:
    """Lines to calibrate on, wherever they were acquired."""
    return sampling.n_acs_lines if start.n_separate_acs_lines is None else start.n_separate_acs_lines


def memory_bytes(found: Survey, start: Sorted, sampling: Sampling, device: str) -> int:
    """What `raki` and its maps take at most: as many slices as there are cores at a time, one on a GPU."""
    n_rows, n_columns = found.placement.matrix if found.placement else (sampling.n_pe, start.n_ro)
    extent = Extent(
        n_coils=start.n_coils,
        n_pe=sampling.n_pe,
        n_ro=start.n_ro,
        n_images=start.n_images,
        n_pixels=n_rows * n_columns,
        has_gaps=sampling.acceleration > 1,
    )
    return extent.bytes_needed(torch.get_num_threads() if device == "cpu" else 1)


def _method(method: str, start: Sorted, sampling: Sampling) -> MethodFeasibility:
    if sampling.acceleration == 1:
        return MethodFeasibility(method=method, usable=True, reason=None)
    obstacles = methods()[method].obstacles(sampling, n_acs_lines(start, sampling), start.n_ro)
    reason = next(obstacles, None)
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


def _sentence(start: Sorted, acceleration: int) -> str:
    if acceleration == 1:
        return "No line is missing: raki makes the images, and has nothing to fill in."
    return f"The missing lines can be filled in (R={acceleration}, {start.n_coils} coils)."


def _about_lines(found: Survey, start: Sorted, sampling: Sampling) -> Iterator[str]:
    acceleration, announced = sampling.acceleration, found.announced_acceleration or 1
    if not start.has_noise and acceleration > 1:
        yield "No noise scan: the noise level will be estimated from the lines, the coils not decorrelated."
    elif not start.has_noise:
        yield "No noise scan: the coils will not be decorrelated, and pixels are in the scanner's own unit."
    elif not _dwell_times_known(found):
        yield "The dwell time of image or noise isn't given: the noise is taken as recorded at the image's."
    if announced not in (1, acceleration):
        yield f"The header says R={announced}, the lines say R={acceleration}: raki goes by the lines."
    if acceleration == 1:
        return
    if n_acs_lines(start, sampling) < ADVISED_ACS_LINES:
        yield f"The calibration lines are few: {ADVISED_ACS_LINES} or more are advised."
    if start.n_separate_acs_lines is None:
        yield from off_centre_warning(sampling, sampling.n_pe // 2)
    if acceleration > start.n_coils:
        yield f"R={acceleration} with {start.n_coils} coils: more lines are missing than the coils can tell apart."
    elif acceleration > HIGH_ACCELERATION:
        yield f"R={acceleration} is high: expect residual folding and noise in the middle of the object."


def _dwell_times_known(found: Survey) -> bool:
    return bool(found.noise and found.noise.dwell_time_us and found.readout and found.readout.dwell_time_us)


def _about_header(found: Survey) -> Iterator[str]:
    origin, timing = found.origin, found.timing
    fields = {
        "vendor": origin.vendor,
        "field strength": origin.field_strength_t,
        "protocol name": origin.protocol,
        "TR": timing.repetition_times_ms,
        "TE": timing.echo_times_ms,
        "flip angle": timing.flip_angles_deg,
        "sound field of view and matrix": found.placement,
    }
    *others, last = [name for name, value in fields.items() if not value] or [""]
    if last:
        yield f"The header gives no {', '.join(others)}{' or ' * bool(others)}{last}."
    if found.placement is not None and found.placement.plane is None:
        yield "The lines have no slice direction: the image is placed as an axial one."
