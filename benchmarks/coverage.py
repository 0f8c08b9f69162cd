"""`python -m benchmarks coverage`: whether the standard error that comes with a filled slice can be believed."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import torch
from rich.progress import track
from rich.table import Table

from benchmarks.exams import Accelerations, AcsSizes, Exam, Scans, SlicesOfEach, chosen_exams
from benchmarks.plots import colour
from benchmarks.ratios import Case
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.coils import root_sum_of_squares
from raki.images import object_mask
from raki.kspace import find_sampling
from raki.kspace.raki import calibrated_raki
from raki.kspace.self_calibration import measured_slice, unit_scale
from raki.kspace.uncertainty import assess
from raki.scan.fourier import to_image

# Of a normal distribution, 95 % lies within so many standard deviations.
HALF_WIDTH = 1.96
BELIEVED = (0.90, 0.99)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How one slice's true errors, inside the object, compare with its standard errors."""

    case: Case
    share: float
    """Of pixels whose error is within HALF_WIDTH standard errors."""
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
    measured = exam.lines.applied_to(exam.scan.kspace)
    sampling = find_sampling(exam.lines.sampled)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for position, (full, kspace) in enumerate(zip(exam.scan.kspace, measured, strict=True)):
        acs = kspace[:, slice(*(sampling.acs_lines or (0, 0)))]
        scale = unit_scale(acs)
        slice_ = measured_slice(kspace / scale, acs / scale, sampling, sigma=None, device=device)
        predict, _ = calibrated_raki(slice_, seed=0, with_branch=True)
        filled = slice_.filled_by(predict)
        start = time.perf_counter()
        maps = assess(filled, sampling, slice_.kernel, predict, sigma=slice_.sigma, seed=0)
        filled, standard_error, g_factor = filled.cpu() * scale, maps.standard_error.cpu() * scale, maps.g_factor.cpu()
        seconds = time.perf_counter() - start
        reference = root_sum_of_squares(to_image(full))
        inside = object_mask(reference)
        error = (root_sum_of_squares(to_image(filled)) - reference).abs()[inside]
        expected = standard_error[inside]
        yield Coverage(
            case=exam.case(position),
            share=float((error <= HALF_WIDTH * expected).float().mean()),
            error_over_standard_error=float(error.square().mean().sqrt() / expected.square().mean().sqrt()),
            g_factor=float(g_factor[inside].median()),
            seconds=seconds,
        )


def summary(found: Sequence[Coverage]) -> dict[str, float]:
    """The shares over all cases, and how many of these lie in the believed range."""
    shares = [one.share for one in found]
    n_believed = sum(BELIEVED[0] <= share <= BELIEVED[1] for share in shares)
    return {
        "n_cases": len(shares),
        "n_believed": n_believed,
        "least": min(shares),
        "mean": sum(shares) / len(shares),
        "most": max(shares),
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
        f"mean {of_all['mean']:.1%}, most {of_all['most']:.1%}",
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
