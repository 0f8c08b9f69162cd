"""The exams that methods sit: fully sampled scans, undersampled in several ways; and the options that choose them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.ratios import Case
from benchmarks.records import CONSOLE
from benchmarks.scans import REAL_SCANS, FullScan, find_scans, load_scan
from benchmarks.undersampling import Undersampling

Scans = Annotated[
    list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="Fully sampled scans; all there are if none.")
]
Accelerations = Annotated[list[int] | None, typer.Option("--acceleration", "-R", min=2, help="[2, 3, 4, 5, 6]")]
AcsSizes = Annotated[list[int] | None, typer.Option(min=4, help="Lines of the ACS; repeatable. [16, 24, 32]")]
SlicesOfEach = Annotated[int, typer.Option(min=1, help="At most so many of each scan, evenly spaced.")]


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One scan, undersampled in one way."""

    scan: FullScan
    lines: Undersampling

    def case(self, position: int) -> Case:
        return Case(self.scan.name, self.scan.slices[position], self.lines.acceleration, self.lines.n_acs_lines)


def chosen_exams(
    scans: Sequence[Path] | None,
    acceleration: Sequence[int] | None,
    acs: Sequence[int] | None,
    *,
    slices: int,
    offset: int | None = None,
) -> list[Exam]:
    """The exams that a command's options name; where they name none, every scan there is, R = 2 to 6, three ACS sizes.

    Raises:
        typer.BadParameter: there is no scan, or none that any of this makes a sensible test for.
    """
    paths = scans or find_scans(REAL_SCANS)
    if not paths:
        raise typer.BadParameter(f"no fully sampled scan was found in {REAL_SCANS}; name one")
    ways = [(r, n_lines) for n_lines in acs or [16, 24, 32] for r in acceleration or range(2, 7)]
    exams = list(sitting((load_scan(path, n_slices=slices) for path in paths), ways, offset))
    if not exams:
        raise typer.BadParameter("no scan has lines and coils enough for any of these accelerations")
    return exams


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
