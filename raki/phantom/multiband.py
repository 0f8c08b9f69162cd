"""A raw scan of the phantom that excites several slices at once, and the single-band reference that goes with it."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64

from raki.formats.acquisitions import flag_bits
from raki.formats.ismrmrd.hdf5_writer import Batch
from raki.phantom.phantom import phantom_planes, slice_positions_mm
from raki.phantom.simulation import (
    DWELL_TIME_US,
    READOUT_OVERSAMPLING,
    axial_heads,
    complex_noise,
    noise_acquisitions,
    noise_mixing,
    require_known_ending,
    sampled_lines,
    scan_header,
    write_raw,
)

SUMS, REFERENCE = 0, 1
"""Encoding spaces."""


def simulate_multiband(
    path: Path,
    *,
    multiband: int = 2,
    caipi_shift: int = 1,
    n_slices: int = 4,
    n_coils: int = 12,
    matrix: int = 192,
    acceleration: int = 1,
    n_acs_lines: int = 24,
    noise_level: float = 0.05,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Writes a raw scan of the phantom, as `raki.simulate_scan` does, that excites several slices at once.

    The slices are those of `raki.simulate_scan` with as many slices: the truth. Slices of a group lie as far apart as
    they can. The single-band reference is an encoding space of its own.

    Args:
        multiband: slices that are excited at once.
        caipi_shift: N of the blipped-CAIPI scheme: from one acquired line to the next the phase between neighbouring
            slices of a group turns by one N-th, which shifts them by one N-th of the field of view over R; 1 for none.
        acceleration: every R-th line of the sums is acquired, the central one among them.
        n_acs_lines: lines of the reference, about the centre; at least one.
        noise_level: as of `raki.simulate_scan`.
        progress: told the finished fraction after each group.

    Raises:
        ValueError: the name has another ending, the slices don't make groups of one size, or there is no reference.

    Setsompop et al. 2012, Magn Reson Med 67:1210-1224, doi:10.1002/mrm.23097.
    """
    require_known_ending(path)
    if n_acs_lines < 1:
        raise ValueError(
            f"{n_acs_lines} lines were asked for in the centre; slices that are excited at once are told apart by a "
            "reference, which needs some"
        )
    places_mm, apart_mm = places_of_groups(n_slices, multiband)
    rng = np.random.default_rng(seed)
    mixing = noise_level * noise_mixing(n_coils, rng)
    n_groups = n_slices // multiband
    lines, _ = sampled_lines(matrix, acceleration, 0)
    reference_lines = np.arange(n_acs_lines) + matrix // 2 - n_acs_lines // 2
    header = multiband_header(
        n_slices=n_slices,
        n_coils=n_coils,
        matrix=matrix,
        acceleration=acceleration,
        offsets_mm=[apart_mm * band for band in range(multiband)],
        caipi_shift=caipi_shift,
        reference_lines=reference_lines,
    )

    def acquired() -> Iterator[Batch]:
        if noise_level > 0:
            yield noise_acquisitions(mixing, 2 * matrix, rng)
        for group in range(n_groups):
            numbers = range(group, n_slices, n_groups)
            planes = phantom_planes(
                places_mm[numbers], n_coils, matrix, seed, readout_oversampling=READOUT_OVERSAMPLING
            )
            sums = np.zeros((n_coils, len(lines), READOUT_OVERSAMPLING * matrix), np.complex64)
            for band, (number, kspace) in enumerate(zip(numbers, planes, strict=True)):
                turns = band / caipi_shift / acceleration * (lines - matrix // 2)
                sums += kspace[:, lines] * np.exp(2j * np.pi * turns).astype(np.complex64)[:, None]
                alone = noisy(kspace[:, reference_lines], mixing, rng)
                yield _acquisitions(alone, reference_lines, number, places_mm[number], REFERENCE)
            yield _acquisitions(noisy(sums, mixing, rng), lines, group, places_mm[group], SUMS)
            if progress:
                progress((group + 1) / n_groups)

    write_raw(xsd.ToXML(header), acquired(), path)


def places_of_groups(n_slices: int, multiband: int) -> tuple[np.ndarray, float]:
    """Where the slices lie, and how far apart those of a group are; in mm.

    Raises:
        ValueError: they don't make groups of one size.
    """
    if multiband < 2 or n_slices % multiband:
        raise ValueError(
            f"{n_slices} slices were asked for, {multiband} at once; needed are groups of one size, 2 or more"
        )
    places_mm = slice_positions_mm(n_slices)
    return places_mm, float(places_mm[n_slices // multiband] - places_mm[0])


def multiband_header(
    *,
    n_slices: int,
    n_coils: int,
    matrix: int,
    acceleration: int,
    offsets_mm: list[float],
    caipi_shift: int,
    reference_lines: np.ndarray,
) -> xsd.ismrmrdHeader:
    """The header of sums of slices that lie at these places from the first of them, and of their reference."""
    header = scan_header(n_slices // len(offsets_mm), n_coils, matrix, acceleration)
    header.encoding.append(_reference_encoding(header.encoding[SUMS], n_slices, reference_lines))
    header.encoding[SUMS].parallelImaging.multiband = xsd.multibandType(
        spacing=[xsd.multibandSpacingType(dZ=offsets_mm)],
        deltaKz=1 / (caipi_shift * offsets_mm[1]) if caipi_shift > 1 else 0.0,
        multiband_factor=len(offsets_mm),
        calibration=xsd.multibandCalibrationType.SEPARABLE2_D,
        calibration_encoding=REFERENCE,
    )
    return header


def _reference_encoding(of_sums: xsd.encodingType, n_slices: int, lines: np.ndarray) -> xsd.encodingType:
    encoding = deepcopy(of_sums)
    encoding.parallelImaging.accelerationFactor.kspace_encoding_step_1 = 1
    encoding.encodingLimits.slice.maximum = n_slices - 1
    steps = encoding.encodingLimits.kspace_encoding_step_1
    steps.minimum, steps.maximum = int(lines[0]), int(lines[-1])
    return encoding


def noisy(
    kspace: Complex64[np.ndarray, "coil line ro"], mixing: np.ndarray, rng: np.random.Generator
) -> Complex64[np.ndarray, "coil line ro"]:
    """Lines with noise that coils share as `mixing` says."""
    return (kspace + np.tensordot(mixing, complex_noise(rng, kspace.shape), axes=1)).astype(np.complex64)


def _acquisitions(
    samples: Complex64[np.ndarray, "coil line ro"], lines: np.ndarray, number: int, place_mm: float, space: int
) -> Batch:
    """Lines of one slice of the reference, or of one sum; the sum lies where its first slice does."""
    n_coils, n_lines, n_samples = samples.shape
    heads = axial_heads(n_lines, n_coils, n_samples)
    heads["flags"] = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) if space == REFERENCE else 0
    heads["encoding_space_ref"] = space
    heads["sample_time_us"] = DWELL_TIME_US
    heads["position"][:, 2] = place_mm
    heads["idx"]["kspace_encode_step_1"], heads["idx"]["slice"] = lines, number
    return heads, samples.transpose(1, 0, 2)
