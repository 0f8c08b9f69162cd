"""A head with a marker to the left, one to anterior and one to the head, as raw scans of three formats.

Where anything lies is computed here from what is written into the files, and by no code of raki's.
"""

from dataclasses import dataclass

import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.phantom.simulation import FOV_MM, scan_header
from tests.formats.ge import ge_files
from tests.formats.twix.twix_files import PROTOCOL, WRITERS, Line

N = 32
MARKERS_MM = {"L": (50.0, 0.0, 0.0), "A": (0.0, -50.0, 0.0), "H": (0.0, 0.0, 50.0)}
"""In LPS, the coordinates of DICOM: to the left, to posterior, to the head."""
BRIGHTNESS = {"L": 6.0, "A": 3.0, "H": 1.5}
COILS = np.array([1, 0.5j])


@dataclass(frozen=True)
class Slice:
    """Where a slice lies, in LPS."""

    read: tuple[float, float, float]
    phase: tuple[float, float, float]
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def normal(self):
        return np.cross(self.read, self.phase)


def head(points_mm):
    """Brightness at points of the patient, `... xyz`: a head, brighter at the markers."""
    brightness = np.exp(-(points_mm**2).sum(axis=-1) / (2 * 60.0**2))
    for name, marker_mm in MARKERS_MM.items():
        brightness += BRIGHTNESS[name] * np.exp(-((points_mm - marker_mm) ** 2).sum(axis=-1) / (2 * 8.0**2))
    return brightness


def kspace(where, fov_mm, *, oversampling=1):
    """`coil pe ro` of a slice of N x N pixels."""
    along_read = (np.arange(oversampling * N) - oversampling * N // 2) * fov_mm / N
    along_phase = (np.arange(N) - N // 2)[:, np.newaxis] * fov_mm / N
    points_mm = along_read[..., np.newaxis] * where.read + along_phase[..., np.newaxis] * where.phase
    images = COILS[:, np.newaxis, np.newaxis] * head(points_mm + where.centre_mm)
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes=axes)), axes=axes).astype(np.complex64)


def write_ismrmrd(path, slices):
    with ismrmrd.Dataset(path, mode="w") as dataset:
        dataset.write_xml_header(xsd.ToXML(scan_header(len(slices), len(COILS), N, 1)).encode())
        for number, where in enumerate(slices):
            for line, samples in enumerate(kspace(where, FOV_MM, oversampling=2).swapaxes(0, 1)):
                acquisition = ismrmrd.Acquisition.from_array(samples, center_sample=N)
                acquisition.position, acquisition.slice_dir = where.centre_mm, tuple(where.normal)
                acquisition.read_dir, acquisition.phase_dir = where.read, where.phase
                acquisition.idx.slice, acquisition.idx.kspace_encode_step_1 = number, line
                dataset.append_acquisition(acquisition)


def write_twix(path, slices):
    fov_mm = 240.0
    size = {"sKSpace.lBaseResolution": N, "sKSpace.lPhaseEncodingLines": N, "sSliceArray.lSize": len(slices)}
    size |= {f"sSliceArray.asSlice[0].{name}": fov_mm for name in ("dPhaseFOV", "dReadoutFOV")}
    lines = [
        Line(
            samples=samples,
            counters={"line": line, "slice": number},
            centre_line=N // 2,
            position=where.centre_mm,
            # Siemens' frame has phase-encode as its first axis, readout as its second.
            quaternion=quaternion(np.stack([where.phase, where.read, -where.normal], axis=1)),
        )
        for number, where in enumerate(slices)
        for line, samples in enumerate(kspace(where, fov_mm, oversampling=2).swapaxes(0, 1))
    ]
    path.write_bytes(WRITERS["VD"](lines, protocol=PROTOCOL | {name: str(value) for name, value in size.items()}))


def quaternion(rotation):
    """w, x, y, z of a rotation matrix by less than half a turn."""
    w = np.sqrt(1 + np.trace(rotation)) / 2
    return (w, *(rotation[[2, 0, 1], [1, 2, 0]] - rotation[[1, 2, 0], [2, 0, 1]]) / (4 * w))


# As `ge_files` places them: readout to the patient's right, phase-encode to posterior.
GE_SLICES = [Slice((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, ge_files.SPACING_MM * n - 30)) for n in range(9)]


def write_ge(path, slices):
    samples = np.array([kspace(where, ge_files.FOV_MM) for where in slices])
    scale = 30_000 / np.abs(samples).max()
    path.write_bytes(ge_files.p_file(np.rint(samples * scale)))
