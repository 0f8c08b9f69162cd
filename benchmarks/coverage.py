"""`python -m benchmarks coverage`: whether the standard error that comes with a filled slice can be believed."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.exams import Accelerations, AcsSizes, Exam, Scans, SlicesOfEach, chosen_exams
from benchmarks.features import every_pair, insert_features
from benchmarks.plots import colour
from benchmarks.ratios import Case
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.coils import root_sum_of_squares
from raki.images import object_mask
from raki.kspace import complete
from raki.scan.fourier import SliceKSpace, to_image

# Of a normal distribution, 95 % lies within so many standard deviations.
HALF_WIDTH = 1.96
BELIEVED = (0.90, 0.99)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How one slice's true errors, inside the object, compare with its standard errors."""

    case: Case
    share: float
    """Of pixels whose error is within HALF_WIDTH standard errors."""
    share_of_features: float | None
    """Of the pixels of small structures that were put into the scan; None where none found room."""
    error_over_standard_error: float
    """Root mean square error over root mean square standard error."""
    g_factor: float
    """Median."""
    seconds: float
    """Wall time of filling and assessing."""


def coverage(
    scans: Scans = None,
    acceleration: Accelerations = None,
    acs: AcsSizes = None,
    slices: SlicesOfEach = 2,
    output: Output = RESULTS,
) -> None:
    """Share of pixels whose true error is within 1.96 standard errors, against fully sampled scans."""
    exams = chosen_exams(scans, acceleration, acs, slices=slices)
    found = [one for exam in track(exams, "measuring", console=CONSOLE) for one in cover(exam)]
    _show(found)
    facts = {
        "summary": summary(found),
        "coverage": [asdict(one) | {"case": one.case._asdict()} for one in found],
    }
    write_record(output, "coverage", facts, lambda path: _draw(found, path))


def cover(exam: Exam) -> Iterator[Coverage]:
    """Fill every slice of one exam with the default method, and judge its standard error."""
    for position, full in enumerate(exam.scan.kspace):
        start = time.perf_counter()
        inside = object_mask(root_sum_of_squares(to_image(full)))
        error, expected, g_factor = _judged(full, exam)
        seconds = time.perf_counter() - start
        with_features, features = insert_features(
            full, position, acceleration=exam.lines.acceleration, wanted=every_pair(faint=False)
        )
        share_of_features = None
        if features:
            on_features = torch.stack([one.support for one in features]).any(dim=0)
            share_of_features = _share(*(image[on_features] for image in _judged(with_features, exam)[:2]))
        yield Coverage(
            case=exam.case(position),
            share=_share(error[inside], expected[inside]),
            share_of_features=share_of_features,
            error_over_standard_error=float(
                error[inside].square().mean().sqrt() / expected[inside].square().mean().sqrt()
            ),
            g_factor=float(g_factor[inside].median()),
            seconds=seconds,
        )


def _judged(full: SliceKSpace, exam: Exam) -> tuple[Tensor, Tensor, Tensor]:
    """True error, standard error and g-factor of one slice in each pixel."""
    filled, report = complete(exam.lines.applied_to(full), sampled=exam.lines.sampled, with_maps=True)
    (maps,) = report.maps
    error = (root_sum_of_squares(to_image(filled)) - root_sum_of_squares(to_image(full))).abs()
    return error, maps.standard_error, maps.g_factor


def _share(error: Tensor, expected: Tensor) -> float:
    return float((error <= HALF_WIDTH * expected).float().mean())


def summary(found: Sequence[Coverage]) -> dict[str, float]:
    """The shares over all cases, and how many of these lie in the believed range."""
    shares = [one.share for one in found]
    of_features = [one.share_of_features for one in found if one.share_of_features is not None]
    n_believed = sum(BELIEVED[0] <= share <= BELIEVED[1] for share in shares)
    return {
        "n_cases": len(shares),
        "n_believed": n_believed,
        "least": min(shares),
        "mean": sum(shares) / len(shares),
        "most": max(shares),
        "mean_of_features": sum(of_features) / len(of_features) if of_features else math.nan,
        "least_of_features": min(of_features, default=math.nan),
    }


def _show(found: Sequence[Coverage]) -> None:
    accelerations = sorted({one.case.acceleration for one in found})
    table = Table(title=f"% of pixels within {HALF_WIDTH} standard errors, inside the object", title_justify="left")
    for heading in ("scan", "slice", "ACS"):
        table.add_column(heading)
    for acceleration in accelerations:
        table.add_column(f"R={acceleration}", justify="right")
    shares = {one.case: one.share for one in found}
    for row in dict.fromkeys((case.scan, case.slice_index, case.n_acs_lines) for case in shares):
        scan, slice_index, n_acs_lines = row
        cells = [shares.get(Case(scan, slice_index, each, n_acs_lines)) for each in accelerations]
        table.add_row(scan, str(slice_index), str(n_acs_lines), *["" if x is None else f"{100 * x:.1f}" for x in cells])
    CONSOLE.print(table)
    of_all = summary(found)
    low, high = BELIEVED
    CONSOLE.print(
        f"{of_all['n_believed']} of {of_all['n_cases']} within {low:.0%} to {high:.0%}; least {of_all['least']:.1%}, "
        f"mean {of_all['mean']:.1%}, most {of_all['most']:.1%}; pixels of structures put in: least "
        f"{of_all['least_of_features']:.1%}, mean {of_all['mean_of_features']:.1%}",
        highlight=False,
    )


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
