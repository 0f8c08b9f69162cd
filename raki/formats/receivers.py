"""What is known of the receiver coils before anything is sorted: their noise, and which of them are dead."""

import ismrmrd
import numpy as np
from jaxtyping import Complex64

from raki.formats.acquisitions import Acquisitions
from raki.formats.sorting.coils import about_dead
from raki.formats.sorting.marks import has_flag
from raki.formats.sorting.selection import Selected
from raki.scan.arrays import NoiseScan

# Enough for a covariance of any number of coils to a fraction of a per cent; some scanners record far more.
MOST_NOISE_SAMPLES = 1 << 18

NoiseOfSome = Complex64[np.ndarray, "alive sample"]


def without_dead_coils(
    acquisitions: Acquisitions, energies: np.ndarray, noise: NoiseScan | None
) -> tuple[Acquisitions, NoiseOfSome | None, tuple[str, ...]]:
    """The same with the coils alone that recorded something, noise included, and a sentence where some didn't."""
    dead = energies <= 0
    if noise is not None:
        dead = dead | ~noise.any(axis=1)
    if not dead.any():
        return acquisitions, noise, ()
    alive = np.flatnonzero(~dead)
    fewer = Selected(acquisitions, np.arange(len(acquisitions.heads)), coils=alive, n_coils=len(dead))
    return fewer, None if noise is None else noise[alive], about_dead(dead)


def read_noise(
    acquisitions: Acquisitions, is_image: np.ndarray, n_coils: int
) -> tuple[NoiseScan | None, float, tuple[str, ...]]:
    """The noise acquisitions one after the other, the image's dwell time over theirs, and what there is to say."""
    heads = acquisitions.heads
    is_noise = has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    if not is_noise.any():
        return None, 1.0, ()
    found = np.unique(heads["active_channels"][is_noise])
    if found.tolist() != [n_coils]:
        said = f"was recorded with {found[-1]} coils, the image with {n_coils}"
        return None, 1.0, (f"The noise scan was not used, and the coils not decorrelated: it {said}.",)
    dwell_us, noise_dwell_us = heads["sample_time_us"][is_image][0], heads["sample_time_us"][is_noise]
    is_same = np.isclose(heads["sample_time_us"], noise_dwell_us[0], rtol=0, atol=0, equal_nan=True)
    same_dwell = np.flatnonzero(is_noise & is_same)
    n_before = np.cumsum(heads["number_of_samples"][same_dwell].astype(int)) - heads["number_of_samples"][same_dwell]
    noise = np.concatenate(list(acquisitions.samples(same_dwell[n_before < MOST_NOISE_SAMPLES])), axis=1)
    if not noise.any():
        return None, 1.0, ("The noise scan was not used, and the coils not decorrelated: it holds nothing but zeros.",)
    if not (dwell_us > 0 and noise_dwell_us[0] > 0):
        said = "The dwell time of image or noise isn't given: the noise is taken as recorded at the image's."
        return noise, 1.0, (said,)
    return noise, float(dwell_us) / float(noise_dwell_us[0]), ()
