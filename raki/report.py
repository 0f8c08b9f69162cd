"""The report on one reconstruction: a single HTML file that opens anywhere, without network or scripts.

This module decides what is shown; `templates/report.html` decides how it looks. Images are data URIs, charts are
inline SVG in the coordinates of `raki.charts`.
"""

# ruff: noqa: RUF001 -- the report is typeset, with signs for times and minus

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from raki.arrays import Volume
from raki.charts import mask_paths, training_chart
from raki.images import evenly_spaced, png, window_top
from raki.reconstruction import Reconstruction
from raki.verdict import Verdict

SLICES_SHOWN = 24
"""More would make a file that a mail server refuses; the image files have them all."""

MAP_PIXELS = 192
"""The longer side of a map's picture: it is smooth, and the report stays small."""

_LABELS = {
    "zero_filled": "Zero-filled",
    "grappa": "GRAPPA",
    "raki": "RAKI",
    "raki2019": "RAKI (2019)",
    "rraki": "Residual RAKI",
    "iraki": "Iterative RAKI",
    "combine": "Combine coils",
}
_CHOICES = {"raki": "RAKI", "raki with branch": "RAKI with its nonlinear branch", "grappa": "GRAPPA"}
_MAP_LABELS = {"g_factor": "g-factor", "standard_error": "Standard error"}


def method_label(method: str) -> str:
    """How a method is called in a text."""
    return _LABELS.get(method, method)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of one slice. `alt` is read to those who can't see it."""

    label: str
    uri: str
    alt: str
    black: str = ""
    """Value of a black pixel, where it is told; and of a white one."""
    white: str = ""


