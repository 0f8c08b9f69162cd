"""`python -m benchmarks coverage`: whether the standard error that comes with a filled slice can be believed."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from statistics import fmean

import torch
from rich.progress import track
from rich.table import Table

from benchmarks.exams import (
    Accelerations,
    AcsSizes,
    Coils,
    Exam,
    Matrices,
    Scans,
    Simulated,
    SlicesOfEach,
    Snrs,
    chosen_exams,
    objects_of,
)
from benchmarks.features import PLACES, insert_features
from benchmarks.plots import colour
from benchmarks.ratios import Case
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.coils import Image, root_sum_of_squares
from raki.images import object_mask
from raki.images.metrics import Mask
from raki.kspace.measured import MeasuredSlice
from raki.kspace.raki import Rung, climbed
from raki.kspace.uncertainty import UncertaintyMaps, assess, survival_of
from raki.scan.fourier import SliceKSpace, to_image

# Of a normal distribution, 95 % lies within so many standard deviations.
HALF_WIDTH = 1.96
BELIEVED = (0.90, 0.99)
# What is put in apart: as many as there is room for.
FINE = [(kind, place) for kind in ("point", "line_along_readout", "line_oblique") for place in PLACES] * 3


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How one slice's true errors, inside the object, compare with its standard errors."""

    case: Case
    share: float
    """Of pixels whose error is within HALF_WIDTH standard errors."""
    share_of_features: float | None
    """The same of the pixels of points and lines, where the slice was measured with some put in; None without room."""
    error_over_standard_error: float
    """Root mean square error over root mean square standard error."""
    g_factor: float
    """Median."""
    seconds: float
    """Wall time of the assessment alone."""


def coverage(
    scans: Scans = None,
    acceleration: Accelerations = None,
    acs: AcsSizes = None,
    slices: SlicesOfEach = 2,
    simulated: Simulated = False,
    coils: Coils = None,
    matrix: Matrices = None,
    snr: Snrs = None,
    output: Output = RESULTS,
) -> None:
    """Share of pixels whose true error is within 1.96 standard errors, against fully sampled scans."""
    exams = chosen_exams(scans, acceleration, acs, slices=slices, simulated=objects_of(simulated, coils, matrix, snr))
    found = [one for exam in track(exams, "measuring", console=CONSOLE) for one in cover(exam)]
    _show(found)
    facts = {
        "summary": summary(found),
        "coverage": [asdict(one) | {"case": one.case._asdict()} for one in found],
    }
    write_record(output, "coverage", facts, lambda path: _draw(found, path))


