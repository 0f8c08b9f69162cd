"""`python -m benchmarks ablation`: what each rung of the default method is worth, on fully sampled scans."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
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
from benchmarks.plots import plot_ratios
from benchmarks.ratios import ACCELERATION_GROUPS, TUNED, Aggregate, Measurement, aggregates
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scores import score
from benchmarks.tuned import tuned_grappa
from raki.coils import root_sum_of_squares
from raki.images import object_mask
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.image_prior import SparseFilling, coil_model
from raki.kspace.linear_fit import LinearFilling
from raki.kspace.measured import Filling, MeasuredSlice
from raki.kspace.probes import Probes
from raki.kspace.raki import STRENGTHS, climbed
from raki.kspace.self_calibration import self_calibrated
from raki.planning import slice_kernel
from raki.scan.fourier import SliceKSpace, to_image

Made = tuple[Filling, SliceKSpace]


def ablation(
    scans: Scans = None,
    acceleration: Accelerations = None,
    acs: AcsSizes = None,
    slices: SlicesOfEach = 1,
    simulated: Simulated = False,
    coils: Coils = None,
    matrix: Matrices = None,
    snr: Snrs = None,
    output: Output = RESULTS,
) -> None:
    """The default method rung by rung: NMSE over that of GRAPPA tuned by the answer, and what is left of points."""
    objects = objects_of(simulated, coils, matrix, snr)
    exams = chosen_exams(scans, acceleration, acs, slices=slices, simulated=objects)
    measurements = [one for exam in track(exams, "measuring", console=CONSOLE) for one in climb(exam)]
    found = aggregates(measurements, [(name, TUNED) for name in VARIANTS])
    _show(found, measurements)
    facts = {
        "aggregates": [asdict(one) | {"worst_case": one.worst_case._asdict()} for one in found],
        "measurements": [asdict(one) | {"case": one.case._asdict()} for one in measurements],
    }
    write_record(output, "ablation", facts, lambda path: plot_ratios(measurements, list(VARIANTS), TUNED, path))


def climb(exam: Exam) -> Iterator[Measurement]:
    """Tuned GRAPPA and every variant on the slices of one exam, with `kept` among the scores of a variant."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for position, (full, measured) in enumerate(exam.measured_slices(device)):
        reference = root_sum_of_squares(to_image(full))
        mask = object_mask(reference)
        # The same points for all, as the ladder itself puts them in.
        probes = climbed(measured, seed=0, strengths=())[0].probes
        start = time.perf_counter()
        tuned = tuned_grappa(measured.kspace.cpu(), exam.lines, reference, mask)
        seconds = time.perf_counter() - start
        scores = score(tuned.kspace, reference, mask)
        yield Measurement(case=exam.case(position), method=TUNED, scores=scores, seconds=seconds)
        for name, variant in VARIANTS.items():
            start = time.perf_counter()
            filling, filled = variant(measured)
            filled = filled.cpu()
            seconds = time.perf_counter() - start
            scores = score(filled, reference, mask) | _kept(filling, measured, probes)
            yield Measurement(case=exam.case(position), method=name, scores=scores, seconds=seconds)


def _kept(filling: Filling, measured: MeasuredSlice, probes: Probes) -> dict[str, float]:
    """Mean part that is shown of points put into the slice; nothing where there is no place for any."""
    if not len(probes.places):
        return {}
    kept = probes.kept(filling.filled(probes.put_into(measured)), filling.filled(measured))
    return {"kept": float(kept.clamp(min=0, max=1).mean())}


def _grappa(measured: MeasuredSlice) -> LinearFilling:
    return calibrated_grappa(measured.acs, measured.lattice.gap)


def _filling_by(filling: LinearFilling, measured: MeasuredSlice) -> Made:
    return filling, filling.filled(measured)


def _self_calibrated(n_lines: int) -> Callable[[MeasuredSlice], Made]:
    """With a kernel of so many lines, however many coils there are."""

    def made(measured: MeasuredSlice) -> Made:
        kernel = replace(slice_kernel(measured.acs.shape[-1]), n_pe=n_lines)
        return _filling_by(self_calibrated(measured, _grappa(measured), kernel, seed=0), measured)

    return made


def _climbed(strengths: tuple[float, ...]) -> Callable[[MeasuredSlice], Made]:
    def made(measured: MeasuredSlice) -> Made:
        rung, _ = climbed(measured, seed=0, strengths=strengths)
        return rung.filling, rung.filled

    return made


def _strongest(measured: MeasuredSlice) -> Made:
    """Whatever becomes of the points."""
    linear = climbed(measured, seed=0, strengths=())[0].linear
    filled = linear.filled(measured)
    filling = SparseFilling(model=coil_model(measured, filled, linear, 0), strength=STRENGTHS[0])
    return filling, filling.refined(measured, filled)


VARIANTS: dict[str, Callable[[MeasuredSlice], Made]] = {
    "GRAPPA": lambda measured: _filling_by(_grappa(measured), measured),
    "self-calibrated, 2 lines": _self_calibrated(2),
    "self-calibrated, 4 lines": _self_calibrated(4),
    "the better of the linear (raki_linear)": _climbed(()),
    "sparse, strongest always": _strongest,
    "sparse, as strong as points survive (raki)": _climbed(STRENGTHS),
}


def _show(found: Sequence[Aggregate], measurements: Sequence[Measurement]) -> None:
    table = Table(title="Inside the object, beside tuned GRAPPA", title_justify="left")
    for heading in ("variant", "R"):
        table.add_column(heading)
    for heading in ("NMSE", "worst", "SSIM", "points kept", "s a slice"):
        table.add_column(heading, justify="right")
    for one in found:
        group = ACCELERATION_GROUPS[one.accelerations]
        of_variant = [each for each in measurements if each.method == one.method and each.case.acceleration in group]
        kept = [each.scores["kept"] for each in of_variant if "kept" in each.scores]
        cells = f"{one.geometric_mean:.3f}", f"{one.worst:.3f}", f"{one.ssim_gain:+.4f}"
        seconds = fmean(each.seconds for each in of_variant)
        points = f"{fmean(kept):.3f}" if kept else ""
        table.add_row(one.method, one.accelerations, *cells, points, f"{seconds:.2f}")
    CONSOLE.print(table)
