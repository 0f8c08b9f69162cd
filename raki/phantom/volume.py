"""A raw 3-D scan of the phantom: partitions of one slab or several, undersampled in both phase-encode directions."""

from collections.abc import Iterator
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64

from raki.formats.acquisitions import flag_bits
from raki.formats.ismrmrd.hdf5_writer import Batch
from raki.phantom.phantom import phantom_planes
from raki.phantom.simulation import (
    DWELL_TIME_US,
    READOUT_OVERSAMPLING,
    axial_heads,
    complex_noise,
    noise_acquisitions,
    noise_mixing,
    require_known_ending,
    scan_header,
    write_raw,
)
from raki.scan.arrays import PointMask

SLAB_MIDDLE_MM = 16.0
# Of the whole k-space: as slices, transformed along the slab in double precision, and that shifted.
COPIES_AT_WORK = 6
# Random points at the border keep three times the distance of those about the centre.
DISTANCE_GROWTH = 2.0
BISECTIONS = 10


def simulate_volume(
    path: Path,
    *,
    n_partitions: int = 32,
    partition_mm: float = 2.0,
    n_coils: int = 12,
    matrix: int = 96,
    acceleration: tuple[int, int] = (2, 2),
    shift: int = 0,
    n_acs: int = 24,
    elliptical: bool = False,
    partial_fourier: tuple[float, float] = (1.0, 1.0),
    at_random: bool = False,
    n_frames: int = 1,
    n_slices: int | None = None,
    n_slabs: int = 1,
    overlap: int = 0,
    noise_level: float = 0.05,
    seed: int = 0,
) -> None:
    """Writes a raw 3-D scan of the phantom, as `raki.simulate_scan` writes a 2-D one.

    The slab is excited as a box: nothing lies outside of its partitions.

    Args:
        n_partitions: phase-encoding steps along the slab, each `partition_mm` thick.
        acceleration: along phase-encode and along the partitions.
        shift: partitions by which each next acquired line is displaced (CAIPIRINHA).
        n_acs: lines and partitions of the fully sampled block in the centre, as many as there are at most.
        elliptical: whether the corners are left out.
        partial_fourier: of each direction, the part that is acquired.
        at_random: whether points lie at random (Poisson disc, denser about the centre) instead of on a lattice, as many
            as the accelerations say; `shift` is of lattices alone.
        n_frames: repetitions of the same, each with its own noise, and with its own points where these are random.
        n_slices: of the image, about the middle of the slab; by default all (no slice oversampling).
        n_slabs: that are excited in turn, from the feet to the head; the middle one of them has the middle of the head.
        overlap: partitions that neighbouring slabs have in common.
        noise_level: as of `raki.simulate_scan`.

    Raises:
        ValueError: the name has another ending.
    """
    require_known_ending(path)
    rng = np.random.default_rng(seed)
    mixing = noise_level * noise_mixing(n_coils, rng)
    shape = matrix, n_partitions

    def points(frame: int) -> tuple[PointMask, np.ndarray]:
        if at_random:
            rate = acceleration[0] * acceleration[1]
            return scattered_points(shape, rate, n_acs, elliptical=elliptical, seed=(seed, frame))
        return sampled_points(shape, acceleration, shift, n_acs, elliptical=elliptical, partial_fourier=partial_fourier)

    header = scan_header(n_slabs, n_coils, matrix, acceleration[0])
    _as_volume(header.encoding[0], n_partitions, partition_mm, acceleration[1], n_slices or n_partitions)

    def lines() -> Iterator[Batch]:
        if noise_level > 0:
            yield noise_acquisitions(mixing, 2 * matrix, rng)
        for slab, middle_mm in enumerate(slab_middles_mm(n_slabs, (n_partitions - overlap) * partition_mm)):
            kspace = volume_kspace(n_partitions, partition_mm, n_coils, matrix, seed, middle_mm)
            for frame in range(n_frames):
                for heads, samples in of_volume(kspace, *points(frame)):
                    heads["idx"]["slice"], heads["idx"]["repetition"] = slab, frame
                    heads["position"][:, 2] = middle_mm
                    yield heads, samples

    def of_volume(kspace: np.ndarray, acquired: PointMask, calibrates: np.ndarray) -> Iterator[Batch]:
        for partition in np.flatnonzero(acquired.any(axis=0)):
            here = np.flatnonzero(acquired[:, partition])
            samples = kspace[partition][:, here]
            noise = np.tensordot(mixing, complex_noise(rng, samples.shape), axes=1)
            heads = axial_heads(len(here), n_coils, samples.shape[-1])
            heads["flags"] = calibrates[here, partition]
            heads["sample_time_us"] = DWELL_TIME_US
            heads["idx"]["kspace_encode_step_1"], heads["idx"]["kspace_encode_step_2"] = here, partition
            yield heads, (samples + noise).astype(np.complex64).transpose(1, 0, 2)

    write_raw(xsd.ToXML(header), lines(), path)


def volume_bytes_needed(*, n_partitions: int, n_coils: int, matrix: int) -> int:
    """What `simulate_volume` takes of memory, about; of disk less."""
    return COPIES_AT_WORK * 8 * n_partitions * n_coils * READOUT_OVERSAMPLING * matrix**2


