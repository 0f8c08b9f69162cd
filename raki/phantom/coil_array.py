"""A ring of receive loops around the head: what each loop sees, and the noise that it shares with the others."""

import numpy as np
from jaxtyping import Complex64, Float64

from raki.scan import cubic_weights

# The loops stand about 33 mm off the head, in two staggered rows, as in a head coil for 3 T.
RING_SEMI_AXES_MM = (112.0, 130.0)  # left-right, anterior-posterior
ROW_OFFSET_MM = 28.0
N_SEGMENTS = 24
# Half the size of a coil's conductor: no point of the grid comes closer to a wire than this.
WIRE_RADIUS_MM = 5.0
COARSE_PITCH_MM = 4.0


def sensitivities(
    rows_mm: Float64[np.ndarray, " row"], columns_mm: Float64[np.ndarray, " column"], z_mm: float, n_coils: int
) -> Complex64[np.ndarray, "coil row column"]:
    """Receive sensitivity of each loop at the points of a slice, Bx - iBy of a unit current (reciprocity).

    The field is summed with the Biot-Savart law on a coarse grid and interpolated: it is smooth where the head
    is. `rows_mm` run from anterior to posterior, `columns_mm` from right to left, both equally spaced.

    Hoult and Richards 1976, J Magn Reson 24:71-85, doi:10.1016/0022-2364(76)90233-X.
    """
    half_width_mm = max(np.abs(rows_mm).max(), np.abs(columns_mm).max()) + 2 * COARSE_PITCH_MM
    n_half = int(np.ceil(half_width_mm / COARSE_PITCH_MM))
    coarse_mm = COARSE_PITCH_MM * np.arange(-n_half, n_half + 1)
    coarse = np.stack([_loop_field(coarse_mm, z_mm, coil, n_coils) for coil in range(n_coils)])
    along_rows = _cubic_interpolation(rows_mm, coarse_mm).astype(np.float32)
    along_columns = _cubic_interpolation(columns_mm, coarse_mm).astype(np.float32)
    return along_rows @ coarse.astype(np.complex64) @ along_columns.T


def noise_correlation(n_coils: int) -> np.ndarray:
    """Noise correlation between the coils, `coil coil`, Hermitian and positive definite, ones on the diagonal.

    Two loops that see the same tissue pick up the same thermal noise from it; the rest is each coil's own.
    Roemer et al. 1990, Magn Reson Med 16:192-225, doi:10.1002/mrm.1910160203.
    """
    grid_mm = np.arange(-80.0, 81.0, 8.0)
    inside = (grid_mm[:, None] / 97) ** 2 + (grid_mm / 78) ** 2 < 1
    seen = np.concatenate([sensitivities(grid_mm, grid_mm, z, n_coils)[:, inside] for z in (-40.0, 0.0, 40.0)], axis=1)
    shared = seen.astype(np.complex128) @ seen.conj().T
    level = np.sqrt(np.diag(shared).real)
    shared /= np.outer(level, level)
    sample_noise_fraction = 0.6
    return sample_noise_fraction * shared + (1 - sample_noise_fraction) * np.eye(n_coils)


def _loop_field(grid_mm: np.ndarray, z_mm: float, coil: int, n_coils: int) -> np.ndarray:
    """Bx - iBy of one loop on a square grid, `row column`, in units that make the ring's sum near one at its centre."""
    wire = _loop(coil, n_coils)
    steps = np.roll(wire, -1, axis=0) - wire
    middles = wire + steps / 2
    points = np.stack(np.broadcast_arrays(grid_mm[None, :], grid_mm[:, None], z_mm), axis=-1)
    away = points[..., None, :] - middles
    distance_cubed = np.maximum((away**2).sum(axis=-1), WIRE_RADIUS_MM**2) ** 1.5
    field_x = ((steps[:, 1] * away[..., 2] - steps[:, 2] * away[..., 1]) / distance_cubed).sum(axis=-1)
    field_y = ((steps[:, 2] * away[..., 0] - steps[:, 0] * away[..., 2]) / distance_cubed).sum(axis=-1)
    # A loop's cable and preamplifier add a phase of their own.
    return 190.0 / np.sqrt(n_coils) * np.exp(2.4j * coil) * (field_x - 1j * field_y)


def _loop(coil: int, n_coils: int) -> np.ndarray:
    """Corner points of a loop that faces the centre of the ring, `point 3`, in mm."""
    angle = 2 * np.pi * (coil + 0.25) / n_coils
    centre = np.array([RING_SEMI_AXES_MM[0] * np.cos(angle), RING_SEMI_AXES_MM[1] * np.sin(angle), 0.0])
    centre[2] = ROW_OFFSET_MM * (-1) ** coil
    outward = np.array([np.cos(angle), np.sin(angle), 0.0])
    around = np.array([-np.sin(angle), np.cos(angle), 0.0])
    # Neighbours overlap by a quarter; a ring of few coils stops at the size of a hand.
    radius_mm = min(55.0, 1.25 * np.pi * np.mean(RING_SEMI_AXES_MM) / n_coils + 8.0)
    turn = 2 * np.pi * np.arange(N_SEGMENTS)[:, None] / N_SEGMENTS
    return centre + 0.02 * outward + radius_mm * (np.cos(turn) * around + np.sin(turn) * np.array([0.0, 0.0, 1.0]))


def _cubic_interpolation(at_mm: np.ndarray, grid_mm: np.ndarray) -> np.ndarray:
    """Weights `point grid` of Lagrange's cubic through the four grid points around each point."""
    position = (at_mm - grid_mm[0]) / COARSE_PITCH_MM
    first = np.clip(np.floor(position).astype(int) - 1, 0, len(grid_mm) - 4)
    weights = np.zeros((len(at_mm), len(grid_mm)))
    for node, of_node in enumerate(cubic_weights(position - first)):
        weights[np.arange(len(at_mm)), first + node] = of_node
    return weights
