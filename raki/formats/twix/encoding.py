"""What a Siemens measurement encoded: matrix, field of view, centre and counters, as an ISMRMRD encoding.

A sequence that was not written with the vendor's own tools (Pulseq) may leave whatever protocol it was started from:
another matrix, no centre. So the protocol is believed only as far as the lines bear it out. Where they don't, the
matrix is what the lines fill and nothing is cut off, since that gives an image which is neither shifted nor folded.
"""

import math
from dataclasses import dataclass

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Int

from raki.errors import DamagedScan
from raki.formats.sorting.marks import NOT_IMAGE, has_flag
from raki.formats.twix.epi import epi_timing, is_epi
from raki.formats.twix.heads import CENTRE_LINE, CENTRE_PARTITION, COUNTERS
from raki.formats.twix.multiband import slices_at_once
from raki.formats.twix.protocol import Protocol

TRAJECTORIES = {1: xsd.trajectoryType.CARTESIAN, 2: xsd.trajectoryType.RADIAL, 4: xsd.trajectoryType.SPIRAL}
MODES = {
    2: xsd.calibrationModeType.EMBEDDED,
    4: xsd.calibrationModeType.SEPARATE,
    8: xsd.calibrationModeType.SEPARATE,
    16: xsd.calibrationModeType.INTERLEAVED,
    32: xsd.calibrationModeType.INTERLEAVED,
    64: xsd.calibrationModeType.INTERLEAVED,
}
INTERLEAVED_OVER = {
    16: xsd.interleavingDimensionType.AVERAGE,
    32: xsd.interleavingDimensionType.REPETITION,
    64: xsd.interleavingDimensionType.PHASE,
}
# A protocol may encode a little more than an asymmetric echo needs; more than this belongs to another readout.
MOST_ASYMMETRY = 1.25
LARGEST_OVERSAMPLING = 8.0


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One encoded axis: how many steps, which is the centre, and whether the protocol says so too."""

    n: int
    centre: int
    as_protocol: bool


def to_encoding(protocol: Protocol, heads: np.ndarray) -> xsd.encodingType:
    """The encoding of the image's lines.

    Args:
        protocol: of the measurement.
        heads: of all its lines, at least one.

    Raises:
        DamagedScan: the protocol has no field of view.
    """
    is_image = ~has_flag(heads, *NOT_IMAGE)
    # A scan of noise alone still has a header.
    lines = heads[is_image] if is_image.any() else heads
    image = lines[~has_flag(lines, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)]
    image = image if len(image) else lines
    readout = find_readout(image, protocol.count("sKSpace.lBaseResolution") * _oversampling(protocol))
    phase = _counted(image, "kspace_encode_step_1", CENTRE_LINE, protocol.count("sKSpace.lPhaseEncodingLines"))
    partitions = _partitions(protocol, image)
    encoded, recon = _spaces(protocol, readout, phase, partitions)
    is_train = is_epi(image)
    trajectory = TRAJECTORIES.get(protocol.count("sKSpace.ucTrajectory", 1), xsd.trajectoryType.OTHER)
    if trajectory is xsd.trajectoryType.CARTESIAN and is_train:
        trajectory = xsd.trajectoryType.EPI
    return xsd.encodingType(
        encodedSpace=encoded,
        reconSpace=recon,
        encodingLimits=_limits(protocol, lines, phase, partitions),
        trajectory=trajectory,
        trajectoryDescription=epi_timing(protocol, heads, image) if is_train else None,
        parallelImaging=_parallel_imaging(protocol),
    )


def find_readout(image: np.ndarray, n_announced: float) -> Axis:
    """The samples of a whole readout: an asymmetric echo has fewer. `n_announced` as the protocol says."""
    kept = image["number_of_samples"].astype(int) - image["discard_pre"] - image["discard_post"]
    before = image["center_sample"].astype(int) - image["discard_pre"]
    is_symmetric = (np.abs(2 * before - kept) <= 1) | (image["center_sample"] == 0)
    n_whole = int(np.where(is_symmetric, kept, 2 * np.maximum(before, kept - before)).max())
    announced = round(n_announced)
    is_partial = bool((~is_symmetric).any())
    fits = n_whole <= announced <= (MOST_ASYMMETRY if is_partial else 1) * n_whole
    as_protocol = bool(fits or announced == kept.max())
    n = announced if as_protocol else n_whole
    return Axis(n=n, centre=n // 2, as_protocol=as_protocol)


def find_axis(steps: Int[np.ndarray, " line"], centre: int, n_announced: int) -> Axis:
    """An axis of phase encoding, from the steps that were acquired and what scan header and protocol say about it.

    A centre of zero is one that the sequence left unset: there are always lines on both sides of the centre. Such a
    sequence doesn't fill in its protocol either, which then only tells how many lines follow the last in a lattice.
    """
    first, last = int(steps.min()), int(steps.max())
    if first < centre <= last:
        if centre - n_announced // 2 <= first and last < centre + (n_announced + 1) // 2:
            return Axis(n=n_announced, centre=centre, as_protocol=True)
        return Axis(n=2 * max(centre - first, last + 1 - centre), centre=centre, as_protocol=False)
    gap = int(np.diff(np.unique(steps)).max(initial=1))
    if last < n_announced <= last + gap:
        return Axis(n=n_announced, centre=n_announced // 2, as_protocol=False)
    n = last + 1 + (last + 1) % 2
    return Axis(n=n, centre=n // 2, as_protocol=False)


def _counted(image: np.ndarray, counter: str, centre_at: int, n_announced: int) -> Axis:
    centres, n_found = np.unique(image["idx"]["user"][:, centre_at], return_counts=True)
    return find_axis(image["idx"][counter].astype(np.int64), int(centres[n_found.argmax()]), n_announced)


def _partitions(protocol: Protocol, image: np.ndarray) -> Axis:
    if not image["idx"]["kspace_encode_step_2"].any():
        return Axis(n=1, centre=0, as_protocol=True)
    n_announced = protocol.count("sKSpace.lPartitions")
    return _counted(image, "kspace_encode_step_2", CENTRE_PARTITION, n_announced)


def _spaces(
    protocol: Protocol, readout: Axis, phase: Axis, partitions: Axis
) -> tuple[xsd.encodingSpaceType, xsd.encodingSpaceType]:
    """The encoded space, and the image's in square pixels of the resolution that was measured, not interpolated."""
    read_mm, phase_mm = _length(protocol, "dReadoutFOV"), _length(protocol, "dPhaseFOV")
    thickness_mm = _length(protocol, "dThickness")
    over_read = _oversampling(protocol) if readout.as_protocol else 1.0
    over_phase = _extra(protocol, "sKSpace.dPhaseOversamplingForDialog") if phase.as_protocol else 1.0
    is_3d = partitions.n > 1
    over_slice = _extra(protocol, "sKSpace.dSliceOversamplingForDialog") if is_3d and partitions.as_protocol else 1.0
    n_columns = max(1, round(readout.n / over_read))
    n_rows = max(1, round(n_columns * phase_mm / read_mm)) if phase.as_protocol else phase.n
    n_images = protocol.count("sKSpace.lImagesPerSlab", partitions.n) if partitions.as_protocol else partitions.n
    return (
        _space(
            (readout.n, phase.n, partitions.n), (read_mm * over_read, phase_mm * over_phase, thickness_mm * over_slice)
        ),
        _space((n_columns, n_rows, n_images if is_3d else 1), (read_mm, phase_mm, thickness_mm)),
    )


