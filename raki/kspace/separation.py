"""Slices excited at once, taken apart: the kernel or network that the single-band reference shows to be the best.

The reference is the truth that a scan lacks otherwise: its slices summed as the scan sums them are what has to be taken
apart, and what should come out is known. Samples of it that a candidate hasn't seen decide, and say how much of one
slice is left in another.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from raki.errors import UnsupportedScan
from raki.kspace.caipi import GroupAcs, GroupKSpace, Turns, demodulated, modulated
from raki.kspace.ghosts import GroupGhosts, corrected
from raki.kspace.held_out_bands import (
    HELD_OUT,
    Equations,
    LinearCandidate,
    Separation,
    best_linear,
    error_of,
    examples_of_kernels,
    leakage_of,
)
from raki.kspace.measured import unit_scale
from raki.kspace.slice_grappa import BandExamples, slice_equations, split_equations
from raki.kspace.slice_raki import trained
from raki.scan import NyquistPhase
from raki.scan.fourier import SliceKSpace

SLICE_GRAPPA, SPLIT_SLICE_GRAPPA, SLICE_RAKI = "slice_grappa", "split_slice_grappa", "slice_raki"
SEPARATIONS = {
    SLICE_GRAPPA: "slice-GRAPPA",
    SPLIT_SLICE_GRAPPA: "split slice-GRAPPA (with leakage constraint)",
    SLICE_RAKI: "split slice-GRAPPA and a network for what it leaves (RAKI)",
}
"""The candidates, and how each is called in a text."""

# The network has to be better by so much: its training is a throw of dice.
LEAST_GAIN = 0.95
# Of a slice's signal that comes out in another: above this it may be seen.
LEAKAGE_SHOWS = 0.15
# And over what it keeps itself: nothing tells slices apart where both are the same.
HOPELESS = 0.75
# Of the energy of the brightest slice of a group: one with less holds noise alone.
AIR = 0.02

EQUATIONS: Mapping[str, Equations] = {SLICE_GRAPPA: slice_equations, SPLIT_SLICE_GRAPPA: split_equations}


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What takes a group of slices apart, and how good it proved on the reference."""

    separation: Separation
    chosen: str
    """One of SEPARATIONS."""
    held_out_errors: Mapping[str, float]
    """Candidate -> energy of its error over that of the slices, on samples of the summed reference that it hadn't
    seen; they are divided by their magnitude, so that the bright ones aren't all that counts."""
    leakage: Float32[Tensor, "into source"]
    """Root of the energy of one slice alone (`source`) that comes out in another (`into`), over its own; on samples
    not seen in calibration. The diagonal is zero. Dimensionless (Cauley et al. 2014, Magn Reson Med 72:93-102,
    doi:10.1002/mrm.24898)."""
    turns: Turns
    step: int
    ghosts: GroupGhosts | None = None
    """Of slices that are read back and forth (EPI),"""
    backward: Separation | None = None
    """and what takes apart their lines that were read backward; `separation` is of the others then."""
    common: NyquistPhase | None = None
    """Likewise, by what a sum is to be corrected first, where its navigators didn't tell all."""

    def separate(self, measured: SliceKSpace) -> GroupKSpace:
        """The slices of a sum as each would have been measured alone, on the same lines; the others are zero.

        Of EPI without its ghost.

        Args:
            measured: zero where nothing was acquired. Every `step`-th line was, from the first to the last.

        Raises:
            UnsupportedScan: other lines were acquired.
        """
        measured, lines = self._corrected(measured), lattice(measured, self.step)
        apart = torch.zeros((len(self.turns), *measured.shape), dtype=torch.complex64, device=measured.device)
        apart[:, :, lines] = self._separated(measured[:, lines], lines.start)
        return demodulated(apart, self.turns)

    def noise_gain(self, measured: SliceKSpace, sigma: float, *, seed: int = 0) -> float:
        """Noise of a separated sample over that of a measured one, root mean square over slices and coils.

        By one trial: noise of level `sigma` is added to what was measured. Of a network, which isn't linear, no other
        way tells (Robson et al. 2008, Magn Reson Med 60:895-907, doi:10.1002/mrm.21728).
        """
        generator = torch.Generator().manual_seed(seed)
        lines = lattice(measured, self.step)
        acquired = measured[:, lines]
        noise = sigma * torch.randn(acquired.shape, generator=generator, dtype=torch.complex64).to(measured.device)
        change = self._separated(acquired + noise, lines.start) - self._separated(acquired, lines.start)
        return float(change.abs().square().mean().sqrt() / noise.abs().square().mean().sqrt())

    def residual(self, measured: SliceKSpace, apart: GroupKSpace) -> float:
        """What the separated slices, summed again as the scan does, lack of what was measured: energy over energy."""
        if self.ghosts is not None:
            apart = self.ghosts.put_in(apart, self.ghosts.is_reversed)
        return residual(self._corrected(measured), apart, self.turns)

    def _corrected(self, measured: SliceKSpace) -> SliceKSpace:
        if self.ghosts is None or self.common is None:
            return measured
        return corrected(measured, self.ghosts.is_reversed, self.common)

    def _separated(self, acquired: SliceKSpace, first: int) -> GroupKSpace:
        """Of the acquired lines, which begin with that of this number."""
        if self.ghosts is None or self.backward is None:
            return self.separation.separated(acquired)
        begins_backward = int(self.ghosts.is_reversed[first])
        apart = torch.empty((len(self.turns), *acquired.shape), dtype=torch.complex64, device=acquired.device)
        for direction, separation in enumerate((self.separation, self.backward)):
            wanted = slice(direction ^ begins_backward, None, 2)
            apart[:, :, wanted] = separation.separated(acquired, wanted)
        return apart


