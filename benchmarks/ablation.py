"""`python -m benchmarks ablation`: what each part of the default method is worth, on fully sampled scans."""

from collections.abc import Callable
from dataclasses import asdict

import torch
from raki.kspace.training import N_STEPS, noise_levels, trained_network
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
from raki.kspace.linear_fit import calibrate
from raki.kspace.method import FillSettings
from raki.kspace.patches import Predict
from raki.kspace.raki import N_ROUNDS, fill_by_raki
from raki.kspace.self_calibration import FAINT, MeasuredSlice, first_fit, measured_slice, self_calibrated, unit_scale
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


def _with(predictor: Callable[[MeasuredSlice], Predict]) -> Fill:
    """Fill each slice by what `predictor` makes of it."""

    def fill(measured: KSpace, lines: Undersampling) -> KSpace:
        filled = []
        for kspace in measured:
            sampling = find_sampling(lines.sampled)
            first, stop = sampling.acs_lines or (0, 0)
            scale = unit_scale(kspace[:, first:stop])
            one = measured_slice(
                kspace / scale, kspace[:, first:stop] / scale, sampling, sigma=None, device=torch.device("cpu")
            )
            filled.append(one.filled_by(predictor(one)) * scale)
        return torch.stack(filled)

    return fill


def _weighted(one: MeasuredSlice) -> Predict:
    """Rows weighed and shrunk as for faint gaps, calibrated on the ACS alone."""
    return calibrate(
        one.examples(),
        ridge=FAINT.ridge,
        shrinkage=FAINT.shrinkage,
        sigma=one.sigma,
        row_floor=one.sigma + FAINT.row_floor,
    ).predict


def _branch_always(one: MeasuredSlice) -> Predict:
    """A branch trained on the ACS for all steps, whatever held-out lines say of it."""
    _, fit = self_calibrated(one, first_fit(one), n_rounds=N_ROUNDS, seed=0)
    levels = noise_levels(one.kspace, one.sampling, one.kernel, one.sigma)
    return trained_network(fit, one.examples(), levels, 0, N_STEPS).predict


def _linear(measured: KSpace, lines: Undersampling) -> KSpace:
    """The default method without its branch."""
    filled = []
    for kspace in measured:
        sampling = find_sampling(lines.sampled)
        first, stop = sampling.acs_lines or (0, 0)
        settings = FillSettings(device=torch.device("cpu"), with_branch=False)
        filled.append(fill_by_raki(kspace, kspace[:, first:stop], sampling, settings)[0])
    return torch.stack(filled)


VARIANTS: dict[str, Fill] = {
    "GRAPPA, fixed ridge": _with(lambda one: first_fit(one).predict),
    "GRAPPA, cross-validated": lambda measured, _lines: complete(measured, "grappa")[0],
    "weighted, shrunk; ACS only": _with(_weighted),
    "self-calibrated": _with(lambda one: self_calibrated(one, first_fit(one), n_rounds=N_ROUNDS, seed=0)[1].predict),
    "+ gate, by held-out lines": _linear,
    "+ branch, if chosen (raki)": lambda measured, _lines: complete(measured)[0],
    "self-calibrated, branch always": _with(_branch_always),
}


def _show(found: list[Aggregate]) -> None:
    table = Table(title="NMSE inside the object over that of tuned GRAPPA", title_justify="left")
    for heading in ("variant", "R", "geometric mean", "worst"):
        table.add_column(heading)
    for one in found:
        table.add_row(one.method, one.accelerations, f"{one.geometric_mean:.3f}", f"{one.worst:.3f}")
    CONSOLE.print(table)