def cover(exam: Exam) -> Iterator[Coverage]:
    """Fill every slice of one exam with the default method, and judge its standard error; so again with structures."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with_features, supports = _with_features(exam)
    slices = zip(exam.measured_slices(device), with_features.measured_slices(device), supports, strict=True)
    for position, ((full, measured), (full_with, measured_with), support) in enumerate(slices):
        rung, _ = climbed(measured, seed=0)
        start = time.perf_counter()
        maps = _maps(rung, measured)
        seconds = time.perf_counter() - start
        inside = object_mask(root_sum_of_squares(to_image(full)))
        error, expected = _error(rung, full)[inside], maps.standard_error.cpu()[inside]
        yield Coverage(
            case=exam.case(position),
            share=float((error <= HALF_WIDTH * expected).float().mean()),
            share_of_features=_share(full_with, measured_with, support) if support.any() else None,
            error_over_standard_error=float(error.square().mean().sqrt() / expected.square().mean().sqrt()),
            g_factor=float(maps.g_factor.cpu()[inside].median()),
            seconds=seconds,
        )


def _with_features(exam: Exam) -> tuple[Exam, list[Mask]]:
    """The exam with points and lines in every slice, and the pixels of these."""
    slices, supports = [], []
    for full in exam.scan.kspace:
        kspace, features = insert_features(full, 0, acceleration=exam.lines.acceleration, wanted=FINE)
        nowhere = torch.zeros(full.shape[1:], dtype=torch.bool)
        slices.append(kspace)
        supports.append(torch.stack([nowhere, *(one.support for one in features)]).any(dim=0))
    return replace(exam, scan=replace(exam.scan, kspace=torch.stack(slices))), supports


def _share(full: SliceKSpace, measured: MeasuredSlice, where: Mask) -> float:
    rung, _ = climbed(measured, seed=0)
    error, expected = _error(rung, full), _maps(rung, measured).standard_error.cpu()
    return float((error <= HALF_WIDTH * expected)[where].float().mean())


def _maps(rung: Rung, measured: MeasuredSlice) -> UncertaintyMaps:
    n_pe, n_ro = measured.kspace.shape[1:]
    survival = survival_of(rung.probes, rung.kept, (n_pe, n_ro))
    return assess(rung.filled, measured, rung.filling, rung.linear, survival, sigma=rung.sigma, seed=0)


def _error(rung: Rung, full: SliceKSpace) -> Image:
    return (root_sum_of_squares(to_image(rung.filled.cpu())) - root_sum_of_squares(to_image(full))).abs()


def summary(found: Sequence[Coverage]) -> dict[str, float]:
    """The shares over all cases, and how many of these lie in the believed range; of structures where there are any."""
    shares = [one.share for one in found]
    of_features = [one.share_of_features for one in found if one.share_of_features is not None]
    n_believed = sum(BELIEVED[0] <= share <= BELIEVED[1] for share in shares)
    return {
        "n_cases": len(shares),
        "n_believed": n_believed,
        "least": min(shares),
        "mean": fmean(shares),
        "most": max(shares),
    } | ({"least_of_features": min(of_features), "mean_of_features": fmean(of_features)} if of_features else {})


def _show(found: Sequence[Coverage]) -> None:
    accelerations = sorted({one.case.acceleration for one in found})
    title = f"% of pixels within {HALF_WIDTH} standard errors, inside the object (of points and lines put in)"
    table = Table(title=title, title_justify="left")
    for heading in ("scan", "slice", "ACS"):
        table.add_column(heading)
    for acceleration in accelerations:
        table.add_column(f"R={acceleration}", justify="right")
    cells = {one.case: _cell(one) for one in found}
    for row in dict.fromkeys((case.scan, case.slice_index, case.n_acs_lines) for case in cells):
        scan, slice_index, n_acs_lines = row
        of_row = [cells.get(Case(scan, slice_index, each, n_acs_lines), "") for each in accelerations]
        table.add_row(scan, str(slice_index), str(n_acs_lines), *of_row)
    CONSOLE.print(table)
    of_all = summary(found)
    low, high = BELIEVED
    CONSOLE.print(
        f"{of_all['n_believed']} of {of_all['n_cases']} within {low:.0%} to {high:.0%}; least {of_all['least']:.1%}, "
        f"mean {of_all['mean']:.1%}, most {of_all['most']:.1%}",
        highlight=False,
    )
    if "least_of_features" in of_all:
        CONSOLE.print(
            f"of points and lines: least {of_all['least_of_features']:.1%}, mean {of_all['mean_of_features']:.1%}",
            highlight=False,
        )


def _cell(one: Coverage) -> str:
    of_features = "" if one.share_of_features is None else f" ({100 * one.share_of_features:.1f})"
    return f"{100 * one.share:.1f}{of_features}"


def _draw(found: Sequence[Coverage], path: Path) -> None:
    """A point a case over the acceleration; shaded, the believed range."""
    figure = import_module("matplotlib.figure").Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(*(100 * share for share in BELIEVED), color=colour("grappa"), alpha=0.15)
    axes.axhline(95, color="black", linewidth=1)
    axes.plot([one.case.acceleration for one in found], [100 * one.share for one in found], "o", color=colour("raki"))
    axes.set_xticks(sorted({one.case.acceleration for one in found}))
    axes.set(xlabel="acceleration R", ylabel=f"% of pixels within {HALF_WIDTH} standard errors")
    figure.savefig(path, dpi=150)