def lattice(measured: SliceKSpace, step: int) -> slice:
    """The acquired lines of a sum of slices: every `step`-th from the first to the last that holds samples.

    Raises:
        UnsupportedScan: lines between them were acquired, or none was.
    """
    lines = (measured != 0).any(dim=0).any(dim=-1).nonzero().flatten().tolist()
    if not lines or any((line - lines[0]) % step for line in lines):
        raise UnsupportedScan(
            f"{len(lines)} lines of slices excited at once were acquired, not every {step}th and none between; raki "
            "takes apart what is regular: leave other lines out"
        )
    return slice(lines[0], lines[-1] + 1, step)


def residual(measured: SliceKSpace, apart: GroupKSpace, turns: Turns) -> float:
    """What the separated slices, modulated and summed again, lack of what was measured: energy over energy."""
    again = modulated(apart, turns).sum(dim=0)
    energy = measured.abs().square().sum().clamp(min=torch.finfo(torch.float32).tiny)
    return float((again - measured).abs().square().sum() / energy)


def agreement(apart: GroupKSpace, reference: GroupAcs) -> Float32[Tensor, " band"]:
    """Correlation of each separated slice with its reference on the lines that both have; 1 where they are the same.

    A phase of the whole slice counts for nothing. 1 also for slices of air, and where the sum has no energy there.
    """
    half = reference.shape[-2] // 2
    middle = apart[:, :, apart.shape[-2] // 2 - half : apart.shape[-2] // 2 - half + reference.shape[-2]]
    seen = torch.where((middle != 0).any(dim=(0, 1, 3))[:, None], reference, 0)
    weak = _weak(reference)
    common = (middle.conj() * seen).sum(dim=(1, 2, 3)).abs()
    sizes = (middle.abs().square().sum(dim=(1, 2, 3)) * seen.abs().square().sum(dim=(1, 2, 3))).sqrt()
    return torch.where((sizes > 0) & ~weak, common / sizes.clamp(min=torch.finfo(torch.float32).tiny), 1.0)


def _weak(reference: GroupAcs) -> Bool[Tensor, " band"]:
    """Slices of air, as at the top of a head: what they hold is noise, which nothing tells apart, and nobody misses."""
    energies = reference.abs().square().sum(dim=(1, 2, 3))
    return energies < AIR * energies.max()


def calibrate_separation(
    reference: GroupAcs, turns: Turns, step: int, *, ghosts: GroupGhosts | None = None, seed: int = 0
) -> Calibrated:
    """The best of slice-GRAPPA, split slice-GRAPPA and RAKI for a group, as samples held out of its reference show.

    Args:
        reference: the slices as each was measured alone, neighbouring fully sampled lines, the centre of k-space at
            `n // 2` of them; of EPI each corrected by its own phase.
        turns: of each slice, the turns of phase between neighbouring lines of k-space.
        step: distance of the lines that will be measured of the sum (the in-plane acceleration R).
        ghosts: of slices that are read back and forth (EPI): those that the sum keeps. Lines alternate, from the first
            that is measured. Each direction is calibrated by itself, in the same way.
        seed: of the network's start; the same seed gives the same bits on the same device.

    Raises:
        NoCalibration: the reference is too small for the kernels.
        UnsupportedScan: nothing tells the slices apart: the coils see them alike, and no shift lies between them.
    """
    tried = Tried.on(reference, turns, step, ghosts=ghosts, seed=seed)
    _require_apart(tried.shown[tried.best])
    return tried.calibrated(tried.best)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """All candidates for a group, and how good each proved on samples of the reference that it hadn't seen."""

    errors: Mapping[str, float]
    """As `Calibrated.held_out_errors`."""
    shown: Mapping[str, Float32[Tensor, "into source"]]
    """As `Calibrated.leakage`; on the diagonal the part of a slice that it keeps."""
    linear: tuple[Mapping[str, LinearCandidate], ...]
    """For lines of one direction; of EPI for forward lines, and for those read backward."""
    turns: Turns
    step: int
    ghosts: GroupGhosts | None
    seed: int

    @classmethod
    def on(
        cls, reference: GroupAcs, turns: Turns, step: int, *, ghosts: GroupGhosts | None = None, seed: int = 0
    ) -> "Tried":
        """Fits every candidate to parts of a reference. Arguments and errors as of `calibrate_separation`."""
        summed = modulated(reference / unit_scale(*reference), turns)
        directions = (False, True) if ghosts else (False,)
        linear, errors, shown = [], [], []
        for backward in directions:
            seen = ghosts.seen(summed, backward=backward) if ghosts else None
            examples = examples_of_kernels(summed, step, seen)
            ways = {name: best_linear(examples, equations) for name, equations in EQUATIONS.items()}
            found, unseen = _unseeing(ways, seed)
            linear.append(ways)
            errors.append({name: error_of(found[name], unseen[name]) for name in found})
            shown.append({name: _of_signal(leakage_of(found[name], unseen[name]), reference) for name in found})
        return cls(
            errors={name: sum(each[name] for each in errors) / len(errors) for name in SEPARATIONS},
            shown={
                name: torch.stack([each[name] for each in shown]).square().mean(dim=0).sqrt() for name in SEPARATIONS
            },
            linear=tuple(linear),
            turns=turns,
            step=step,
            ghosts=ghosts,
            seed=seed,
        )

    @property
    def best(self) -> str:
        """The candidate with the least error; the network only where it is clearly better."""
        of_linear = min(EQUATIONS, key=self.errors.__getitem__)
        return SLICE_RAKI if self.errors[SLICE_RAKI] < LEAST_GAIN * self.errors[of_linear] else of_linear

    def calibrated(self, name: str) -> Calibrated:
        """A candidate, fitted to the whole reference."""
        forward, *backward = (
            _with_network(ways[SPLIT_SLICE_GRAPPA], None, self.seed) if name == SLICE_RAKI else ways[name].fitted()
            for ways in self.linear
        )
        return Calibrated(
            separation=forward,
            backward=backward[0] if backward else None,
            ghosts=self.ghosts,
            chosen=name,
            held_out_errors=self.errors,
            leakage=self.shown[name].clone().fill_diagonal_(0),
            turns=self.turns,
            step=self.step,
        )


def _unseeing(
    linear: Mapping[str, LinearCandidate], seed: int
) -> tuple[Mapping[str, list[Separation]], Mapping[str, list[BandExamples]]]:
    """Of each part that is held out, by name, the way that hasn't seen it, and the part."""
    split = linear[SPLIT_SLICE_GRAPPA]
    found: dict[str, list[Separation]] = {
        name: [each.fitted(without=fold) for fold in HELD_OUT] for name, each in linear.items()
    }
    found[SLICE_RAKI] = [_with_network(split, fold, seed) for fold in HELD_OUT]
    return found, {name: linear.get(name, split).held_out() for name in found}


def _with_network(linear: LinearCandidate, without: int | None, seed: int) -> Separation:
    return trained(linear.fitted(without=without), linear.seen(without=without), seed=seed)


def _of_signal(shown: Float32[Tensor, "into source"], reference: GroupAcs) -> Float32[Tensor, "into source"]:
    """The same without what the noise of slices of air leaks into others."""
    silent = _weak(reference).cpu()
    return torch.where(silent & ~torch.eye(len(shown), dtype=torch.bool), 0, shown)


def _require_apart(shown: Float32[Tensor, "into source"]) -> None:
    kept = shown.diagonal()
    leaked = (shown / kept.clamp(min=torch.finfo(torch.float32).tiny)).fill_diagonal_(0)
    if float(leaked.max()) > HOPELESS:
        into, source = divmod(int(leaked.argmax()), len(shown))
        raise UnsupportedScan(
            f"{len(shown)} slices were excited at once, and nothing tells them apart: of one "
            f"{100 * kept[source]:.0f} % would show in its own image and {100 * shown[into, source]:.0f} % in "
            "another's, as the coils see them alike with the shift that lies between them; raki shows no image of "
            "two places: acquire with a larger shift, fewer slices at once or more coils"
        )