def _space(matrix: tuple[int, int, int], lengths_mm: tuple[float, float, float]) -> xsd.encodingSpaceType:
    (n_x, n_y, n_z), (x_mm, y_mm, z_mm) = matrix, lengths_mm
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=n_x, y=n_y, z=n_z), fieldOfView_mm=xsd.fieldOfViewMm(x=x_mm, y=y_mm, z=z_mm)
    )


def _limits(protocol: Protocol, lines: np.ndarray, phase: Axis, partitions: Axis) -> xsd.encodingLimitsType:
    limits = {name: _limit(lines["idx"][name], 0) for name in COUNTERS}
    limits["kspace_encoding_step_1"] = _limit(lines["idx"]["kspace_encode_step_1"], phase.centre)
    limits["kspace_encoding_step_2"] = _limit(lines["idx"]["kspace_encode_step_2"], partitions.centre)
    del limits["kspace_encode_step_1"], limits["kspace_encode_step_2"]
    # The number of slices tells whether all were acquired, if the protocol is that of this scan.
    if phase.as_protocol:
        n_slices = protocol.count("sSliceArray.lSize", 1)
        limits["slice"].maximum = max(limits["slice"].maximum, min(n_slices, 1 << 16) - 1)
    limits["slice"].minimum = 0
    return xsd.encodingLimitsType(**limits)


def _limit(counter: np.ndarray, centre: int) -> xsd.limitType:
    return xsd.limitType(minimum=int(counter.min()), maximum=int(counter.max()), center=centre)


def _parallel_imaging(protocol: Protocol) -> xsd.parallelImagingType:
    mode = protocol.count("sPat.ucRefScanMode")
    n_bands, _ = slices_at_once(protocol)
    bands = xsd.multibandType(
        spacing=[xsd.multibandSpacingType(dZ=[0.0])],
        deltaKz=0.0,
        multiband_factor=n_bands,
        calibration=xsd.multibandCalibrationType.OTHER,
        calibration_encoding=0,
    )
    return xsd.parallelImagingType(
        accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=protocol.count("sPat.lAccelFactPE", 1),
            kspace_encoding_step_2=protocol.count("sPat.lAccelFact3D", 1),
        ),
        calibrationMode=MODES.get(mode, xsd.calibrationModeType.OTHER),
        interleavingDimension=INTERLEAVED_OVER.get(mode),
        multiband=bands if n_bands > 1 else None,
    )


def _oversampling(protocol: Protocol) -> float:
    factor = protocol.derived("flReadoutOSFactor") or 1.0
    return factor if 1 <= factor <= LARGEST_OVERSAMPLING else 1.0


def _extra(protocol: Protocol, name: str) -> float:
    """An oversampling that the protocol gives as the extra part: 0.2 encodes 1.2 times the field of view."""
    extra = protocol.number(name) or 0.0
    return 1 + extra if 0 <= extra <= LARGEST_OVERSAMPLING else 1.0


def _length(protocol: Protocol, name: str) -> float:
    length_mm = protocol.number(f"sSliceArray.asSlice[0].{name}")
    if length_mm is None or not 0 < length_mm < math.inf:
        raise DamagedScan(
            f"the protocol gives {length_mm} as the first slice's {name}; raki needs a length in mm: export the scan "
            "again"
        )
    return length_mm
