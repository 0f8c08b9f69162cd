"""A raw scan of the phantom, written as a scanner would: ISMRMRD, undersampled, noisy, with a noise scan."""

import gzip
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.formats.acquisitions import HEAD, flag_bits
from raki.formats.ismrmrd.hdf5_writer import Batch, counted, write_hdf5
from raki.phantom.coil_array import noise_correlation
from raki.phantom.phantom import FOV_MM, SLICE_THICKNESS_MM, phantom_slices, slice_positions_mm
from raki.scan import lattice_and_acs
from raki.whole_file import whole_file

READOUT_OVERSAMPLING = 2
DWELL_TIME_US, NOISE_DWELL_TIME_US = 5.0, 10.0
NOISE_BANDWIDTH_RATIO = 0.79
N_NOISE_ACQUISITIONS = 16
# Coil maps on a finer grid, and their transforms. Measured: 19 to 22 with 16 and 32 coils on matrices of 128, 256 and
# 512, and with 8 coils on 512; 27 with 4 coils on 128, where it is 27 MiB in all.
SLICES_AT_WORK = 20


def simulate_scan(
    path: Path,
    *,
    n_slices: int = 4,
    n_coils: int = 12,
    matrix: int = 192,
    acceleration: int = 4,
    n_acs_lines: int = 24,
    partial_fourier: float = 1.0,
    noise_level: float = 0.05,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Writes a raw scan of the phantom: an ISMRMRD file (*.h5), or that file in an archive (*.tar, *.tar.gz, *.tgz).

    Args:
        acceleration: every R-th line is acquired, the central one among them.
        n_acs_lines: fully sampled lines in the centre.
        partial_fourier: the part of k-space that is acquired, counted from its last line.
        noise_level: standard deviation of the complex noise in a coil image, averaged over the coils; white matter
            has about 1. Zero writes neither noise nor a noise scan.
        progress: told the finished fraction after each slice.

    Raises:
        ValueError: the name has another ending.

    >>> import raki
    >>> from pathlib import Path
    >>> raki.simulate_scan(Path("scan.h5"), n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    >>> Path("scan.h5").exists()
    True
    """
    require_known_ending(path)
    rng = np.random.default_rng(seed)
    mixing = noise_level * noise_mixing(n_coils, rng)
    lines, flags = sampled_lines(matrix, acceleration, n_acs_lines, partial_fourier)
    header_xml = xsd.ToXML(scan_header(n_slices, n_coils, matrix, acceleration))

    def acquired() -> Iterator[Batch]:
        if noise_level > 0:
            yield noise_acquisitions(mixing, 2 * matrix, rng)
        slices = phantom_slices(n_slices, n_coils, matrix, seed, readout_oversampling=READOUT_OVERSAMPLING)
        for n_done, kspace in enumerate(slices):
            noise = np.tensordot(mixing, complex_noise(rng, kspace.shape), axes=1)
            yield _image_acquisitions(kspace + noise, lines, flags, n_done, n_slices)
            if progress:
                progress((n_done + 1) / n_slices)

    write_raw(header_xml, acquired(), path)


def write_raw(header_xml: str, acquired: Iterator[Batch], path: Path) -> None:
    """Writes acquisitions as an ISMRMRD file, or that file in an archive if the name asks for one."""
    if path.suffix == ".h5":
        write_hdf5(header_xml, counted(acquired), path)
        return
    with whole_file(path) as packed:
        raw = packed.with_name("scan.h5")
        write_hdf5(header_xml, counted(acquired), raw)
        _pack(raw, packed)


def require_known_ending(path: Path) -> None:
    """Raises ValueError unless a raw scan can be written under this name."""
    if not path.name.endswith((".h5", ".tar", ".tar.gz", ".tgz")):
        raise ValueError(f"a raw scan is written as .h5, .tar, .tar.gz or .tgz, not as '{path.suffix}'")


def bytes_needed(*, n_slices: int, n_coils: int, matrix: int, acceleration: int, n_acs_lines: int) -> tuple[int, int]:
    """What `simulate_scan` takes of memory, to a quarter, and of disk; an archive takes the latter twice."""
    lines, _ = sampled_lines(matrix, acceleration, n_acs_lines)
    line_bytes = 8 * n_coils * READOUT_OVERSAMPLING * matrix
    return SLICES_AT_WORK * matrix * line_bytes, n_slices * len(lines) * (line_bytes + HEAD.itemsize)


def sampled_lines(
    matrix: int, acceleration: int, n_acs_lines: int, partial_fourier: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The acquired lines in ascending order, and the ISMRMRD flags that say which of them calibrate."""
    on_lattice, in_acs = lattice_and_acs(matrix, acceleration, n_acs_lines)
    # Early lines are left out, as scanners do.
    on_lattice[: round((1 - partial_fourier) * matrix)] = False
    flags = np.zeros(matrix, np.uint64)
    flags[in_acs & on_lattice] = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    flags[in_acs & ~on_lattice] = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    lines = np.flatnonzero(on_lattice | in_acs)
    return lines, flags[lines]


def complex_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """White complex noise in complex64, E|n|^2 = 1."""
    parts = rng.standard_normal((*shape, 2), dtype=np.float32)
    return parts.view(np.complex64)[..., 0] / np.float32(np.sqrt(2))


def scan_header(n_slices: int, n_coils: int, matrix: int, acceleration: int) -> xsd.ismrmrdHeader:
    """The ISMRMRD header of the simulated scan, with an invented subject.

    Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089; schema ismrmrd.xsd.
    """

    def space(oversampling: int) -> xsd.encodingSpaceType:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=matrix * oversampling, y=matrix, z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=FOV_MM * oversampling, y=FOV_MM, z=SLICE_THICKNESS_MM),
        )

    encoding = xsd.encodingType(
        encodedSpace=space(READOUT_OVERSAMPLING),
        reconSpace=space(1),
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=matrix - 1, center=matrix // 2),
            slice=xsd.limitType(minimum=0, maximum=n_slices - 1, center=0),
        ),
        trajectory=xsd.trajectoryType.CARTESIAN,
        parallelImaging=xsd.parallelImagingType(
            accelerationFactor=xsd.accelerationFactorType(
                kspace_encoding_step_1=acceleration, kspace_encoding_step_2=1
            ),
            calibrationMode=xsd.calibrationModeType.EMBEDDED,
        ),
    )
    return xsd.ismrmrdHeader(
        subjectInformation=xsd.subjectInformationType(patientName="Phantom^Digital", patientID="PHANTOM-0001"),
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS, protocolName="phantom_t1_axial"
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="raki",
            systemModel="digital phantom",
            systemFieldStrength_T=2.89,
            relativeReceiverNoiseBandwidth=NOISE_BANDWIDTH_RATIO,
            receiverChannels=n_coils,
        ),
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=123_200_000),
        encoding=[encoding],
        sequenceParameters=xsd.sequenceParametersType(TR=[250.0], TE=[4.6], flipAngle_deg=[70.0]),
    )


