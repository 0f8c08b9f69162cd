"""The files of a result, as they stand on the share."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from raki.images import Reconstruction
from raki.options import Chosen
from raki.results.catalogue_rows import write_catalogue_rows
from raki.results.dicom import write_dicom
from raki.results.dicom_quantities import write_dicom_quantities
from raki.results.dicom_volume import write_dicom_volume
from raki.results.gradient_table import write_gradient_table
from raki.results.image_files import write_ismrmrd_image, write_niftis
from raki.results.one_run import in_place_of_the_last
from raki.results.preview import write_preview
from raki.results.provenance import provenance, unit
from raki.results.report import method_label, render_report
from raki.results.weights import write_weights
from raki.scan import frames_in_words

_NO_STAGES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Source:
    """The raw file that a result was made from. Its name is the site's own choice and may tell who was scanned."""

    name: str
    sha256: str
    n_bytes: int

    @classmethod
    def of(cls, path: Path) -> "Source":
        """A file, or a folder, whose digest is that of its files' contents one after the other, in order of names."""
        files = [path] if path.is_file() else sorted(entry for entry in path.iterdir() if entry.is_file())
        digest = hashlib.sha256()
        for part in files:
            with part.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return cls(name=path.name, sha256=digest.hexdigest(), n_bytes=sum(each.stat().st_size for each in files))


def write_results(
    reconstruction: Reconstruction,
    folder: Path,
    *,
    source: Source,
    chosen: Chosen | None = None,
    scan_id: str | None = None,
    stage_seconds: Mapping[str, float] = _NO_STAGES,
    single_dicoms: bool = False,
    quantities: bool = False,
    kspace: Path | None = None,
) -> list[Path]:
    """Write images, `preview.png`, `report.html`, `provenance.json`, `catalogue.jsonl` and `manifest.json`.

    Images are `image.h5`, `image.nii.gz` and `image.dcm`. Files of an earlier run that are there go first; at no time
    are there files of both. Where slices don't lie on one even grid there are several NIfTI files, numbered; see
    `write_niftis`, and `write_dicom_volume` for where there are several of DICOM.

    Where the reconstruction has maps, `g_factor.nii.gz`, `standard_error.nii.gz` and `structure_kept.nii.gz` stand
    beside the image, and so does each part of its explanation; where it has weights, `weights.safetensors`.
    `chosen` are the options that were asked for, where it is known who set them; `stage_seconds` are the stages before
    the reconstruction, in their order. The source's name stands in the report alone.

    Args:
        single_dicoms: DICOM images of a slice each too, into the folder `dicom`; see `write_dicom`.
        quantities: phase, signal-to-noise and maps as DICOM series too, as far as there are such; see
            `write_dicom_quantities`.
        kspace: the file of its filled k-space, which moves in.

    Returns:
        The files but the manifest.

    >>> import raki
    >>> from pathlib import Path
    >>> from raki.results import Source
    >>> raki.simulate_scan(Path("scan.h5"), n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    >>> scan = raki.preprocess(raki.read_scan(Path("scan.h5")))
    >>> result = raki.reconstruct(scan, method="grappa", device="cpu")
    >>> written = raki.write_results(result, Path("out"), source=Source.of(Path("scan.h5")))
    >>> Path("out/report.html") in written
    True
    """
    facts = provenance(
        reconstruction,
        sha256=source.sha256,
        n_bytes=source.n_bytes,
        chosen=chosen,
        scan_id=scan_id,
        stage_seconds=stage_seconds,
    )

    def write(room: Path) -> list[Path]:
        files = _write_images(reconstruction, room, facts, source)
        if quantities:
            files += write_dicom_quantities(reconstruction, room, source_sha256=source.sha256)
        if kspace:
            files.append(Path(shutil.move(kspace, room / kspace.name)))
        if single_dicoms:
            files += write_dicom(reconstruction, room / "dicom", source_sha256=source.sha256)
        report, facts_json = room / "report.html", room / "provenance.json"
        report.write_text(render_report(reconstruction, facts, source_name=source.name), encoding="utf-8")
        facts_json.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        rows = write_catalogue_rows(reconstruction, room, facts, files=files)
        return [*files, rows, report, facts_json]

    return in_place_of_the_last(folder, write, scan_id=scan_id, remarks=reconstruction.scan.remarks)


def _write_images(reconstruction: Reconstruction, folder: Path, facts: Mapping[str, Any], source: Source) -> list[Path]:
    image, nifti, preview = (folder / name for name in ("image.h5", "image.nii.gz", "preview.png"))
    scan, geometry, result = reconstruction.scan, reconstruction.scan.geometry, reconstruction.result
    made_by = f"raki {facts['software']['raki']}, {reconstruction.method}, R={scan.rate}"
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
    niftis = write_niftis(
        result, nifti, geometry=geometry, frames=scan.frames, frame_step_s=scan.frame_step_s, description=description
    )
    tables = []
    if len(niftis) == 1:
        tables = write_gradient_table(scan.header_xml, nifti, geometry=geometry, frames=scan.frames)
    dicoms = write_dicom_volume(reconstruction, folder / "image.dcm", source_sha256=source.sha256)
    maps = _write_maps(reconstruction, folder, made_by=made_by, image_unit=short_unit)
    write_preview(
        {method_label(method, scattered=scan.is_scattered): volume for method, volume in reconstruction.images.items()},
        preview,
        geometry=geometry,
        frames=scan.frames,
        caption=_caption(reconstruction),
    )
    weights = write_weights(reconstruction, folder / "weights.safetensors")
    return [image, *niftis, *tables, *dicoms, *maps, *weights, preview]


def _write_maps(reconstruction: Reconstruction, folder: Path, *, made_by: str, image_unit: str) -> list[Path]:
    scan, written = reconstruction.scan, []
    units = dict.fromkeys(("standard_error", *reconstruction.explanation), image_unit)
    for name, volume in (*reconstruction.maps.items(), *reconstruction.explanation.items()):
        path, map_unit = folder / f"{name}.nii.gz", units.get(name, "dimensionless")
        description = f"{made_by}; {name}; unit: {map_unit}"[:79]
        written += write_niftis(volume, path, geometry=scan.geometry, frames=scan.frames, description=description)
    return written


def _caption(reconstruction: Reconstruction) -> str:
    scan = reconstruction.scan
    n_rows, n_columns = scan.geometry.matrix
    slices = "1 slice" if scan.n_slices == 1 else f"middle of {scan.n_slices} slices"
    frames = f", {frames_in_words(scan.frames)}" if len(scan.frames) > 1 else ""
    what = "lines" if scan.points is None else "points"
    return (
        f"{slices}{frames}, {scan.n_coils} coils, {n_rows} x {n_columns} pixels, R = {scan.rate}, "
        f"{100 * scan.acquired_part:.0f} % of the {what} acquired. Research use only."
    )
