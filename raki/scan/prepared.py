"""The prepared scan: one HDF5 file between decompression and reconstruction. Its layout is known here only.

    /            attributes: format = "raki prepared scan", version, noise_dwell_ratio, readout_oversampling,
                 prewhitened and acs_lines (left out where there are none)
    kspace       complex64, the acquired lines only, a chunk a slice, each with a checksum; attributes: axes
                 "slice coil line ro", dc (the centre's index along ro), unit. Of a 3-D scan the acquired points of each
                 readout position, axes "x coil point"
    acs          calibration lines that were acquired apart, likewise; left out where there are none
    frames       integers, axes "frame counter"; attributes: counters, and step_s, seconds from each to the next,
                 left out where nothing tells
    sampled      bool, axes "pe"; as many are true as kspace has lines, and in the same order. Of a 3-D scan "pe pe2"
    echo         attribute: first and one past the last sample along ro that was measured; left out where all were
    slab         n_slices, n_encoded and n_slabs of `raki.scan.scan.Slab`; left out where the scan is 2-D
    groups       n_bands slices of each group that was excited at once, axes "group band"; turns, likewise, of
                 `raki.scan.SliceGroups`; left out where each was excited alone
    ghosts       offset in rad and slope in rad per pixel of each of them, axes "group band part", with those of
                 common_ghosts, axes "group part", and reversed_lines, bool, axes "pe": `raki.scan.SliceGhosts`; left
                 out where lines have one direction
    sampled_by_image  bool, axes "image pe": which of these lines each image has; left out where all have all
    sampled_by_frame  bool, axes "frame pe pe2", of a 3-D scan: which of these points each frame has; zeros stand for
                 the others in kspace; left out where all have all
    noise        complex64, axes "coil sample"; left out where none was recorded
    geometry     a group whose attributes are the fields of `raki.scan.scan.Geometry`, lengths in mm, patient axes LPS
    header_xml   the ISMRMRD header as read, UTF-8, a byte a number
    remarks      what is to be said about the scan, a JSON list of sentences, likewise

Texts have fixed lengths. Those of any length HDF5 keeps in heaps, in which it goes round for ever where one is damaged
(found with HDF5 2.0.0): a file with such is refused before they are looked at.

At R = 4 the lines that were never acquired would be three quarters of the file. It is written and read slice by slice:
a scan needs the memory of one slice, not its own size.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.scan.arrays import LineMask, PointMask
from raki.scan.frames import COUNTERS, Frame
from raki.scan.geometry import Geometry, Place
from raki.scan.hdf5_members import is_elsewhere, own_member
from raki.scan.multiband import SliceGhosts, SliceGroups
from raki.scan.nyquist import NyquistPhase
from raki.scan.scan import Scan, Slab
from raki.scan.slices import LazySlices, LinesOfSlice, Slices, lines_of_slices
from raki.whole_file import whole_file

FORMAT = "raki prepared scan"
VERSION = 10
PLACE = tuple(field.name for field in fields(Place))


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
    _require_own(file)
    sampled = file["sampled"][:]
    acs_lines = _attribute(file, "acs_lines") if "acs_lines" in file.attrs else None
    scan = Scan(
        kspace=_stored(file["kspace"], sampled),
        sampled=sampled,
        sampled_by_image=file["sampled_by_image"][:] if "sampled_by_image" in file else None,
        sampled_by_frame=file["sampled_by_frame"][:] if "sampled_by_frame" in file else None,
        acs_lines=None if acs_lines is None else (int(acs_lines[0]), int(acs_lines[1])),
        acs=_stored(file["acs"], np.ones(file["acs"].shape[2], bool)) if "acs" in file else None,
        noise=file["noise"][:] if "noise" in file else None,
        noise_dwell_ratio=float(_attribute(file, "noise_dwell_ratio")),
        readout_oversampling=float(_attribute(file, "readout_oversampling")),
        echo=_echo(file),
        geometry=replace(_geometry(file["geometry"]), places=_places(file)),
        header_xml=_text(file["header_xml"]),
        prewhitened=bool(_attribute(file, "prewhitened")),
        remarks=tuple(map(str, json.loads(_text(file["remarks"])))),
        slab=_slab(file),
        groups=_groups(file),
        frame_step_s=float(_attribute(file["frames"], "step_s")) if "step_s" in file["frames"].attrs else None,
        frames=tuple(Frame(**dict(zip(COUNTERS, map(int, counters), strict=True))) for counters in file["frames"][:]),
    )
    _require_agreement(scan)
    return scan


def _require_agreement(scan: Scan) -> None:
    """Raises ValueError where parts of the file are of sizes that don't belong together."""
    n_images, n_coils, n_pe, n_ro = scan.kspace.shape
    first, end = scan.acs_lines or (0, 0)
    of_images, acs, noise = scan.sampled_by_image, scan.acs, scan.noise
    agree = (
        (sampled_axes := scan.sampled.ndim) == (2 if scan.slab else 1),
        sampled_axes == 1 or (scan.sampled_by_image is None and scan.acs_lines is None),
        _points_agree(scan),
        scan.slab is None or (n_images == len(scan.frames) * scan.slab.n_slabs * scan.geometry.matrix[1]),
        scan.slab is None or (0 < scan.slab.n_slices <= scan.slab.n_encoded and scan.slab.n_slabs > 0),
        n_images > 0 and n_images % len(scan.frames) == 0,
        0 <= first <= end <= n_pe,
        scan.echo is None or (scan.slab is None and 0 <= scan.echo[0] < scan.echo[1] <= n_ro),
        of_images is None or (of_images.dtype == bool and of_images.shape == (n_images, n_pe)),
        acs is None or acs.shape[1] == n_coils,
        acs is None or (acs.shape[3] <= n_ro if scan.slab else acs.shape[3] == n_ro),
        scan.groups is None or (len(scan.groups.slices) * len(scan.frames) == n_images and scan.slab is None),
        scan.groups is None or (acs is not None and len(acs) == scan.n_slices and of_images is None),
        scan.groups is None or scan.groups.ghosts is None or len(scan.groups.ghosts.reversed_lines) == n_pe,
        noise is None or (noise.dtype == np.complex64 and noise.ndim == 2 and noise.shape[0] == n_coils),
    )
    if not all(agree):
        raise ValueError("parts of the prepared scan contradict each other")


