"""Samples taken while the readout gradient ramps, put onto a uniform grid.

An EPI scanner samples at equal times while the gradient rises, stays and falls, so the samples stand closer together
in k-space at both ends of a line than in its middle.
"""

import math
from dataclasses import dataclass

import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64, Float64

from raki.errors import DamagedScan, UnsupportedScan
from raki.scan.header import field_of_view_mm, matrix_size

# A readout has a few hundred samples; the resampling solves for a matrix of that size.
MOST_SAMPLES = 2048
# No receiver samples faster, no echo lasts longer.
SHORTEST_DWELL_US, LONGEST_US = 1e-2, 1e6
# Noise over signal power that the resampling expects. Below that, errors fall further beneath what an image shows,
# and the noise of the outermost point, which lies half a sample beyond the samples, rises tenfold.
REGULARISATION = 1e-2


@dataclass(frozen=True, kw_only=True)
class RampSampling:
    """A trapezoidal readout gradient and when it was sampled; times in microseconds from the gradient's start."""

    ramp_up_us: float
    flat_top_us: float
    ramp_down_us: float
    delay_us: float
    """From the start of the gradient to the start of the first sample's dwell time."""
    dwell_us: float
    n_samples: int
    n_kept: int
    """Points of the uniform grid, 1/FOV apart, that span the same k-space as the samples."""

    def __post_init__(self) -> None:
        times = (self.ramp_up_us, self.flat_top_us, self.ramp_down_us, self.delay_us)
        if not all(0 <= time <= LONGEST_US for time in times) or not SHORTEST_DWELL_US <= self.dwell_us <= LONGEST_US:
            raise DamagedScan(
                f"the header gives an EPI readout of {self.ramp_up_us:g} + {self.flat_top_us:g} + "
                f"{self.ramp_down_us:g} us, sampled every {self.dwell_us:g} us from {self.delay_us:g} us on; raki "
                f"needs times from 0 to {LONGEST_US:g} us: convert the scan again"
            )
        if not 1 < self.n_samples <= MOST_SAMPLES or not 1 < self.n_kept <= MOST_SAMPLES:
            raise DamagedScan(
                f"the header gives {self.n_samples} samples for {self.n_kept} points of an EPI readout; raki needs "
                f"2 to {MOST_SAMPLES} of either: convert the scan again"
            )
        # A dwell time beyond the end is the rounding of the header's times.
        if not self.delay_us < self.duration_us / 2 < self.end_us <= self.duration_us + self.dwell_us:
            raise DamagedScan(
                f"the header has samples from {self.delay_us:g} to {self.end_us:g} us of an EPI readout gradient of "
                f"{self.duration_us:g} us; raki needs them under the gradient and on both sides of its middle: "
                "convert the scan again"
            )

    @property
    def duration_us(self) -> float:
        """From the start of the gradient to its end."""
        return self.ramp_up_us + self.flat_top_us + self.ramp_down_us

    @property
    def end_us(self) -> float:
        """The end of the last sample's dwell time."""
        return self.delay_us + self.n_samples * self.dwell_us

    @property
    def is_uniform(self) -> bool:
        """Whether all samples lie on the flat top, 1/FOV apart."""
        on_top = self.ramp_up_us <= self.delay_us and self.end_us <= self.ramp_up_us + self.flat_top_us
        return on_top and self.n_kept == self.n_samples

    @classmethod
    def from_header(cls, encoding: xsd.encodingType) -> "RampSampling | None":
        """What the header's trajectoryDescription "ConventionalEPI" tells; None where there is none.

        The samples span the encoded matrix, as in Gadgetron (Hansen and Sorensen 2013, Magn Reson Med 69:1768-1776,
        doi:10.1002/mrm.24389). None also where samples are uniform already: the gradient is given as of no length, or
        no sample lies on a ramp and all are kept.

        Raises:
            DamagedScan: a time or a count is missing or impossible.
            UnsupportedScan: the samples stand too far apart for the image's field of view.
        """
        description = encoding.trajectoryDescription
        if description is None or description.identifier != "ConventionalEPI":
            return None
        numbers = {
            parameter.name: parameter.value
            for parameter in (*description.userParameterLong, *description.userParameterDouble)
        }
        if all(numbers.get(name) == 0 for name in ("rampUpTime", "flatTopTime", "rampDownTime")):
            return None
        ramps = cls(
            ramp_up_us=_number(numbers, "rampUpTime"),
            flat_top_us=_number(numbers, "flatTopTime"),
            ramp_down_us=_number(numbers, "rampDownTime"),
            delay_us=_number(numbers, "acqDelayTime"),
            dwell_us=_number(numbers, "dwellTime"),
            n_samples=int(_number(numbers, "numSamples")),
            n_kept=matrix_size(encoding.encodedSpace)[0],
        )
        if ramps.is_uniform:
            return None
        _require_dense(ramps, field_of_view_mm(encoding.encodedSpace)[0] / field_of_view_mm(encoding.reconSpace)[0])
        return ramps


