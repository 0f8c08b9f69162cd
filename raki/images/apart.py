"""Slices that were excited at once, taken apart before anything else: a scan of single slices comes out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.errors import DamagedScan, UnsupportedScan
from raki.kspace import GroupAcs, GroupGhosts
from raki.kspace.common_ghost import with_common_ghost
from raki.kspace.separation import (
    LEAKAGE_SHOWS,
    SEPARATIONS,
    Calibrated,
    agreement,
    calibrate_separation,
)
from raki.planning import find_sampling
from raki.scan import LazySlices, LinesOfSlice, Scan, SliceGhosts, SliceGroups

# Half turns have no sign.
SAME_TURN = 1e-3
# Of simulated scans of the head, 2 to 4 slices at once: 0.83 to 0.99 the right way, and 0.02 to 0.3 less the other way.
CLEARLY_BETTER = 0.02
# The same with turns that are half of the true ones: 0.2 to 0.5; with references of the slices in other places: 0.77 at
# most, as neighbouring slices of a head are alike.
LEAST_AGREEMENT = 0.8
OTHER_SIGN = (
    "The phase between slices that were excited at once turns the other way than the header says (multiband deltaKz): "
    "so they agree with their single-band references, and were taken apart."
)


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
    agreement: float
    """Correlation of a separated slice with its own reference, about the centre of k-space; the least of all slices."""
    other_sign: bool = False
    """Whether the phase was found to turn the other way than the header says."""
    n_common_ghosts: int = 0
    """Groups whose sums needed another correction of their ghost (EPI) than their navigators say."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be known before one looks."""
        signs = (OTHER_SIGN,) if self.other_sign else ()
        if self.worst_leakage <= LEAKAGE_SHOWS:
            return signs
        source, into = (number + 1 for number in self.worst_pair)
        return (
            *signs,
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
            f"summed again, lack {100 * self.residual:.2g} % of the energy measured, and agree with the references "
            f"by {self.agreement:.2f} at least (correlation).",
            f"Taking them apart changed the noise by a factor of {self.noise_gain:.2g}; maps of g-factor and standard "
            "error start from there, and know of lines that were filled only.",
            *self._about_ghosts(),
        )

    def _about_ghosts(self) -> tuple[str, ...]:
        if not self.n_common_ghosts:
            return ()
        return (
            f"In {self.n_common_ghosts} of {self.n_groups} groups the navigators of the sums show another phase "
            "between forward and reversed lines than the slices have (EPI), as where the excitations' phases differ "
            "from those of the reference: that was taken by which the slices agree with their references.",
        )


def taken_apart(scan: Scan, *, seed: int, device: str) -> tuple[Scan, TakenApart | None]:
    """The scan with each slice as if it had been excited alone, and how that was done; other scans as they are.

    Each group is calibrated once, for all frames, on the single-band reference `scan.acs`, which then serves as the
    calibration scan of the slices. A slice is taken out when it is asked for.

    Raises:
        UnsupportedScan: lines of no regular lattice, or slices that nothing tells apart.
        DamagedScan: what comes out isn't what the reference shows, whichever way the phase turns.
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

    def alone(group: int) -> GroupAcs:
        each = [torch.from_numpy(np.array(reference[number])) for number in groups.slices[group]]
        return torch.stack(each).to(device)

    def tried_on(group: int, sign: int) -> tuple[Calibrated, _Trial]:
        turns = tuple(sign * turn for turn in groups.turns[group])
        ghosts = _ghosts_of_group(groups.ghosts, group, device)
        calibrated = calibrate_separation(alone(group), turns, step, ghosts=ghosts, seed=seed)
        measured = _measured(scan, group, device)
        calibrated = with_common_ghost(calibrated, measured, alone(group))
        return calibrated, _Trial.of(calibrated, measured, alone(group), scan.noise, seed)

    sign, first = _right_way(groups.turns[0], partial(tried_on, 0))
    both = [first, *(tried_on(group, sign) for group in range(1, len(groups.slices)))]
    calibrations, tried = [each for each, _ in both], [trial for _, trial in both]
    _require_agreement(tried)
    noise_gain = math.sqrt(sum(trial.noise_gain**2 for trial in tried) / len(tried))
    separated = replace(
        scan,
        kspace=_slices(scan, groups, calibrations, device),
        groups=None,
        noise=None if scan.noise is None else (noise_gain * scan.noise).astype(np.complex64),
    )
    return separated, _report(groups, calibrations, tried, noise_gain, other_sign=sign < 0)


def _right_way(
    turns: tuple[float, ...], tried: Callable[[int], tuple[Calibrated, "_Trial"]]
) -> tuple[int, tuple[Calibrated, "_Trial"]]:
    """1 where the phase turns as the header says, -1 where slices agree clearly better with their references if it
    turns the other way; with what was found then. Calibrations know nothing of it: both signs take the reference
    apart as well, and the measured sum only one.
    """
    as_said = tried(1)
    if all(abs(2 * turn - round(2 * turn)) < SAME_TURN for turn in turns):
        return 1, as_said
    turned = tried(-1)
    if turned[1].agreement > as_said[1].agreement + CLEARLY_BETTER:
        return -1, turned
    return 1, as_said


def _require_agreement(tried: Sequence["_Trial"]) -> None:
    """Raises DamagedScan where a separated slice is something else than its reference."""
    worst = min(trial.agreement for trial in tried)
    if worst < LEAST_AGREEMENT:
        raise DamagedScan(
            f"slices that were excited at once don't come out as their single-band references show them (correlation "
            f"{worst:.2f}, whichever way the phase turns between lines): the header's multiband spacing or deltaKz is "
            "wrong, or the reference is another scan's; raki shows no mixture: convert the scan again"
        )


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """What the first frame of a group shows."""

    residual: float
    noise_gain: float
    agreement: float

    @classmethod
    def of(
        cls, calibrated: Calibrated, measured: Tensor, reference: GroupAcs, noise: np.ndarray | None, seed: int
    ) -> "_Trial":
        apart = calibrated.separate(measured)
        level = measured.abs().square().mean().sqrt() if noise is None else np.sqrt(np.mean(np.abs(noise) ** 2))
        return cls(
            residual=calibrated.residual(measured, apart),
            noise_gain=calibrated.noise_gain(measured, float(level), seed=seed),
            agreement=float(agreement(apart, reference).min()),
        )


def _ghosts_of_group(ghosts: SliceGhosts | None, group: int, device: str) -> GroupGhosts | None:
    if ghosts is None:
        return None
    return GroupGhosts(
        phases=ghosts.phases[group],
        common=ghosts.common[group],
        is_reversed=torch.tensor(ghosts.reversed_lines, device=device),
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


def _report(
    groups: SliceGroups, calibrations: list[Calibrated], tried: list[_Trial], noise_gain: float, *, other_sign: bool
) -> TakenApart:
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
        agreement=min(trial.agreement for trial in tried),
        other_sign=other_sign,
        n_common_ghosts=sum(each.common is not None for each in calibrations),
    )
