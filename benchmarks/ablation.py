"""`python -m benchmarks ablation`: what each part of the default method is worth, on fully sampled scans."""

from collections.abc import Callable
from dataclasses import asdict

import torch
from rich.progress import track
from rich.table import Table

from benchmarks.exams import Accelerations, AcsSizes, Scans, SlicesOfEach, chosen_exams
from benchmarks.filling import Fill
from benchmarks.plots import plot_ratios
from benchmarks.quality import sit
from benchmarks.ratios import TUNED, Aggregate, aggregates
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.undersampling import Undersampling
from raki.kspace import complete, find_sampling
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.image_prior import SparseFilling, coil_model
from raki.kspace.linear_fit import LinearFilling
from raki.kspace.measured import Filling, MeasuredSlice, measured_slice, unit_scale
from raki.kspace.raki import STRENGTHS
from raki.kspace.self_calibration import self_calibrated
from raki.scan.fourier import KSpace


def ablation(
    scans: Scans = None,
    acceleration: Accelerations = None,
    acs: AcsSizes = None,
    slices: SlicesOfEach = 1,
    output: Output = RESULTS,
) -> None:
    """The default method part by part: NMSE over that of GRAPPA tuned by the answer."""
    exams = chosen_exams(scans, acceleration, acs, slices=slices)
    measurements = [one for exam in track(exams, "measuring", console=CONSOLE) for one in sit(exam, VARIANTS)]
    found = aggregates(measurements, [(name, TUNED) for name in VARIANTS])
    _show(found)
    facts = {
        "aggregates": [asdict(one) | {"worst_case": one.worst_case._asdict()} for one in found],
        "measurements": [asdict(one) | {"case": one.case._asdict()} for one in measurements],
    }
    write_record(output, "ablation", facts, lambda path: plot_ratios(measurements, list(VARIANTS), TUNED, path))


def _with(filling: Callable[[MeasuredSlice], Filling]) -> Fill:
    """Fill each slice by what `filling` makes of it."""

    def fill(measured: KSpace, lines: Undersampling) -> KSpace:
        filled = []
        for kspace in measured:
            sampling = find_sampling(lines.sampled)
            acs = kspace[:, slice(*(sampling.acs_lines or (0, 0)))]
            scale = unit_scale(acs)
            one = measured_slice(kspace / scale, acs / scale, sampling, sigma=None, device=torch.device("cpu"))
            filled.append(filling(one).filled(one) * scale)
        return torch.stack(filled)

    return fill


def _grappa(one: MeasuredSlice) -> LinearFilling:
    return calibrated_grappa(one.acs, one.sampling.acceleration)


def _self_calibrated(one: MeasuredSlice) -> LinearFilling:
    return self_calibrated(one, _grappa(one), seed=0)


def _strongest(one: MeasuredSlice) -> SparseFilling:
    """Joint sparsity whatever becomes of small structures."""
    linear = _self_calibrated(one)
    return SparseFilling(model=coil_model(one, linear.filled(one), linear, 0), strength=STRENGTHS[0])


def _by_name(method: str) -> Fill:
    return lambda measured, lines: complete(measured, method, sampled=lines.sampled)[0]


VARIANTS: dict[str, Fill] = {
    "GRAPPA, cross-validated": _by_name("grappa"),
    "self-calibrated": _with(_self_calibrated),
    "the better of both (raki_linear)": _by_name("raki_linear"),
    "+ joint sparsity, always the strongest": _with(_strongest),
    "+ as strong as structures survive (raki)": _by_name("raki"),
}


def _show(found: list[Aggregate]) -> None:
    table = Table(title="NMSE inside the object over that of tuned GRAPPA", title_justify="left")
    for heading in ("variant", "R", "geometric mean", "worst"):
        table.add_column(heading)
    for one in found:
        table.add_row(one.method, one.accelerations, f"{one.geometric_mean:.3f}", f"{one.worst:.3f}")
    CONSOLE.print(table)
