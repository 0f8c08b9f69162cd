"""Axial slices of a head, drawn from distances in millimetres, with T1-like contrast.

Rows run from anterior to posterior (y grows), columns from right to left (x grows), as a radiologist looks at it.
Every structure is a depth: millimetres inside its border, negative outside.
"""

import math

import numpy as np
from jaxtyping import Complex64, Float32

WHITE, THALAMUS, GREY, FALX, FLUID, BONE = 0.94, 0.66, 0.5, 0.3, 0.09, 0.03
# Fat is suppressed, as in many protocols; so near to the coils, the scalp is bright all the same.
FAT, SKIN, MARROW = 0.5, 0.3, 0.22
SKULL_MM, BRAIN_MM = 6.0, 12.5  # depth below the skin where each begins
CORTEX_MM, SULCUS_MM = 2.7, 0.6  # thickness of the cortex; half the width of a sulcus

Point = tuple[float, float]


def draw_head(
    grid_mm: Float32[np.ndarray, " point"], z_mm: float, seed: int = 0
) -> Complex64[np.ndarray, "point point"]:
    """Transverse magnetisation of one axial slice on a square grid, with the smooth phase of a gradient echo.

    `z_mm` runs upwards; the basal ganglia lie near 0, the top of the lateral ventricles near 38. The same seed is
    the same head in every slice.
    """
    canvas = Canvas(grid_mm)
    waves = Waves(grid_mm, z_mm, seed)
    height = math.sqrt(1 - ((z_mm - 5) / 95) ** 2)
    # A head is wider behind the ears than at the forehead.
    width_mm = 77 * height * (1 + 0.09 * np.clip(canvas.y / 97, -1, 1))
    depth = ellipse_depth(canvas.x, canvas.y, width_mm, 97 * height) + 0.7 * waves(95.0)
    paint_wrapping(canvas, depth, waves)
    paint_brain(canvas, depth - BRAIN_MM, z_mm, waves)
    paint_deep_structures(canvas, z_mm)
    paint_small_things(canvas, z_mm, seed)
    return canvas.image * excitation(canvas) * np.exp(1j * phase(canvas, waves)).astype(np.complex64)


class Canvas:
    """A picture in float32 and the millimetres of its pixels."""

    def __init__(self, grid_mm: Float32[np.ndarray, " point"]) -> None:
        self.grid_mm = grid_mm
        self.x, self.y = grid_mm[None, :], grid_mm[:, None]
        self.pixel_mm = float(grid_mm[1] - grid_mm[0])
        self.image = np.zeros((len(grid_mm), len(grid_mm)), np.float32)

    def paint(self, depth_mm: np.ndarray, value: float | np.ndarray, window: tuple[slice, ...] = ()) -> None:
        """Covers the picture, or a window of it, where the depth is positive; a border pixel gets its share."""
        cover = np.clip(depth_mm / self.pixel_mm + 0.5, 0, 1)
        part = self.image[window]
        part += cover * (value - part)

    def ellipse(self, centre: Point, semi_axes: Point, value: float, turn_degrees: float = 0.0) -> None:
        """Paints an ellipse, turned from the front towards the right; one shrunk to nothing leaves no trace."""
        if min(semi_axes) <= 0:
            return
        rows, columns = self._window(centre, max(semi_axes))
        cosine, sine = math.cos(math.radians(turn_degrees)), math.sin(math.radians(turn_degrees))
        dx, dy = self.x[:, columns] - centre[0], self.y[rows] - centre[1]
        depth = ellipse_depth(dx * cosine + dy * sine, dy * cosine - dx * sine, *semi_axes)
        self.paint(depth, value, (rows, columns))

    def line(self, start: Point, end: Point, width_mm: float, value: float) -> None:
        """Paints a straight line between two points."""
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        rows, columns = self._window(middle, math.dist(start, end) / 2 + width_mm)
        distance = to_segment(self.x[:, columns], self.y[rows], start, end)
        self.paint(width_mm / 2 - distance, value, (rows, columns))

    def _window(self, centre: Point, reach_mm: float) -> tuple[slice, slice]:
        """Rows and columns within reach of a point, one pixel more for the soft border."""
        reach_mm += 2 * self.pixel_mm
        first_x, last_x = np.searchsorted(self.grid_mm, [centre[0] - reach_mm, centre[0] + reach_mm])
        first_y, last_y = np.searchsorted(self.grid_mm, [centre[1] - reach_mm, centre[1] + reach_mm])
        return slice(first_y, last_y), slice(first_x, last_x)


