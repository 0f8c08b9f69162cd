"""A picture in 32 numbers, by a transform that is fixed: pictures that look alike are close to each other.

The magnitude is averaged onto a grid of 32 by 32, whatever the matrix; its logarithm, from the picture's own median
up, is transformed by an orthonormal two-dimensional DCT-II; what is kept are the 32 coefficients of the lowest spatial
frequencies but the constant one, in the order of `ORDER`, scaled to length 1. So neither brightness nor matrix size
counts, and the cosine between two is their dot product. Nothing in it is learnt, and nothing finer than a sixth of the
field of view can be seen in it.

Ahmed et al. 1974, IEEE Trans Comput C-23:90-93, doi:10.1109/T-C.1974.223784 (DCT).
"""

import numpy as np
from jaxtyping import Float32, Float64

N_GRID = 32
N_NUMBERS = 32
ORDER = sorted(
    ((u, v) for u in range(N_GRID) for v in range(N_GRID) if u + v > 0), key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv)
)[:N_NUMBERS]
"""Frequencies along rows and columns, in half periods of the picture, from the lowest up."""


def embedding(image: Float32[np.ndarray, "row column"]) -> Float32[np.ndarray, " 32"]:
    """The numbers; all zero of a picture without contrast.

    Raises:
        ValueError: a pixel is not finite or less than zero.
    """
    if not np.isfinite(image).all() or (image < 0).any():
        raise ValueError("a pixel is negative or not finite; an embedding is of a magnitude image")
    grid = _averaged(_averaged(image.astype(np.float64), 0), 1)
    level = float(np.median(grid)) or float(grid.mean()) or 1.0
    found = np.einsum("kr,rc,kc->k", _cosines(0), np.log1p(grid / level), _cosines(1))
    length = float(np.linalg.norm(found))
    return (found / length if length > 1e-9 else np.zeros(N_NUMBERS)).astype(np.float32)


def _averaged(values: Float64[np.ndarray, "row column"], axis: int) -> Float64[np.ndarray, "mean_row mean_column"]:
    """Means over the parts of N_GRID equal ones along an axis; a pixel on a border counts for both by its share."""
    n_pixels = values.shape[axis]
    zero = np.zeros_like(np.take(values, [0], axis))
    summed = np.concatenate([zero, np.cumsum(values, axis)], axis)
    borders = np.linspace(0, n_pixels, N_GRID + 1)
    low = np.minimum(borders.astype(int), n_pixels - 1)
    share = np.expand_dims(borders - low, tuple(other for other in (0, 1) if other != axis))
    at_borders = (1 - share) * np.take(summed, low, axis) + share * np.take(summed, low + 1, axis)
    means: Float64[np.ndarray, "mean_row mean_column"] = np.diff(at_borders, axis=axis) * (N_GRID / n_pixels)
    return means


def _cosines(axis: int) -> Float64[np.ndarray, "number grid"]:
    frequencies = np.array([uv[axis] for uv in ORDER])[:, None]
    scale = np.sqrt((2 - (frequencies == 0)) / N_GRID)
    cosines: Float64[np.ndarray, "number grid"] = scale * np.cos(
        np.pi * frequencies * (np.arange(N_GRID) + 0.5) / N_GRID
    )
    return cosines
