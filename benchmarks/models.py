"""`python -m benchmarks models`: what weights of an earlier scan are worth: of the same place, of another, of another
scan.

The later scan of the same place is made of the full one: its contrast is changed pixel by pixel, between half and one
and a half times, and noise as strong as its own is added. Errors are those of the root-sum-of-squares image inside the
object; beside each stands what raki does with such weights, which is to leave those that don't hold.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.exams import Scans
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scans import REAL_SCANS, find_scans, load_scan
from raki.coils import root_sum_of_squares
from raki.errors import NoCalibration
from raki.images import nmse, object_mask
from raki.kspace import KernelWeights, complete
from raki.kspace.measured import measured_slice, unit_scale
from raki.phantom.phantom import phantom_kspace
from raki.planning import find_sampling
from raki.scan.fourier import KSpace, SliceKSpace, to_image, to_kspace

METHOD = "raki_linear"
FIRST_ACS = 24
ACS = (0, 8, 16, 24)
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class WeightsMeasurement:
    """NMSE of a later scan of one slice by its own calibration and by weights of others; None where there is none."""

    scan: str
    acceleration: int
    n_acs: int
    own: float | None
    same: float
    other: float | None
    """Of the next slice."""
    foreign: float | None
    """Of another scan, of as many coils."""
    taken: float | None
    """By raki, with the weights of the same place;"""
    taken_other: float | None
    """and with those of the next slice: None where it refuses."""
    own_seconds: float
    same_seconds: float


def models(
    scans: Scans = None,
    accelerations: Annotated[str, typer.Option(help="R, with commas.")] = "2,3,4",
    slices: Annotated[int, typer.Option(min=1, help="Slices of each scan, the first of which is filled.")] = 2,
    output: Output = RESULTS,
) -> None:
    """NMSE of scans filled by weights of an earlier one, beside their own calibration, by calibration lines."""
    steps = [int(step) for step in accelerations.split(",")]
    found = list(_measured(scans, steps, slices))
    table = Table("scan", "R", "ACS", "own", "same place", "next slice", "other scan", "raki: same", "raki: next", "s")
    for one in found:
        missing = ("none", "none", "", "", "refused", "" if one.other is None else "refused")
        errors = (one.own, one.same, one.other, one.foreign, one.taken, one.taken_other)
        cells = [word if error is None else f"{error:.4f}" for word, error in zip(missing, errors, strict=True)]
        seconds = f"{one.own_seconds:.2f} / {one.same_seconds:.2f}"
        table.add_row(one.scan, str(one.acceleration), str(one.n_acs), *cells, seconds)
    CONSOLE.print(table)
    write_record(output, "models", {"measurements": [asdict(one) for one in found]}, None)


def _measured(scans: Scans, steps: list[int], n_slices: int) -> Iterator[WeightsMeasurement]:
    loaded = loaded_scans(scans, n_slices)
    for (name, kspace), step in product(loaded.items(), steps):
        foreign = next(
            (other for key, other in loaded.items() if key != name and other.shape[1] == kspace.shape[1]), None
        )
        yield from _of_scan(name, kspace, foreign, step)


def loaded_scans(scans: Scans, n_slices: int) -> dict[str, KSpace]:
    """By name, fully sampled: the scans that are given or found, and a simulated head."""
    loaded = {"simulated head": torch.from_numpy(phantom_kspace(n_slices=3, n_coils=8, matrix=96))[:2]}
    paths = scans if scans is not None else find_scans(REAL_SCANS) if REAL_SCANS.exists() else []
    loaded |= {path.stem: load_scan(path, n_slices=n_slices).kspace for path in paths}
    if not paths:
        CONSOLE.print("No measured scans are given, nor is there a folder of them: the simulated head alone.")
    return loaded


def _of_scan(name: str, kspace: KSpace, foreign: KSpace | None, step: int) -> Iterator[WeightsMeasurement]:
    weights = _calibrated(kspace[0], step)
    others = _calibrated(kspace[1], step) if len(kspace) > 1 else None
    strangers = None if foreign is None else _calibrated(foreign[0], step)
    later = later_scan(kspace[0])
    for n_acs in ACS:
        began = time.perf_counter()
        own = _score(later, step, n_acs, None)
        between = time.perf_counter()
        same = _by(later, step, n_acs, weights)
        ended = time.perf_counter()
        yield WeightsMeasurement(
            scan=name,
            acceleration=step,
            n_acs=n_acs,
            own=own,
            same=same,
            other=None if others is None else _by(later, step, n_acs, others),
            foreign=None if strangers is None else _by(later, step, n_acs, strangers),
            taken=_score(later, step, n_acs, weights),
            taken_other=None if others is None else _score(later, step, n_acs, others),
            own_seconds=between - began,
            same_seconds=ended - between,
        )


def _calibrated(kspace: SliceKSpace, step: int) -> KernelWeights:
    masked = kspace * lines_of(len(kspace[0]), step, FIRST_ACS)[:, None]
    return complete(masked, METHOD, device=CPU, with_weights=True)[1].weights[0]


def _score(full: SliceKSpace, step: int, n_acs: int, weights: KernelWeights | None) -> float | None:
    """By what raki makes of it."""
    masked = full * lines_of(len(full[0]), step, n_acs)[:, None]
    stored = None if weights is None else (lambda _index: weights)
    try:
        return error_of(complete(masked, METHOD, device=CPU, stored=stored)[0], full)
    except NoCalibration:
        return None


def _by(full: SliceKSpace, step: int, n_acs: int, weights: KernelWeights) -> float:
    """By the weights, whether they hold or not."""
    lines = lines_of(len(full[0]), step, n_acs)
    masked, sampling = full * lines[:, None], find_sampling(lines.numpy())
    scale = unit_scale(masked)
    acs = masked[:, slice(*(sampling.acs_lines or (0, 0)))] / scale
    measured = measured_slice(masked / scale, acs, sampling, sigma=0.0, device=CPU)
    return error_of(weights.filling(CPU).filled(measured) * scale, full)


def error_of(filled: SliceKSpace, full: SliceKSpace) -> float:
    """NMSE of the root-sum-of-squares image inside the object."""
    reference = root_sum_of_squares(to_image(full))
    return nmse(root_sum_of_squares(to_image(filled)), reference, object_mask(reference[None])[0])


def later_scan(kspace: SliceKSpace) -> SliceKSpace:
    """The same place once more: another contrast, and noise as strong as its own."""
    images = to_image(kspace)
    size = root_sum_of_squares(images)
    relative = (size / size.flatten().quantile(0.99)).clamp(max=1.2)
    contrast = torch.where(relative > 0.1, 0.5 + torch.sin(3 * relative).square(), 0.8)
    edge = torch.cat([kspace[:, :4].flatten(), kspace[:, -4:].flatten()]).abs().square().mean().sqrt()
    noise = torch.randn(kspace.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    return to_kspace(images * contrast) + 0.7 * edge * noise


def lines_of(n_pe: int, step: int, n_acs: int) -> torch.Tensor:
    """Acquired lines, calibration lines among them."""
    acquired = np.zeros(n_pe, bool)
    acquired[n_pe // 2 % step :: step] = True
    acquired[n_pe // 2 - n_acs // 2 : n_pe // 2 + n_acs // 2] = True
    return torch.from_numpy(acquired)