class Waves:
    """Smooth random textures of a chosen wavelength, unit variance, changing gradually from slice to slice."""

    def __init__(self, grid_mm: np.ndarray, z_mm: float, seed: int) -> None:
        self.grid_mm, self.z_mm = grid_mm, z_mm
        self.rng = np.random.default_rng(seed)

    def __call__(self, wavelength_mm: float, *, n_waves: int = 48) -> Float32[np.ndarray, "row column"]:
        """A sum of plane waves of random direction; each is a factor for the row times a factor for the column."""
        turn = self.rng.uniform(0, 2 * np.pi, n_waves)
        k = 2 * np.pi / wavelength_mm * self.rng.uniform(0.8, 1.2, n_waves)
        along_z = self.rng.normal(scale=0.12, size=n_waves)
        start = self.rng.uniform(0, 2 * np.pi, n_waves) + along_z * self.z_mm
        by_row = np.exp(1j * (np.outer(self.grid_mm, k * np.sin(turn)) + start)).astype(np.complex64)
        by_column = np.exp(1j * np.outer(k * np.cos(turn), self.grid_mm)).astype(np.complex64)
        return (by_row @ by_column).real * np.float32(np.sqrt(2 / n_waves))


def paint_wrapping(canvas: Canvas, depth: np.ndarray, waves: Waves) -> None:
    """Skin, the fat below it, the two tables of the skull with marrow between, and the fluid around the brain."""
    canvas.paint(depth, SKIN)
    canvas.paint(depth - 1.5, FAT * (1 + 0.06 * waves(9.0)))
    canvas.paint(depth - SKULL_MM, BONE)
    canvas.paint(1.1 + 0.5 * waves(45.0) - np.abs(depth - SKULL_MM - 2.7), MARROW)
    canvas.paint(depth - BRAIN_MM + 1.6, FLUID)


def paint_brain(canvas: Canvas, depth: np.ndarray, z_mm: float, waves: Waves) -> None:
    """Both hemispheres: white matter under a cortex that lines the surface, the fissures and the folds.

    Folds lie on the zero lines of a random wave; its value over its slope is the distance to them.
    """
    fold_wavelength_mm = 19.0
    fold = waves(fold_wavelength_mm)
    slope = np.hypot(*np.gradient(fold, canvas.grid_mm, canvas.grid_mm))
    to_fold = np.abs(fold) / np.maximum(slope, 2 / fold_wavelength_mm)
    to_fold += 0.6 * np.maximum(depth - 21 - 6 * waves(50.0), 0)
    to_fold = np.minimum(to_fold, to_sylvian_fissure(canvas, z_mm, 2.5 * waves(35.0)))
    # The corpus callosum and the deep nuclei bridge the halves; above them the fissure is open all the way.
    bridge_mm = np.maximum((34 if z_mm < 40 else 0) - np.abs(canvas.y - 4), 0)
    to_midline = np.abs(canvas.x - 0.9 * waves(60.0)[:, :1])
    inside = np.minimum(depth, to_midline - 0.5 + bridge_mm)
    thickness_mm = CORTEX_MM + 0.35 * waves(18.0)
    canvas.paint(inside, GREY * (1 + 0.03 * waves(5.0)))
    canvas.paint(
        np.minimum(inside, to_fold - SULCUS_MM) - thickness_mm, WHITE * (1 + 0.015 * waves(8.0) - 0.03 * waves(70.0))
    )
    canvas.paint(np.minimum(SULCUS_MM - to_fold, depth), FLUID)
    canvas.paint(np.minimum(0.4 - to_midline - bridge_mm, depth + 1), FALX)


def to_sylvian_fissure(canvas: Canvas, z_mm: float, sway_mm: np.ndarray) -> np.ndarray:
    """Distance to the fissure between temporal and frontal lobe, which ends below the top of the ventricles."""
    path = [((68.0, -16.0), (42.0, -12.0)), ((42.0, -12.0), (40.0, 16.0)), ((42.0, -12.0), (46.0, -26.0))]
    mirrored = np.abs(canvas.x) + sway_mm
    distances = [to_segment(mirrored, canvas.y, start, end) for start, end in path]
    return np.minimum.reduce(distances) + max(0.0, z_mm - 15)


