"""Sentences on what a scan lacks and what comes of it: before it is reconstructed, and beside its images."""

from collections.abc import Iterator

from raki.errors import DamagedScan
from raki.inspection.survey.facts import Origin, Timing
from raki.inspection.survey.header import announced_acceleration, origin_of, timing_of
from raki.planning import ADVISED_ACS_LINES, HIGH_ACCELERATION
from raki.scan.header import parse_header

JOIN = "If one was recorded in a file of its own, give it together with this one, or pack both into one archive."


def about_scan(header_xml: str, *, has_noise: bool, acceleration: int, n_acs_lines: int, n_coils: int) -> Iterator[str]:
    """All of them, of a scan that could be reconstructed; nothing where there is no header."""
    try:
        header = parse_header(header_xml)
    except DamagedScan:
        return
    encoding = header.encoding[0]
    yield from about_noise(has_noise=has_noise, acceleration=acceleration)
    yield from about_acceleration(
        announced=announced_acceleration(encoding),
        acceleration=acceleration,
        n_acs_lines=n_acs_lines,
        n_coils=n_coils,
    )
    yield from about_header(origin_of(header), timing_of(header, encoding), is_placed=True)


def about_noise(*, has_noise: bool, acceleration: int) -> Iterator[str]:
    """What is done without a noise scan."""
    if not has_noise and acceleration > 1:
        yield f"No noise scan: the noise level will be estimated from the lines, the coils not decorrelated. {JOIN}"
    elif not has_noise:
        yield f"No noise scan: the coils will not be decorrelated, and pixels are in the scanner's own unit. {JOIN}"


def about_acceleration(*, announced: int | None, acceleration: int, n_acs_lines: int, n_coils: int) -> Iterator[str]:
    """R as announced against R as found, and whether the lines to calibrate on and the coils suffice for it."""
    if (announced or 1) not in (1, acceleration):
        yield f"The header says R={announced}, the lines say R={acceleration}: raki goes by the lines."
    if acceleration == 1:
        return
    if n_acs_lines < ADVISED_ACS_LINES:
        yield f"The calibration lines are few: {ADVISED_ACS_LINES} or more are advised."
    if acceleration > n_coils:
        yield f"R={acceleration} with {n_coils} coils: more lines are missing than the coils can tell apart."
    elif acceleration > HIGH_ACCELERATION:
        yield f"R={acceleration} is high: expect residual folding and noise in the middle of the object."


def about_header(origin: Origin, timing: Timing, *, is_placed: bool) -> Iterator[str]:
    """What the header leaves out."""
    fields = {
        "vendor": origin.vendor,
        "field strength": origin.field_strength_t,
        "protocol name": origin.protocol,
        "TR": timing.repetition_times_ms,
        "TE": timing.echo_times_ms,
        "flip angle": timing.flip_angles_deg,
        "sound field of view and matrix": is_placed,
    }
    *others, last = [name for name, value in fields.items() if not value] or [""]
    if last:
        yield f"The header gives no {', '.join(others)}{' or ' * bool(others)}{last}."
