"""Where an image comes from: `provenance.json`, enough to make the same image again and to tell two apart.

Keys, all always there; `null` where nothing is known:

    schema               "raki.provenance/1"; grows by new keys only, else the number changes
    created_utc          ISO 8601, end of the reconstruction
    scan_id              the service's opaque name of the scan
    input                sha256 and n_bytes of the raw file
    method, seed, device
    method_from          package and version that bring the method: raki-mri, or whoever adds it as a plug-in
    options              null, or method, combine, coils (0: all), seed and maps as they were asked for, each with its
                         value and set_by: default, deployment, raki.toml or command line, or model
                         for what the model brings
    scan                 n_slices (of one frame), frames (contrast, phase, repetition and set of each), frame_step_s
                         (null where nothing tells), n_coils, n_phase_encode, n_readout, n_acquired_lines,
                         encoded_lines [first, one past the last; none beyond was meant to be acquired], acceleration,
                         net_acceleration, acs_lines [first, one past the last], n_acs_lines_apart (acquired apart
                         from the image), prewhitened, image_matrix [phase-encode, readout], fov_mm [readout,
                         phase-encode, slice], phase_oversampling
    unit                 of a pixel's value
    combination          of the coils: rss or adaptive
    n_virtual_coils      null, or how many the coils were compressed to before filling
    seconds              stage -> wall clock
    training             null, or n_points, last_step, and training_loss and validation_loss at the last step
    taken_apart          null, or of slices that were excited at once n_bands (how many), n_groups_by_choice (taken
                         apart by slice_grappa, split_slice_grappa, slice_raki), held_out_errors (of each, energy over
                         energy in held-out parts of the single-band reference), leakage (mean, worst, and
                         worst_from_into: the slice that it comes from and that in which it shows, from 0; root of
                         energy, 0 to 1),
                         residual (energy that the slices lack when summed again), noise_gain,
                         agreement (correlation with the references, the least), other_sign (whether the phase turned
                         the other way than the header says), warnings
    verdict              null, or n_slices_by_choice (filled by raki, raki_linear, grappa), structure_kept and
                         grappa_structure_kept (the part shown of points put into the scan, 0 to 1), held_out_error
                         and grappa_held_out_error (energy of the error in predicting acquired lines, over their own;
                         null where not measured), noise_measured, noise_sigma (of a complex sample, in units of the
                         k-space), warnings
    model                null, or of the model that was asked for name, version, digest (SHA-256 of its model.json,
                         which has that of its weights; of weights that are no model, theirs), n_used (images that its
                         weights filled), n_images, mismatches, and images: of each null, or used, error (energy of the
                         error in predicting acquired lines from the lattice alone), error_then (the same in the scan of
                         the weights), noise (what of it noise makes), judged and own_judged (outside the ACS, by
                         them and by the scan's own)
    partial_fourier      null, or n_slices_by_filling of the side of k-space that wasn't measured (virtual_coils, pocs,
                         zeros), missing_part (of k-space, 0 to 1) and held_out_error (energy of the error in predicting
                         acquired lines from those opposite, over their own; null where nothing was filled)
    scattered            null, or of a 3-D scan whose points lie on no lattice n_by_filling (planes filled by spirit,
                         spirit_sparse, zeros), held_out_error and linear_held_out_error (energy of the error in
                         predicting withheld acquired points, over their own; null where none were), structure_kept (of
                         what SPIRiT alone shows), kernel_side, n_coils that were computed with and lost_energy of the
                         others, net_accelerations [least, most, of the frames], n_frames_apart (with points of their
                         own), area (part of the plane that was filled), warnings
    g_factor             null, or median and percentile_99 inside the object, on images spread over the scan
    notes                sentences: what was decided while the scan was read, what it lacks, choices made for it; all
                         remarks of `raki inspect` among them
    software             raki, torch, numpy, python -> version

Nothing in it names a patient, a host or a path; the raw file's own name, which a site may make of either, isn't in it.
"""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from typing import Any

import numpy as np
import torch

