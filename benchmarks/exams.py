"""The exams that methods sit: fully sampled scans, undersampled in several ways; and the options that choose them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.objects import simulated_scans
from benchmarks.ratios import Case
from benchmarks.records import CONSOLE
from benchmarks.scans import REAL_SCANS, FullScan, find_scans, load_scan
from benchmarks.undersampling import Undersampling
from raki.kspace import find_sampling
from raki.kspace.measured import MeasuredSlice, measured_slice, unit_scale
from raki.scan.fourier import SliceKSpace

Scans = Annotated[
    list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="Fully sampled scans; all there are if none.")
]
Accelerations = Annotated[list[int] | None, typer.Option("--acceleration", "-R", min=2, help="[2, 3, 4, 5, 6]")]
AcsSizes = Annotated[list[int] | None, typer.Option(min=4, help="Lines of the ACS; repeatable. [16, 24, 32]")]
Simulated = Annotated[
    bool, typer.Option("--simulated", help="Simulated objects too; without a scan named, these alone.")
]
Coils = Annotated[list[int] | None, typer.Option(min=2, max=64, help="Of simulated objects; repeatable. [16]")]
Matrices = Annotated[list[int] | None, typer.Option("--matrix", min=32, help="The same: pixels a side. [128]")]
Snrs = Annotated[
    list[float] | None, typer.Option("--snr", min=1, help="The same: mean signal over noise in the image. [60]")
]
SlicesOfEach = Annotated[int, typer.Option(min=1, help="At most so many of each scan, evenly spaced.")]


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One scan, undersampled in one way."""

    scan: FullScan
    lines: Undersampling

    def measured_slices(self, device: torch.device) -> Iterator[tuple[SliceKSpace, MeasuredSlice]]:
        """Each slice, all of it and what is acquired of it, in the units that it is filled in."""
        sampling = find_sampling(self.lines.sampled)
        for full, kspace in zip(self.scan.kspace, self.lines.applied_to(self.scan.kspace), strict=True):
            acs = kspace[:, slice(*(sampling.acs_lines or (0, 0)))]
            scale = unit_scale(acs)
            yield full / scale, measured_slice(kspace / scale, acs / scale, sampling, sigma=None, device=device)

    def case(self, position: int) -> Case:
        return Case(self.scan.name, self.scan.slices[position], self.lines.acceleration, self.lines.n_acs_lines)


def chosen_exams(
    scans: Sequence[Path] | None,
    acceleration: Sequence[int] | None,
    acs: Sequence[int] | None,
    *,
    slices: int,
    offset: int | None = None,
    simulated: Sequence[FullScan] = (),
) -> list[Exam]:
    """The exams that a command's options name; where they name none, every scan there is, R = 2 to 6, three ACS sizes.

    Args:
        simulated: sit after the scans that are named; if there are any, no other scan is looked for.

    Raises:
        typer.BadParameter: there is no scan, or none that any of this makes a sensible test for.
    """
    paths = scans or ([] if simulated else find_scans(REAL_SCANS))
    if not paths and not simulated:
        raise typer.BadParameter(f"no fully sampled scan was found in {REAL_SCANS}; name one")
    ways = [(r, n_lines) for n_lines in acs or [16, 24, 32] for r in acceleration or range(2, 7)]
    loaded = (load_scan(path, n_slices=slices) for path in paths)
    exams = list(sitting(chain(loaded, simulated), ways, offset))
    if not exams:
        raise typer.BadParameter("no scan has lines and coils enough for any of these accelerations")
    return exams


def objects_of(
    simulated: bool, coils: Sequence[int] | None, matrix: Sequence[int] | None, snr: Sequence[float] | None
) -> list[FullScan]:
    """The simulated scans that a command's options name: each object with each number of coils, matrix and SNR."""
    return simulated_scans(coils or [16], matrix or [128], snr or [60.0]) if simulated else []


def sitting(scans: Iterable[FullScan], ways: Sequence[tuple[int, int]], offset: int | None) -> Iterator[Exam]:
    """Every scan in every way (acceleration, ACS lines) that makes a sensible test; says which don't."""
    for scan in scans:
        _, n_coils, n_pe, _ = scan.kspace.shape
        for acceleration, n_acs_lines in ways:
            lines = Undersampling(n_pe=n_pe, acceleration=acceleration, n_acs_lines=n_acs_lines, offset=offset)
            refusal = lines.refusal(n_coils)
            if refusal:
                CONSOLE.print(f"left out: {scan.name}: {refusal}", style="dim", highlight=False)
            else:
                yield Exam(scan=scan, lines=lines)
