"""One direction of an exported scan: from its coordinates in k-space to the part of the spectrum that is the image.

The `.list` says how: k-space is put into an interval of (reconstruction matrix) x (oversampling) / (SENSE factor)
points, its centre in the middle, and transformed forward; of the spectrum the range from `start` to `end` is the image,
wrapped around where it leaves the interval, and read in reverse where it starts at its end.

Scans with a SENSE factor are refused elsewhere, so it counts as one here.

raki transforms backward, about the middle. The same image comes of it where coordinates are counted from the other side
and each has a phase that moves the range to the middle.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float64, Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.philips.listing import Listing, Place
from raki.scan.header import LARGEST_MATRIX

SAME = 1e-4

Coordinates = Int[np.ndarray, " _"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How one direction is transformed."""

    n_transformed: int
    start: int
    end: int
    """Of the image, in the spectrum; counted from its middle."""

    @property
    def n_image(self) -> int:
        """Pixels of the image."""
        return abs(self.end - self.start) + 1

    @property
    def positions(self) -> Coordinates:
        """Of the image's pixels in the spectrum."""
        return np.arange(self.start, self.end + self._step, self._step)

    @property
    def _step(self) -> int:
        return 1 if self.start <= self.end else -1

    def turned(self, coordinates: Coordinates) -> Coordinates:
        """Coordinates as raki counts them."""
        return -self._step * coordinates

    def phases(self, turned: Coordinates) -> Complex64[np.ndarray, " _"]:
        """What samples at turned coordinates are multiplied by, so that the image comes to the middle."""
        middle = self.n_image // 2
        moved = self.start + middle if self._step == 1 else middle - self.start
        angles: Float64[np.ndarray, " _"] = 2 * np.pi * turned * (moved % self.n_transformed) / self.n_transformed
        return np.exp(1j * angles).astype(np.complex64)


def read_axis(listing: Listing, letter: str, place: Place) -> Axis:
    """The axis `X`, `Y` or `Z` of a mixed sequence, an echo and a location.

    Raises:
        DamagedScan: the matrix is missing or impossible, or the image is larger than the spectrum.
    """
    mix, echo, _ = place
    (matrix,) = listing.of(f"{letter}-resolution", (mix, 0, 0), 1)
    (oversampling,) = listing.of(f"k{letter.lower()}_oversample_factor", (mix, echo, 0), 1, (1.0,))
    n_transformed = round(matrix * oversampling)
    if not 1 <= n_transformed <= LARGEST_MATRIX:
        raise DamagedScan(
            f"the .list gives {matrix:g} pixels along {letter} and an oversampling of {oversampling:g}; raki needs 1 "
            f"to {LARGEST_MATRIX} points together: export the scan again"
        )
    n_image = min(round(matrix), n_transformed)
    centred = (float(-(n_image // 2)), float(n_image - n_image // 2 - 1))
    start, end = map(round, listing.of(f"{letter}_range", place, 2, centred))
    axis = Axis(n_transformed=n_transformed, start=start, end=end)
    if axis.n_image > n_transformed:
        raise DamagedScan(
            f"the .list takes an image of {axis.n_image} pixels along {letter} from a transform of {n_transformed}; "
            "raki needs no more than there are: export the scan again"
        )
    return axis


def sense_factor(listing: Listing, letter: str) -> float:
    """By how much the field of view was reduced (SENSE) along an axis."""
    return listing.of(f"{letter}-direction SENSE factor", (0, 0, 0), 1, (1.0,))[0]


@dataclass(frozen=True)
class Grid:
    """Places for turned coordinates, with the centre of k-space at n // 2."""

    n: int
    wraps: bool
    """Whether the last coordinate is the one in front of the first, as they have the same place in the transform."""

    @classmethod
    def of(cls, turned: Coordinates, axis: Axis, name: str) -> "Grid":
        """The smallest grid for coordinates, which is the measured resolution.

        Raises:
            UnsupportedScan: they reach beyond the transform.
        """
        found = np.unique(turned)
        first, last = int(found[0]), int(found[-1])
        if max(-first, last) > (axis.n_transformed + 1) // 2:
            raise UnsupportedScan(
                f"{name} goes from {first} to {last}, and the scanner transforms {axis.n_transformed} points, so that "
                "it measured finer than it shows; raki doesn't fold k-space: export the scan with a larger matrix"
            )
        if len(found) == last - first + 1 and last == 1 - first:
            return cls(n=max(2 * last, 1), wraps=True)
        return cls(n=2 * max(-first, last + 1), wraps=False)

    def places(self, turned: Coordinates) -> Coordinates:
        """Counted from zero."""
        return (turned + self.n // 2) % self.n if self.wraps else turned + self.n // 2
