"""The report on one reconstruction: a single HTML file that opens anywhere, without network or scripts.

This module decides what is shown; `templates/report.html` decides how it looks. Images are data URIs, charts are
inline SVG in the coordinates of `raki.results.charts`.
"""

# ruff: noqa: RUF001 -- the report is typeset, with signs for times and minus

from collections.abc import Mapping
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from raki.images import Reconstruction, ScanSummary
from raki.kspace import CrossValidation, methods
from raki.results.charts import mask_paths, training_chart
from raki.results.pictures import images_shown, map_pictures, pictures
from raki.scan import Geometry, frame_labels, frames_in_words

_CHOICES = {"raki": "RAKI", "raki_linear": "RAKI's linear kernel alone", "grappa": "GRAPPA"}


def method_label(method: str) -> str:
    """How a method is called in a text."""
    return methods()[method].label if method in methods() else method


def render_report(reconstruction: Reconstruction, facts: Mapping[str, Any], *, source_name: str) -> str:
    """The report as HTML. `facts` is the provenance of the same reconstruction."""
    # Jinja escapes by the file's suffix only where it is asked to; here nothing is ever unescaped.
    environment = Environment(
        loader=PackageLoader("raki.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scan = reconstruction.scan
    fov_read_mm, fov_phase_mm, _ = scan.geometry.fov_mm
    images = {method_label(method): volume for method, volume in reconstruction.images.items()}
    shown, labels = images_shown(scan), frame_labels(scan.frames)
    warnings = reconstruction.cross_validation.warnings if reconstruction.cross_validation else ()
    return environment.get_template("report.html").render(
        source_name=source_name,
        method=method_label(reconstruction.method),
        outcome=_outcome(reconstruction),
        scan=_scan_rows(reconstruction),
        frames=[(frame, labels[frame]) for frame in sorted({image.frame for image in shown})],
        slices=sorted({image.slice for image in shown}),
        middle=min((image.slice for image in shown), key=lambda index: abs(index - scan.n_slices // 2)),
        images=list(zip(shown, pictures(images, shown), strict=True)),
        n_images=scan.n_images,
        maps=list(zip(shown, map_pictures(reconstruction.maps, shown), strict=True)) if reconstruction.maps else [],
        trust=_trust_rows(reconstruction, facts["g_factor"]),
        warnings=warnings,
        change=_change(reconstruction),
        aspect=fov_read_mm / fov_phase_mm,
        mask=mask_paths(scan.sampled, scan.acs_lines),
        chart=training_chart(reconstruction.training_curve),
        timings=_timings(facts["seconds"], mapped=reconstruction.method if reconstruction.maps else None),
        notes=[note for note in reconstruction.notes if note not in warnings],
        options=_options(facts["options"]),
        facts=facts,
    )


def _outcome(reconstruction: Reconstruction) -> str:
    scan, method = reconstruction.scan, reconstruction.method
    acquired = f"{int(scan.sampled.sum())} of {scan.sampled.size} phase-encode lines were acquired"
    if method == "zero_filled":
        return f"{acquired}; the others are left at zero."
    if scan.acceleration == 1:
        return f"{acquired} and none between them is missing: nothing had to be filled in."
    mapped = " and mapped how far to trust them" if reconstruction.maps else ""
    return (
        f"{acquired}, R = {scan.acceleration}. {method_label(method)} filled in those between them{mapped} in "
        f"{_duration(reconstruction.seconds[method])}, learning from this scan alone."
    )


def _scan_rows(reconstruction: Reconstruction) -> list[tuple[str, str]]:
    scan, geometry = reconstruction.scan, reconstruction.scan.geometry
    n_rows, n_columns = geometry.matrix
    fov_read_mm, fov_phase_mm, _ = geometry.fov_mm
    n_virtual_coils = reconstruction.n_virtual_coils
    compressed = "" if n_virtual_coils is None else f", compressed to {n_virtual_coils} before filling"
    whitened = "yes, by the noise that the scan measured" if scan.prewhitened else "no"
    rows = [
        ("Frames", frames_in_words(scan.frames)),
        ("Slices", f"{scan.n_slices}, {geometry.slice_spacing_mm:g} mm apart" if scan.n_slices > 1 else "1"),
        ("Coils", f"{scan.n_coils}{compressed}"),
        ("Image matrix", f"{n_rows} × {n_columns} (phase-encode × readout)"),
        ("Field of view", f"{fov_phase_mm:.4g} × {fov_read_mm:.4g} mm"),
        ("Phase oversampling", _oversampling(geometry)),
        ("Pixel", f"{fov_phase_mm / n_rows:.3g} × {fov_read_mm / n_columns:.3g} mm"),
        ("Encoded lines", _encoded(scan)),
        ("Acceleration R", f"{scan.acceleration}"),
        ("Effective acceleration", f"{scan.effective_acceleration:.2f} (all lines over acquired lines)"),
        ("Calibration (ACS) lines", _calibration(scan)),
        ("Noise prewhitened", whitened),
    ]
    return [(name, value) for name, value in rows if value]


def _oversampling(geometry: Geometry) -> str:
    """Nothing where the image is all that was encoded."""
    if geometry.phase_oversampling == 1:
        return ""
    fov_phase_mm = geometry.fov_mm[1]
    encoded_mm = geometry.phase_oversampling * fov_phase_mm
    return f"{geometry.phase_oversampling:.3g}; the image is cut out of {encoded_mm:.4g} mm"


def _encoded(scan: ScanSummary) -> str:
    """Nothing where lines were acquired or skipped throughout k-space."""
    first, stop = scan.encoded_lines
    if (first, stop) == (0, scan.sampled.size):
        return ""
    return f"{first} to {stop - 1} of {scan.sampled.size} (partial Fourier or zero-padding)"


def _calibration(scan: ScanSummary) -> str:
    if scan.n_acs_lines_apart:
        return f"{scan.n_acs_lines_apart}, acquired apart from the image"
    return "none" if scan.acs_lines is None else f"{scan.acs_lines[1] - scan.acs_lines[0]}"


def _trust_rows(reconstruction: Reconstruction, g_factor: Mapping[str, float] | None) -> list[tuple[str, str]]:
    validation = reconstruction.cross_validation
    if validation is None:
        return []
    errors = (validation.held_out_error, validation.grappa_held_out_error)
    held_out = "not measured: the scan has no lines outside the calibration lines to predict"
    if errors[0] is not None and errors[1] is not None:
        held_out = f"{_percent(errors[0])} of their energy; GRAPPA {_percent(errors[1])}"
    source = "measured by the scan" if validation.noise_measured else "estimated from the lines"
    rows = [
        ("Filled by", _chosen(validation, "slices" if len(reconstruction.scan.frames) == 1 else "images")),
        *_survival(validation),
        ("Error of the linear kernel in predicting acquired lines", held_out),
        ("Noise of one sample", f"{validation.noise_sigma:.3g} (standard deviation), {source}"),
    ]
    if g_factor is None:
        return rows
    amplified = f"{g_factor['median']:.2f} in the median, 99 % of pixels below {g_factor['percentile_99']:.2f}"
    return [*rows, ("g-factor inside the object", amplified)]


def _survival(validation: CrossValidation) -> list[tuple[str, str]]:
    if validation.structure_kept is None or validation.grappa_structure_kept is None:
        return []
    kept = f"{_percent(validation.structure_kept)} of it; GRAPPA shows {_percent(validation.grappa_structure_kept)}"
    return [("Shown of a structure of one pixel", kept)]


def _chosen(validation: CrossValidation, counted: str) -> str:
    choices = validation.n_slices_by_choice
    total = sum(choices.values())
    parts = (f"{_CHOICES[choice]} in {n_chosen} of {total} {counted}" for choice, n_chosen in choices.items())
    return ", ".join(parts) if len(choices) > 1 else "".join(_CHOICES[choice] for choice in choices)


def _change(reconstruction: Reconstruction) -> str:
    *_, (before, reference), (method, result) = reconstruction.images.items()
    size = float(np.linalg.norm(reference))
    percent = 100 * float(np.linalg.norm(result - reference)) / size if size else 0.0
    return f"{method_label(method)} differs from {method_label(before)} by {percent:.2g} % (root mean square)."


def _options(options: Mapping[str, Mapping[str, Any]] | None) -> str:
    """What was asked for, by who set it; nothing where that isn't known."""
    by_whom: dict[str, list[str]] = {}
    for name, option in (options or {}).items():
        value = {True: "yes", False: "no"}[option["value"]] if isinstance(option["value"], bool) else option["value"]
        by_whom.setdefault(option["set_by"], []).append(f"{name} {value}")
    return "; ".join(f"{', '.join(said)} ({who})" for who, said in by_whom.items())


def _timings(seconds: Mapping[str, float], *, mapped: str | None) -> list[tuple[str, str, float]]:
    """Stage, duration, share of the longest in percent; the time of the method `mapped` is that of its maps too."""
    longest = max(seconds.values()) or 1.0
    rows = []
    for stage, taken in seconds.items():
        label = method_label(stage) if stage in methods() else stage.replace("_", " ").capitalize()
        rows.append((f"{label} and maps" if stage == mapped else label, _duration(taken), 100 * taken / longest))
    return rows


def _percent(part: float) -> str:
    return f"{100 * part:.2g}\N{NO-BREAK SPACE}%" if part < 0.1 else f"{100 * part:.0f}\N{NO-BREAK SPACE}%"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f}\N{NO-BREAK SPACE}ms"
    return f"{seconds:.1f}\N{NO-BREAK SPACE}s" if seconds < 120 else f"{seconds / 60:.1f}\N{NO-BREAK SPACE}min"