def render_report(reconstruction: Reconstruction, facts: Mapping[str, Any], *, source_name: str) -> str:
    """The report as HTML. `facts` is the provenance of the same reconstruction."""
    # Jinja escapes by the file's suffix only where it is asked to; here nothing is ever unescaped.
    environment = Environment(
        loader=PackageLoader("raki"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    fov_read_mm, fov_phase_mm, _ = reconstruction.scan.geometry.fov_mm
    shown = evenly_spaced(reconstruction.scan.n_slices, SLICES_SHOWN)
    warnings = reconstruction.verdict.warnings if reconstruction.verdict else ()
    return environment.get_template("report.html").render(
        source_name=source_name,
        method=method_label(reconstruction.method),
        outcome=_outcome(reconstruction),
        scan=_scan_rows(reconstruction),
        slices=list(zip(shown, _pictures(reconstruction, shown), strict=True)),
        trust=_trust_rows(reconstruction.verdict, facts["g_factor"]) if reconstruction.verdict else [],
        warnings=warnings,
        maps=list(zip(shown, _maps(reconstruction, shown), strict=True)) if reconstruction.maps else [],
        middle=min(shown, key=lambda index: abs(index - reconstruction.scan.n_slices // 2)),
        n_slices=reconstruction.scan.n_slices,
        change=_change(reconstruction),
        aspect=fov_read_mm / fov_phase_mm,
        mask=mask_paths(reconstruction.scan.sampled, reconstruction.scan.acs_lines),
        chart=training_chart(reconstruction.training_curve),
        timings=_timings(facts["seconds"], mapped=reconstruction.method if reconstruction.maps else None),
        notes=[note for note in reconstruction.notes if note not in warnings],
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
    acs = "none" if scan.acs_lines is None else f"{scan.acs_lines[1] - scan.acs_lines[0]}"
    n_virtual_coils = reconstruction.n_virtual_coils
    compressed = "" if n_virtual_coils is None else f", compressed to {n_virtual_coils} before filling"
    whitened = "yes, by the noise that the scan measured" if scan.prewhitened else "no"
    return [
        ("Slices", f"{scan.n_slices}, {geometry.slice_spacing_mm:g} mm apart" if scan.n_slices > 1 else "1"),
        ("Coils", f"{scan.n_coils}{compressed}"),
        ("Image matrix", f"{n_rows} × {n_columns} (phase-encode × readout)"),
        ("Field of view", f"{fov_phase_mm:.4g} × {fov_read_mm:.4g} mm"),
        ("Pixel", f"{fov_phase_mm / n_rows:.3g} × {fov_read_mm / n_columns:.3g} mm"),
        ("Acceleration R", f"{scan.acceleration}"),
        ("Effective acceleration", f"{scan.effective_acceleration:.2f} (all lines over acquired lines)"),
        ("Calibration (ACS) lines", acs),
        ("Noise prewhitened", whitened),
    ]


def _trust_rows(verdict: Verdict, g_factor: Mapping[str, float] | None) -> list[tuple[str, str]]:
    choices = verdict.n_slices_by_choice
    total = sum(choices.values())
    parts = (f"{_CHOICES[choice]} in {n_slices} of {total} slices" for choice, n_slices in choices.items())
    chosen = ", ".join(parts) if len(choices) > 1 else "".join(_CHOICES[choice] for choice in choices)
    errors = (verdict.held_out_error, verdict.grappa_held_out_error)
    held_out = "not measured: the scan has no calibration lines to spare"
    if errors[0] is not None and errors[1] is not None:
        held_out = f"{_percent(errors[0])} of their energy; GRAPPA {_percent(errors[1])}"
    source = "measured by the scan" if verdict.noise_measured else "estimated from the calibration lines"
    rows = [
        ("Filled by", chosen),
        ("Error on calibration lines held out", held_out),
        ("Noise of one sample", f"{verdict.noise_sigma:.3g} (standard deviation), {source}"),
    ]
    if g_factor is None:
        return rows
    amplified = f"{g_factor['median']:.2f} in the median, 99 % of pixels below {g_factor['percentile_99']:.2f}"
    return [*rows, ("g-factor inside the object", amplified)]


def _percent(part: float) -> str:
    return f"{100 * part:.2g}\N{NO-BREAK SPACE}%" if part < 0.1 else f"{100 * part:.0f}\N{NO-BREAK SPACE}%"


def _maps(reconstruction: Reconstruction, shown: Sequence[int]) -> Iterable[list[Picture]]:
    """For each slice shown: every map, in one window for all slices."""
    maps = reconstruction.maps
    windows = {name: (float(np.percentile(volume, 0.3)), window_top(volume)) for name, volume in maps.items()}
    for index in shown:
        yield [_map_picture(_MAP_LABELS[name], volume[index], windows[name], index) for name, volume in maps.items()]


def _map_picture(label: str, pixels: np.ndarray, window: tuple[float, float], index: int) -> Picture:
    black, white = window
    top = white - black or 1.0
    uri = _data_uri(png((pixels - black).astype(np.float32), top=top, longest=MAP_PIXELS))
    low, high = f"{black:.3g}", f"{white:.3g}"
    return Picture(label=label, uri=uri, alt=f"Slice {index + 1}, {label}, {low} to {high}", black=low, white=high)


def _pictures(reconstruction: Reconstruction, shown: Sequence[int]) -> Iterable[list[Picture]]:
    """For each slice shown: every method, then what the result changes against the method before it."""
    *_, (before, reference), (method, result) = reconstruction.images.items()
    top = window_top(result)
    factor = difference_factor(result, reference, top)
    change = f"|{method_label(method)} − {method_label(before)}| ×\N{NO-BREAK SPACE}{factor}"
    for index in shown:
        pictures = [
            _picture(method_label(name), volume[index], top, index) for name, volume in reconstruction.images.items()
        ]
        yield [*pictures, _picture(change, np.abs(result[index] - reference[index]), top / factor, index)]


def _change(reconstruction: Reconstruction) -> str:
    *_, (before, reference), (method, result) = reconstruction.images.items()
    size = float(np.linalg.norm(reference))
    percent = 100 * float(np.linalg.norm(result - reference)) / size if size else 0.0
    return f"{method_label(method)} differs from {method_label(before)} by {percent:.2g} % (root mean square)."


def _picture(label: str, pixels: np.ndarray, top: float, index: int) -> Picture:
    return Picture(label=label, uri=_data_uri(png(pixels, top=top)), alt=f"Slice {index + 1}, {label}")


def _data_uri(picture: bytes) -> str:
    return "data:image/png;base64," + b64encode(picture).decode("ascii")


def difference_factor(result: Volume, reference: Volume, top: float) -> int:
    """The largest round factor at which the difference of two volumes still fits the window from 0 to `top`."""
    largest = float(np.percentile(np.abs(result - reference), 99.7))
    return next((factor for factor in (50, 20, 10, 5, 2) if largest * factor <= top), 1)


def _timings(seconds: Mapping[str, float], *, mapped: str | None) -> list[tuple[str, str, float]]:
    """Stage, duration, share of the longest in percent; the time of the method `mapped` is that of its maps too."""
    longest = max(seconds.values()) or 1.0
    rows = []
    for stage, taken in seconds.items():
        label = _LABELS.get(stage, stage.replace("_", " ").capitalize())
        rows.append((f"{label} and maps" if stage == mapped else label, _duration(taken), 100 * taken / longest))
    return rows


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f}\N{NO-BREAK SPACE}ms"
    return f"{seconds:.1f}\N{NO-BREAK SPACE}s" if seconds < 120 else f"{seconds / 60:.1f}\N{NO-BREAK SPACE}min"
