"""A raw scan of the phantom that excites several slices at once and reads each sum of them in one train (SMS-EPI)."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool, Complex64

from raki.formats.acquisitions import flag_bits
from raki.formats.ismrmrd.hdf5_writer import Batch
from raki.phantom.multiband import REFERENCE, SUMS, multiband_header, noisy, places_of_groups
from raki.phantom.phantom import phantom_planes
from raki.phantom.simulation import (
    DWELL_TIME_US,
    READOUT_OVERSAMPLING,
    axial_heads,
    noise_acquisitions,
    noise_mixing,
    require_known_ending,
    sampled_lines,
    write_raw,
)
from raki.scan import NyquistPhase, to_lines, to_profiles

N_NAVIGATORS = 3
# What all slices have in common: a delay of half a sample and more between forward and reversed lines.
COMMON_OFFSET_RAD, COMMON_DELAY_SAMPLES = 0.4, 0.6

Slice = Complex64[np.ndarray, "coil pe ro"]
Train = Complex64[np.ndarray, "coil recorded ro"]
"""Navigators and lines, in the order of time."""


def simulate_multiband_epi(
    path: Path,
    *,
    multiband: int = 2,
    caipi_shift: int = 2,
    n_slices: int = 4,
    n_coils: int = 12,
    matrix: int = 96,
    acceleration: int = 1,
    n_frames: int = 1,
    ghost_rad: float = 0.3,
    drift_rad: float = 0.0,
    pulse_phase_rad: float = 0.0,
    noise_level: float = 0.05,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Writes an echo-planar scan of the phantom, its lines read back and forth, that excites several slices at once.

    The slices of `raki.simulate_scan` with as many slices are the truth: without ghosts. Each slice has a phase between
    forward and reversed lines of its own. Three navigators precede each train, of the sums and of the single-band
    reference alike, without blips: those of a sum are a sum. The reference is an encoding space of its own, all lines
    of each slice, in R trains of the sums' step.

    Args:
        multiband: slices that are excited at once.
        caipi_shift: as of `simulate_multiband`; a blip along the slice direction before each line (blipped CAIPI).
        acceleration: every R-th line of the sums is acquired, the central one among them.
        n_frames: repetitions of the sums.
        ghost_rad: by how much the phase between forward and reversed lines differs from one slice of a group to the
            next, in the middle and once more at the edge of the field of view.
        drift_rad: by how much this phase has grown, in all slices alike, in the last frame.
        pulse_phase_rad: by how much the phase of the excitation of all differs from one slice of a group to the next;
            that of the reference doesn't (Wong 2012, Proc Intl Soc Magn Reson Med 20:2209).
        noise_level: as of `raki.simulate_scan`.
        progress: told the finished fraction after each group.

    Raises:
        ValueError: the name has another ending, or the slices don't make groups of one size.

    Setsompop et al. 2012, Magn Reson Med 67:1210-1224, doi:10.1002/mrm.23097.
    """
    require_known_ending(path)
    places_mm, apart_mm = places_of_groups(n_slices, multiband)
    n_groups = n_slices // multiband
    rng = np.random.default_rng(seed)
    mixing = noise_level * noise_mixing(n_coils, rng)
    lines, _ = sampled_lines(matrix, acceleration, 0)
    header = multiband_header(
        n_slices=n_slices,
        n_coils=n_coils,
        matrix=matrix,
        acceleration=acceleration,
        offsets_mm=[apart_mm * band for band in range(multiband)],
        caipi_shift=caipi_shift,
        reference_lines=np.arange(matrix),
    )
    for encoding in header.encoding:
        encoding.trajectory = xsd.trajectoryType.EPI
    header.encoding[SUMS].encodingLimits.repetition = xsd.limitType(minimum=0, maximum=n_frames - 1, center=0)
    turns = [band / caipi_shift / acceleration for band in range(multiband)]

    def acquired() -> Iterator[Batch]:
        if noise_level > 0:
            yield noise_acquisitions(mixing, 2 * matrix, rng)
        for group in range(n_groups):
            numbers = range(group, n_slices, n_groups)
            planes = list(
                phantom_planes(places_mm[numbers], n_coils, matrix, seed, readout_oversampling=READOUT_OVERSAMPLING)
            )
            ghosts = [slice_ghost(band, multiband, matrix, ghost_rad) for band in range(multiband)]
            for number, kspace, ghost in zip(numbers, planes, ghosts, strict=True):
                for shot in range(acceleration):
                    of_shot = np.arange((matrix // 2 + shot) % acceleration, matrix, acceleration)
                    train = _train([kspace], [ghost], [0.0], of_shot)
                    yield _acquisitions(noisy(train, mixing, rng), of_shot, number, places_mm[number], REFERENCE)
            for frame in range(n_frames):
                drifted = [_grown(ghost, drift_rad * frame / max(1, n_frames - 1)) for ghost in ghosts]
                excited = [
                    kspace * np.complex64(np.exp(1j * pulse_phase_rad * band)) for band, kspace in enumerate(planes)
                ]
                train = _train(excited, drifted, turns, lines)
                yield _acquisitions(noisy(train, mixing, rng), lines, group, places_mm[group], SUMS, frame)
            if progress:
                progress((group + 1) / n_groups)

    write_raw(xsd.ToXML(header), acquired(), path)


def slice_ghost(band: int, n_bands: int, matrix: int, ghost_rad: float) -> NyquistPhase:
    """The phase of forward over reversed lines in one slice of a group."""
    n_ro = READOUT_OVERSAMPLING * matrix
    return NyquistPhase(
        offset_rad=COMMON_OFFSET_RAD + ghost_rad * (band - (n_bands - 1) / 2),
        slope_rad_per_pixel=2 * np.pi * COMMON_DELAY_SAMPLES / n_ro + (-1) ** band * ghost_rad / matrix,
    )


def _grown(ghost: NyquistPhase, drift_rad: float) -> NyquistPhase:
    return NyquistPhase(offset_rad=ghost.offset_rad + drift_rad, slope_rad_per_pixel=ghost.slope_rad_per_pixel)


def _train(planes: Sequence[Slice], ghosts: Sequence[NyquistPhase], turns: Sequence[float], lines: np.ndarray) -> Train:
    """Navigators and lines of one train, summed over slices; every second one backward, as it is recorded."""
    n_pe = planes[0].shape[1]
    navigators = np.full(N_NAVIGATORS, n_pe // 2)
    is_reversed = _is_reversed(len(lines))
    total = np.zeros((planes[0].shape[0], len(is_reversed), planes[0].shape[2]), np.complex64)
    for kspace, ghost, turn in zip(planes, ghosts, turns, strict=True):
        blips = np.concatenate([np.zeros(N_NAVIGATORS), turn * (lines - n_pe // 2)])
        played = kspace[:, np.concatenate([navigators, lines])] * np.exp(2j * np.pi * blips)[:, None]
        half = np.exp(0.5j * ghost.along_readout(kspace.shape[2]))
        factors = np.where(is_reversed[:, None], half.conj(), half)
        total += to_lines(to_profiles(played) * factors).astype(np.complex64)
    return np.where(is_reversed[:, None], total[..., ::-1], total)


def _is_reversed(n_lines: int) -> Bool[np.ndarray, " recorded"]:
    """Of the navigators and the lines of a train; both begin with a forward one."""
    return np.concatenate([np.arange(N_NAVIGATORS) % 2 == 1, np.arange(n_lines) % 2 == 1])


def _acquisitions(
    train: Train, lines: np.ndarray, number: int, place_mm: float, space: int, repetition: int = 0
) -> Batch:
    n_coils, n_lines, n_samples = train.shape
    heads = axial_heads(n_lines, n_coils, n_samples)
    heads["flags"] = np.where(_is_reversed(len(lines)), flag_bits(ismrmrd.ACQ_IS_REVERSE), np.uint64(0))
    if space == REFERENCE:
        heads["flags"] |= flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    heads["flags"][:N_NAVIGATORS] |= flag_bits(ismrmrd.ACQ_IS_PHASECORR_DATA)
    heads["encoding_space_ref"] = space
    heads["sample_time_us"] = DWELL_TIME_US
    heads["position"][:, 2] = place_mm
    heads["idx"]["slice"], heads["idx"]["repetition"] = number, repetition
    heads["idx"]["kspace_encode_step_1"][N_NAVIGATORS:] = lines
    return heads, train.transpose(1, 0, 2)