from raki.images import ModelUse, Reconstruction, ScanSummary, TakenApart, object_mask
from raki.kspace import CrossValidation, OppositeSides, ScatteredFills, StoredUse
from raki.options import Chosen
from raki.planning import origin_of
from raki.results.image_files import evenly_spaced
from raki.results.notes import notes_of

SCHEMA = "raki.provenance/1"

# The object is found on coarse copies of some images: its median needs no more, and all of it takes minutes.
IMAGES_SUMMED_UP = 8
PIXELS_SUMMED_UP = 128


def provenance(
    reconstruction: Reconstruction,
    *,
    sha256: str,
    n_bytes: int,
    chosen: Chosen | None = None,
    scan_id: str | None,
    stage_seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The content of `provenance.json`. `stage_seconds` are the stages before the reconstruction, in their order."""
    return {
        "schema": SCHEMA,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "scan_id": scan_id,
        "input": {"sha256": sha256, "n_bytes": n_bytes},
        "method": reconstruction.method,
        "method_from": _origin(reconstruction.method),
        "seed": reconstruction.seed,
        "device": reconstruction.device,
        "options": None if chosen is None else _options(chosen),
        "scan": _scan(reconstruction.scan),
        "unit": unit(reconstruction.scan),
        "combination": reconstruction.combination,
        "n_virtual_coils": reconstruction.n_virtual_coils,
        "seconds": {stage: round(seconds, 3) for stage, seconds in {**stage_seconds, **reconstruction.seconds}.items()},
        "training": _training(reconstruction),
        "model": None if reconstruction.model is None else _model(reconstruction.model),
        "partial_fourier": None if reconstruction.opposite is None else _opposite(reconstruction.opposite),
        "taken_apart": None if reconstruction.apart is None else _taken_apart(reconstruction.apart),
        "scattered": None if reconstruction.scattered is None else _scattered(reconstruction.scattered),
        "verdict": None if reconstruction.cross_validation is None else _verdict(reconstruction.cross_validation),
        "g_factor": _g_factor(reconstruction),
        "notes": list(notes_of(reconstruction)),
        "software": software_versions(),
    }


def _options(chosen: Chosen) -> dict[str, dict[str, Any]]:
    values = asdict(chosen.options)
    return {name: {"value": value, "set_by": chosen.set_by[name]} for name, value in values.items()}


def unit(scan: ScanSummary) -> str:
    """The unit of a pixel's value, as a phrase."""
    return "standard deviation of one coil's complex noise" if scan.prewhitened else "arbitrary unit of the scanner"


def software_versions() -> dict[str, str]:
    """The versions that decide the bits of an image."""
    packages = {"raki": "raki-mri", "torch": "torch", "numpy": "numpy"}
    return {name: _version(package) for name, package in packages.items()} | {"python": platform.python_version()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a container that copies the source instead of installing it
        return "not installed as a package"


def _origin(method: str) -> dict[str, str]:
    plugin = origin_of(method)
    return {"package": plugin.package, "version": plugin.version}


def _scan(scan: ScanSummary) -> dict[str, Any]:
    return {
        "n_slices": scan.n_slices,
        "frames": [asdict(frame) for frame in scan.frames],
        "frame_step_s": scan.frame_step_s,
        "n_coils": scan.n_coils,
        "n_phase_encode": scan.sampled.size,
        "n_readout": scan.n_ro,
        **_of_volume(scan),
        "n_acquired_lines": int(scan.sampled.sum()),
        "encoded_lines": list(scan.encoded_lines),
        "acceleration": scan.acceleration,
        "net_acceleration": round(scan.net_acceleration, 3),
        "acs_lines": None if scan.acs_lines is None else list(scan.acs_lines),
        "n_acs_lines_apart": scan.n_acs_lines_apart,
        "prewhitened": scan.prewhitened,
        "image_matrix": list(scan.geometry.matrix),
        "fov_mm": list(scan.geometry.fov_mm),
        "phase_oversampling": scan.geometry.phase_oversampling,
    }


def _of_volume(scan: ScanSummary) -> dict[str, Any]:
    """What a 3-D scan has besides."""
    if scan.points is None:
        return {}
    return {
        "n_partitions": scan.points.shape[1],
        "n_acquired_points": int(scan.points.sum()),
        "acceleration_by_direction": None if scan.cell is None else list(scan.cell),
        "acs_block": None if scan.acs_block is None else list(scan.acs_block),
    }


def _training(reconstruction: Reconstruction) -> dict[str, Any] | None:
    if not reconstruction.training_curve:
        return None
    last = reconstruction.training_curve[-1]
    return {
        "n_points": len(reconstruction.training_curve),
        "last_step": last.step,
        "training_loss": _finite(last.training_loss),
        "validation_loss": _finite(last.validation_loss),
    }


def _opposite(sides: OppositeSides) -> dict[str, Any]:
    return {
        "n_slices_by_filling": dict(sides.n_slices_by_filling),
        "missing_part": round(sides.missing_part, 4),
        "held_out_error": _finite(sides.held_out_error),
    }


def _scattered(fills: ScatteredFills) -> dict[str, Any]:
    return {
        "n_by_filling": dict(fills.n_by_filling),
        "held_out_error": _finite(fills.held_out_error),
        "linear_held_out_error": _finite(fills.linear_held_out_error),
        "structure_kept": _finite(fills.structure_kept),
        "kernel_side": fills.kernel_side,
        "n_coils": fills.n_coils,
        "lost_energy": _finite(fills.lost_energy),
        "net_accelerations": [round(rate, 3) for rate in fills.net_accelerations],
        "n_frames_apart": fills.n_frames_apart,
        "area": round(fills.area, 4),
        "warnings": list(fills.warnings()),
    }


def _taken_apart(apart: TakenApart) -> dict[str, Any]:
    return {
        "n_bands": apart.n_bands,
        "n_groups_by_choice": dict(apart.n_groups_by_choice),
        "held_out_errors": {name: _finite(error) for name, error in apart.held_out_errors.items()},
        "leakage": {
            "mean": _finite(apart.leakage),
            "worst": _finite(apart.worst_leakage),
            "worst_from_into": list(apart.worst_pair),
        },
        "residual": _finite(apart.residual),
        "noise_gain": _finite(apart.noise_gain),
        "agreement": _finite(apart.agreement),
        "other_sign": apart.other_sign,
        "warnings": list(apart.warnings),
    }


def _model(model: ModelUse) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "digest": model.digest,
        "n_used": model.n_used,
        "n_images": len(model.uses),
        "mismatches": list(model.remarks),
        "images": [None if use is None else _use(use) for use in model.uses],
    }


def _use(use: StoredUse) -> dict[str, Any]:
    return {
        "used": use.is_used,
        "error": _finite(use.error),
        "error_then": _finite(use.error_then),
        "noise": _finite(use.noise),
        "judged": _finite(use.judged),
        "own_judged": _finite(use.own_judged),
    }


def _verdict(validation: CrossValidation) -> dict[str, Any]:
    return {
        "n_slices_by_choice": dict(validation.n_slices_by_choice),
        "structure_kept": _finite(validation.structure_kept),
        "grappa_structure_kept": _finite(validation.grappa_structure_kept),
        "held_out_error": _finite(validation.held_out_error),
        "grappa_held_out_error": _finite(validation.grappa_held_out_error),
        "noise_measured": validation.noise_measured,
        "noise_sigma": _finite(validation.noise_sigma),
        "warnings": list(validation.warnings),
    }


def _g_factor(reconstruction: Reconstruction) -> dict[str, float] | None:
    if "g_factor" not in reconstruction.maps:
        return None
    images = evenly_spaced(reconstruction.scan.n_images, IMAGES_SUMMED_UP)
    rows, columns = (slice(None, None, -(-size // PIXELS_SUMMED_UP)) for size in reconstruction.scan.geometry.matrix)
    image, g_factor = (
        volume[images][:, rows, columns] for volume in (reconstruction.result, reconstruction.maps["g_factor"])
    )
    inside = g_factor[object_mask(torch.from_numpy(image)).numpy()]
    if not inside.size:
        return None
    return {
        "median": round(float(np.median(inside)), 3),
        "percentile_99": round(float(np.percentile(inside, 99)), 3),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no NaN: what was not measured is null."""
    return value if value is not None and isfinite(value) else None
