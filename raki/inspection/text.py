"""An inspection as a technologist reads it on a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raki.inspection.inspection import Inspection, PhaseEncoding
from raki.inspection.survey.facts import Counts, Noise, Origin, Placement, Readout, Timing

MOST_SHOWN = 4
TILTED_BEYOND_DEG = 0.5

Row = tuple[str, str]


def describe(inspection: Inspection) -> RenderableType:
    """What is in the files, and above it in one sentence what can be done with them. Reads well from 60 columns on."""
    names = ", ".join(f"{file.name} ({size(file.n_bytes)})" for file in inspection.files)
    title = Text(", ".join(part for part in (names, inspection.format) if part), style="bold")
    return Group(title, Text(), _verdict(inspection), Text(), *_tables(inspection))


def _tables(inspection: Inspection) -> Iterator[RenderableType]:
    blocks = [
        _about_protocol(inspection.kind, inspection.origin, inspection.timing),
        _about_image(inspection.counts, inspection.placement),
        _about_lines(inspection),
        _about_work(inspection),
    ]
    for number, rows in enumerate(blocks):
        if number:
            yield Text()
        table = Table.grid(padding=(0, 2))
        table.add_column(width=12, no_wrap=True)
        table.add_column(overflow="fold")
        for label, value in rows:
            table.add_row(Text(label, style="dim"), Text(value))
        yield table


def _verdict(inspection: Inspection) -> Text:
    feasibility = inspection.feasibility
    refusal = feasibility.refusal
    if refusal is None:
        return Text.assemble(("Can be reconstructed. ", "bold green"), feasibility.sentence)
    if feasibility.reconstructable:
        return Text.assemble(("Zero-filled only. ", "bold yellow"), feasibility.sentence)
    return Text.assemble(
        ("Can't be reconstructed. ", "bold red"),
        feasibility.sentence,
        (f" ({refusal.failure_class}, exit code {refusal.exit_code})", "dim"),
    )


def _about_protocol(kind: str, origin: Origin, timing: Timing) -> Iterator[Row]:
    strength = f"{short(origin.field_strength_t)} T" if origin.field_strength_t else None
    scanner = " ".join(part for part in (origin.vendor, origin.model) if part)
    yield "Scanner", _listed(scanner, strength) or "not given"
    sequence = f"sequence {origin.sequence}" if origin.sequence else None
    yield "Protocol", _listed(origin.protocol, sequence) or "not given"
    is_told = origin.sequence_type is None or origin.sequence_type.lower() in kind.lower()
    yield "Kind", kind if is_told else f"{kind}, sequence type {origin.sequence_type}"
    times = (("TR", timing.repetition_times_ms), ("TE", timing.echo_times_ms), ("TI", timing.inversion_times_ms))
    angles = f"flip angle {_several(timing.flip_angles_deg)}°" if timing.flip_angles_deg else None
    train = f"{timing.echo_train_length} echoes a train" if timing.echo_train_length else None
    known = [f"{name} {_several(values)} ms" for name, values in times if values]
    yield "Timing", _listed(*known, angles, train) or "not given"
    yield "Patient data", "in the header (not shown)" if origin.has_subject_information else "none in the header"


def _about_image(counts: Counts, placement: Placement | None) -> Iterator[Row]:
    if placement is None:
        yield "Image", "no sound field of view and matrix in the header"
    else:
        rows, columns = placement.matrix
        yield "Image", f"{columns} x {rows} pixels of {_times(placement.pixel_mm)} mm (readout x phase-encode)"
        over = placement.phase_oversampling
        cut = f"{short(100 * (over - 1))} % phase oversampling cut off" if over > 1 else None
        yield "FOV", _listed(f"{_times(placement.fov_mm)} mm", cut)
    yield "Slices", _listed(*_slices(counts, placement))
    frames = {
        "contrasts": counts.n_contrasts,
        "phases": counts.n_phases,
        "repetitions": counts.n_repetitions,
        "sets": counts.n_sets,
        "averages": counts.n_averages,
    }
    several = [f"{n} {name}" for name, n in frames.items() if n > 1]
    if several:
        yield "Frames", ", ".join(several)


def _slices(counts: Counts, placement: Placement | None) -> Iterator[str]:
    is_3d = counts.n_partitions > 1
    thickness_mm = placement.slice_thickness_mm if placement else None
    thickness = f" of {short(thickness_mm)} mm" if thickness_mm else ""
    if is_3d:
        yield f"{counts.n_slices} slab{'s' * (counts.n_slices > 1)} of {counts.n_partitions} partitions{thickness}"
    else:
        yield f"{counts.n_slices}{thickness}"
    if placement and placement.plane:
        tilt = placement.tilt_deg or 0.0
        yield f"oblique: {placement.plane}, tilted {short(tilt)}°" if tilt > TILTED_BEYOND_DEG else placement.plane
    if counts.n_slices > 1:
        if placement:
            spacing_mm = placement.slice_spacing_mm
            yield "not on one even grid" if spacing_mm is None else f"{short(spacing_mm)} mm apart"
        yield f"acquired {counts.slice_order}"


def _about_lines(inspection: Inspection) -> Iterator[Row]:
    counts = inspection.counts
    yield "Coils", str(counts.n_coils)
    if inspection.readout:
        yield "Readout", _listed(*_readout(inspection.readout))
    if inspection.phase_encoding:
        yield "Phase-encode", _listed(*_phase_encoding(inspection.phase_encoding))
        yield "Calibration", _calibration(inspection.phase_encoding, counts)
    else:
        yield "Readouts", f"{counts.n_image_lines} for the image"
    yield "Noise scan", _noise(inspection.noise, inspection.readout)
    if counts.n_segments > 1 or counts.n_reversed_lines:
        reversed_lines = f"{counts.n_reversed_lines} lines recorded backwards" if counts.n_reversed_lines else None
        yield "Segments", _listed(str(counts.n_segments), reversed_lines)
    marks = {name: n for name, n in counts.other_lines.items() if name != "noise"}
    if marks:
        n_others = counts.n_other_lines - counts.other_lines.get("noise", 0)
        found = ", ".join(f"{n} {name}" for name, n in marks.items())
        together = f"{n_others} lines with several marks: " if sum(marks.values()) > n_others else ""
        yield "Other lines", f"{together}{found}; not part of the image"


def _readout(readout: Readout) -> Iterator[str]:
    yield f"{readout.n_samples} samples"
    if readout.n_encoded and readout.n_encoded != readout.n_samples:
        yield f"{readout.n_encoded} encoded"
    if readout.oversampling:
        over = readout.oversampling
        yield f"{short(over)}-fold oversampled" if over > 1 else "not oversampled"
    if readout.echo_fraction < 1:
        yield f"asymmetric echo ({readout.echo_fraction:.2f})"
    if readout.dwell_time_us:
        yield f"dwell time {short(readout.dwell_time_us)} µs"


def _phase_encoding(lines: PhaseEncoding) -> Iterator[str]:
    yield f"{lines.n_acquired} of {lines.n_encoded} lines"
    if lines.partitions:
        yield f"{lines.partitions.n_acquired_points} points of {lines.partitions.n_encoded} partitions"
    if lines.partitions and lines.partitions.accelerations is None:
        yield f"on no lattice, R={lines.net_acceleration or 1.0:.2f}"
    elif lines.partitions and lines.partitions.accelerations and lines.acceleration and lines.acceleration > 1:
        along, across = lines.partitions.accelerations
        yield f"R={along} x {across} (net {lines.net_acceleration or 1.0:.2f})"
        if lines.partitions.shift:
            yield f"each next line displaced by {lines.partitions.shift} (CAIPIRINHA)"
    elif lines.acceleration is None:
        yield "no regular pattern"
    elif lines.acceleration > 1:
        yield f"R={lines.acceleration} (net {lines.net_acceleration or 1.0:.2f})"
    else:
        yield "no acceleration"
    if lines.partial_fourier is not None and lines.partial_fourier < 1:
        yield f"partial Fourier {lines.partial_fourier:.2f} (about {round(8 * lines.partial_fourier)}/8)"
    if lines.n_never_acquired and any(lines.n_never_acquired):
        before, after = lines.n_never_acquired
        yield f"{before} at the start and {after} at the end never acquired"


def _calibration(lines: PhaseEncoding, counts: Counts) -> str:
    if lines.acceleration == 1:
        return "not needed"
    if lines.acs is None:
        return (
            f"{counts.n_calibration_lines} marked, no block about the centre" if counts.n_calibration_lines else "none"
        )
    where = "acquired apart" if lines.acs.is_separate else "embedded"
    last = lines.acs.first_line + lines.acs.n_lines - 1
    if lines.partitions and not lines.acs.is_separate:
        extent = f"({lines.acs.first_line} to {last}) of {lines.partitions.n_acs} partitions"
        return f"{lines.acs.n_lines} lines {extent}, {where}"
    return f"{lines.acs.n_lines} lines ({lines.acs.first_line} to {last}), {where}"


def _noise(noise: Noise | None, readout: Readout | None) -> str:
    if noise is None:
        return "none"
    plural = "s" * (noise.n_acquisitions > 1)
    dwell = f"dwell time {short(noise.dwell_time_us)} µs" if noise.dwell_time_us else None
    if dwell and readout and readout.dwell_time_us and readout.dwell_time_us != noise.dwell_time_us:
        dwell = f"{dwell} (the image's: {short(readout.dwell_time_us)} µs)"
    return _listed(f"{noise.n_samples} samples in {noise.n_acquisitions} acquisition{plural}", dwell)


def _about_work(inspection: Inspection) -> Iterator[Row]:
    feasibility = inspection.feasibility
    lines = inspection.phase_encoding
    if feasibility.reconstructable and lines and lines.acceleration != 1:
        yield "Methods", ", ".join(each.method for each in feasibility.methods if each.usable)
        said = {each.reason for each in feasibility.methods if each.usable or each.method == "raki"}
        for reason in dict.fromkeys(each.reason for each in feasibility.methods if each.reason not in said):
            yield "", f"not {', '.join(each.method for each in feasibility.methods if each.reason == reason)}: {reason}"
    if feasibility.memory_mib:
        rounded = int(float(f"{feasibility.memory_mib << 20:.1e}"))
        yield "Takes", f"about {size(rounded)} of memory, on {feasibility.device}"
    for number, remark in enumerate(feasibility.remarks):
        yield "" if number else "Notes", remark


def size(n_bytes: int) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, n in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= n:
            return f"{n_bytes / n:.{1 if n_bytes < 10 * n else 0}f} {unit}"
    return f"{n_bytes} bytes"


def short(value: float) -> str:
    """Four digits, without an exponent where that is no longer."""
    return f"{float(f'{value:.4g}'):.10g}"


def _several(values: Sequence[float]) -> str:
    shown = ", ".join(short(value) for value in values[:MOST_SHOWN])
    return f"{shown}, ... ({len(values)} in all)" if len(values) > MOST_SHOWN else shown


def _times(lengths: tuple[float, float]) -> str:
    """Readout first, as in the line above it."""
    along_phase, along_readout = lengths
    return f"{short(along_readout)} x {short(along_phase)}"


def _listed(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)
