"""The report on one reconstruction: a single HTML file that opens anywhere, without network, and prints whole.

This module decides what is shown; `templates/` decides how it looks. `raki.results.viewer` has the images, which
`report.js` shows; without scripts, and on paper, one of each kind and a contact sheet stand in its place. Charts are
inline SVG in the coordinates of `raki.results.charts`.
"""

# ruff: noqa: RUF001 -- the report is typeset, with signs for times and minus

from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from raki.images import Reconstruction, ScanSummary
from raki.kspace import methods
from raki.planning import FOR_SCATTERED
from raki.results.charts import mask_paths, plane_paths, training_chart
from raki.results.display import View
from raki.results.pictures import map_pictures, pictures
from raki.results.trust import ladder, trust_rows
from raki.results.viewer import Viewer, viewer
from raki.scan import Geometry, frames_in_words
from raki.scan.arrays import Volume
from raki.wording import plain

ALL_LINES = "All acquired lines"
"""What an image is called into which nothing was filled."""

_CONVENTIONS = {
    "axial": "Axial images are seen from the feet: the patient's right is on the left.",
    "coronal": "Coronal images are seen from the front: the patient's right is on the left.",
    "sagittal": "Sagittal images are seen from the left: anterior is on the left.",
}


def method_label(method: str, *, scattered: bool = False) -> str:
    """How a method is called in a text; what it does of points on no lattice, where a scan has those."""
    if scattered and method in FOR_SCATTERED:
        return FOR_SCATTERED[method].label
    return methods()[method].label if method in methods() else method


