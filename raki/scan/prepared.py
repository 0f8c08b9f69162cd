"""The prepared scan: one HDF5 file between decompression and reconstruction. Its layout is known here only.

    /            attributes: format = "raki prepared scan", version, noise_dwell_ratio, readout_oversampling,
                 prewhitened, acs_lines (left out where there are none)
    kspace       complex64, the acquired lines only, a chunk a slice, each with a checksum; attributes: axes
                 "slice coil line ro", dc (the centre's index along ro), unit
    acs          calibration lines that were acquired apart, likewise; left out where there are none
    frames       integers, axes "frame counter"; attribute: counters
    sampled      bool, axes "pe"; as many are true as kspace has lines, and in the same order
    noise        complex64, axes "coil sample"; left out where none was recorded
    geometry     a group whose attributes are the fields of `raki.scan.scan.Geometry`, lengths in mm, patient axes LPS
    header_xml   the ISMRMRD header as read, UTF-8

At R = 4 the lines that were never acquired would be three quarters of the file. It is written and read slice by slice:
a scan needs the memory of one slice, not its own size.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.scan.arrays import LineMask
from raki.scan.frames import COUNTERS, Frame
from raki.scan.geometry import Geometry
from raki.scan.scan import Scan
from raki.scan.slices import LazySlices, LinesOfSlice, Slices, lines_of_slices
from raki.whole_file import whole_file

FORMAT = "raki prepared scan"
VERSION = 3


def write_prepared(scan: Scan, path: Path) -> None:
    """Writes a scan, in memory or read slice by slice; the file appears under its name only when it is complete.

    Same scan, same bytes.
    """
    with whole_file(path) as part, h5py.File(part, "w") as file:
        unit = "noise standard deviation" if scan.prewhitened else "arbitrary, as received"
        _write_kspace(file, "kspace", scan.kspace, scan.sampled, unit)
        if scan.acs is not None:
            _write_kspace(file, "acs", scan.acs, np.ones(scan.acs.shape[2], bool), unit)
        _write_rest(file, scan)


def read_prepared(path: Path) -> Scan:
    """Reads what `write_prepared` wrote, all in memory; the arrays come back bit for bit. Errors: `open_prepared`."""
    with open_prepared(path) as scan:
        return scan.in_memory()


@contextmanager
def open_prepared(path: Path) -> Iterator[Scan]:
    """Opens what `write_prepared` wrote; its slices are read when they are asked for, inside the block.

    Raises:
        NotAScan: the file is not a prepared scan.
        UnsupportedScan: it was written in another version of the layout.
        DamagedScan: it is truncated, or a checksum is wrong; where it is in a slice, once that is read.
    """
    if not path.is_file() or not h5py.is_hdf5(path):
        raise NotAScan("the file is missing or no HDF5; a prepared scan was needed: prepare the raw scan again")
    with ExitStack() as stack:
        with _damage_is_named():
            file = stack.enter_context(h5py.File(path, "r"))
            scan = _read(file)
        yield scan


def _read(file: h5py.File) -> Scan:
    _require_this_layout(file)
    sampled = file["sampled"][:]
    acs_lines = file.attrs.get("acs_lines")
    return Scan(
        kspace=_stored(file["kspace"], sampled),
        sampled=sampled,
        acs_lines=None if acs_lines is None else (int(acs_lines[0]), int(acs_lines[1])),
        acs=_stored(file["acs"], np.ones(file["acs"].shape[2], bool)) if "acs" in file else None,
        noise=file["noise"][:] if "noise" in file else None,
        noise_dwell_ratio=float(file.attrs["noise_dwell_ratio"]),
        readout_oversampling=float(file.attrs["readout_oversampling"]),
        geometry=_geometry(file["geometry"].attrs),
        header_xml=file["header_xml"][()].decode(),
        prewhitened=bool(file.attrs["prewhitened"]),
        frames=tuple(Frame(**dict(zip(COUNTERS, map(int, counters), strict=True))) for counters in file["frames"][:]),
    )


def _stored(lines: h5py.Dataset, sampled: LineMask) -> LazySlices:
    n_slices, n_coils, _, n_ro = lines.shape

    def load(index: int) -> LinesOfSlice:
        with _damage_is_named():
            return lines[index]

    return LazySlices((n_slices, n_coils, len(sampled), n_ro), load, sampled)


def _write_kspace(file: h5py.File, name: str, kspace: Slices, sampled: LineMask, unit: str) -> None:
    n_slices, n_coils, _, n_ro = kspace.shape
    shape = (n_slices, n_coils, int(sampled.sum()), n_ro)
    lines = file.create_dataset(name, shape, np.complex64, chunks=(1, *shape[1:]), fletcher32=True)
    for index, of_slice in enumerate(lines_of_slices(kspace, sampled)):
        lines[index] = of_slice
    lines.attrs["axes"] = "slice coil line ro"
    lines.attrs["dc"] = n_ro // 2
    lines.attrs["unit"] = unit


def _write_rest(file: h5py.File, scan: Scan) -> None:
    file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
    file.attrs["noise_dwell_ratio"] = scan.noise_dwell_ratio
    file.attrs["readout_oversampling"] = scan.readout_oversampling
    file.attrs["prewhitened"] = scan.prewhitened
    if scan.acs_lines is not None:
        file.attrs["acs_lines"] = scan.acs_lines
    file["frames"] = [[getattr(frame, name) for name in COUNTERS] for frame in scan.frames]
    file["frames"].attrs["counters"] = COUNTERS
    file["sampled"] = scan.sampled
    file["sampled"].attrs["axes"] = "pe"
    if scan.noise is not None:
        noise = file.create_dataset("noise", data=scan.noise, chunks=scan.noise.shape, fletcher32=True)
        noise.attrs["axes"] = "coil sample"
    file.create_group("geometry").attrs.update(asdict(scan.geometry))
    file["header_xml"] = scan.header_xml


def _geometry(fields: h5py.AttributeManager) -> Geometry:
    n_rows, n_columns = (int(n) for n in fields["matrix"])
    return Geometry(
        fov_mm=_three(fields["fov_mm"]),
        matrix=(n_rows, n_columns),
        phase_oversampling=float(fields["phase_oversampling"]),
        slice_spacing_mm=float(fields["slice_spacing_mm"]),
        read_direction=_three(fields["read_direction"]),
        phase_direction=_three(fields["phase_direction"]),
        slice_direction=_three(fields["slice_direction"]),
        position_mm=_three(fields["position_mm"]),
    )


def _three(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in vector)
    return x, y, z


def _require_this_layout(file: h5py.File) -> None:
    if file.attrs.get("format") != FORMAT:
        raise NotAScan(
            "the HDF5 file is not a prepared scan; raw data is prepared first: write_prepared, or `raki submit`"
        )
    version = int(file.attrs["version"])
    if version != VERSION:
        raise UnsupportedScan(
            f"the prepared scan has layout version {version}; this raki reads version {VERSION}: prepare it again"
        )


@contextmanager
def _damage_is_named() -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError) as error:
        raise DamagedScan(
            f"the prepared scan is truncated or damaged ({type(error).__name__}); a complete file was needed: "
            "prepare the raw scan again"
        ) from None
