"""Whether the recordings of one line agree, so that their mean is a better recording of the same.

Averages differ by noise, which has the same level throughout k-space, whatever the signal. What differs where the
signal is bright is no average: another echo, another contrast, a body that has moved.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float, Int

Recordings = Complex64[np.ndarray, "_ coil ro"]  # places are recorded different numbers of times

# Of the signal, root mean square: less is a scanner's drift and harmless in a mean.
MOST_DIFFERENCE = 0.10
LEAST_REMARKABLE = 0.02
# Standard deviations of what noise alone would show; there may be thousands of images.
SURE = 6.0
# Of k-space about its brightest sample: one in so many samples.
REGIONS = (32, 8, 1)


@dataclass(frozen=True)
class Difference:
    """How much recordings of the same lines differ beyond their noise."""

    relative: float
    """Root mean square of the difference, over that of the signal."""
    certainty: float
    """In standard deviations of what noise shows."""

    @property
    def percent(self) -> str:
        """The relative difference in per cent."""
        return f"{float(f'{100 * self.relative:.2g}'):g}"

    @property
    def is_signal(self) -> bool:
        """Whether the recordings aren't of the same thing."""
        return self.certainty > SURE and self.relative > MOST_DIFFERENCE

    @property
    def is_remarkable(self) -> bool:
        """Whether more than noise differs."""
        return self.certainty > SURE and self.relative > LEAST_REMARKABLE


def difference(places: Sequence[Recordings], lines: Sequence[int]) -> Difference:
    """Compares the recordings of each place, two at least, with each other.

    The variance of a sample over its recordings is that of the noise, plus what else differs. The level of the noise
    is the median of these variances in each coil, far from the brightest sample. What else differs is looked for in
    regions about that sample, small ones where only those stand out of the noise.

    Args:
        lines: of each place, where it is along phase-encode.
    """
    n_free = np.concatenate([np.full(each.shape[-1], len(each) - 1.0) for each in places])
    variance = np.concatenate([each.astype(np.complex128).var(axis=0, ddof=1) for each in places], axis=1)
    mean = np.concatenate([np.abs(each.mean(axis=0, dtype=np.complex128)) ** 2 for each in places], axis=1)
    samples = np.concatenate([np.arange(each.shape[-1]) for each in places])
    near = _about_the_brightest(
        np.sum(mean + variance, axis=0), np.repeat(lines, [e.shape[-1] for e in places]), samples
    )
    variance, mean, n_free = variance[:, near], mean[:, near], n_free[near]
    dark = slice(len(near) // 2, None)
    noise = np.median(variance[:, dark] / _median_over_mean(n_free[dark]), axis=1)
    excess = np.cumsum((variance - noise[:, None]).sum(axis=0))
    agreed = np.cumsum((mean - variance / (n_free + 1)).sum(axis=0))
    # A variance of n - 1 degrees of freedom varies by its own size over the root of them; the median by as much again.
    by_chance = 2 * np.sqrt(np.cumsum((noise[:, None] ** 2 / n_free).sum(axis=0)))
    sizes = np.unique(np.maximum(1, len(near) // np.array(REGIONS))) - 1
    found = [_difference(excess[end], agreed[end], by_chance[end]) for end in sizes]
    return max(found, key=lambda each: each.certainty)


def _difference(excess: float, agreed: float, by_chance: float) -> Difference:
    if excess <= 0:
        return Difference(0.0, 0.0)
    # Two recordings of opposite sign have nothing in common, and differ by twice their energy: by no more.
    signal = max(excess + agreed, excess / 2)
    return Difference(float(np.sqrt(excess / signal)), float(excess / by_chance) if by_chance else np.inf)


def _about_the_brightest(power: np.ndarray, lines: np.ndarray, samples: np.ndarray) -> Int[np.ndarray, " sample"]:
    """Samples in the order of their distance from the brightest one, in parts of what was recorded."""
    brightest = int(power.argmax())
    across = (lines - lines[brightest]) / (np.ptp(lines) + 1)
    along = (samples - samples[brightest]) / (np.ptp(samples) + 1)
    return np.argsort(across**2 + along**2, kind="stable")


def _median_over_mean(n_free: Float[np.ndarray, " sample"]) -> Float[np.ndarray, " sample"]:
    """Of the variance of complex noise, a gamma distribution; within half a per cent.

    Choi 1994, Proc Am Math Soc 121:245-251, doi:10.1090/S0002-9939-1994-1195477-8.
    """
    return 1 - 1 / (3 * n_free) + 8 / (405 * n_free**2)


def in_series(
    places: Int[np.ndarray, " line"], averages: Int[np.ndarray, " line"]
) -> tuple[Int[np.ndarray, " line"], bool]:
    """The series that each recording is of, and whether the averages tell it; else the order of time does."""
    if len(np.unique(np.stack([places, averages]), axis=1).T) == len(places):
        return np.unique(averages, return_inverse=True)[1].ravel(), True
    order = np.argsort(places, kind="stable")
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    n_before = np.arange(len(places)) - np.repeat(starts, np.diff(starts, append=len(places)))
    series = np.empty(len(places), int)
    series[order] = n_before
    return series, False


def recordings_of(samples: Iterator[np.ndarray], counts: Sequence[int], firsts: Sequence[int]) -> list[Recordings]:
    """Samples, recording by recording and place by place, as one array a place: where all its recordings have some.

    Args:
        counts: recordings of each place.
        firsts: of each recording, where its first sample belongs.
    """
    places, beginnings = [], iter(firsts)
    for n in counts:
        lines = [(next(samples), next(beginnings)) for _ in range(n)]
        begin, end = max(first for _, first in lines), min(first + line.shape[1] for line, first in lines)
        places.append(np.stack([line[:, begin - first : max(begin, end) - first] for line, first in lines]))
    return places