def _points_agree(scan: Scan) -> bool:
    """Whether the points of the frames, where they differ, are those of the scan."""
    of_frames = scan.sampled_by_frame
    if of_frames is None:
        return True
    if scan.slab is None or of_frames.dtype != bool or of_frames.shape != (len(scan.frames), *scan.sampled.shape):
        return False
    return bool(of_frames.any(axis=(1, 2)).all() and (of_frames.any(axis=0) == scan.sampled).all())


def _attribute(of: h5py.Group | h5py.Dataset, name: str) -> Any:
    if of.attrs.get_id(name).dtype.hasobject:
        raise _of_any_length()
    return of.attrs[name]


def _text(stored: h5py.Dataset) -> str:
    return bytes(stored[:]).decode()


def _echo(file: h5py.File) -> tuple[int, int] | None:
    if "echo" not in file.attrs:
        return None
    first, stop = (int(n) for n in _attribute(file, "echo"))
    return first, stop


def _slab(file: h5py.File) -> Slab | None:
    if "slab" not in file:
        return None
    n_slices, n_encoded, n_slabs = (int(n) for n in file["slab"][:])
    return Slab(n_slices=n_slices, n_encoded=n_encoded, n_slabs=n_slabs)


def _groups(file: h5py.File) -> SliceGroups | None:
    if "groups" not in file:
        return None
    return SliceGroups(
        slices=tuple(tuple(map(int, group)) for group in file["groups"][:]),
        turns=tuple(tuple(map(float, group)) for group in file["turns"][:]),
        ghosts=_ghosts(file),
    )


def _ghosts(file: h5py.File) -> SliceGhosts | None:
    if "ghosts" not in file:
        return None
    return SliceGhosts(
        phases=tuple(tuple(map(_phase, group)) for group in file["ghosts"][:]),
        common=tuple(map(_phase, file["common_ghosts"][:])),
        reversed_lines=tuple(map(bool, file["reversed_lines"][:])),
    )


def _phase(parts: np.ndarray) -> NyquistPhase:
    offset, slope = map(float, parts)
    if not np.isfinite([offset, slope]).all():
        raise ValueError("a phase of the prepared scan is no number")
    return NyquistPhase(offset_rad=offset, slope_rad_per_pixel=slope)


def _stored(lines: h5py.Dataset, sampled: LineMask | PointMask) -> LazySlices:
    n_slices, n_coils, n_lines, *n_ro = lines.shape
    is_sound = lines.dtype == np.complex64 and sampled.dtype == bool and sampled.ndim + len(n_ro) == 2
    if not is_sound or n_lines != sampled.sum():
        raise ValueError("the lines of the prepared scan aren't those that it says were acquired")

    def load(index: int) -> LinesOfSlice:
        with _damage_is_named():
            return lines[index]

    return LazySlices((n_slices, n_coils, *sampled.shape, *n_ro), load, sampled)


def _write_kspace(file: h5py.File, name: str, kspace: Slices, sampled: LineMask | PointMask, unit: str) -> None:
    n_slices, n_coils, _, n_ro = kspace.shape
    of_points = sampled.ndim == 2
    shape = (n_slices, n_coils, int(sampled.sum()), *(() if of_points else (n_ro,)))
    lines = file.create_dataset(name, shape, np.complex64, chunks=(1, *shape[1:]), fletcher32=True)
    for index, of_slice in enumerate(lines_of_slices(kspace, sampled)):
        lines[index] = of_slice
    lines.attrs["axes"] = _fixed("x coil point" if of_points else "slice coil line ro")
    if not of_points:
        lines.attrs["dc"] = n_ro // 2
    lines.attrs["unit"] = _fixed(unit)


