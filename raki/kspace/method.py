"""A method of filling k-space, as all of them are registered: one thing with its name, its label, and what it needs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from raki.coils import NoiseLevel
from raki.kspace.patches import Kernel
from raki.kspace.sampling import Sampling
from raki.kspace.uncertainty import UncertaintyMaps
from raki.scan.fourier import SliceAcs, SliceKSpace

# What most scans of benchmarks/README.md were measured with.
ADVISED_ACS_LINES = 24


@dataclass(frozen=True, kw_only=True)
class FillSettings:
    """What all slices of a scan are filled with."""

    device: torch.device
    seed: int = 0
    """The same seed gives the same bits on the same device."""
    sigma: float | None = None
    """Standard deviation of the noise of a complex sample, in units of the k-space; None: it has to be estimated."""
    with_maps: bool = False
    """Whether maps of noise amplification and uncertainty are wanted, of a method that makes them."""


@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """One point of the training curve; losses are relative to the energy of the targets, dimensionless."""

    step: int
    training_loss: float
    validation_loss: float


@dataclass(frozen=True, kw_only=True)
class SliceReport:
    """What is known of how one slice was filled, besides its samples: little, however many slices there are."""

    chosen: str | None = None
    """Of a method that chooses between candidates: the one that filled the slice."""
    held_out_errors: Mapping[str, float] = field(default_factory=dict)
    """Linear candidate -> energy of its error in predicting acquired lines from those that it filled, over their own,
    "grappa" among them; empty where none was judged."""
    structure_kept: float | None = None
    """Mean part of a small structure that survives, by points put into the slice; None where none told."""
    structure_kept_by_grappa: float | None = None
    curve: tuple[TrainingPoint, ...] = ()
    """Of what was trained; empty where nothing was."""
    sigma: float = 0.0
    """Standard deviation of the noise that was reckoned with, in units of the k-space; 0 where none was."""
    noise_level: NoiseLevel | None = None
    """Where that was estimated, how; in units of the k-space."""
    maps: UncertaintyMaps | None = None
    n_coils: int = 0
    n_acs_lines: int = 0
    brightest_line: int | None = None
    """Of the acquired lines, hence at the centre of k-space; None where the ACS is a scan of its own or all is zero."""


Fill = Callable[[SliceKSpace, SliceAcs, Sampling, FillSettings], tuple[SliceKSpace, SliceReport]]
"""Fills one slice: k-space that is zero where nothing was acquired, and its ACS, which is its lines `acs_lines` or a
scan of its own. Returns the filled slice on the CPU; acquired lines are put back by the caller."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to fill the missing lines. Methods add themselves by an entry point in the group `raki.methods`."""

    name: str
    """As a user writes it: "grappa"."""
    label: str
    """As a report calls it: "GRAPPA"."""
    fill: Fill
    obstacles: Callable[[Sampling, int, int], Iterator[str]]
    """What keeps it from filling a sampling with so many ACS lines of so many samples, as ends of a sentence."""
    seconds_a_slice: float
    """About, with 16 coils and 256 x 256 samples on two cores; methods are listed in this order."""


def kernel_obstacle(kernel: Kernel, sampling: Sampling, n_lines: int, n_ro: int) -> Iterator[str]:
    """The end of a sentence where `n_lines` ACS lines of `n_ro` samples are too few for a kernel; else nothing."""
    needed = kernel.n_lines_needed(sampling.acceleration)
    if n_lines < needed or n_ro < kernel.n_ro:
        yield (
            f"needs at least {needed} calibration lines of {kernel.n_ro} samples at R={sampling.acceleration}, "
            f"{ADVISED_ACS_LINES} or more are advised; there are {n_lines} of {n_ro}"
        )
