"""Points skipped in two phase-encode directions, as 3-D scans skip them, against GRAPPA and BART tuned by the answer.

A slice of a measured scan stands for a plane of a 3-D scan at one readout position: both have two directions of k-space
and real coils, and nothing is transformed in either. What a kernel could see along the readout is not in it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.bart import L1_WEIGHTS, bart_kspace, l1, why_no_bart
from benchmarks.exams import Scans, SlicesOfEach
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scans import REAL_SCANS, find_scans, load_scan
from raki.coils import Image, root_sum_of_squares
from raki.images import nmse
from raki.images.metrics import Mask, object_mask
from raki.kspace.completion import complete_slices
from raki.kspace.linear_fit import LinearFilling, NormalEquations
from raki.kspace.points import acs_point_examples
from raki.phantom.volume import sampled_points
from raki.planning import Kernel, find_point_sampling, plans_of_planes
from raki.scan.fourier import SliceKSpace, to_image

# R along lines and along points, displacement, and whether the corners are left out.
LATTICES = ((2, 2, 0, False), (2, 2, 1, False), (2, 2, 1, True), (3, 2, 1, False), (3, 2, 0, False))
KERNELS = tuple(Kernel(n_pe=n_pe, n_ro=n_ro) for n_pe, n_ro in ((2, 2), (2, 3), (2, 4), (4, 3), (4, 4)))
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
METHODS = ("grappa", "raki_linear", "raki")


@dataclass(frozen=True, kw_only=True)
class PlaneMeasurement:
    """NMSE inside the object of one plane, by method; those of the tuned ones are the best of all settings."""

    scan: str
    lattice: tuple[int, int, int, bool]
    n_acs: int
    errors: dict[str, float]
    seconds: float
    """Of `raki`."""


def planes(
    scans: Scans = None,
    acs: int = 24,
    slices: SlicesOfEach = 1,
    bart: Annotated[bool, typer.Option(help="Measure BART too, where it is installed.")] = True,
    output: Output = RESULTS,
) -> None:
    """NMSE where points of two directions are skipped (3-D), beside GRAPPA and BART tuned by the answer."""
    found = list(_measured(scans, acs, slices, with_bart=bart and not why_no_bart()))
    opponents = [name for name in ("tuned_grappa", "tuned_bart") if found and name in found[0].errors]
    table = Table("scan", "R", "corners", *METHODS, *opponents, "raki / tuned GRAPPA")
    for one in found:
        n_pe, n_pe2, shift, elliptical = one.lattice
        table.add_row(
            one.scan,
            f"{n_pe} x {n_pe2}" + (f", displaced by {shift}" if shift else ""),
            "left out" if elliptical else "",
            *(f"{one.errors[name]:.2e}" for name in (*METHODS, *opponents)),
            f"{one.errors['raki'] / one.errors['tuned_grappa']:.2f}",
        )
    CONSOLE.print(table)
    summary = {}
    for name, opponent in product(METHODS, opponents):
        ratios = [one.errors[name] / one.errors[opponent] for one in found]
        summary[f"{name} / {opponent}"] = {"mean": prod(ratios) ** (1 / len(ratios)), "worst": max(ratios)}
        CONSOLE.print(f"{name} / {opponent}: {summary[f'{name} / {opponent}']}")
    write_record(output, "planes", {"summary": summary, "measurements": [asdict(one) for one in found]}, None)


def _measured(scans: Scans, n_acs: int, n_slices: int, *, with_bart: bool) -> Iterator[PlaneMeasurement]:
    for path, lattice in product(scans or find_scans(REAL_SCANS), LATTICES):
        scan = load_scan(path, n_slices=n_slices)
        for plane in scan.kspace:
            yield _measure(scan.name, plane, lattice, n_acs, with_bart=with_bart)


def _measure(
    name: str, plane: SliceKSpace, lattice: tuple[int, int, int, bool], n_acs: int, *, with_bart: bool
) -> PlaneMeasurement:
    n_pe, n_pe2, shift, elliptical = lattice
    size = plane.shape[1], plane.shape[2]
    acquired, _ = sampled_points(size, (n_pe, n_pe2), shift, n_acs, elliptical=elliptical)
    # What was never meant to be acquired is missing in the reference too.
    meant = torch.from_numpy(find_point_sampling(acquired).meant)
    reference = root_sum_of_squares(to_image(torch.where(meant, plane, 0)))
    mask = object_mask(reference)
    measured = torch.where(torch.from_numpy(acquired), plane, 0)
    errors, seconds = {}, 0.0
    for method in METHODS:
        started = time.perf_counter()
        errors[method] = _error(_filled(measured, acquired, method), reference, mask)
        seconds = time.perf_counter() - started
    errors["tuned_grappa"] = min(_every_grappa(measured, acquired, lambda filled: _error(filled, reference, mask)))
    if with_bart:
        by_bart = (torch.from_numpy(bart_kspace(measured.numpy(), l1(weight))) for weight in L1_WEIGHTS)
        known = torch.from_numpy(acquired)
        errors["tuned_bart"] = min(
            _error(torch.where(known, measured, torch.where(meant, found, 0)), reference, mask) for found in by_bart
        )
    return PlaneMeasurement(scan=name, lattice=lattice, n_acs=n_acs, errors=errors, seconds=seconds)


def _filled(measured: SliceKSpace, acquired: np.ndarray, method: str) -> SliceKSpace:
    result: dict[int, SliceKSpace] = {}
    complete_slices(1, lambda _: measured, result.__setitem__, method, plans=plans_of_planes(acquired, 1))
    return result[0]


def _every_grappa(
    measured: SliceKSpace, acquired: np.ndarray, error: Callable[[SliceKSpace], float]
) -> Iterator[float]:
    """The error of each kernel and ridge, calibrated on the block by least squares."""
    sampling = find_point_sampling(acquired)
    known = torch.from_numpy(acquired)
    acs = measured[:, *sampling.acs_block()]
    for kernel in KERNELS:
        sums = NormalEquations.of(acs_point_examples(acs, kernel, sampling.cell))
        for ridge in RIDGES:
            filling = LinearFilling(kernel=kernel, fit=sums.solved(ridge=ridge))
            yield error(torch.where(known, measured, filling.fill(measured, sampling)))


def _error(filled: SliceKSpace, reference: Image, mask: Mask) -> float:
    return float(nmse(root_sum_of_squares(to_image(filled)), reference, mask))
