"""`catalogue.jsonl`: a row for each image of a result, which `raki.catalogue` collects into tables that answer.

A line of JSON each, with the columns of `raki.catalogue.schema`: a format that every reader knows and that nothing
needs to be installed for; compaction makes Parquet of it. Nothing in it names a patient, a file or a folder: of the
header stands here what `raki.identity.header` lets through, whether the deployment takes identity out or not.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ismrmrd import xsd
from jaxtyping import Float32

from raki.catalogue.embedding import embedding
from raki.catalogue.schema import COLUMNS, OUTSIDE, ROWS_FILE, SCHEMA
from raki.errors import DamagedScan
from raki.identity.header import harmless_header
from raki.identity.uids import framed_series_uid, single_series_uid, volume_uid
from raki.images import Reconstruction, ScanSummary, object_mask
from raki.results.dicom_volume import files_and_frames
from raki.results.provenance import PIXELS_SUMMED_UP
from raki.results.quantities import noise_deviation
from raki.scan.arrays import Volume

NIFTI = re.compile(r"image(-[0-9]+)?\.nii\.gz")
N_WORDS = 200
"""Of a list of words or sentences: no scan needs more."""


def write_catalogue_rows(
    reconstruction: Reconstruction, folder: Path, facts: Mapping[str, Any], *, files: Sequence[Path]
) -> Path:
    """Writes the rows of a result.

    Args:
        facts: of its provenance.
        files: that are written by now; `image.h5` is one.
    """
    path = folder / ROWS_FILE
    (image,) = (file for file in files if file.name == "image.h5")
    niftis = [_digest(file) for file in files if NIFTI.fullmatch(file.name)]
    rows = catalogue_rows(reconstruction, facts, image_sha256=_digest(image), nifti_sha256=niftis)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, allow_nan=False, separators=(",", ":")) + "\n" for row in rows)
    return path


def catalogue_rows(
    reconstruction: Reconstruction, facts: Mapping[str, Any], *, image_sha256: str, nifti_sha256: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """A row an image: the columns of `raki.catalogue.schema` in their order, null where nothing is known."""
    of_scan = {
        **_of_result(reconstruction, facts, image_sha256),
        **_of_scan(reconstruction.scan),
        **_of_header(reconstruction),
        "nifti_sha256": list(nifti_sha256),
    }
    in_dicom = files_and_frames(reconstruction.scan)
    echo_times = of_scan["echo_times_ms"]
    for image, measured in enumerate(_measured(reconstruction)):
        row = {**of_scan, **_place(reconstruction.scan, image), **_choice(reconstruction, image), **measured}
        contrast = row["contrast"]
        row["echo_time_ms"] = echo_times[contrast] if contrast < len(echo_times) else None
        file, row["sop_frame"] = in_dicom[image]
        row["sop_instance_uid"] = volume_uid(row["series_uid"], file)
        yield {"schema": SCHEMA, **{column.name: _plain(row.get(column.name)) for column in COLUMNS}}


def _of_result(reconstruction: Reconstruction, facts: Mapping[str, Any], image_sha256: str) -> dict[str, Any]:
    raw_sha256 = facts["input"]["sha256"]
    way = (reconstruction.method, reconstruction.combination, reconstruction.n_virtual_coils, reconstruction.seed)
    scan_id = facts["scan_id"] or f"{OUTSIDE}{raw_sha256[:20]}"
    single_uid = single_series_uid(raw_sha256, *way)
    apart = hashlib.sha256(json.dumps([raw_sha256, *way]).encode()).hexdigest()[:20]
    warnings = [
        *(reconstruction.cross_validation.warnings if reconstruction.cross_validation else ()),
        *(reconstruction.apart.warnings if reconstruction.apart else ()),
    ]
    return {
        "result_id": facts["scan_id"] or f"result-{apart}",
        "scan_id": scan_id,
        "created_utc": facts["created_utc"],
        "software": facts["software"]["raki"],
        "raw_sha256": raw_sha256,
        "raw_n_bytes": facts["input"]["n_bytes"],
        "image_sha256": image_sha256,
        "method": reconstruction.method,
        "combination": reconstruction.combination,
        "n_virtual_coils": reconstruction.n_virtual_coils,
        "seed": reconstruction.seed,
        "device": reconstruction.device,
        "seconds": sum(facts["seconds"].values()),
        "seconds_method": facts["seconds"].get(reconstruction.method),
        "noise_sigma": (facts["verdict"] or {}).get("noise_sigma"),
        "warnings": warnings[:N_WORDS],
        "remarks": [note for note in facts["notes"] if note not in warnings][:N_WORDS],
        "n_bands": reconstruction.apart.n_bands if reconstruction.apart else 1,
        "series_uid": framed_series_uid(single_uid),
        "single_series_uid": single_uid,
    }


def _of_scan(scan: ScanSummary) -> dict[str, Any]:
    geometry = scan.geometry
    first, end = scan.acs_lines or (0, 0)
    return {
        "n_slices": scan.n_slices,
        "n_frames": len(scan.frames),
        "n_coils": scan.n_coils,
        "n_rows": geometry.matrix[0],
        "n_columns": geometry.matrix[1],
        "n_partitions": None if scan.points is None else scan.points.shape[1],
        "fov_read_mm": geometry.fov_mm[0],
        "fov_phase_mm": geometry.fov_mm[1],
        "slice_thickness_mm": geometry.fov_mm[2] or None,
        "slice_spacing_mm": geometry.slice_spacing_mm,
        "is_oriented": geometry.is_oriented,
        "acceleration": scan.acceleration,
        "net_acceleration": scan.net_acceleration,
        "n_acs_lines": scan.n_acs_lines_apart or end - first,
        "prewhitened": scan.prewhitened,
    }


def _of_header(reconstruction: Reconstruction) -> dict[str, Any]:
    """What the header says, of it what tells nobody who was scanned."""
    try:
        header = harmless_header(reconstruction.scan.header_xml)
    except DamagedScan:  # of arrays: there is none
        header = xsd.ismrmrdHeader()
    system = header.acquisitionSystemInformation or xsd.acquisitionSystemInformationType()
    sequence = header.sequenceParameters or xsd.sequenceParametersType()
    encoding = header.encoding[0] if header.encoding else xsd.encodingType()
    position = header.measurementInformation.patientPosition if header.measurementInformation else None
    return {
        "vendor": system.systemVendor,
        "model": system.systemModel,
        "field_strength_t": _number(system.systemFieldStrength_T),
        "trajectory": _word(encoding.trajectory),
        "patient_position": _word(position),
        "protocol": list(_protocol(encoding)),
        "coil_names": [label.coilName for label in system.coilLabel if label.coilName][:N_WORDS],
        "repetition_time_ms": _first(sequence.TR),
        "inversion_time_ms": _first(sequence.TI),
        "flip_angle_deg": _first(sequence.flipAngle_deg),
        "echo_times_ms": [_number(time) for time in sequence.TE][:N_WORDS],
        "b_values": sorted({float(each.bvalue) for each in sequence.diffusion if _number(each.bvalue) is not None}),
        "echo_train_length": encoding.echoTrainLength if isinstance(encoding.echoTrainLength, int) else None,
    }


def _protocol(encoding: xsd.encodingType) -> Iterator[str]:
    if encoding.trajectoryDescription and encoding.trajectoryDescription.identifier:
        yield encoding.trajectoryDescription.identifier
    parallel = encoding.parallelImaging
    if parallel and parallel.calibrationMode:
        yield f"calibration {_word(parallel.calibrationMode)}"
    if parallel and parallel.multiband:
        yield f"multiband {parallel.multiband.multiband_factor}"


def _place(scan: ScanSummary, image: int) -> dict[str, Any]:
    place, frame = scan.geometry.place_of(image, scan.n_slices), image // scan.n_slices
    return {
        "image": image,
        "slice": image % scan.n_slices,
        "frame": frame,
        **asdict(scan.frames[frame]),
        "position_mm": place.position_mm,
        "read_direction": place.read_direction,
        "phase_direction": place.phase_direction,
        "slice_direction": place.slice_direction,
    }


def _choice(reconstruction: Reconstruction, image: int) -> dict[str, Any]:
    """Of an image that was filled by itself; of a 3-D scan, whose planes were, what holds of all of them."""
    validation = reconstruction.cross_validation
    if validation is None:
        return {}
    if len(validation.by_slice) == reconstruction.scan.n_images and reconstruction.scan.points is None:
        return asdict(validation.by_slice[image])
    return {
        name: getattr(validation, name)
        for name in ("held_out_error", "grappa_held_out_error", "structure_kept", "grappa_structure_kept")
    }


def _measured(reconstruction: Reconstruction) -> Iterator[dict[str, Any]]:
    """Image by image, what magnitude and maps are inside the object; found on every n-th pixel of large matrices.

    Of one frame after the other: a series of thousands of images has no second copy in memory.
    """
    scan = reconstruction.scan
    for frame in range(len(scan.frames)):
        images = slice(frame * scan.n_slices, (frame + 1) * scan.n_slices)
        magnitude = _coarse(scan, reconstruction.result[images])
        maps = {name: _coarse(scan, volume[images]) for name, volume in reconstruction.maps.items()}
        if "g_factor" in maps and scan.prewhitened:
            deviation = maps["g_factor"] * noise_deviation(scan)
            maps["snr"] = np.divide(magnitude, deviation, out=np.zeros_like(magnitude), where=deviation > 0)
        inside = object_mask(torch.from_numpy(magnitude)).numpy()
        for index, picture in enumerate(reconstruction.result[images]):
            of_image = {name: volume[index][inside[index]] for name, volume in maps.items()}
            yield {"embedding": embedding(np.abs(picture)).tolist(), "object_part": float(inside[index].mean())} | (
                _inside_object(magnitude[index][inside[index]], of_image)
            )


def _inside_object(magnitude: Float32[np.ndarray, " pixel"], maps: Mapping[str, np.ndarray]) -> dict[str, float]:
    if not magnitude.size:
        return {}
    found = {"mean": float(magnitude.mean()), "percentile_99": float(np.percentile(magnitude, 99))}
    for name, values in maps.items():
        found |= {f"{name}_median": float(np.median(values)), f"{name}_99": float(np.percentile(values, 99))}
    if "standard_error" in maps and found["mean"]:
        found["standard_error"] = found["standard_error_median"] / found["mean"]
    return found


def _coarse(scan: ScanSummary, volume: Volume) -> Volume:
    rows, columns = (slice(None, None, -(-size // PIXELS_SUMMED_UP)) for size in scan.geometry.matrix)
    return np.ascontiguousarray(volume[:, rows, columns])


def _first(values: list[Any]) -> float | None:
    return _number(values[0]) if values else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def _word(value: object) -> str | None:
    return None if value is None else str(getattr(value, "value", value))


def _plain(value: Any) -> Any:
    """As JSON has it, seven digits of a decimal number, which is what the images have; null where none is."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