def paint_deep_structures(canvas: Canvas, z_mm: float) -> None:
    """Basal ganglia and ventricles, larger or smaller with the height of the slice."""
    g = math.sqrt(max(0.0, 1 - ((z_mm - 2) / 24) ** 2))
    v = math.sqrt(max(0.0, 1 - ((z_mm - 14) / 24) ** 2))
    for side in (-1.0, 1.0):
        canvas.ellipse((26 * side, -2.0), (6 * g, 19 * g), GREY * 1.1, 10 * side)  # putamen
        canvas.ellipse((18.5 * side, 3.0), (3.5 * g, 10 * g), THALAMUS * 1.12, 14 * side)  # pallidum
        canvas.ellipse((10 * side, 11.0), (7.5 * g, 13 * g), THALAMUS, 24 * side)
        canvas.ellipse((13.5 * side, -19.0), (5.5 * v, 10 * v), GREY * 1.05, 14 * side)  # caudate nucleus
        canvas.ellipse((8.5 * side, -20.0), (3.8 * v, 12.5 * v), FLUID, 17 * side)  # the ventricle's frontal horn,
        canvas.ellipse((9.5 * side, 3.0), (2.4 * v, 18 * v), FLUID, -16 * side)  # its body
        canvas.ellipse((19.5 * side, 29.0), (4.2 * v, 14 * v), FLUID, -17 * side)  # and its occipital horn
        canvas.ellipse((17.5 * side, 25.0), (1.7 * v, 5 * v), GREY, -20 * side)  # choroid plexus
    canvas.ellipse((0.0, 8.0), (1.5 * g, 11 * g), FLUID)


def paint_small_things(canvas: Canvas, z_mm: float, seed: int) -> None:
    """What a reconstruction must not lose: vessels, small lesions, and perivascular spaces thinner than a pixel."""
    rng = np.random.default_rng([seed, round(z_mm * 10) + 1000])
    for angle in rng.uniform(0, 2 * np.pi, 14):
        centre = (60 * math.sin(angle), 79 * math.cos(angle))
        canvas.ellipse(centre, (rng.uniform(0.6, 1.2), rng.uniform(0.6, 1.6)), 1.3)
    for side in (-1.0, 1.0):
        for angle in rng.uniform(0.15, 0.85, 5) * np.pi:
            direction = (side * math.sin(angle), 1.55 * math.cos(angle))
            start, end = ((reach * direction[0], reach * direction[1]) for reach in (27, 37))
            canvas.line(start, end, 0.7, 0.35)
        lesion = (side * rng.uniform(26, 36), rng.uniform(-35, 38))
        canvas.ellipse(lesion, (rng.uniform(1.0, 2.4), rng.uniform(1.0, 3.0)), 0.45, 30.0)


def ellipse_depth(x: np.ndarray, y: np.ndarray, a: float | np.ndarray, b: float) -> np.ndarray:
    """Depth below the border of an ellipse of semi-axes a along x and b along y, exact at the border."""
    radius = np.hypot(x / a, y / b)
    return radius * (1 - radius) / np.maximum(np.hypot(x / a**2, y / b**2), 1e-6)


def to_segment(x: np.ndarray, y: np.ndarray, start: Point, end: Point) -> np.ndarray:
    """Distance to a straight line between two points."""
    run, rise = end[0] - start[0], end[1] - start[1]
    along = np.clip(((x - start[0]) * run + (y - start[1]) * rise) / (run**2 + rise**2), 0, 1)
    return np.hypot(x - start[0] - along * run, y - start[1] - along * rise)


def excitation(canvas: Canvas) -> Float32[np.ndarray, "row column"]:
    """What the transmit field leaves of the signal: at 3 T it is strongest in the middle of the head.

    Vaughan et al. 2001, Magn Reson Med 46:24-30, doi:10.1002/mrm.1156.
    """
    return 0.5 + 0.5 * np.exp(-((canvas.x / 58) ** 2) - (canvas.y / 74) ** 2)


def phase(canvas: Canvas, waves: Waves) -> np.ndarray:
    """Phase in radians: smooth everywhere, steepest above the frontal sinus, where the field is least even."""
    sinus = 2.0 * np.exp(-((canvas.x / 28) ** 2) - ((canvas.y + 78) / 26) ** 2)
    return 0.6 + 0.006 * canvas.x - 0.008 * canvas.y + 0.35 * waves(150.0) + sinus
