"""A scan as numpy's `.npz`, or as `.npy` and `.json`, with the names that `raki.formats.arrays.numpy_files` reads."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from raki.errors import UnsupportedScan
from raki.export.known import dwell_times_s, frame_grid, known_header
from raki.formats.arrays.description import QUANTITIES
from raki.scan import COUNTERS, Scan
from raki.scan.header import receiver_noise_bandwidth
from raki.whole_file import whole_file

SAMPLES = np.dtype("<c8")


def write_npz(scan: Scan, path: Path) -> None:
    """Writes `kspace`, `noise`, `acs` (calibration that was acquired apart) and what is known of them, unpacked.

    Of the header only the field strength and the receiver's bandwidth are kept, of the dwell times the ratio.

    Raises:
        UnsupportedScan: the frames aren't all combinations of their counters.
    """
    axes, shape, frames = _layout(scan)
    with whole_file(path) as part, zipfile.ZipFile(part, "w") as archive:
        with _member(archive, "kspace") as file:
            _write_kspace(file, scan, shape, frames)
        if scan.noise is not None:
            with _member(archive, "noise") as file:
                npy.write_array(file, scan.noise.astype(SAMPLES))
        if scan.acs is not None:
            with _member(archive, "acs") as file:
                _write_header(file, (scan.n_slices, *scan.acs.shape[1:]))
                for index in range(scan.n_slices):
                    file.write(np.ascontiguousarray(scan.acs[index], SAMPLES).data)
        for name, value in _fields(scan, axes).items():
            with _member(archive, name) as file:
                npy.write_array(file, np.array(value), allow_pickle=False)


def write_npy(scan: Scan, path: Path) -> None:
    """Writes k-space, and a `.json` of the same name beside it with its axes and what is known of it.

    Noise and separate calibration have no place there and are left out: whiten the noise before.

    Raises:
        UnsupportedScan: the frames aren't all combinations of their counters.
    """
    axes, shape, frames = _layout(scan)
    with whole_file(path, ".json") as array:
        array.with_suffix(".json").write_text(json.dumps(_fields(scan, axes), indent=2) + "\n")
        with array.open("wb") as file:
            _write_kspace(file, scan, shape, frames)


def _layout(scan: Scan) -> tuple[str, tuple[int, ...], list[int]]:
    """The axes' names, their lengths and the order of the frames; counters that don't count have no axis."""
    counters = [name for name in COUNTERS if len({getattr(frame, name) for frame in scan.frames}) > 1]
    n_each, frames = frame_grid(scan, counters)
    return " ".join([*counters, "slice coil pe ro"]), (*n_each, scan.n_slices, *scan.kspace.shape[1:]), frames


def _fields(scan: Scan, axes: str) -> dict[str, object]:
    """What is known of the scan, named like the fields of `raki.formats.arrays.description.Description`."""
    geometry, header = scan.geometry, known_header(scan)
    if geometry.places:
        raise UnsupportedScan(
            "the slices don't lie on one even grid, and an array of NumPy's has no place for where each lies: convert "
            "to ISMRMRD (.h5) instead"
        )
    n_rows, n_columns = geometry.matrix
    told = {
        # An array's slices are as thick as far apart where nobody knows.
        "fov_mm": (*geometry.fov_mm[:2], geometry.fov_mm[2] or geometry.slice_spacing_mm),
        "slice_spacing_mm": geometry.slice_spacing_mm,
        "readout_oversampling": scan.kspace.shape[-1] / n_columns,
        "phase_oversampling": geometry.phase_oversampling,
        "image_rows": n_rows,
        "position_mm": geometry.position_mm,
        "receiver_noise_bandwidth": receiver_noise_bandwidth(header),
    }
    if geometry.is_oriented:
        told |= {name: getattr(geometry, name) for name in ("read_direction", "phase_direction", "slice_direction")}
    if scan.acs_lines is not None:
        told["acs_lines"] = scan.acs_lines
    told |= {
        name: dwell_s
        for name, dwell_s in zip(("dwell_time_s", "noise_dwell_time_s"), dwell_times_s(scan), strict=True)
        if dwell_s
    }
    system = header.acquisitionSystemInformation
    strength_t, bounds = system.systemFieldStrength_T if system else None, QUANTITIES["field_strength_t"]
    if isinstance(strength_t, int | float) and bounds.least <= strength_t <= bounds.most:
        told["field_strength_t"] = float(strength_t)
    return {"axes": axes, **told}


def _member(archive: zipfile.ZipFile, name: str) -> Any:
    """A file in the archive. Of no date: the same scan gives the same bytes."""
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def _write_kspace(file: Any, scan: Scan, shape: tuple[int, ...], frames: list[int]) -> None:
    _write_header(file, shape)
    for frame in frames:
        for slice_index in range(scan.n_slices):
            file.write(np.ascontiguousarray(scan.kspace[frame * scan.n_slices + slice_index], SAMPLES).data)


def _write_header(file: Any, shape: tuple[int, ...]) -> None:
    npy.write_array_header_1_0(file, {"descr": SAMPLES.str, "fortran_order": False, "shape": shape})