def _write_rest(file: h5py.File, scan: Scan) -> None:
    file.attrs["format"], file.attrs["version"] = _fixed(FORMAT), VERSION
    file.attrs["noise_dwell_ratio"] = scan.noise_dwell_ratio
    file.attrs["readout_oversampling"] = scan.readout_oversampling
    file.attrs["prewhitened"] = scan.prewhitened
    if scan.acs_lines is not None:
        file.attrs["acs_lines"] = scan.acs_lines
    if scan.echo is not None:
        file.attrs["echo"] = scan.echo
    _write_frames(file, scan)
    file["sampled"] = scan.sampled
    file["sampled"].attrs["axes"] = _fixed("pe pe2" if scan.slab else "pe")
    if scan.slab:
        file["slab"] = [scan.slab.n_slices, scan.slab.n_encoded, scan.slab.n_slabs]
    if scan.groups:
        _write_groups(file, scan.groups)
    if scan.sampled_by_image is not None:
        file["sampled_by_image"] = scan.sampled_by_image
        file["sampled_by_image"].attrs["axes"] = _fixed("image pe")
    if scan.sampled_by_frame is not None:
        file["sampled_by_frame"] = scan.sampled_by_frame
        file["sampled_by_frame"].attrs["axes"] = _fixed("frame pe pe2")
    if scan.noise is not None:
        noise = file.create_dataset("noise", data=scan.noise, chunks=scan.noise.shape, fletcher32=True)
        noise.attrs["axes"] = _fixed("coil sample")
    geometry = asdict(scan.geometry)
    places = geometry.pop("places")
    file.create_group("geometry").attrs.update(geometry)
    if places:
        file["places"] = [[place[name] for name in PLACE] for place in places]
        file["places"].attrs["fields"] = _fixed(" ".join(PLACE))
    for name, text in (("header_xml", scan.header_xml), ("remarks", json.dumps(scan.remarks))):
        file[name] = np.frombuffer(text.encode(), np.uint8)


def _write_frames(file: h5py.File, scan: Scan) -> None:
    file["frames"] = [[getattr(frame, name) for name in COUNTERS] for frame in scan.frames]
    file["frames"].attrs["counters"] = _fixed(" ".join(COUNTERS))
    if scan.frame_step_s is not None:
        file["frames"].attrs["step_s"] = scan.frame_step_s


def _write_groups(file: h5py.File, groups: SliceGroups) -> None:
    file["groups"], file["turns"] = groups.slices, groups.turns
    for name in ("groups", "turns"):
        file[name].attrs["axes"] = _fixed("group band")
    if ghosts := groups.ghosts:
        file["ghosts"] = [[(each.offset_rad, each.slope_rad_per_pixel) for each in group] for group in ghosts.phases]
        file["common_ghosts"] = [(each.offset_rad, each.slope_rad_per_pixel) for each in ghosts.common]
        file["common_ghosts"].attrs["axes"] = _fixed("group part")
        file["ghosts"].attrs["axes"] = _fixed("group band part")
        file["reversed_lines"] = ghosts.reversed_lines
        file["reversed_lines"].attrs["axes"] = _fixed("pe")


def _fixed(text: str) -> np.bytes_:
    """A text that lies where it is described, and in no heap."""
    return np.bytes_(text.encode())


def _geometry(stored: h5py.Group) -> Geometry:
    fields = {name: _attribute(stored, name) for name in stored.attrs}
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
        is_oriented=bool(fields["is_oriented"]),
    )


def _places(file: h5py.File) -> tuple[Place, ...]:
    if "places" not in file:
        return ()
    return tuple(Place(**dict(zip(PLACE, map(_three, place), strict=True))) for place in file["places"][:])


def _three(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in vector)
    return x, y, z


def _require_this_layout(file: h5py.File) -> None:
    if "format" not in file.attrs or not _is_of_this_format(file):
        raise NotAScan(
            "the HDF5 file is not a prepared scan; raw data is prepared first: write_prepared, or `raki submit`"
        )
    version = int(_attribute(file, "version"))
    if version != VERSION:
        raise UnsupportedScan(
            f"the prepared scan has layout version {version}; this raki reads version {VERSION}: prepare it again"
        )


def _is_of_this_format(file: h5py.File) -> bool:
    # That of earlier layouts has any length, and isn't looked at.
    return file.attrs.get_id("format").dtype.hasobject or file.attrs["format"] == FORMAT.encode()


def _require_own(file: h5py.File) -> None:
    """What wrote it has read a stranger's file, and may be in the stranger's hands."""
    members = [own_member(file, name) for name in file]
    if any(member is None or (isinstance(member, h5py.Dataset) and is_elsewhere(member)) for member in members):
        raise DamagedScan("a part of the prepared scan is kept in other files; raki needs all in one: prepare it again")
    if any(isinstance(member, h5py.Dataset) and member.dtype.hasobject for member in members):
        raise _of_any_length()


def _of_any_length() -> DamagedScan:
    return DamagedScan(
        "a part of the prepared scan has texts or lists of any length, which raki never writes: prepare it again"
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
