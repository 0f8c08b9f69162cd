"""Partial Fourier: what fills the side of k-space that wasn't measured, beside zeros, by scans that hold the answer."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import prod

import numpy as np
import torch
from rich.table import Table

from benchmarks.exams import Scans, SlicesOfEach
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scans import REAL_SCANS, find_scans, load_scan
from raki.coils import Image, root_sum_of_squares
from raki.images import nmse
from raki.images.metrics import object_mask
from raki.kspace import complete
from raki.kspace.opposite import candidates, missing_side
from raki.phantom.simulation import sampled_lines
from raki.scan.arrays import PointMask
from raki.scan.fourier import SliceKSpace, to_image

PARTS = (7 / 8, 6 / 8, 5 / 8)
ACCELERATIONS = (1, 2)
N_ACS_LINES = 24
# Kernels, ridges and thresholds were chosen on these; all others are a test.
CHOSEN_ON = ("brain16_pulseq", "phantom32_pulseq", "phantom8_ge_7slices")


@dataclass(frozen=True, kw_only=True)
class PartialMeasurement:
    """NMSE inside the object of one slice, over that with zeros on the missing side."""

    scan: str
    slice_number: int
    part: float
    acceleration: int
    zeros: float
    """NMSE itself."""
    ratios: dict[str, float]
    """`raki` is what is chosen; `pocs` and `virtual_coils` are either alone, unscaled (of R 1 only)."""
    filled_by: str


def partial_fourier(scans: Scans = None, slices: SlicesOfEach = 2, output: Output = RESULTS) -> None:
    """NMSE with the missing side of k-space filled, over that with zeros."""
    found = list(_measured(scans, slices))
    table = Table("scan", "part", "R", "zeros", "pocs", "virtual coils", "raki", "by")
    for one in found:
        alone = [f"{one.ratios[way]:.2f}" if way in one.ratios else "" for way in ("pocs", "virtual_coils")]
        table.add_row(
            one.scan,
            f"{one.part:.3f}",
            f"{one.acceleration}",
            f"{one.zeros:.1e}",
            *alone,
            f"{one.ratios['raki']:.2f}",
            one.filled_by,
        )
    CONSOLE.print(table)
    groups = {
        "chosen on": [one for one in found if one.scan in CHOSEN_ON],
        "others": [one for one in found if one.scan not in CHOSEN_ON],
    }
    summary = {name: _summary(group) for name, group in groups.items() if group}
    for name, ratios in summary.items():
        CONSOLE.print(f"{name}: {ratios}")
    write_record(output, "partial_fourier", {"summary": summary, "measurements": [asdict(one) for one in found]}, None)


def _summary(group: Sequence[PartialMeasurement]) -> dict[str, dict[str, float]]:
    """Geometric mean and worst of each way, over the zeros."""
    ways = dict.fromkeys(way for one in group for way in one.ratios)
    of_each = {way: [one.ratios[way] for one in group if way in one.ratios] for way in ways}
    return {way: {"mean": prod(ratios) ** (1 / len(ratios)), "worst": max(ratios)} for way, ratios in of_each.items()}


def _measured(scans: Scans, n_slices: int) -> Iterator[PartialMeasurement]:
    for path in scans or find_scans(REAL_SCANS):
        scan = load_scan(path, n_slices=n_slices)
        for number, full in zip(scan.slices, scan.kspace, strict=True):
            for part in PARTS:
                for acceleration in ACCELERATIONS:
                    if len(full) > acceleration:
                        yield _measure(scan.name, number, full, part, acceleration)


def _measure(name: str, number: int, full: SliceKSpace, part: float, acceleration: int) -> PartialMeasurement:
    n_pe, n_ro = full.shape[1:]
    lines, _ = sampled_lines(n_pe, acceleration, N_ACS_LINES, part)
    sampled = torch.zeros(n_pe, dtype=torch.bool)
    sampled[torch.from_numpy(lines)] = True
    measured = torch.where(sampled[:, None], full, 0)
    filled, report = complete(measured[None], "raki", sampled=sampled)
    known = np.zeros((n_pe, n_ro), bool)
    first, stop = report.sampling.filled_lines()
    known[first:stop] = True
    missing = missing_side(known)
    bare = torch.where(torch.from_numpy(missing), 0, filled[0])
    reference = root_sum_of_squares(to_image(full))
    zeros = _error(bare, reference)
    ratios = {"raki": _error(filled[0], reference) / zeros}
    if acceleration == 1:
        ratios |= {way: _error(each, reference) / zeros for way, each in _alone(measured, known, missing).items()}
    ways = report.opposite.n_slices_by_filling if report.opposite else {}
    return PartialMeasurement(
        scan=name,
        slice_number=number,
        part=part,
        acceleration=acceleration,
        zeros=zeros,
        ratios=ratios,
        filled_by=", ".join(ways),
    )


def _alone(measured: SliceKSpace, known: PointMask, missing: PointMask) -> dict[str, SliceKSpace]:
    """Each candidate without the choice: of the kernels the one with the second ridge."""
    rows, columns = np.nonzero(missing)
    made = {}
    for name, samples in candidates(measured, known, known, missing):
        if name in ("pocs", "virtual_coils 0.01"):
            made[name.partition(" ")[0]] = measured.clone()
            made[name.partition(" ")[0]][:, rows, columns] = samples
    return made


def _error(kspace: SliceKSpace, reference: Image) -> float:
    return nmse(root_sum_of_squares(to_image(kspace)), reference, object_mask(reference))
