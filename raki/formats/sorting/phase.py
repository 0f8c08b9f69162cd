"""Averages whose phase differs, as breathing and diffusion gradients make them: turned onto the first one's phase."""

import numpy as np
from jaxtyping import Bool, Complex64

SeriesOfLines = Complex64[np.ndarray, "series coil line ro"]

# Of the field of view, standard deviation: phase changes slowly, noise doesn't.
SMOOTH_OVER = 0.02


def aligned(series: SeriesOfLines, lines: Bool[np.ndarray, " pe"]) -> SeriesOfLines:
    """Series of recordings, each with the phase of the first.

    Where no line is missing between the outermost ones, phase may change over the image; else by one angle.

    Args:
        lines: which lines of k-space these are.
    """
    found = np.flatnonzero(lines)
    whole = len(found) > 1 and found[-1] - found[0] + 1 == len(found)
    turn = _by_smooth_phase if whole else _by_one_angle
    return np.stack([series[0], *(turn(other, series[0]) for other in series[1:])]).astype(np.complex64)


def _by_one_angle(lines: np.ndarray, reference: np.ndarray) -> np.ndarray:
    product = np.vdot(lines, reference)
    return lines * (product / abs(product) if product else 1.0)


def _by_smooth_phase(lines: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The phase between the two images, all coils together and smoothed, taken off.

    The lines count from their own middle: what that turns, it turns in both.
    """
    images, references = np.fft.ifft2(lines), np.fft.ifft2(reference)
    product = (references * images.conj()).sum(axis=0)
    rows, columns = (np.exp(-2 * (np.pi * SMOOTH_OVER * n * np.fft.fftfreq(n)) ** 2) for n in product.shape)
    smooth = np.fft.ifft2(np.fft.fft2(product) * np.outer(rows, columns))
    turned: np.ndarray = np.fft.fft2(images * np.exp(1j * np.angle(smooth)))
    return turned