@cache
def _template() -> Template:
    """Compiled once: that takes longer than filling it in."""
    # Jinja escapes by the file's suffix only where it is asked to; unescaped are our own style and script alone.
    environment = Environment(
        loader=PackageLoader("raki.results"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


@cache
def _own(name: str) -> str:
    """A style or script of ours, as it stands in the page."""
    return (files("raki.results") / "templates" / name).read_text(encoding="utf-8")


def script_digest() -> str:
    """What a content security policy knows the report's script by: the browser runs no other."""
    return "sha256-" + b64encode(sha256(_own("report.js").encode()).digest()).decode("ascii")


def render_report(reconstruction: Reconstruction, facts: Mapping[str, Any], *, source_name: str) -> str:
    """The report as HTML. `facts` is the provenance of the same reconstruction."""
    scan = reconstruction.scan
    images, maps = _images(reconstruction), reconstruction.maps
    shown = viewer(reconstruction, images, facts["unit"])
    first = _first(reconstruction)
    return _template().render(
        style=_own("report.css"),
        script=_own("report.js"),
        script_digest=script_digest(),
        source_name=plain(source_name),
        method=[*images][-1],
        outcome=_outcome(reconstruction),
        first=first,
        viewer=shown,
        methods=_labels(shown, is_overlay=False),
        overlays=_labels(shown, is_overlay=True),
        pictures=pictures(images, shown.middle, shown.windows),
        maps=map_pictures(maps, shown.middle, shown.windows),
        how_shown=[*_how_shown(shown, scan), _orientation({one.view: None for one in shown.shown}), *_change(images)],
        scan=_scan_rows(reconstruction),
        trust=trust_rows(reconstruction, facts["g_factor"]),
        ladder=ladder(reconstruction),
        mask=_mask(scan, is_filled=len(images) > 1),
        is_filled=len(images) > 1,
        chart=training_chart(reconstruction.training_curve),
        timings=_timings(
            facts["seconds"],
            mapped=reconstruction.method if maps else None,
            scattered=reconstruction.scan.is_scattered,
        ),
        notes=[note for note in facts["notes"] if note not in first],
        options=_options(facts["options"]),
        facts=facts,
    )


def _mask(scan: ScanSummary, *, is_filled: bool) -> dict[str, Any]:
    """Where nothing was filled in, nothing was calibrated on."""
    if scan.points is not None:
        return plane_paths(scan.points, scan.acs_block if is_filled else None)
    return mask_paths(scan.sampled, scan.acs_lines if is_filled else None)


def _images(reconstruction: Reconstruction) -> dict[str, Volume]:
    """By label, the result last. Where no line was missing between others, all methods made the same image."""
    if reconstruction.scan.acceleration == 1:
        with_zeros = reconstruction.images["zero_filled"]
        one_sided = {} if reconstruction.opposite is None else {method_label("zero_filled"): with_zeros}
        return {**one_sided, ALL_LINES: reconstruction.result}
    is_scattered = reconstruction.scan.is_scattered
    return {method_label(name, scattered=is_scattered): volume for name, volume in reconstruction.images.items()}


def _labels(shown: Viewer, *, is_overlay: bool) -> list[tuple[str, str]]:
    return [(layer.key, layer.label) for layer in shown.layers if layer.is_overlay == is_overlay]


def _first(reconstruction: Reconstruction) -> list[str]:
    """What is to be known before one looks: warnings, and what was decided while the scan was read."""
    validation = reconstruction.cross_validation
    leaks = reconstruction.apart.warnings if reconstruction.apart else ()
    one_sided = reconstruction.opposite.notes() if reconstruction.opposite else ()
    warnings = [*(validation.warnings if validation else ()), *_about_scattered(reconstruction)]
    by_model = reconstruction.model.notes() if reconstruction.model else ()
    return list(dict.fromkeys([*by_model, *leaks, *warnings, *one_sided, *reconstruction.scan.remarks]))


def _about_scattered(reconstruction: Reconstruction) -> Iterable[str]:
    return reconstruction.scattered.warnings() if reconstruction.scattered else ()


def _how_shown(shown: Viewer, scan: ScanSummary) -> list[str]:
    """How far the pictures are the images."""
    result, n_images = shown.layers[0], len(shown.shown)
    tile = shown.sheets[result.key][0].tile
    n_rows, n_columns = scan.geometry.matrix
    said = [
        f"Magnitude, for the eye: pictures in this file have 8 bits and are compressed with losses (JPEG). A stored "
        f"value times {result.high / 255:.4g} is the image's; what is above {result.high:.4g} is cut off. To measure, "
        "take image.h5, or the DICOM and NIfTI files beside this report."
    ]
    if n_images < scan.n_images:
        said.append(f"{n_images} of {scan.n_images} images are shown; the image files hold all of them.")
    if max(tile) < max(n_rows, n_columns):
        said.append(
            f"To keep this file small, pictures are reduced to {max(tile)} of {max(n_rows, n_columns)} pixels a side."
        )
    if shown.n_compared < n_images and len(shown.layers) > 1:
        said.append(
            f"To keep this file small, other methods, differences and maps are there for {shown.n_compared} of the "
            f"{n_images} images, spread over the scan."
        )
    return said


def _slices(scan: ScanSummary) -> str:
    if scan.n_slices == 1:
        return "1"
    if scan.geometry.places:
        return f"{scan.n_slices}, each in a place of its own"
    return f"{scan.n_slices}, {scan.geometry.slice_spacing_mm:g} mm apart"


def _outcome(reconstruction: Reconstruction) -> str:
    scan, method = reconstruction.scan, reconstruction.method
    at_once = (
        f"{reconstruction.apart.n_bands} slices were excited at once and taken apart. " if reconstruction.apart else ""
    )
    acquired = f"{at_once}{scan.acquired_in_words} were acquired"
    if method == "zero_filled":
        return f"{acquired}; the others are left at zero."
    if scan.acceleration == 1:
        return f"{acquired} and none between them is missing: nothing had to be filled in."
    label = method_label(method, scattered=reconstruction.scan.is_scattered)
    mapped = " and mapped how far to trust them" if reconstruction.maps else ""
    return (
        f"{acquired}, R = {_acceleration(scan)}. {label} filled in those between them{mapped} in "
        f"{_duration(reconstruction.seconds[method])}, {_learnt_from(reconstruction)}."
    )


def _learnt_from(reconstruction: Reconstruction) -> str:
    model = reconstruction.model
    if model is None or not model.n_used:
        return "learning from this scan alone"
    return f"{model.n_used} of {len(model.uses)} images by weights of another scan, of the model {model.title}"


def _scan_rows(reconstruction: Reconstruction) -> list[tuple[str, str]]:
    scan, geometry = reconstruction.scan, reconstruction.scan.geometry
    n_rows, n_columns = geometry.matrix
    fov_read_mm, fov_phase_mm, _ = geometry.fov_mm
    n_virtual_coils = reconstruction.n_virtual_coils
    compressed = "" if n_virtual_coils is None else f", compressed to {n_virtual_coils} before filling"
    whitened = "yes, by the noise that the scan measured" if scan.prewhitened else "no"
    rows = [
        ("Frames", frames_in_words(scan.frames)),
        ("Slices", _slices(scan)),
        ("Coils", f"{scan.n_coils}{compressed}"),
        ("Image matrix", f"{n_rows} × {n_columns} (phase-encode × readout)"),
        ("Field of view", f"{fov_phase_mm:.4g} × {fov_read_mm:.4g} mm"),
        ("Phase oversampling", _oversampling(geometry)),
        ("Pixel", f"{fov_phase_mm / n_rows:.3g} × {fov_read_mm / n_columns:.3g} mm"),
        ("Encoded lines", _encoded(scan)),
        ("Measured detail", _measured_detail(scan)),
        ("Acceleration R", _acceleration(scan)),
        ("Net acceleration", _net_acceleration(scan)),
        ("Calibration (ACS) lines", _calibration(scan)),
        ("Noise prewhitened", whitened),
    ]
    return [(name, value) for name, value in rows if value]


def _acceleration(scan: ScanSummary) -> str:
    """R; of both phase-encode directions in a 3-D scan."""
    if scan.cell is None or scan.acceleration == 1:
        return f"{scan.rate} (points on no lattice)" if scan.is_scattered else scan.rate
    return f"{scan.cell[0]} \N{MULTIPLICATION SIGN} {scan.cell[1]}"


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


def _measured_detail(scan: ScanSummary) -> str:
    """How fine both sides of the centre of k-space show what is there; nothing where both go to the border."""
    first, stop = scan.encoded_lines
    n_pe, encoded_mm = scan.sampled.size, scan.geometry.phase_oversampling * scan.geometry.fov_mm[1]
    shorter, longer = sorted((n_pe // 2 - first, stop - 1 - n_pe // 2))
    if shorter < 1 or longer - shorter <= 1:
        return ""
    return (
        f"{encoded_mm / (2 * shorter):.3g} mm along phase-encode on both sides, {encoded_mm / (2 * longer):.3g} on one"
    )


def _net_acceleration(scan: ScanSummary) -> str:
    if scan.acceleration == 1:
        return ""
    of_lines = scan.points is None
    what = "lines of the acquired range over acquired lines" if of_lines else "points meant over acquired ones"
    return f"{scan.net_acceleration:.2f} ({what})"


def _calibration(scan: ScanSummary) -> str:
    """Nothing where no line was missing."""
    if scan.acceleration == 1:
        return ""
    if scan.n_acs_lines_apart:
        return f"{scan.n_acs_lines_apart}, acquired apart from the image"
    if scan.acs_block is not None:
        first, stop, left, right = scan.acs_block
        return f"{stop - first} of {right - left} partitions each"
    return "none" if scan.acs_lines is None else f"{scan.acs_lines[1] - scan.acs_lines[0]}"


def _change(images: Mapping[str, Volume]) -> list[str]:
    """How much the result changed against the method before it, where there is one."""
    if len(images) == 1:
        return []
    (before, reference), (method, result) = [*images.items()][-2:]
    # Image by image: no volume of differences is held.
    changed = sum(float(np.linalg.norm(ours - theirs)) ** 2 for ours, theirs in zip(result, reference, strict=True))
    size = float(np.linalg.norm(reference))
    percent = 100 * changed**0.5 / size if size else 0.0
    return [f"{method} differs from {before} by {percent:.2g} % (root mean square)."]


def _orientation(views: Iterable[View]) -> str:
    """How to read the letters at the edges; why there are none."""
    planes = [view.plane for view in views]
    if not all(planes):
        return "How the images lie in the patient isn't known: they are shown as they were acquired, without letters."
    conventions = " ".join(_CONVENTIONS[plane] for plane in dict.fromkeys(planes))
    return f"{conventions} Letters: R right, L left, A anterior, P posterior, H head, F feet of the patient."


def _options(options: Mapping[str, Mapping[str, Any]] | None) -> str:
    """What was asked for, by who set it; nothing where that isn't known."""
    by_whom: dict[str, list[str]] = {}
    for name, option in (options or {}).items():
        value = {True: "yes", False: "no"}[option["value"]] if isinstance(option["value"], bool) else option["value"]
        by_whom.setdefault(option["set_by"], []).append(f"{name} {value}")
    return "; ".join(f"{', '.join(said)} ({who})" for who, said in by_whom.items())


def _timings(seconds: Mapping[str, float], *, mapped: str | None, scattered: bool) -> list[tuple[str, str, float]]:
    """Stage, duration, share of the longest in percent; the time of the method `mapped` is that of its maps too."""
    longest = max(seconds.values()) or 1.0
    rows = []
    for stage, taken in seconds.items():
        label = method_label(stage, scattered=scattered) if stage in methods() else stage.replace("_", " ").capitalize()
        rows.append((f"{label} and maps" if stage == mapped else label, _duration(taken), 100 * taken / longest))
    return rows


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f}\N{NO-BREAK SPACE}ms"
    return f"{seconds:.1f}\N{NO-BREAK SPACE}s" if seconds < 120 else f"{seconds / 60:.1f}\N{NO-BREAK SPACE}min"
