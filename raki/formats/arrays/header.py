"""The ISMRMRD header and heads of k-space that was put into an array: no acquisition has a head of its own any more.

Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089; schema ismrmrd.xsd.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Int, Shaped

from raki.formats.acquisitions import HEAD, flag_bits
from raki.formats.arrays.description import COUNTERS, n_partitions
from raki.scan import Geometry

PROTON_HZ_PER_TESLA = 42_577_478.5
# Acquisitions count their samples in 16 bits.
NOISE_SAMPLES = 1 << 15

Heads = Shaped[np.ndarray, " acquisition"]


def bare_header(
    field_strength_t: float | None = None, receiver_noise_bandwidth: float | None = None
) -> xsd.ismrmrdHeader:
    """A header that says nothing but this; an unknown field strength is one of zero."""
    return xsd.ismrmrdHeader(
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemFieldStrength_T=field_strength_t, relativeReceiverNoiseBandwidth=receiver_noise_bandwidth
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=round(PROTON_HZ_PER_TESLA * (field_strength_t or 0.0))
        ),
    )


def with_encoding(
    header: xsd.ismrmrdHeader,
    geometry: Geometry,
    sizes: Mapping[str, int],
    calibration: xsd.calibrationModeType | None = None,
) -> str:
    """The header's XML, with one encoding that describes an array of k-space in place of its own.

    Args:
        header: what else is known of the scan; of its encodings only the first one's parallel imaging is kept.
        sizes: the length of each axis of the array, by its name; at least those of coil, pe and ro.
        calibration: how the lines for calibration were acquired, if there are any.
    """
    n_pe, n_ro = sizes["pe"], sizes["ro"]
    n_rows, n_columns = geometry.matrix
    readout_mm, rows_mm, slice_mm = geometry.fov_mm
    encoded_mm = readout_mm * n_ro / n_columns, rows_mm * geometry.encoded_rows / n_rows, slice_mm
    encoding = xsd.encodingType(
        encodedSpace=_space((n_ro, n_pe, n_partitions(sizes)), encoded_mm),
        reconSpace=_space((n_columns, n_rows, n_partitions(sizes)), geometry.fov_mm),
        encodingLimits=_limits(sizes),
        trajectory=xsd.trajectoryType.CARTESIAN,
        parallelImaging=_parallel_imaging(header, calibration),
    )
    system = header.acquisitionSystemInformation or xsd.acquisitionSystemInformationType()
    labels = system.coilLabel if len(system.coilLabel) == sizes["coil"] else []
    system = replace(system, receiverChannels=sizes["coil"], coilLabel=labels)
    # The array holds no waveforms.
    whole = replace(header, encoding=[encoding], acquisitionSystemInformation=system, waveformInformation=[])
    return str(xsd.ToXML(whole, encoding="UTF-8"))


def line_heads(
    geometry: Geometry,
    counters: Mapping[str, Int[np.ndarray, " acquisition"]],
    sizes: Mapping[str, int],
    dwell_time_s: float,
    *flags: int,
) -> Heads:
    """Heads of full lines. `counters` are ISMRMRD's, kspace_encode_step_1 at least; all flags are set in all heads."""
    heads = _heads(len(counters["kspace_encode_step_1"]), sizes["coil"], sizes["ro"], dwell_time_s, *flags)
    for name, values in counters.items():
        heads["idx"][name] = values
    slices = heads["idx"]["slice"].astype(float)
    along = np.multiply(geometry.slice_spacing_mm, geometry.slice_direction)
    heads["position"] = np.asarray(geometry.position_mm) + slices[:, None] * along
    # Of an unknown orientation these stay unset, as in ISMRMRD; which way the slices follow each other is needed.
    directions = (geometry.read_direction, geometry.phase_direction) if geometry.is_oriented else np.zeros((2, 3))
    heads["read_dir"], heads["phase_dir"] = directions
    heads["slice_dir"] = geometry.slice_direction
    return heads


def acs_heads(geometry: Geometry, shape: Sequence[int], sizes: Mapping[str, int], dwell_time_s: float) -> Heads:
    """Heads of calibration lines that were acquired apart, `slice coil acs_line ro`, about the centre of k-space."""
    n_slices, _, n_lines, n_samples = shape
    slices, lines = np.divmod(np.arange(n_slices * n_lines), n_lines)
    counters = {"slice": slices, "kspace_encode_step_1": lines + sizes["pe"] // 2 - n_lines // 2}
    lengths = {"coil": sizes["coil"], "ro": n_samples}
    return line_heads(geometry, counters, lengths, dwell_time_s, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)


def noise_heads(n_coils: int, n_samples: int, dwell_time_s: float) -> Heads:
    """Heads of a noise scan, in acquisitions of `NOISE_SAMPLES` and one for the rest."""
    n_acquisitions = -(-n_samples // NOISE_SAMPLES)
    heads = _heads(n_acquisitions, n_coils, NOISE_SAMPLES, dwell_time_s, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    rest = n_samples - (n_acquisitions - 1) * NOISE_SAMPLES
    heads["number_of_samples"][-1], heads["center_sample"][-1] = rest, rest // 2
    return heads


def _heads(n_acquisitions: int, n_coils: int, n_samples: int, dwell_time_s: float, *flags: int) -> Heads:
    heads = np.zeros(n_acquisitions, HEAD)
    heads["version"] = 1
    heads["number_of_samples"], heads["center_sample"] = n_samples, n_samples // 2
    heads["available_channels"] = heads["active_channels"] = n_coils
    heads["sample_time_us"] = 1e6 * dwell_time_s
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = np.eye(3)
    heads["flags"] = flag_bits(*flags)
    return heads


def _space(matrix: tuple[int, int, int], fov_mm: tuple[float, float, float]) -> xsd.encodingSpaceType:
    (n_x, n_y, n_z), (x_mm, y_mm, z_mm) = matrix, fov_mm
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=n_x, y=n_y, z=n_z), fieldOfView_mm=xsd.fieldOfViewMm(x=x_mm, y=y_mm, z=z_mm)
    )


def _limits(sizes: Mapping[str, int]) -> xsd.encodingLimitsType:
    """From zero on; the middle of k-space at n // 2."""
    limits = xsd.encodingLimitsType(kspace_encoding_step_1=_limit(sizes["pe"], sizes["pe"] // 2), slice=_limit(1))
    for axis, counter in COUNTERS.items():
        if axis in sizes and counter == "kspace_encode_step_2":
            limits.kspace_encoding_step_2 = _limit(sizes[axis], sizes[axis] // 2)
        elif axis in sizes:
            setattr(limits, counter, _limit(sizes[axis]))
    return limits


def _limit(n: int, centre: int = 0) -> xsd.limitType:
    return xsd.limitType(minimum=0, maximum=n - 1, center=centre)


def _parallel_imaging(
    header: xsd.ismrmrdHeader, calibration: xsd.calibrationModeType | None
) -> xsd.parallelImagingType | None:
    known = header.encoding[0].parallelImaging if header.encoding else None
    if calibration is None:
        return known
    # An array doesn't tell its acceleration, and the schema wants one: raki looks at the lines instead.
    unknown = xsd.accelerationFactorType(kspace_encoding_step_1=1, kspace_encoding_step_2=1)
    return replace(known or xsd.parallelImagingType(accelerationFactor=unknown), calibrationMode=calibration)
