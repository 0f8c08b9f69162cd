"""A scan that excites several slices at once: its sums and its single-band reference, each sorted as a scan of its own.

The header says how many slices there are in a sum, how far apart they lie and what phase tells them apart (`multiband`
of ismrmrd.xsd); the positions say which they are. The schema has no words on its numbers; raki takes `dZ` as the places
of a group's slices along the slice direction, in mm from the place that the lines of their sum give, and `deltaKz` as
the step in cycles per mm from one acquired line of the sum to the next.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64

from raki.errors import DamagedScan, NoCalibration, UnsupportedScan
from raki.formats.acquisitions import Acquisitions, flag_bits
from raki.formats.multiband_epi import ABOUT_GHOSTS, ghosts_of, navigators_before, read_back_and_forth
from raki.formats.sorting.calibration import MOST_SHARED
from raki.formats.sorting.encodings import CALIBRATION, SAME_LENGTH
from raki.formats.sorting.marks import NOT_IMAGE, Mask, calibration_only, has_flag
from raki.formats.sorting.selection import Selected
from raki.formats.sorting.slabs import SAME_AXES, SAME_PLACE_MM
from raki.scan import Geometry, LazySlices, Scan, SliceGroups
from raki.scan.header import LARGEST_MATRIX

Sort = Callable[[Acquisitions], Scan]


def multiband_encoding(header: xsd.ismrmrdHeader) -> int | None:
    """The encoding space of lines that are sums of slices; None where slices are excited one at a time."""
    for number, encoding in enumerate(header.encoding):
        multiband = _multiband(encoding)
        if multiband is not None and multiband.multiband_factor != 1:
            return number
    return None


def sorted_groups(acquisitions: Acquisitions, header: xsd.ismrmrdHeader, space: int, sort: Sort) -> Scan:
    """Sorts a scan of sums of slices, with the reference that tells them apart as its `acs`.

    The reference is the encoding space that the header names (`calibration_encoding`), or the lines of the sums' own
    space that are marked as calibration only.

    Args:
        space: the encoding space of the sums.
        sort: sorts acquisitions of slices that were excited one at a time.

    Raises:
        UnsupportedScan: numbers are missing in the header; lines read in both directions (EPI) without what tells
            the ghost of each slice; sums and reference that don't fit each other.
        NoCalibration: no single-band reference, or none that is fully sampled about the centre.
        DamagedScan: the header contradicts itself or the places of the slices.
    """
    multiband = _multiband(header.encoding[space])
    assert multiband is not None
    offsets_mm, step_per_mm = _numbers(multiband)
    is_sum, is_reference = _parts(acquisitions.heads, multiband, space)
    parts = _split(acquisitions, is_sum, is_reference, _plain_header(header))
    is_epi = read_back_and_forth(*parts, header)
    sums, reference = (sort(part) for part in parts)
    _require_fit(sums, reference)
    slices = _slices_of_groups(sums, reference, offsets_mm)
    turns = tuple(step_per_mm * offset / _step(sums) for offset in offsets_mm)
    ghosts = ghosts_of(*parts, header, sampled=sums.sampled, slices=slices) if is_epi else None
    here = reference.geometry
    return replace(
        sums,
        acs=_block(reference),
        acs_lines=None,
        groups=SliceGroups(slices=slices, turns=(turns,) * len(slices), ghosts=ghosts),
        geometry=replace(
            sums.geometry,
            slice_spacing_mm=here.slice_spacing_mm,
            position_mm=here.position_mm,
            places=here.places[: reference.n_slices],
        ),
        header_xml=acquisitions.header_xml,
        remarks=tuple(
            dict.fromkeys(
                (
                    *getattr(acquisitions, "remarks", ()),
                    f"{len(offsets_mm)} slices were excited at once: they are taken apart by a single-band reference.",
                    *((ABOUT_GHOSTS,) if is_epi else ()),
                    *sums.remarks,
                    *(f"Single-band reference: {remark}" for remark in reference.remarks if remark not in sums.remarks),
                )
            )
        ),
    )


def _multiband(encoding: xsd.encodingType) -> xsd.multibandType | None:
    return encoding.parallelImaging.multiband if encoding.parallelImaging else None


def _numbers(multiband: xsd.multibandType) -> tuple[tuple[float, ...], float]:
    """Where the slices of a group lie, in mm, and the step between lines, in cycles per mm."""
    n_bands, step_per_mm = multiband.multiband_factor, multiband.deltaKz
    if not isinstance(n_bands, int) or not 2 <= n_bands <= LARGEST_MATRIX:
        raise DamagedScan(
            f"the header gives a multiband factor of {n_bands}; slices that are excited at once are 2 or more: convert "
            "the scan again"
        )
    spacings = {tuple(spacing.dZ) for spacing in multiband.spacing}
    offsets = spacings.pop() if len(spacings) == 1 else ()
    if spacings:
        raise UnsupportedScan(
            "the header's multiband spacings differ from group to group; raki takes apart groups of one spacing: split "
            "the scan"
        )
    offsets_mm = tuple(float(each) for each in offsets if isinstance(each, int | float) and math.isfinite(each))
    if len(set(offsets_mm)) != n_bands or len(offsets) != n_bands:
        raise UnsupportedScan(
            f"the scan excites {n_bands} slices at once, and the header's multiband spacing gives the places of "
            f"{len(set(offsets_mm))} (dZ, in mm); raki needs one for each slice: convert the scan to ISMRMRD with them"
        )
    if not isinstance(step_per_mm, int | float) or not math.isfinite(step_per_mm):
        raise DamagedScan(
            f"the scan excites {n_bands} slices at once, and the header gives {step_per_mm} as the step along kz "
            "(multiband deltaKz); raki needs it in cycles per mm, 0 where there is no shift: convert the scan again"
        )
    return offsets_mm, float(step_per_mm)


def _parts(heads: np.ndarray, multiband: xsd.multibandType, space: int) -> tuple[Mask, Mask]:
    """The lines of the sums, and those of the single-band reference."""
    is_line, spaces, alone = ~has_flag(heads, *NOT_IMAGE), heads["encoding_space_ref"], calibration_only(heads)
    is_sum = is_line & (spaces == space) & ~alone
    elsewhere = is_line & (spaces == multiband.calibration_encoding) & (spaces != space)
    is_reference = elsewhere if elsewhere.any() else is_line & (spaces == space) & alone
    if not is_sum.any() or not is_reference.any():
        found = "only the single-band reference" if is_reference.any() else "no single-band reference of them"
        raise NoCalibration(
            f"the scan excites {multiband.multiband_factor} slices at once, and the file holds {found}; raki needs "
            "both: lines of each slice alone in the encoding space that the header names as calibration_encoding, or "
            "marked as calibration, beside the lines of all: export the scan with its reference"
        )
    return is_sum, is_reference


def _plain_header(header: xsd.ismrmrdHeader) -> str:
    """The header of slices that were excited one at a time."""
    plain = deepcopy(header)
    for encoding in plain.encoding:
        if encoding.parallelImaging:
            encoding.parallelImaging.multiband = None
    return xsd.ToXML(plain)


def _split(
    acquisitions: Acquisitions, is_sum: Mask, is_reference: Mask, header_xml: str
) -> tuple[Acquisitions, Acquisitions]:
    """Sums and reference, each with its navigators and all else that the scanner recorded for its own use."""
    heads = acquisitions.heads
    navigates = has_flag(heads, ismrmrd.ACQ_IS_PHASECORR_DATA)
    of_reference = navigators_before(heads, navigates, is_sum, is_reference)
    serves_both = has_flag(heads, *NOT_IMAGE) & ~navigates
    return (
        _part(acquisitions, is_sum | serves_both | (navigates & ~of_reference), header_xml),
        _part(acquisitions, is_reference | serves_both | of_reference, header_xml),
    )


def _part(acquisitions: Acquisitions, wanted: Mask, header_xml: str) -> Acquisitions:
    """Some acquisitions, whose lines are lines of an image."""
    kept = np.flatnonzero(wanted)
    heads = acquisitions.heads[kept]
    heads["flags"] &= ~flag_bits(*CALIBRATION)
    part = Selected(acquisitions, kept, heads=heads)
    part.header_xml = header_xml
    return part


def _require_fit(sums: Scan, reference: Scan) -> None:
    """Raises unless the reference's samples are samples of the same k-space."""
    if sums.slab or reference.slab:
        raise UnsupportedScan("the scan excites several slabs at once (3-D); raki takes apart slices: split the scan")
    n_coils = [scan.kspace.shape[1] for scan in (sums, reference)]
    if n_coils[0] != n_coils[1]:
        raise DamagedScan(
            f"slices excited at once were recorded by {n_coils[0]} coils, their single-band reference by {n_coils[1]}; "
            "raki needs the same coils in both: export the scan again"
        )
    ours_mm, theirs_mm = _encoded_mm(sums), _encoded_mm(reference)
    if sums.kspace.shape[-1] != reference.kspace.shape[-1] or not np.allclose(ours_mm, theirs_mm, rtol=SAME_LENGTH):
        ours, theirs = (" x ".join(f"{length:.4g}" for length in lengths) for lengths in (ours_mm, theirs_mm))
        raise UnsupportedScan(
            f"the single-band reference has {reference.kspace.shape[-1]} samples over {theirs} mm, the slices excited "
            f"at once {sums.kspace.shape[-1]} over {ours} mm; raki needs both of one field of view: take a reference "
            "that belongs to the scan"
        )
    _require_same_plane(sums.geometry, reference.geometry)
    lines = np.flatnonzero(sums.sampled)
    if sums.sampled_by_image is not None or len(np.unique(np.diff(lines))) > 1:
        raise UnsupportedScan(
            f"of slices excited at once {len(lines)} lines were acquired, not at equal distances and the same in all "
            "groups and frames; raki takes apart what is regular: leave other lines out"
        )


