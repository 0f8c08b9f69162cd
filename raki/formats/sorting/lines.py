"""Where each acquisition belongs in `slice coil pe ro`, decided from the acquisitions' headers alone."""

from dataclasses import dataclass

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.sorting.calibration import find_calibration, separate_calibration
from raki.formats.sorting.marks import NOT_IMAGE, acquired_apart, has_flag
from raki.formats.sorting.placement import image_geometry
from raki.formats.sorting.places import Lines, Places, lines_at
from raki.scan import COUNTERS, Frame, Geometry
from raki.scan.arrays import LineMask, LinesByImage
from raki.scan.header import matrix_size
from raki.scan.pattern import find_pattern

COMPRESSED = (ismrmrd.ACQ_COMPRESSION1, ismrmrd.ACQ_COMPRESSION2, ismrmrd.ACQ_COMPRESSION3, ismrmrd.ACQ_COMPRESSION4)
# Far more than any protocol has; a counter full of rubbish is not taken for frames.
MOST_FRAMES = 4096


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The shape of the sorted k-space, and where each acquisition belongs in it."""

    shape: tuple[int, int, int, int]
    """Axes `slice coil pe ro`; the slices of the first frame, then those of the next."""
    frames: tuple[Frame, ...]
    image: Lines
    acs: Lines | None
    """Calibration lines that were acquired apart from the images, or those of some images for all."""
    has_scan_apart: bool
    """Whether the calibration lines are of a scan of their own."""
    sampled: LineMask
    """Of any image."""
    sampled_by_image: LinesByImage | None
    """Of each image, where they differ."""
    acs_lines: tuple[int, int] | None
    """Of the calibration lines, wherever they were acquired: first and one past the last."""
    geometry: Geometry
    readout_oversampling: float
    remarks: tuple[str, ...]


def lay_out(heads: np.ndarray, encoding: xsd.encodingType) -> Layout:
    """Finds the place of each image acquisition.

    Args:
        heads: ISMRMRD heads of all acquisitions, at least one of the image.
        encoding: the part of the ISMRMRD header that the image lines refer to.

    Raises:
        UnsupportedScan: one line alone or compressed lines, or images of different lines without a pattern.
        DamagedScan: lines or samples outside the encoded matrix, coils that come and go.
    """
    apart = acquired_apart(heads, encoding)
    is_image = ~has_flag(heads, *NOT_IMAGE)
    image = np.flatnonzero(is_image & ~apart)
    require_supported_lines(heads[is_image])
    n_ro, n_pe, _ = matrix_size(encoding.encodedSpace)
    spatial, examples = order_slices(heads[image])
    frames, frame_of = frames_of(heads[image])
    n_slices = len(examples)
    shape = (len(frames) * n_slices, number_of_coils(heads[is_image]), n_pe, n_ro)
    lines = lines_at(heads, image, frame_of * n_slices + spatial, shape, encoding)
    acquired = lines.n_recorded > 0
    _require_regular(acquired)
    of_each = np.unique(frame_of * n_slices + spatial, return_index=True)[1]
    geometry = image_geometry(heads[image][examples], encoding, heads[image][of_each])
    if apart.any():
        one_frame = (n_slices, *shape[1:])
        found = separate_calibration(heads, np.flatnonzero(apart), image[examples], one_frame, encoding)
    else:
        found = find_calibration(heads, lines, acquired, n_slices=n_slices, kinds=_kinds(frames))
    acs, acs_lines, remarks = found
    return Layout(
        shape=shape,
        frames=frames,
        image=lines,
        acs=acs,
        has_scan_apart=bool(apart.any()),
        sampled=np.asarray(acquired.any(axis=0)),
        sampled_by_image=None if (acquired == acquired[0]).all() else acquired,
        acs_lines=acs_lines,
        geometry=geometry,
        readout_oversampling=n_ro / geometry.matrix[1],
        remarks=remarks,
    )


def _kinds(frames: tuple[Frame, ...]) -> Int[np.ndarray, " frame"]:
    """One number for each contrast and set; frames of one are repetitions of an image, or phases of it."""
    kinds = [(frame.contrast, frame.set) for frame in frames]
    return np.unique(kinds, axis=0, return_inverse=True)[1].ravel()


def require_supported_lines(heads: np.ndarray) -> None:
    """Raises UnsupportedScan for one line alone or compressed samples."""
    lines = np.unique(heads["idx"]["kspace_encode_step_1"])
    if len(lines) == 1:
        raise UnsupportedScan(
            f"the scan has no phase-encode line but line {lines[0]} ({len(heads)} recorded), which makes a spectrum or "
            "a projection and no image, as in spectroscopy; raki reconstructs images: if this is one, its lines were "
            "cut off or not counted, convert it again"
        )
    if has_flag(heads, *COMPRESSED).any():
        raise UnsupportedScan("the samples are compressed; raki reads plain samples: convert the scan without it")


def number_of_coils(heads: np.ndarray) -> int:
    """Of every line the same; raises DamagedScan where they come and go."""
    n_coils = np.unique(heads["active_channels"])
    if n_coils[-1] == 0:
        raise DamagedScan(
            "the lines say that no coil recorded them (active_channels is 0); raki needs the number of coils in each: "
            "convert the scan again"
        )
    if len(n_coils) > 1:
        raise DamagedScan(
            f"lines with {n_coils[0]} to {n_coils[-1]} coils were found; every line needs the same coils: "
            "export the scan again"
        )
    return int(n_coils[0])


def _require_regular(acquired: LinesByImage) -> None:
    masks = np.unique(acquired, axis=0)
    if len(masks) > 1 and any(find_pattern(mask) is None for mask in masks):
        raise UnsupportedScan(
            "the images sample different phase-encode lines without a regular pattern; raki needs every R-th line and "
            "a block of calibration lines"
        )


def order_slices(heads: np.ndarray) -> tuple[Places, Places]:
    """Slice index of each acquisition, ascending along the slice direction, and one acquisition of each slice.

    Scanners count slices in the order of time as often as in that of space; only the position tells.
    """
    _, examples, slices = np.unique(heads["idx"]["slice"], return_index=True, return_inverse=True)
    if not (np.isfinite(heads["position"]) & np.isfinite(heads["slice_dir"])).all():
        raise DamagedScan("a line has no position, or no direction; raki needs both as numbers: export the scan again")
    along_mm = heads["position"][examples].astype(float) @ heads["slice_dir"][examples[0]].astype(float)
    order = np.argsort(along_mm, kind="stable")
    return np.argsort(order)[slices.ravel()], examples[order]


def frames_of(heads: np.ndarray) -> tuple[tuple[Frame, ...], Places]:
    """The combinations of counters that were found, in ascending order, and which of them each acquisition is of."""
    counters = np.stack([heads["idx"][name] for name in COUNTERS], axis=1)
    found, frame_of = np.unique(counters, axis=0, return_inverse=True)
    if len(found) > MOST_FRAMES:
        raise UnsupportedScan(
            f"the scan counts {len(found)} contrasts, phases, repetitions and sets; raki takes {MOST_FRAMES} at most: "
            "split the scan first"
        )
    return tuple(Frame(**dict(zip(COUNTERS, map(int, counters), strict=True))) for counters in found), frame_of.ravel()
