"""A head whose answer is known: drawn in millimetres, seen by a ring of coils, sampled in k-space.

The picture is drawn on a grid four times finer than the image and cut to the sampled part of k-space, so the
image shows Gibbs ringing and partial volume as a measured one does, and no reconstruction meets its own grid.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Complex64, Float64

from raki.phantom.anatomy import draw_head
from raki.phantom.coil_array import sensitivities
from raki.scan.arrays import ScanKSpace

FOV_MM = 220.0
SLICE_THICKNESS_MM = 4.0
FINER = 4


def phantom_kspace(
    n_slices: int = 4, n_coils: int = 12, matrix: int = 192, seed: int = 0, *, readout_oversampling: int = 1
) -> ScanKSpace:
    """Noise-free, fully sampled k-space of the head, DC at n // 2.

    Shape is `n_slices n_coils matrix matrix*readout_oversampling`. The unitary inverse transform gives coil images
    in which white matter at the centre of the head has a root-sum-of-squares near 1.

    >>> import raki
    >>> raki.phantom_kspace(n_slices=2, n_coils=4, matrix=32).shape
    (2, 4, 32, 32)
    """
    slices = phantom_slices(n_slices, n_coils, matrix, seed, readout_oversampling=readout_oversampling)
    return np.stack(list(slices))


def phantom_slices(
    n_slices: int, n_coils: int, matrix: int, seed: int, *, readout_oversampling: int = 1
) -> Iterator[Complex64[np.ndarray, "coil pe ro"]]:
    """The slices of `phantom_kspace`, one at a time."""
    return phantom_planes(
        slice_positions_mm(n_slices), n_coils, matrix, seed, readout_oversampling=readout_oversampling
    )


def phantom_planes(
    positions_mm: Float64[np.ndarray, " plane"], n_coils: int, matrix: int, seed: int, *, readout_oversampling: int = 1
) -> Iterator[Complex64[np.ndarray, "coil pe ro"]]:
    """k-space of the head in axial planes at these positions, one at a time, as `phantom_kspace` has its slices."""
    n_fine = FINER * matrix
    grid_mm = (np.arange(n_fine) - n_fine // 2) * FOV_MM / n_fine
    for z_mm in positions_mm:
        head = draw_head(grid_mm.astype(np.float32), float(z_mm), seed)
        maps = sensitivities(grid_mm, grid_mm, float(z_mm), n_coils)
        yield np.stack([_sample(head * coil_map, matrix, readout_oversampling) for coil_map in maps])


def slice_positions_mm(n_slices: int) -> np.ndarray:
    """Centres of the slices along z, from the basal ganglia upwards."""
    return 16.0 + slice_spacing_mm(n_slices) * (np.arange(n_slices) - (n_slices - 1) / 2)


def slice_spacing_mm(n_slices: int) -> float:
    """Distance between slice centres, at most 10 mm; a single slice has its thickness."""
    return SLICE_THICKNESS_MM if n_slices == 1 else min(10.0, 60.0 / (n_slices - 1))


def _sample(image: np.ndarray, matrix: int, readout_oversampling: int) -> np.ndarray:
    """The central part of the k-space of a finely drawn coil image, `pe ro`."""
    n_fine, n_ro = len(image), matrix * readout_oversampling
    lines = np.fft.fft(np.fft.ifftshift(image), axis=0)[np.arange(matrix) - matrix // 2]
    # Zeros beyond the field of view make the samples along the readout denser.
    margin = (readout_oversampling - 1) * n_fine
    middle = np.fft.fftshift(lines, axes=1)
    wide = np.fft.ifftshift(np.pad(middle, ((0, 0), (margin // 2, margin - margin // 2))), axes=1)
    samples = np.fft.fft(wide, axis=1)[:, np.arange(n_ro) - n_ro // 2]
    return (samples / (FINER**2 * np.sqrt(matrix * n_ro))).astype(np.complex64)
