"""Simulated scans whose answer is known: what lines, edges and contrasts survive, coil by coil as an array sees them.

The head is drawn on a finer grid and cut in k-space. The other objects are drawn in pixels and multiplied by the coils'
sensitivities there, so that finite resolution is the only thing that a measured scan has and these lack. Noise is white
and equal in all coils, as it is after prewhitening.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Complex64, Float64

from benchmarks.scans import FullScan
from raki.coils import root_sum_of_squares
from raki.images import object_mask
from raki.phantom import phantom_kspace
from raki.phantom.anatomy import Point, ellipse_depth, to_segment
from raki.phantom.coil_array import sensitivities
from raki.phantom.phantom import FOV_MM
from raki.phantom.simulation import complex_noise
from raki.scan.fourier import to_image, to_kspace

Picture = Float64[np.ndarray, "pe ro"]

# Of the field of view: so much fills it that fold-over matters at any acceleration.
SEMI_AXES = (0.45, 0.39)  # along phase-encode, along the readout
DIM, GREY, BRIGHT = 0.25, 0.5, 1.0
VESSEL_WIDTHS_PIXELS = (3.0, 3.0, 2.0, 2.0, 1.0, 1.0)
BAR_PIXELS, N_BARS, BAR_LENGTH_PIXELS, PITCH_PIXELS = 2, 4, 10, 17
DISK_RADII_PIXELS = (1.5, 2.5, 4.0, 6.0)
DISK_CONTRASTS = (-1.0, -0.5, -0.2, -0.05, 0.05, 0.2, 0.5, 1.0)
Z_MM = 16.0  # where the coils see the objects, as high as the middle slice of the head


def simulated_scan(name: str, *, n_coils: int = 16, matrix: int = 128, snr: float = 60.0, seed: int = 0) -> FullScan:
    """One slice of an object, fully sampled, with noise.

    Args:
        name: of OBJECTS.
        n_coils: 2 to 64 loops around the object.
        matrix: pixels along phase-encode and readout.
        snr: mean of the magnitude inside the object over the standard deviation of the noise there.
        seed: of the object and the noise.

    Raises:
        ValueError: there is no such object.
    """
    if name not in OBJECTS:
        raise ValueError(f"there is no object {name!r}; there are {', '.join(OBJECTS)}")
    kspace = torch.from_numpy(OBJECTS[name](n_coils, matrix, seed))
    image = root_sum_of_squares(to_image(kspace))
    # Only the part of complex noise that is in phase with the signal changes the magnitude.
    level = math.sqrt(2) * float(image[object_mask(image)].mean()) / snr
    noise = level * complex_noise(np.random.default_rng(seed), tuple(kspace.shape))
    noisy = (kspace + torch.from_numpy(noise.astype(np.complex64)))[None]
    return FullScan(name=f"{name}_{n_coils}coils_{matrix}_snr{snr:g}", kspace=noisy, slices=(0,))


def simulated_scans(coils: Sequence[int], matrices: Sequence[int], snrs: Sequence[float]) -> list[FullScan]:
    """Every object with every number of coils, matrix and SNR."""
    settings = product(OBJECTS, coils, matrices, snrs)
    return [simulated_scan(name, n_coils=n, matrix=matrix, snr=snr) for name, n, matrix, snr in settings]


def vessels(matrix: int, seed: int) -> Picture:
    """Bright tubes of 3 to 1 pixels that branch again and again, on a dim background."""
    rng = np.random.default_rng(seed)
    picture = DIM * _body(matrix)
    tips: list[tuple[Point, float]] = [((0.0, 0.36 * matrix), angle) for angle in (-0.35, 0.35)]
    for generation, width in enumerate(VESSEL_WIDTHS_PIXELS):
        length = 0.2 * matrix * 0.82**generation
        grown: list[tuple[Point, float]] = []
        for start, angle in tips:
            end = (start[0] + length * math.sin(angle), start[1] - length * math.cos(angle))
            _tube(picture, start, end, width)
            grown += [(end, angle + side * rng.uniform(0.25, 0.7)) for side in (-1, 1)]
        tips = grown
    return np.where(_body(matrix) > 0, picture, 0)


def zone_plate(matrix: int, _seed: int) -> Picture:
    """Rings that grow finer outwards, up to two pixels a period at the border."""
    rows, columns = _grid(matrix)
    radius = np.hypot(rows, columns)
    last = SEMI_AXES[1] * matrix
    rings = 0.5 + 0.4 * np.cos(np.pi * 0.5 * radius**2 / last)
    return rings * np.clip(last - radius + 0.5, 0, 1)


def line_pairs(matrix: int, _seed: int) -> Picture:
    """Bars of two pixels, two apart, along phase-encode and along the readout by turns, on a grey body."""
    body = GREY * _body(matrix)
    picture = body.copy()
    block = np.zeros((BAR_LENGTH_PIXELS, 2 * BAR_PIXELS * N_BARS - BAR_PIXELS))
    block[:, np.arange(block.shape[1]) % (2 * BAR_PIXELS) < BAR_PIXELS] = BRIGHT - GREY
    n_half = matrix // (2 * PITCH_PIXELS)
    for row, column in product(range(-n_half, n_half + 1), repeat=2):
        turned = block if (row + column) % 2 else block.T
        n_rows, n_columns = turned.shape
        top, left = matrix // 2 + PITCH_PIXELS * row - n_rows // 2, matrix // 2 + PITCH_PIXELS * column - n_columns // 2
        window = (slice(top, top + n_rows), slice(left, left + n_columns))
        if body[window].shape == turned.shape and (body[window] == GREY).all():
            picture[window] += turned
    return picture


def disks(matrix: int, seed: int) -> Picture:
    """A grey body with disks of several sizes and contrasts, from 5 % to twice as bright and down to black."""
    rng = np.random.default_rng(seed)
    body = _body(matrix)
    picture, rows, columns = GREY * body, *_grid(matrix)
    free = _body_depth(matrix)
    for radius, contrast in product(reversed(DISK_RADII_PIXELS), DISK_CONTRASTS):
        places = np.argwhere(free > radius + 2)
        if len(places) == 0:
            continue
        centre = places[rng.integers(len(places))] - matrix // 2
        distance = np.hypot(rows - centre[0], columns - centre[1])
        picture += GREY * contrast * np.clip(radius - distance + 0.5, 0, 1)
        free = np.minimum(free, distance - radius)
    return picture


def _seen(draw: Callable[[int, int], Picture]) -> Callable[[int, int, int], Complex64[np.ndarray, "coil pe ro"]]:
    """The k-space of a drawn object, with a smooth phase, through the coils."""

    def kspace(n_coils: int, matrix: int, seed: int) -> Complex64[np.ndarray, "coil pe ro"]:
        grid_mm = (np.arange(matrix) - matrix // 2) * FOV_MM / matrix
        rows, columns = _grid(matrix)
        phase = 0.6 + 1.5 * rows / matrix - columns / matrix + 4.0 * (rows**2 + columns**2) / matrix**2
        images = sensitivities(grid_mm, grid_mm, Z_MM, n_coils) * (draw(matrix, seed) * np.exp(1j * phase))
        return to_kspace(torch.from_numpy(images.astype(np.complex64))).numpy()

    return kspace


def _head(n_coils: int, matrix: int, seed: int) -> Complex64[np.ndarray, "coil pe ro"]:
    return phantom_kspace(1, n_coils, matrix, seed)[0]


OBJECTS: dict[str, Callable[[int, int, int], Complex64[np.ndarray, "coil pe ro"]]] = {
    "head": _head,
    "vessels": _seen(vessels),
    "zone_plate": _seen(zone_plate),
    "line_pairs": _seen(line_pairs),
    "disks": _seen(disks),
}


def _grid(matrix: int) -> tuple[Picture, Picture]:
    """Lines and samples from the middle of the image, in pixels."""
    steps = np.arange(matrix, dtype=float) - matrix // 2
    return steps[:, None], steps[None, :]


def _body(matrix: int) -> Picture:
    """An ellipse of value 1; a pixel of its border gets its share."""
    return np.clip(_body_depth(matrix) + 0.5, 0, 1)


def _body_depth(matrix: int) -> Picture:
    """Pixels below the border of the ellipse that the objects fill."""
    rows, columns = _grid(matrix)
    depth = ellipse_depth(columns, rows, SEMI_AXES[1] * matrix, SEMI_AXES[0] * matrix)
    depth[matrix // 2, matrix // 2] = SEMI_AXES[1] * matrix  # in the very middle no direction is the nearest
    return depth


def _tube(picture: Picture, start: Point, end: Point, width: float) -> None:
    """Draws a bright straight line between two points (sample, line), in place; where tubes meet none adds up."""
    rows, columns = _grid(len(picture))
    cover = np.clip(width / 2 - to_segment(columns, rows, start, end) + 0.5, 0, 1)
    np.maximum(picture, BRIGHT * cover, out=picture)
