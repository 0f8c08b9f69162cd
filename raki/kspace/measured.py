"""One slice as it was acquired, in the units that it is calibrated and filled in."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Complex64
from torch import Tensor

from raki.coils import NoiseLevel, estimate_noise
from raki.planning import AnySampling, PointSampling, Sampling, ScatteredSampling
from raki.scan.fourier import SliceAcs, SliceKSpace


@dataclass(frozen=True, kw_only=True)
class MeasuredSlice:
    """One slice as it was acquired, in units in which its peak is about 1."""

    kspace: SliceKSpace
    """Zero where nothing was acquired."""
    acs: SliceAcs
    known: Bool[Tensor, "pe _"]
    """Acquired samples; whole lines where it has one column."""
    acs_inside: bool
    """Whether `acs` is a part of `kspace`, and not a scan of its own."""
    sampling: AnySampling
    sigma: float
    """Standard deviation of the noise of a complex sample."""
    noise_level: NoiseLevel | None = None
    """How it was estimated; None where it is known."""

    @property
    def lattice(self) -> Sampling | PointSampling:
        """The same sampling, of a slice whose lines or points lie on a lattice."""
        assert not isinstance(self.sampling, ScatteredSampling)
        return self.sampling

    def keeping_known(self, filled: SliceKSpace) -> SliceKSpace:
        """`filled` with acquired lines as they came."""
        return torch.where(self.known, self.kspace, filled)


@runtime_checkable
class Filling(Protocol):
    """Whatever fills a slice."""

    def filled(self, measured: MeasuredSlice) -> SliceKSpace:
        """The slice with its gaps filled, acquired lines as they came."""
        ...


@runtime_checkable
class LinearlyFilling(Filling, Protocol):
    """Whatever fills a slice linearly in what was acquired."""

    def fill(self, kspace: SliceKSpace, sampling: AnySampling) -> SliceKSpace:
        """The gaps of a zero-filled k-space filled; acquired samples inside a gap may be overwritten."""
        ...


def measured_slice(
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: AnySampling,
    *,
    sigma: float | None,
    device: torch.device,
) -> MeasuredSlice:
    """A slice on the device that it is filled on; the arrays have a peak of about 1 (see `unit_scale`)."""
    known = torch.from_numpy(sampling.known_points())
    block = kspace[:, *sampling.acs_block()]
    inside = block.numel() > 0 and acs.shape == block.shape and torch.equal(acs, block)
    estimated = estimate_noise(kspace.to(device), acs.to(device), known) if sigma is None else None
    return MeasuredSlice(
        # Sums depend on the order of memory: contiguous, so that equal samples give equal bits.
        kspace=kspace.to(device).contiguous(),
        acs=acs.to(device).contiguous(),
        known=known.to(device),
        acs_inside=inside,
        sampling=sampling,
        sigma=estimated.sigma if estimated else sigma or 0.0,
        noise_level=estimated,
    )


def unit_scale(*parts: Complex64[Tensor, "coil _ _"]) -> float:
    """A power of two near the peak of all parts: dividing by it costs no accuracy, and keeps squares in range."""
    peak = max(float(part.abs().max()) for part in parts if part.numel())
    return 2.0 ** math.floor(math.log2(peak)) if peak > 0 else 1.0