def noise_mixing(n_coils: int, rng: np.random.Generator) -> np.ndarray:
    """A matrix that turns white noise into the coils' noise: correlated, some channels a little noisier."""
    level = rng.uniform(0.85, 1.15, n_coils)
    level /= np.sqrt(np.mean(level**2))
    return (level[:, None] * np.linalg.cholesky(noise_correlation(n_coils))).astype(np.complex64)


def noise_acquisitions(mixing: np.ndarray, n_samples: int, rng: np.random.Generator) -> Batch:
    """Acquisitions without excitation. A longer dwell time lets in less noise; so does the receiver's filter."""
    scale = np.sqrt(NOISE_BANDWIDTH_RATIO * DWELL_TIME_US / NOISE_DWELL_TIME_US)
    noise = scale * np.tensordot(mixing, complex_noise(rng, (len(mixing), N_NOISE_ACQUISITIONS, n_samples)), axes=1)
    heads = axial_heads(N_NOISE_ACQUISITIONS, len(mixing), n_samples)
    heads["flags"] = flag_bits(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    heads["sample_time_us"] = NOISE_DWELL_TIME_US
    return heads, noise.transpose(1, 0, 2)


def _image_acquisitions(
    kspace: np.ndarray, lines: np.ndarray, flags: np.ndarray, slice_index: int, n_slices: int
) -> Batch:
    """The acquired lines of one slice, in the order of time."""
    n_coils, _, n_samples = kspace.shape
    heads = axial_heads(len(lines), n_coils, n_samples)
    heads["flags"] = flags
    heads["flags"][0] |= flag_bits(ismrmrd.ACQ_FIRST_IN_SLICE)
    heads["flags"][-1] |= flag_bits(ismrmrd.ACQ_LAST_IN_SLICE)
    if slice_index == n_slices - 1:
        heads["flags"][-1] |= flag_bits(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    heads["sample_time_us"] = DWELL_TIME_US
    heads["position"][:, 2] = slice_positions_mm(n_slices)[slice_index]
    heads["idx"]["kspace_encode_step_1"] = lines
    heads["idx"]["slice"] = slice_index
    return heads, kspace[:, lines].transpose(1, 0, 2)


def axial_heads(n_acquisitions: int, n_coils: int, n_samples: int) -> np.ndarray:
    """Heads of axial lines, the readout from right to left."""
    heads = np.zeros(n_acquisitions, HEAD)
    heads["version"] = 1
    heads["number_of_samples"], heads["center_sample"] = n_samples, n_samples // 2
    heads["available_channels"] = heads["active_channels"] = n_coils
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = np.eye(3)
    return heads


def _pack(raw: Path, path: Path) -> None:
    """Writes an archive of the file, compressed if its name asks for it. Same scan, same bytes."""
    with path.open("wb") as file:
        stream = file if path.suffix == ".tar" else gzip.GzipFile("", "wb", 1, file, mtime=0)
        with (
            stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
            raw.open("rb") as f,
        ):
            member = tarfile.TarInfo(path.name.split(".")[0] + ".h5")
            member.size = raw.stat().st_size
            archive.addfile(member, f)