def _require_same_plane(sums: Geometry, reference: Geometry) -> None:
    """Raises DamagedScan unless the reference is oriented as the sums are, and lies behind them and not beside."""
    axes = np.array([sums.read_direction, sums.phase_direction, sums.slice_direction])
    theirs = np.array([reference.read_direction, reference.phase_direction, reference.slice_direction])
    beside_mm = axes[:2] @ (np.array(reference.position_mm) - np.array(sums.position_mm))
    if np.abs(axes - theirs).max() > SAME_AXES or np.abs(beside_mm).max() > SAME_PLACE_MM:
        raise DamagedScan(
            "the single-band reference is turned against the slices excited at once, or lies "
            f"{np.abs(beside_mm).max():.3g} mm beside them; raki needs both in one place: convert the scan again, or "
            "take the reference that belongs to it"
        )


def _encoded_mm(scan: Scan) -> tuple[float, float]:
    """Field of view that was encoded, along readout and phase-encode."""
    geometry = scan.geometry
    return geometry.fov_mm[0] * scan.readout_oversampling, geometry.fov_mm[1] * geometry.phase_oversampling


def _step(sums: Scan) -> int:
    """Lines from one acquired line to the next: the in-plane acceleration R."""
    return int(np.diff(np.flatnonzero(sums.sampled)).max(initial=1))


