"""`python -m benchmarks quality`: how close each method comes to fully sampled scans."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
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
from benchmarks.filling import Fill, TunedFill, settled
from benchmarks.opponents import can_fill, fills
from benchmarks.plots import plot_ratios
from benchmarks.ratios import TUNED, Aggregate, Measurement, aggregates, geometric_mean, pairs, ratios
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scores import score
from benchmarks.tuned import tuned_grappa
from benchmarks.undersampling import Undersampling
from raki.coils import root_sum_of_squares
from raki.images import object_mask
from raki.scan.fourier import KSpace, to_image


def quality(
    scans: Scans = None,
    method: Annotated[list[str] | None, typer.Option(help="What to measure; repeatable. [grappa, raki]")] = None,
    acceleration: Accelerations = None,
    acs: AcsSizes = None,
    offset: Annotated[
        int | None, typer.Option(help="First line of the lattice; by default the DC line is on it.")
    ] = None,
    slices: SlicesOfEach = 2,
    simulated: Simulated = False,
    coils: Coils = None,
    matrix: Matrices = None,
    snr: Snrs = None,
    public_raki: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="A clone of pdawood/iterativeRaki, for public_raki, public_iraki."),
    ] = None,
    output: Output = RESULTS,
) -> None:
    """NMSE, PSNR and more against fully sampled scans, as ratios to GRAPPA tuned by the answer."""
    methods = method or ["grappa", "raki"]
    try:
        how = fills(methods, public_raki)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    objects = objects_of(simulated, coils, matrix, snr)
    exams = chosen_exams(scans, acceleration, acs, slices=slices, offset=offset, simulated=objects)
    start = time.perf_counter()
    measurements = [one for exam in track(exams, "measuring", console=CONSOLE) for one in sit(exam, how)]
    found = aggregates(measurements, pairs(methods))
    _show_scans(measurements, methods)
    _show_summary(found)
    facts = {
        "seconds": time.perf_counter() - start,
        "offset": "that of the DC line" if offset is None else offset,
        "aggregates": [asdict(one) | {"worst_case": one.worst_case._asdict()} for one in found],
        "measurements": [asdict(one) | {"case": one.case._asdict()} for one in measurements],
    }
    write_record(output, "quality", facts, lambda path: plot_ratios(measurements, methods, TUNED, path))


def sit(exam: Exam, how: Mapping[str, Fill | TunedFill]) -> Iterator[Measurement]:
    """Tuned GRAPPA and every method on the slices of one exam, scored inside the object of each slice."""
    full, lines = exam.scan.kspace, exam.lines
    measured = lines.applied_to(full)
    references = root_sum_of_squares(to_image(full))
    masks = [object_mask(reference) for reference in references]
    for index, (reference, mask) in enumerate(zip(references, masks, strict=True)):
        start = time.perf_counter()
        best = tuned_grappa(measured[index], lines, reference, mask)
        seconds = time.perf_counter() - start
        scores = score(best.kspace, reference, mask)
        yield Measurement(case=exam.case(index), method=TUNED, scores=scores, seconds=seconds, detail=str(best.setting))
    for name, fill in how.items():
        if can_fill(name, lines):
            chosen, settings = settled(fill, full, lines)
            filled, seconds = _timed(chosen, measured, lines)
            for index, (reference, mask) in enumerate(zip(references, masks, strict=True)):
                scores = score(filled[index], reference, mask)
                yield Measurement(
                    case=exam.case(index),
                    method=name,
                    scores=scores,
                    seconds=seconds / len(full),
                    detail=settings[index],
                )


def _timed(fill: Fill, measured: KSpace, lines: Undersampling) -> tuple[KSpace, float]:
    start = time.perf_counter()
    filled = fill(measured, lines)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return filled, time.perf_counter() - start


def _show_scans(measurements: Sequence[Measurement], methods: Sequence[str]) -> None:
    accelerations = sorted({one.case.acceleration for one in measurements})
    table = Table(title="NMSE over that of tuned GRAPPA: geometric mean (worst)", title_justify="left")
    for heading in ("scan", "method"):
        table.add_column(heading)
    for acceleration in accelerations:
        table.add_column(f"R={acceleration}", justify="right")
    for scan in dict.fromkeys(one.case.scan for one in measurements):
        for method in methods:
            of_scan = {case: r for case, r in ratios(measurements, method, TUNED).items() if case.scan == scan}
            chosen = [[r for case, r in of_scan.items() if case.acceleration == each] for each in accelerations]
            table.add_row(scan, method, *[f"{geometric_mean(rs):.2f} ({max(rs):.2f})" if rs else "" for rs in chosen])
    CONSOLE.print(table)


def _show_summary(found: Sequence[Aggregate]) -> None:
    table = Table(title="All scans, inside the object: ratios, and gain in SSIM", title_justify="left")
    for heading in ("method", "over", "R"):
        table.add_column(heading)
    for heading in ("cases", "NMSE", "worst", "edges", "SSIM"):
        table.add_column(heading, justify="right")
    table.add_column("where worst")
    for one in found:
        worst = one.worst_case
        where = f"{worst.scan} slice {worst.slice_index} R={worst.acceleration} ACS {worst.n_acs_lines}"
        ratio_cells = [f"{ratio:.3f}" for ratio in (one.geometric_mean, one.worst, one.high_frequency_error)]
        cells = str(one.n_cases), *ratio_cells, f"{one.ssim_gain:+.4f}", where
        table.add_row(one.method, one.opponent, one.accelerations, *cells)
    CONSOLE.print(table)
