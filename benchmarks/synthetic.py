"""Noisy, fully sampled phantom scans of any size, where a size and not a scan is the question."""

from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np
from jaxtyping import Complex64

from raki.phantom import phantom_kspace
from raki.phantom.simulation import complex_noise

# Standard deviation in a coil's k-space and image; white matter has a root-sum-of-squares near 1.
NOISE_LEVEL = 0.02
# Drawing a slice takes longer than to reconstruct it. So few are drawn and repeated, each with noise of its own.
N_DISTINCT = 4


def noisy_slices(
    n_slices: int, n_coils: int, matrix: int, seed: int = 0
) -> Iterator[Complex64[np.ndarray, "coil pe ro"]]:
    """One slice after another; the same seed gives the same scan."""
    rng = np.random.default_rng(seed)
    drawn = phantom_kspace(min(n_slices, N_DISTINCT), n_coils, matrix, seed)
    for kspace in islice(cycle(drawn), n_slices):
        yield kspace + np.float32(NOISE_LEVEL) * complex_noise(rng, kspace.shape)