def volume_kspace(
    n_partitions: int,
    partition_mm: float,
    n_coils: int,
    matrix: int,
    seed: int,
    middle_mm: float = SLAB_MIDDLE_MM,
) -> Complex64[np.ndarray, "pe2 coil pe ro"]:
    """Noise-free, fully sampled k-space of a slab of the head, DC at n // 2 of all axes, the readout oversampled."""
    z_mm = middle_mm + partition_mm * (np.arange(n_partitions) - n_partitions // 2)
    planes = phantom_planes(z_mm, n_coils, matrix, seed, readout_oversampling=READOUT_OVERSAMPLING)
    slices = np.stack(list(planes))
    along = np.fft.fft(np.fft.ifftshift(slices, axes=0), axis=0, norm="ortho")
    return np.fft.fftshift(along, axes=0).astype(np.complex64)


def slab_middles_mm(n_slabs: int, distance_mm: float) -> list[float]:
    """Where slabs lie that are so far from each other."""
    return [SLAB_MIDDLE_MM + distance_mm * (slab - n_slabs // 2) for slab in range(n_slabs)]


def sampled_points(
    shape: tuple[int, int],
    acceleration: tuple[int, int],
    shift: int,
    n_acs: int,
    *,
    elliptical: bool = False,
    partial_fourier: tuple[float, float] = (1.0, 1.0),
) -> tuple[PointMask, np.ndarray]:
    """The acquired points, and of each the ISMRMRD flags that say whether it calibrates."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    middle = shape[0] // 2, shape[1] // 2
    lattice_row, beside = np.divmod(rows - middle[0], acceleration[0])
    on_lattice = (beside == 0) & ((columns - middle[1] - shift * lattice_row) % acceleration[1] == 0)
    # Early lines are left out, as scanners do.
    on_lattice &= rows >= round((1 - partial_fourier[0]) * shape[0])
    on_lattice &= columns >= round((1 - partial_fourier[1]) * shape[1])
    if elliptical:
        on_lattice &= ((rows - middle[0]) / (shape[0] / 2)) ** 2 + ((columns - middle[1]) / (shape[1] / 2)) ** 2 <= 1
    block = _central_block(shape, n_acs)
    flags = np.zeros(shape, np.uint64)
    flags[block & on_lattice] = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    flags[block & ~on_lattice] = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    return block | on_lattice, flags


def scattered_points(
    shape: tuple[int, int],
    acceleration: float | int,
    n_acs: int,
    *,
    elliptical: bool = False,
    seed: int | tuple[int, ...] = 0,
) -> tuple[PointMask, np.ndarray]:
    """Points at random that keep their distance, which grows with that from the centre, and the fully sampled block.

    One in `acceleration` of the plane, or of the ellipse in it, the block among them; flags as of `sampled_points`.

    Bridson 2007, ACM SIGGRAPH sketches, doi:10.1145/1278780.1278807 (Poisson disc).
    """
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    from_centre = np.hypot((rows - shape[0] // 2) / (shape[0] / 2), (columns - shape[1] // 2) / (shape[1] / 2))
    area = from_centre <= 1 if elliptical else np.ones(shape, bool)
    block = _central_block(shape, n_acs)
    order = np.random.default_rng(seed).permutation(np.argwhere(area & ~block)).tolist()
    wanted = int(area.sum() / acceleration)
    least, most = 0.0, 2.0 * acceleration
    for _ in range(BISECTIONS):
        distance = (least + most) / 2
        acquired = block | _thrown(order, distance * (1 + DISTANCE_GROWTH * from_centre))
        least, most = (distance, most) if acquired.sum() > wanted else (least, distance)
    flags = np.zeros(shape, np.uint64)
    flags[block] = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    return acquired, flags


def _thrown(order: list[list[int]], distances: np.ndarray) -> PointMask:
    """The points, in this order, that are farther from all before them than their own distance."""
    acquired = np.zeros(distances.shape, bool)
    for row, column in order:
        distance = float(distances[row, column])
        reach = int(distance)
        top, left = max(0, row - reach), max(0, column - reach)
        near = np.argwhere(acquired[top : row + reach + 1, left : column + reach + 1])
        apart = np.hypot(near[:, 0] + top - row, near[:, 1] + left - column)
        acquired[row, column] = bool((apart > distance).all())
    return acquired


def _central_block(shape: tuple[int, int], n_acs: int) -> PointMask:
    block = np.zeros(shape, bool)
    sides = [slice(n // 2 - min(n_acs, n) // 2, n // 2 - min(n_acs, n) // 2 + min(n_acs, n)) for n in shape]
    block[tuple(sides)] = True
    return block


def _as_volume(
    encoding: xsd.encodingType, n_partitions: int, partition_mm: float, acceleration: int, n_slices: int
) -> None:
    for space, n in ((encoding.encodedSpace, n_partitions), (encoding.reconSpace, n_slices)):
        space.matrixSize.z, space.fieldOfView_mm.z = n, n * partition_mm
    encoding.encodingLimits.kspace_encoding_step_2 = xsd.limitType(
        minimum=0, maximum=n_partitions - 1, center=n_partitions // 2
    )
    encoding.parallelImaging.accelerationFactor.kspace_encoding_step_2 = acceleration
