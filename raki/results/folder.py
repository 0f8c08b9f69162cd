"""The files of a result, as they stand on the share."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from raki.images import Reconstruction
from raki.options import Chosen
from raki.results.image_files import write_ismrmrd_image, write_nifti, write_preview
from raki.results.provenance import provenance, unit
from raki.results.report import method_label, render_report
from raki.scan import frames_in_words

_NO_STAGES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Source:
    """The raw file that a result was made from. Its name is the site's own choice and may tell who was scanned."""

    name: str
    sha256: str
    n_bytes: int


def write_results(
    reconstruction: Reconstruction,
    folder: Path,
    *,
    source: Source,
    chosen: Chosen | None = None,
    scan_id: str | None = None,
    stage_seconds: Mapping[str, float] = _NO_STAGES,
) -> list[Path]:
    """Write `image.h5`, `image.nii.gz`, `preview.png`, `report.html` and `provenance.json`; files there are replaced.

    Where the reconstruction has maps, `g_factor.nii.gz`, `standard_error.nii.gz` and `structure_kept.nii.gz` stand
    beside the image. `chosen` are the options that were asked for, where it is known who set them; `stage_seconds` are
    the stages before the reconstruction, in their order. The source's name stands in the report alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image, nifti, preview, report, facts_json = (
        folder / name for name in ("image.h5", "image.nii.gz", "preview.png", "report.html", "provenance.json")
    )
    facts = provenance(
        reconstruction,
        sha256=source.sha256,
        n_bytes=source.n_bytes,
        chosen=chosen,
        scan_id=scan_id,
        stage_seconds=stage_seconds,
    )
    scan, geometry, result = reconstruction.scan, reconstruction.scan.geometry, reconstruction.result
    made_by = f"raki {facts['software']['raki']}, {reconstruction.method}, R={scan.acceleration}"
    write_ismrmrd_image(
        result,
        image,
        geometry=geometry,
        frames=scan.frames,
        header_xml=scan.header_xml,
        comment=f"{made_by}; magnitude in {unit(scan)}",
    )
    short_unit = "noise SD of one coil" if scan.prewhitened else "arbitrary unit"
    description = f"{made_by}; unit: {short_unit}"[:79]
    write_nifti(result, nifti, geometry=geometry, frames=scan.frames, description=description)
    maps = _write_maps(reconstruction, folder, made_by=made_by, image_unit=short_unit)
    write_preview(
        {method_label(method): volume for method, volume in reconstruction.images.items()},
        preview,
        geometry=geometry,
        frames=scan.frames,
        caption=_caption(reconstruction),
    )
    report.write_text(render_report(reconstruction, facts, source_name=source.name), encoding="utf-8")
    facts_json.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return [image, nifti, *maps, preview, report, facts_json]


def _write_maps(reconstruction: Reconstruction, folder: Path, *, made_by: str, image_unit: str) -> list[Path]:
    """The maps there are; those of an earlier result in the folder, which belong to another image, go."""
    scan, written = reconstruction.scan, []
    for name, map_unit in (
        ("g_factor", "dimensionless"),
        ("standard_error", image_unit),
        ("structure_kept", "dimensionless"),
    ):
        path = folder / f"{name}.nii.gz"
        path.unlink(missing_ok=True)
        if name in reconstruction.maps:
            description = f"{made_by}; {name}; unit: {map_unit}"[:79]
            volume = reconstruction.maps[name]
            write_nifti(volume, path, geometry=scan.geometry, frames=scan.frames, description=description)
            written.append(path)
    return written


def _caption(reconstruction: Reconstruction) -> str:
    scan = reconstruction.scan
    n_rows, n_columns = scan.geometry.matrix
    slices = "1 slice" if scan.n_slices == 1 else f"middle of {scan.n_slices} slices"
    frames = f", {frames_in_words(scan.frames)}" if len(scan.frames) > 1 else ""
    return (
        f"{slices}{frames}, {scan.n_coils} coils, {n_rows} x {n_columns} pixels, R = {scan.acceleration}, "
        f"{100 / scan.effective_acceleration:.0f} % of the lines acquired. Research use only."
    )
