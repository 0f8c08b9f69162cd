"""Where each acquisition of a 3-D scan belongs: its point in the plane of both phase-encode directions."""

from dataclasses import dataclass

import numpy as np
from ismrmrd import xsd
from jaxtyping import Float64, Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.sorting.lines import frames_of, number_of_coils
from raki.formats.sorting.marks import NOT_IMAGE, acquired_apart, has_flag
from raki.formats.sorting.placement import image_geometry
from raki.formats.sorting.places import first_samples
from raki.formats.sorting.slabs import in_one_row, slabs_of
from raki.formats.sorting.volume_frames import OfEachLine, Points, whole_frames
from raki.scan import Frame, Geometry, Slab
from raki.scan.arrays import PointMask, PointsByFrame
from raki.scan.header import centre_line, centre_partition, field_of_view_mm, matrix_size

# Far more than any interpolation.
MOST_SLICES_PER_PARTITION = 8
# More are slices that a header counts so.
MOST_SLABS = 16
# The centre of k-space over other partitions, in energy. Of the simulated head it is 40 and more, of slices 1 to 2.
LEAST_CONTRAST = 3.0


@dataclass(frozen=True, kw_only=True)
class VolumeLayout:
    """The shape of a sorted 3-D scan, and where each acquisition belongs in it."""

    n_coils: int
    n_ro: int
    """Samples of a whole readout."""
    frames: tuple[Frame, ...]
    image: Points
    sampled: PointMask
    """Of any frame."""
    sampled_by_frame: PointsByFrame | None
    """Where frames differ."""
    acs: Points | None
    """Calibration points that were acquired apart from the image."""
    block: tuple[int, int, int, int]
    """Of these: first and one past the last line, first and one past the last point."""
    geometry: Geometry
    slab: Slab
    remarks: tuple[str, ...]


def is_volume(heads: np.ndarray, encoding: xsd.encodingType) -> bool:
    """Whether the lines are counted by partitions, of which the header has several."""
    lines = heads[~has_flag(heads, *NOT_IMAGE)]
    n_found = len(np.unique(lines["idx"]["kspace_encode_step_2"]))
    return n_found > 1 or matrix_size(encoding.encodedSpace)[2] > 1


def lay_out_volume(heads: np.ndarray, encoding: xsd.encodingType) -> VolumeLayout:
    """Finds the point of each image acquisition.

    Args:
        heads: ISMRMRD heads of all acquisitions, at least one of the image.
        encoding: the part of the ISMRMRD header that the image lines refer to.

    Raises:
        UnsupportedScan: a calibration scan that is no block.
        DamagedScan: points or samples outside the encoded matrix, the centre of k-space missing.
    """
    is_image = ~has_flag(heads, *NOT_IMAGE)
    apart = acquired_apart(heads, encoding)
    image = np.flatnonzero(is_image & ~apart)
    frames, frame_of = frames_of(heads[image])
    slabs, slab_of = slabs_of(heads[image])
    found = _points(heads, image, frame_of * len(slabs) + slab_of, len(frames) * len(slabs), encoding)
    frames, found, about_frames = whole_frames(frames, found)
    acs, block = None, (0, 0, 0, 0)
    if apart.any():
        acs, block = _calibration(heads, np.flatnonzero(apart), slabs, encoding)
    firsts = [image[int(np.argmax(slab_of == number))] for number in range(len(slabs))]
    geometry, slab, about_slabs = _geometry(heads[firsts], encoding)
    about_slabs = (*about_slabs, *_about_missing_slabs(len(slabs), encoding))
    by_frame = found.n_recorded[:: len(slabs)] > 0
    sampled = np.asarray(by_frame.any(axis=0))
    return VolumeLayout(
        n_coils=number_of_coils(heads[is_image]),
        n_ro=matrix_size(encoding.encodedSpace)[0],
        frames=frames,
        image=found,
        sampled=sampled,
        sampled_by_frame=None if (by_frame == sampled).all() else by_frame,
        acs=acs,
        block=block,
        geometry=geometry,
        slab=slab,
        remarks=(*about_slabs, *about_frames, *_about_reach(sampled, encoding)),
    )


