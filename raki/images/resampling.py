"""From the matrix that was encoded to that of the image: cropping, zero-padding, interpolation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex64, Float32
from torch import Tensor

from raki.scan import Scan
from raki.scan.arrays import Volume

Planes = Float32[np.ndarray, "plane plane_row plane_column"]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The pixels of the images that k-space is transformed to, one by one."""

    encoded: tuple[int, int]
    """Of the encoded field of view."""
    matrix: tuple[int, int]
    """Of them the images: rows and columns about the centre; of a 3-D scan, whose images are planes at first, rows and
    slices."""


def image_grid(scan: Scan) -> Grid:
    """That of a scan's slices, or of the planes of a 3-D scan."""
    geometry = scan.geometry
    if scan.slab:
        return Grid(
            encoded=(geometry.encoded_rows, scan.slab.n_encoded), matrix=(geometry.matrix[0], scan.slab.n_slices)
        )
    return Grid(encoded=(geometry.encoded_rows, geometry.matrix[1]), matrix=geometry.matrix)


def as_slices(images: Planes, scan: Scan) -> Volume:
    """Images as slices of the scan: those of a 3-D scan are planes across its readout, and become slices along it."""
    if not scan.slab:
        return images
    planes = images.reshape(len(scan.frames) * scan.slab.n_slabs, -1, *images.shape[1:])
    return np.ascontiguousarray(planes.transpose(0, 3, 2, 1)).reshape(-1, images.shape[1], planes.shape[1])


def on_image_matrix(pixels: Float32[np.ndarray, "pe ro"], grid: Grid) -> Float32[np.ndarray, "row column"]:
    """A smooth map on the pixels of the k-space's own matrix, on those of the image: linear between pixels.

    The same centre and cut as the images have. Values stay as they are, a standard error's too: `fit_matrix` leaves a
    pixel the noise of one k-space sample, and an error that k-space holds as evenly as noise likewise. One that sits at
    the centre of k-space is larger in a cropped matrix, by at most sqrt(old size / new size).
    """
    rows, columns = (_between(*sizes) for sizes in zip(pixels.shape, grid.encoded, strict=True))
    return (rows @ pixels @ columns.T)[centre(grid.encoded, grid.matrix)]


def part_on_image_matrix(pixels: Float32[np.ndarray, "pe ro"], grid: Grid) -> Float32[np.ndarray, "row column"]:
    """A part of an image on the pixels of the k-space's own matrix, on those of the image, as bright as that is there.

    Between pixels it is interpolated linearly, so that parts add up to the image in the mean of a region, not in each
    pixel, where the matrices differ.
    """
    kept = [min(sizes) for sizes in zip(pixels.shape, grid.encoded, strict=True)]
    return on_image_matrix(pixels, grid) * np.float32(math.sqrt(pixels.size / math.prod(kept)))


def _between(n_old: int, n_new: int) -> Float32[np.ndarray, "new old"]:
    """Weights of linear interpolation about the common centre; beyond its border an image begins anew."""
    positions = n_old // 2 + (np.arange(n_new) - n_new // 2) * (n_old / n_new)
    old = np.arange(n_old)
    return np.stack([np.interp(positions, old, unit, period=n_old) for unit in np.eye(n_old)], axis=1).astype(
        np.float32
    )


def fit_matrix(kspace: Complex64[Tensor, "*coil pe ro"], matrix: tuple[int, int]) -> Complex64[Tensor, "*coil pe2 ro2"]:
    """Zero-pad or crop k-space about DC to `matrix` (pe, ro): the image gets that many pixels, the same field of view.

    Padding spreads the same noise over more pixels; the factor sqrt(new size / old size) gives a pixel of a fully
    sampled image the noise of one k-space sample again, whatever the matrix.
    """
    kept = [min(size, wanted) for size, wanted in zip(kspace.shape[-2:], matrix, strict=True)]
    fitted = kspace.new_zeros((*kspace.shape[:-2], *matrix))
    fitted[centre(matrix, kept)] = kspace[centre(kspace.shape[-2:], kept)]
    return fitted * math.sqrt(math.prod(matrix) / math.prod(kept))


def centre(sizes: Sequence[int], kept: Sequence[int]) -> tuple[Any, ...]:
    """Index of the `kept` samples about DC, or pixels about the image's centre, in the last two axes."""
    starts = [size // 2 - n // 2 for size, n in zip(sizes, kept, strict=True)]
    return (..., *(slice(start, start + n) for start, n in zip(starts, kept, strict=True)))