def readout_positions(ramps: RampSampling, *, reversed_line: bool = False) -> Float64[np.ndarray, " sample"]:
    """Where in k-space each sample of a line lies, in units of 1/FOV of the `n_kept` points; DC is 0.

    k is the gradient's area up to the middle of the sample's dwell time, less half the gradient's whole area: the
    dephasing before the first line and the whole of each line leave DC in the gradient's middle. It is scaled such that
    the samples together span `n_kept`.

    Args:
        reversed_line: for lines recorded under the negative gradient and then flipped, see
            `raki.formats.epi.ghost.flip_reversed`. They differ only where sampling isn't centred on the gradient.

    Bruder et al. 1992, Magn Reson Med 23:311-323, doi:10.1002/mrm.1910230211.
    """
    sampled_area = np.diff(_area(ramps, np.array([ramps.delay_us, ramps.end_us])))[0]
    middles_us = ramps.delay_us + (np.arange(ramps.n_samples) + 0.5) * ramps.dwell_us
    half_area = _area(ramps, np.array([ramps.duration_us]))[0] / 2
    positions = (_area(ramps, middles_us) - half_area) * (ramps.n_kept / sampled_area)
    return -positions[::-1] if reversed_line else positions


def regrid_ramps(
    lines: Complex64[np.ndarray, "*any recorded"], positions: Float64[np.ndarray, " sample"], n_ro: int
) -> Complex64[np.ndarray, "*any ro"]:
    """Resamples lines onto `n_ro` points 1/FOV apart, DC at n_ro // 2.

    The best linear estimate, R = C_us (C_ss + e I)^-1, of a signal whose covariance between two positions in k-space is
    C = sinc(w (k - k')): that of an object anywhere in the width w that the samples resolve, the FOV or less where they
    stand further apart. For such an object the error between the samples is below 0.1 % of the signal's norm. White
    noise keeps its power, averaged over the points; there is less at both ends, where more samples go into one point.
    That scales the signal by about sqrt(samples / points), as the removal of oversampling does.

    Raises:
        DamagedScan: the lines have another number of samples than the header's readout.

    Yen 1956, IRE Trans Circuit Theory 3:251-257, doi:10.1109/TCT.1956.1086325;
    Rosenfeld 1998, Magn Reson Med 40:14-23, doi:10.1002/mrm.1910400103.
    """
    if lines.shape[-1] != len(positions):
        raise DamagedScan(
            f"an EPI line has {lines.shape[-1]} samples, the header's readout has {len(positions)}; raki needs them to "
            "agree: convert the scan again"
        )
    operator = _resampling(positions, np.arange(n_ro, dtype=float) - n_ro // 2)
    return np.asarray(lines @ operator.astype(np.float32).T)


def _resampling(
    positions: Float64[np.ndarray, " sample"], points: Float64[np.ndarray, " ro"]
) -> Float64[np.ndarray, "ro sample"]:
    width = min(1.0, 1.0 / np.diff(positions).max())
    among_samples = np.sinc(width * np.subtract.outer(positions, positions))
    to_points = np.sinc(width * np.subtract.outer(points, positions))
    regularised = among_samples + REGULARISATION * np.eye(len(positions))
    operator: np.ndarray = np.linalg.solve(regularised, to_points.T).T
    return operator / np.sqrt(np.mean(np.sum(operator**2, axis=1)))


def _area(ramps: RampSampling, times_us: Float64[np.ndarray, " time"]) -> Float64[np.ndarray, " time"]:
    """The area of the gradient of unit height from its start to each time, in microseconds."""
    rise = np.clip(times_us, 0, ramps.ramp_up_us)
    flat = np.clip(times_us - ramps.ramp_up_us, 0, ramps.flat_top_us)
    fall = np.clip(times_us - ramps.ramp_up_us - ramps.flat_top_us, 0, ramps.ramp_down_us)
    # A ramp of no length has no area; its division by zero is avoided, not its result changed.
    risen = rise**2 / (2 * max(ramps.ramp_up_us, math.ulp(1.0)))
    fallen = fall - fall**2 / (2 * max(ramps.ramp_down_us, math.ulp(1.0)))
    return np.asarray(risen + flat + fallen)


def _require_dense(ramps: RampSampling, oversampling: float) -> None:
    largest = np.diff(readout_positions(ramps)).max()
    if largest > oversampling:
        raise UnsupportedScan(
            f"the samples of the EPI readout stand up to {largest:.2f}/FOV apart, the image needs "
            f"{oversampling:.2f}/FOV or closer; raki can't undo aliasing along the readout: convert the scan again"
        )


def _number(numbers: dict[str, object], name: str) -> float:
    value = numbers.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise DamagedScan(
            f"the header gives {value} as '{name}' of the EPI readout; raki needs a number: convert the scan again"
        )
    return float(value)