def about_partitions(
    encoding: xsd.encodingType, lines: np.ndarray, energies: Float64[np.ndarray, " line"]
) -> tuple[str, ...]:
    """A sentence where the header's centre isn't the brightest partition.

    Args:
        lines: heads of the image's lines.
        energies: of each of them.

    Raises:
        DamagedScan: all partitions are about as bright as each other, as slices are and k-space isn't.
    """
    partitions = lines["idx"]["kspace_encode_step_2"].astype(int)
    n_lines = np.bincount(partitions)
    # Of the lines that all partitions have: a calibration block is bright, and those beside it haven't its lines.
    common = np.bincount(lines["idx"]["kspace_encode_step_1"]) >= (n_lines > 0).sum()
    counted = common[lines["idx"]["kspace_encode_step_1"]] if common.any() else np.ones(len(lines), bool)
    brightness = np.bincount(partitions[counted], energies[counted], minlength=len(n_lines))[n_lines > 0]
    numbers = np.flatnonzero(n_lines)
    brightest, others = brightness.max(), np.sort(brightness)[:-1]
    if len(others) and brightest < LEAST_CONTRAST * np.median(others):
        raise DamagedScan(
            f"the {len(numbers)} partitions are about equally bright, as slices are and the steps of k-space are not: "
            "they were counted by kspace_encode_step_2 instead of slice, or the header is wrong; convert the scan again"
        )
    found, centre = int(numbers[brightness.argmax()]), centre_partition(encoding)
    if abs(found - centre) <= max(1, matrix_size(encoding.encodedSpace)[2] // 16):
        return ()
    return (
        f"The header gives partition {centre} as the centre of k-space, partition {found} is the brightest: raki goes "
        "by the header.",
    )


def _points(
    heads: np.ndarray, indices: OfEachLine, volumes: OfEachLine, n_volumes: int, encoding: xsd.encodingType
) -> Points:
    n_ro, n_pe, n_pe2 = matrix_size(encoding.encodedSpace)
    lines = heads["idx"]["kspace_encode_step_1"][indices].astype(int) - centre_line(encoding) + n_pe // 2
    partitions = heads["idx"]["kspace_encode_step_2"][indices].astype(int) - centre_partition(encoding) + n_pe2 // 2
    for name, found, n in (("phase-encode lines", lines, n_pe), ("partitions", partitions, n_pe2)):
        if found.min() < 0 or found.max() >= n:
            raise DamagedScan(
                f"{name} {found.min()} to {found.max()} were found, the header announces 0 to {n - 1}; matrix, centre "
                "and counters must agree: convert the scan again"
            )
    n_recorded = np.zeros((n_volumes, n_pe, n_pe2), int)
    np.add.at(n_recorded, (volumes, lines, partitions), 1)
    return Points(
        indices=indices,
        volumes=volumes,
        points=lines * n_pe2 + partitions,
        first_samples=first_samples(heads[indices], n_ro),
        n_recorded=n_recorded,
    )


def _calibration(
    heads: np.ndarray, indices: OfEachLine, slabs: Int[np.ndarray, " slab"], encoding: xsd.encodingType
) -> tuple[Points, tuple[int, int, int, int]]:
    """The first frame of a calibration scan, and the rectangle that it fills, of each slab."""
    _, frame_of = frames_of(heads[indices])
    first = indices[frame_of == 0]
    numbers, slab_of = slabs_of(heads[first])
    if not np.array_equal(numbers, slabs):
        raise UnsupportedScan(
            f"the calibration scan has {len(numbers)} slabs and the image {len(slabs)}, or they are counted otherwise; "
            "raki needs one of each slab: take a calibration scan of the same slabs"
        )
    points = _points(heads, first, slab_of, len(slabs), encoding)
    acquired = points.n_recorded > 0
    lines, columns = (np.flatnonzero(acquired.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    block = int(lines[0]), int(lines[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    n_missing = int((~acquired[:, block[0] : block[1], block[2] : block[3]]).sum())
    if n_missing:
        of_each = " of each slab" if len(slabs) > 1 else ""
        raise UnsupportedScan(
            f"{n_missing} of the {block[1] - block[0]} x {block[3] - block[2]} points{of_each} of the calibration "
            "scan are missing; raki needs a block of all points: take one that is fully sampled"
        )
    return points, block


def _about_missing_slabs(n_found: int, encoding: xsd.encodingType) -> tuple[str, ...]:
    """A sentence where the header announces more slabs than were found."""
    limits = encoding.encodingLimits.slice
    n_announced = limits.maximum + 1 if limits is not None and isinstance(limits.maximum, int) else n_found
    if n_announced <= n_found or n_announced > MOST_SLABS:
        return ()
    return (
        f"The header announces {n_announced} slabs, and {n_found} {'was' if n_found == 1 else 'were'} found: the scan "
        "was stopped, or the header is wrong.",
    )


def _about_reach(acquired: PointMask, encoding: xsd.encodingType) -> tuple[str, ...]:
    """A sentence where the header announces points farther out than those that were found.

    Raises:
        DamagedScan: the centre of k-space lies outside of them.
    """
    limits = encoding.encodingLimits
    axes = (
        ("lines", acquired.any(axis=1), centre_line(encoding), limits and limits.kspace_encoding_step_1),
        ("partitions", acquired.any(axis=0), centre_partition(encoding), limits and limits.kspace_encoding_step_2),
    )
    said = []
    for name, found, centre, announced in axes:
        places = np.flatnonzero(found) + centre - np.size(found) // 2
        if not places[0] <= centre <= places[-1]:
            raise DamagedScan(
                f"{name} {places[0]} to {places[-1]} were found, and the centre of k-space is {centre} by the header: "
                "the scan was stopped before it, or the header is wrong; raki needs the centre: copy the file again "
                "if the scanner's is longer, or convert it again"
            )
        if announced is None or not isinstance(announced.minimum, int) or not isinstance(announced.maximum, int):
            continue
        step = int(np.diff(places).max(initial=1))
        if places[0] - announced.minimum >= step or announced.maximum - places[-1] >= step:
            said.append(
                f"The header announces {name} {announced.minimum} to {announced.maximum}, and {name} {places[0]} to "
                f"{places[-1]} were found: partial Fourier or zero-filling, or the scan was stopped. What is missing "
                "wasn't measured."
            )
    return tuple(said)


def _geometry(heads: np.ndarray, encoding: xsd.encodingType) -> tuple[Geometry, Slab, tuple[str, ...]]:
    """Slices about the centre of each slab, as many and as thick as the header has them; heads of a line of each."""
    slab = _slab(encoding, n_slabs=len(heads))
    each = [_of_slab(heads[number : number + 1], encoding, slab) for number in range(len(heads))]
    geometry, said = in_one_row(each, slab)
    if slab.n_slices < slab.n_encoded:
        cut = f"Of {slab.n_encoded} slices that the partitions encode the header asks for the inner {slab.n_slices}."
        said = (*said, cut)
    return geometry, slab, said


def _slab(encoding: xsd.encodingType, *, n_slabs: int) -> Slab:
    _, _, n_partitions = matrix_size(encoding.encodedSpace)
    _, _, n_slices = matrix_size(encoding.reconSpace)
    encoded_mm, slab_mm = _thickness_mm(encoding), field_of_view_mm(encoding.reconSpace)[2] or _thickness_mm(encoding)
    if n_slices == 1 and slab_mm < 1.5 * encoded_mm / n_partitions:  # as of 2-D: one slice, and its thickness
        slab_mm = encoded_mm
    if n_slices == 1:  # converters leave it unset
        n_slices = max(1, round(n_partitions * slab_mm / encoded_mm))
    n_encoded = max(1, round(n_slices * encoded_mm / slab_mm))
    if n_encoded < n_slices or n_encoded > MOST_SLICES_PER_PARTITION * n_partitions:
        raise DamagedScan(
            f"the header asks for {n_slices} slices over {slab_mm:g} mm of {n_partitions} partitions over "
            f"{encoded_mm:g} mm; raki shows what was encoded and no more: correct the header's reconSpace"
        )
    return Slab(n_slices=n_slices, n_encoded=n_encoded, n_slabs=n_slabs)


def _thickness_mm(encoding: xsd.encodingType) -> float:
    """Of the slab that was encoded; 1 mm for each partition where nothing tells."""
    known_mm = field_of_view_mm(encoding.encodedSpace)[2] or field_of_view_mm(encoding.reconSpace)[2]
    return known_mm or float(matrix_size(encoding.encodedSpace)[2])


def _of_slab(head: np.ndarray, encoding: xsd.encodingType, slab: Slab) -> Geometry:
    in_plane = image_geometry(head, encoding)
    spacing_mm = _thickness_mm(encoding) / slab.n_encoded
    direction = np.array(in_plane.slice_direction)
    x, y, z = (float(value) for value in np.array(in_plane.position_mm) - direction * spacing_mm * (slab.n_slices // 2))
    return Geometry(
        fov_mm=(in_plane.fov_mm[0], in_plane.fov_mm[1], spacing_mm),
        matrix=in_plane.matrix,
        phase_oversampling=in_plane.phase_oversampling,
        slice_spacing_mm=spacing_mm,
        read_direction=in_plane.read_direction,
        phase_direction=in_plane.phase_direction,
        slice_direction=in_plane.slice_direction,
        position_mm=(x, y, z),
        is_oriented=in_plane.is_oriented,
    )
