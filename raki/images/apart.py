"""Slices that were excited at once, taken apart before anything else: a scan of single slices comes out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import starmap

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.errors import UnsupportedScan
from raki.kspace.separation import LEAKAGE_SHOWS, SEPARATIONS, Calibrated, calibrate_separation, residual
from raki.planning import find_sampling
from raki.scan import LazySlices, LinesOfSlice, Scan, SliceGroups


@dataclass(frozen=True, kw_only=True)
class TakenApart:
    """How the slices of a scan were taken apart: what a report says about it. Parts of energy are 0 to 1."""

    n_bands: int
    """Slices that were excited at once."""
    n_groups: int
    n_groups_by_choice: Mapping[str, int]
    """One of `raki.kspace.separation.SEPARATIONS` -> the groups that it took apart."""
    held_out_errors: Mapping[str, float]
    """Candidate -> mean over the groups of `Calibrated.held_out_errors`."""
    leakage: float
    """Of a slice's signal, the part (root of energy) that comes out in another of its group; mean over all pairs."""
    worst_leakage: float
    """The largest of them,"""
    worst_pair: tuple[int, int]
    """and whose it is: the slice that it comes from, and that in which it shows; counted from 0."""
    residual: float
    """Energy that the separated slices, summed again, lack of what was measured; the largest of all groups."""
    noise_gain: float
    """Noise of a separated sample over that of a measured one; root mean square over the groups."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be known before one looks."""
        if self.worst_leakage <= LEAKAGE_SHOWS:
            return ()
        source, into = (number + 1 for number in self.worst_pair)
        return (
            f"Slices that were excited at once show in each other: up to {100 * self.worst_leakage:.0f} % of slice "
            f"{source}'s signal in slice {into}, {100 * self.leakage:.0f} % on average over all pairs. A structure in "
            "one may come from the other: look at both.",
        )

    def notes(self) -> tuple[str, ...]:
        """Sentences for the report."""
        by = "; ".join(
            f"{n} of {self.n_groups} by {SEPARATIONS[name]}" for name, n in self.n_groups_by_choice.items() if n
        )
        errors = ", ".join(f"{SEPARATIONS[name]} {100 * error:.2g} %" for name, error in self.held_out_errors.items())
        return (
            *self.warnings,
            f"{self.n_bands} slices were excited at once in each of {self.n_groups} groups, and taken apart by what a "
            f"single-band reference of them tells: {by}. Error in parts of the reference not used for it: {errors}.",
            f"Of one slice's signal {100 * self.leakage:.2g} % shows in another of its group on average, at most "
            f"{100 * self.worst_leakage:.2g} %, as parts of the reference not used for it tell; the slices, "
            f"summed again, lack {100 * self.residual:.2g} % of the energy measured.",
            f"Taking them apart changed the noise by a factor of {self.noise_gain:.2g}; maps of g-factor and standard "
            "error start from there, and know of lines that were filled only.",
        )


def taken_apart(scan: Scan, *, seed: int, device: str) -> tuple[Scan, TakenApart | None]:
    """The scan with each slice as if it had been excited alone, and how that was done; other scans as they are.

    Each group is calibrated once, for all frames, on the single-band reference `scan.acs`, which then serves as the
    calibration scan of the slices. A slice is taken out when it is asked for.

    Raises:
        UnsupportedScan: lines of no regular lattice, or slices that nothing tells apart.
        NoCalibration: no single-band reference, or one that is too small.
    """
    groups, reference = scan.groups, scan.acs
    if groups is None or reference is None:
        return scan, None
    if scan.sampled_by_image is not None:
        raise UnsupportedScan(
            "slices were excited at once, and the frames sample different lines; raki takes apart frames of the same "
            "lines: reconstruct them one by one"
        )
    step = find_sampling(scan.sampled).acceleration

    def calibrated(slices: tuple[int, ...], turns: tuple[float, ...]) -> Calibrated:
        alone = torch.stack([torch.from_numpy(np.array(reference[number])) for number in slices])
        return calibrate_separation(alone.to(device), turns, step, seed=seed)

    calibrations = list(starmap(calibrated, zip(groups.slices, groups.turns, strict=True)))
    tried = [
        _Trial.of(each, _measured(scan, group, device), scan.noise, seed) for group, each in enumerate(calibrations)
    ]
    noise_gain = math.sqrt(sum(trial.noise_gain**2 for trial in tried) / len(tried))
    separated = replace(
        scan,
        kspace=_slices(scan, groups, calibrations, device),
        groups=None,
        noise=None if scan.noise is None else (noise_gain * scan.noise).astype(np.complex64),
    )
    return separated, _report(groups, calibrations, tried, noise_gain)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What the first frame of a group shows."""

    residual: float
    noise_gain: float

    @classmethod
    def of(cls, calibrated: Calibrated, measured: Tensor, noise: np.ndarray | None, seed: int) -> "_Trial":
        level = measured.abs().square().mean().sqrt() if noise is None else np.sqrt(np.mean(np.abs(noise) ** 2))
        return cls(
            residual=residual(measured, calibrated.separate(measured), calibrated.turns),
            noise_gain=calibrated.noise_gain(measured, float(level), seed=seed),
        )


def _measured(scan: Scan, group: int, device: str) -> Complex64[Tensor, "coil pe ro"]:
    return torch.from_numpy(np.array(scan.kspace[group])).to(device)


def _slices(scan: Scan, groups: SliceGroups, calibrations: list[Calibrated], device: str) -> LazySlices:
    n_groups = len(groups.slices)
    sampled = scan.sampled

    def load(index: int) -> LinesOfSlice:
        frame, number = divmod(index, groups.n_slices)
        group, band = groups.place_of(number)
        measured = _measured(scan, frame * n_groups + group, device)
        lines: LinesOfSlice = calibrations[group].separate(measured)[band].cpu().numpy()[:, sampled]
        return lines

    return LazySlices((len(scan.frames) * groups.n_slices, *scan.kspace.shape[1:]), load, sampled)


def _report(groups: SliceGroups, calibrations: list[Calibrated], tried: list[_Trial], noise_gain: float) -> TakenApart:
    n_bands = groups.n_bands
    leakages = torch.stack([each.leakage for each in calibrations])
    group, into, source = np.unravel_index(int(leakages.argmax()), leakages.shape)
    return TakenApart(
        n_bands=n_bands,
        n_groups=len(calibrations),
        n_groups_by_choice={name: sum(each.chosen == name for each in calibrations) for name in SEPARATIONS},
        held_out_errors={
            name: sum(each.held_out_errors[name] for each in calibrations) / len(calibrations) for name in SEPARATIONS
        },
        leakage=float(leakages.sum()) / (len(calibrations) * n_bands * (n_bands - 1)),
        worst_leakage=float(leakages.max()),
        worst_pair=(groups.slices[group][source], groups.slices[group][into]),
        residual=max(trial.residual for trial in tried),
        noise_gain=noise_gain,
    )