def _block(reference: Scan) -> LazySlices:
    """The reference's fully sampled lines about the centre of k-space, as many on either side of it."""
    n_coils, n_pe, n_ro = reference.kspace.shape[1:]
    first, end = reference.acs_lines or (0, 0)
    half = min(n_pe // 2 - first, end - n_pe // 2, MOST_SHARED // 2)
    if half < 1:
        raise NoCalibration(
            "the single-band reference of slices excited at once is not fully sampled about the centre of k-space; "
            "raki needs 24 neighbouring lines or more of each slice: acquire them"
        )
    block = slice(n_pe // 2 - half, n_pe // 2 + half)

    def read(index: int) -> Complex64[np.ndarray, "coil line ro"]:
        return np.ascontiguousarray(reference.kspace[index][:, block])

    return LazySlices((reference.n_slices, n_coils, 2 * half, n_ro), read)


def _slices_of_groups(sums: Scan, reference: Scan, offsets_mm: tuple[float, ...]) -> tuple[tuple[int, ...], ...]:
    """Of each sum the slices of the reference that lie where the header says that its slices do."""
    normal = np.array(reference.geometry.slice_direction)
    sums_mm, slices_mm = (
        np.array([scan.geometry.place_of(number, scan.n_slices).position_mm for number in range(scan.n_slices)])
        @ normal
        for scan in (sums, reference)
    )
    away_mm = np.abs(sums_mm[:, None, None] + np.array(offsets_mm)[None, :, None] - slices_mm)
    nearest = away_mm.argmin(axis=2)
    spacing_mm = float(np.diff(np.sort(slices_mm)).min(initial=math.inf))
    each_once = sorted(nearest.ravel().tolist()) == list(range(len(slices_mm)))
    if not each_once or away_mm.min(axis=2).max() > spacing_mm / 2:
        raise DamagedScan(
            f"{len(sums_mm)} sums of {len(offsets_mm)} slices each were found, and a single-band reference of "
            f"{len(slices_mm)} slices that don't lie where the header's multiband spacing puts them (worst "
            f"{away_mm.min(axis=2).max():.3g} mm off); raki needs each slice once: convert the scan again"
        )
    return tuple(tuple(map(int, group)) for group in nearest)
