"""What a method of filling k-space is given for a slice, and what it says of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from raki.coils import NoiseLevel
from raki.kspace.explanation import Explanation
from raki.kspace.linear_fit import KernelWeights
from raki.kspace.opposite import OppositeSide
from raki.kspace.scattered import ScatteredFill
from raki.kspace.uncertainty import UncertaintyMaps
from raki.planning import AnySampling, Sampling
from raki.scan.fourier import SliceAcs, SliceKSpace


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
    with_weights: bool = False
    """Whether the weights of the kernel are wanted, of a method that has one."""
    with_explanation: bool = False
    """Whether it is wanted where the brightness of the image comes from, of a method that begins linearly."""
    with_calibration: bool = False
    """Whether later frames of the slice follow, to be filled by what is found of this one."""


@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """One point of the training curve; losses are relative to the energy of the targets, dimensionless."""

    step: int
    training_loss: float
    validation_loss: float


@dataclass(frozen=True, kw_only=True)
class StoredUse:
    """What became of the stored weights that there were for a slice. Errors are energies in predicting acquired lines,
    over their own; None where none could be predicted."""

    is_used: bool
    """Whether they filled it."""
    error: float | None
    """From what the weights make of the lattice alone."""
    error_then: float | None
    """The same in the scan that they come from."""
    noise: float | None = None
    """What of `error` the noise of this slice makes at most."""
    judged: float | None = None
    """Outside the ACS, where the slice could be calibrated by itself too;"""
    own_judged: float | None = None
    """and by what that calibration came to."""


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
    explanation: Explanation | None = None
    weights: KernelWeights | None = None
    calibration: "Calibration | None" = None
    """For later frames of the slice, where it was asked for; of a method that has one."""
    is_reused: bool = False
    """Whether the slice was filled by what an earlier frame of it was calibrated to."""
    stored: StoredUse | None = None
    """Where there were stored weights for the slice, what became of them."""
    opposite: OppositeSide | None = None
    """Where one side of k-space wasn't measured (partial Fourier), what became of it."""
    scattered: ScatteredFill | None = None
    """Where points lie on no lattice, how they were filled."""
    n_coils: int = 0
    n_acs_lines: int = 0
    brightest_line: int | None = None
    """Of the acquired lines, hence at the centre of k-space; None where the ACS is a scan of its own or all is zero."""


@runtime_checkable
class Calibration(Protocol):
    """What a frame of a slice was calibrated to."""

    def fill(
        self, kspace: SliceKSpace, acs: SliceAcs, sampling: AnySampling, settings: FillSettings
    ) -> tuple[SliceKSpace, SliceReport] | None:
        """Fills a later frame, of the same R; None where the calibration doesn't hold of it."""
        ...


Fill = Callable[[SliceKSpace, SliceAcs, Sampling, FillSettings], tuple[SliceKSpace, SliceReport]]
"""Fills one slice: k-space that is zero where nothing was acquired, and its ACS, which is its lines `acs_lines` or a
scan of its own. Returns the filled slice on the CPU; acquired lines are put back by the caller."""
