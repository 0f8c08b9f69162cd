"""What the samples tell before a line has its place: which lines and coils recorded anything, where the signal is."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from raki.errors import NotAScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.sorting.marks import Mask, numbered
from raki.scan import COUNTERS

# An image whose brightest sample holds more of its energy is one point of k-space and no image: stripes.
MOST_IN_ONE_SAMPLE = 0.95


@dataclass(frozen=True)
class Measured:
    """Energies of the lines of k-space, in the scanner's unit squared; zero for acquisitions that are none."""

    energies: Float64[np.ndarray, " acquisition"]
    """Of each line, all coils together."""
    largest: Float64[np.ndarray, " acquisition"]
    """Of each line's brightest sample, all coils together."""
    of_coils: Float64[np.ndarray, " coil"]
    places: Int64[np.ndarray, " acquisition"]
    """Of each line, its brightest sample."""

    def of(self, kept: Int64[np.ndarray, " kept"]) -> "Measured":
        """The same of some of the acquisitions."""
        return replace(self, energies=self.energies[kept], largest=self.largest[kept], places=self.places[kept])


def measure(acquisitions: Acquisitions, lines: Mask) -> Measured:
    """Reads the lines once.

    Raises:
        NotAScan: they hold nothing but zeros, or nothing but one sample an image.
        DamagedScan: samples are missing or no numbers.
    """
    indices = np.flatnonzero(lines)
    n_all, n_coils = len(lines), int(acquisitions.heads["active_channels"][indices].max())
    energies, largest, of_coils = np.zeros(n_all), np.zeros(n_all), np.zeros(n_coils)
    places = np.zeros(n_all, np.int64)
    for index, samples in zip(indices, acquisitions.samples(indices), strict=True):
        if not samples.size:
            continue
        # Real and imaginary parts in turn: three passes over the samples, where complex arithmetic takes six.
        power = np.square(np.ascontiguousarray(samples).view(np.float32))
        of_samples = power.sum(axis=0).reshape(-1, 2).sum(axis=1)
        of_line = power @ np.ones(power.shape[1], np.float32)
        places[index] = of_samples.argmax()
        largest[index], energies[index] = of_samples[places[index]], of_line.sum()
        of_coils[: len(of_line)] += of_line
    if not energies.any():
        raise NotAScan(
            f"all samples of the {len(indices)} lines are zero: nothing was received, or nothing kept of it; raki "
            "needs k-space as it was measured: export the scan again"
        )
    _require_more_than_a_spike(acquisitions.heads[indices], energies[indices], largest[indices])
    return Measured(energies, largest, of_coils, places)


def _require_more_than_a_spike(heads: np.ndarray, energies: np.ndarray, largest: np.ndarray) -> None:
    image = numbered(heads, "slice", *COUNTERS)
    total, brightest = np.bincount(image, energies), np.zeros(image.max() + 1)
    np.maximum.at(brightest, image, largest)
    part = float((brightest[total > 0] / total[total > 0]).min())
    if part > MOST_IN_ONE_SAMPLE:
        raise NotAScan(
            f"one sample holds {100 * part:.3g} % of the energy of an image: a spike and no signal of an object, which "
            "spreads over k-space; raki needs k-space as it was measured: export the scan again"
        )
