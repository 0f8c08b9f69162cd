"""Points skipped at random in two phase-encode directions, as compressed sensing skips them, against BART.

Planes of a simulated slab at some readout positions, simulated slices that stand for such planes, and measured slices
that do. BART's l1-regularised SENSE has its weight tuned by the answer, which nobody who lacks it can have.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from math import prod

import numpy as np
import torch
from rich.table import Table

from benchmarks.bart import L1_WEIGHTS, bart_kspace, l1, why_no_bart
from benchmarks.exams import Scans
from benchmarks.objects import simulated_scan
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scans import REAL_SCANS, find_scans, load_scan
from raki.coils import root_sum_of_squares
from raki.images.metrics import nmse, object_mask
from raki.kspace.completion import complete_slices
from raki.phantom.volume import scattered_points, volume_kspace
from raki.planning import plans_of_planes
from raki.scan.fourier import SliceKSpace, to_image
from raki.scan.profiles import to_profiles

RATES = (4, 6)
# On slices of these the few constants were chosen.
LOOKED_AT = ("brain16", "phantom8_ge_7slices", "phantom16_cloudmr", "phantom32_pulseq")
OBJECTS = (("vessels", 8), ("disks", 12))
N_ACS = {True: 24, False: 16}
"""Points of the block along a side, in planes of 96 and more points, and in smaller ones."""
# Of a slab: partitions, coils, pixels, and the noise of a sample over the root mean square.
N_PARTITIONS, N_COILS, MATRIX, NOISE = 64, 12, 96, 0.05


@dataclass(frozen=True, kw_only=True)
class ScatteredMeasurement:
    """NMSE inside the object of one plane, by method; that of BART is the best of all weights."""

    plane: str
    rate: int
    errors: dict[str, float]
    structure_kept: float | None
    seconds: float
    """Of `raki`."""


def scattered(scans: Scans = None, output: Output = RESULTS) -> None:
    """NMSE where points are skipped at random (3-D, compressed sensing), beside BART tuned by the answer."""
    with_bart = not why_no_bart()
    found = [
        _measure(name, plane, rate, with_bart=with_bart) for (name, plane), rate in product(list(_planes(scans)), RATES)
    ]
    names = ["zero_filled", "grappa", "raki", *(["tuned_bart"] if with_bart else [])]
    table = Table("plane", "R", "zeros", "SPIRiT", "joint sparsity", *(["BART", "ratio"] if with_bart else []))
    for one in found:
        ratio = [f"{one.errors['raki'] / one.errors['tuned_bart']:.2f}"] if with_bart else []
        table.add_row(one.plane, str(one.rate), *(f"{one.errors[name]:.2e}" for name in names), *ratio)
    CONSOLE.print(table)
    summary = {}
    for rate, aside in product(RATES, (True, False)) if with_bart else ():
        some = [one for one in found if one.rate == rate and one.plane.startswith(LOOKED_AT) != aside]
        ratios = [one.errors["raki"] / one.errors["tuned_bart"] for one in some]
        if ratios:
            which = f"raki / BART, R {rate}, {'kept aside' if aside else 'looked at'}"
            summary[which] = {"mean": prod(ratios) ** (1 / len(ratios)), "worst": max(ratios), "n": len(ratios)}
            CONSOLE.print(f"{which}: {summary[which]}")
    write_record(output, "scattered", {"summary": summary, "measurements": [asdict(one) for one in found]}, None)


def _planes(scans: Scans) -> Iterator[tuple[str, SliceKSpace]]:
    if scans is None:
        yield from _of_slab()
        for name, n_coils in OBJECTS:
            yield f"{name}, {n_coils} coils", simulated_scan(name, n_coils=n_coils, snr=30.0, seed=5).kspace[0]
    for path in scans or find_scans(REAL_SCANS):
        scan = load_scan(path, n_slices=1)
        yield scan.name, scan.kspace[0]


def _of_slab() -> Iterator[tuple[str, SliceKSpace]]:
    """Planes `coil pe pe2` of the simulated head, left of the middle, in it and right of it."""
    slab = to_profiles(volume_kspace(N_PARTITIONS, 2.0, N_COILS, MATRIX, 7))
    generator = torch.Generator().manual_seed(7)
    for position in (MATRIX // 2 + MATRIX // 3, MATRIX, MATRIX + MATRIX // 4):
        plane = torch.from_numpy(np.ascontiguousarray(slab[..., position].transpose(1, 2, 0)))
        level = NOISE * float(plane.abs().square().mean().sqrt())
        noise = torch.randn(plane.shape, dtype=torch.complex64, generator=generator)
        yield f"slab at {position}, {N_COILS} coils", plane + level * noise


def _measure(name: str, plane: SliceKSpace, rate: int, *, with_bart: bool) -> ScatteredMeasurement:
    size = plane.shape[1], plane.shape[2]
    acquired, _ = scattered_points(size, rate, N_ACS[max(size) >= MATRIX], elliptical=True, seed=rate)
    plans = plans_of_planes(acquired, 1)
    known, meant = (torch.from_numpy(mask) for mask in (acquired, plans[0].sampling.meant_points()))
    # What was never meant to be acquired is missing in the reference too.
    reference = root_sum_of_squares(to_image(torch.where(meant, plane, 0)))
    mask, measured = object_mask(reference), torch.where(known, plane, 0)

    def error(filled: SliceKSpace) -> float:
        shown = torch.where(known, measured, torch.where(meant, filled, 0))
        return float(nmse(root_sum_of_squares(to_image(shown)), reference, mask))

    errors, kept, seconds = {}, None, 0.0
    for method in ("zero_filled", "grappa", "raki"):
        result: dict[int, SliceKSpace] = {}
        started = time.process_time()
        report = complete_slices(1, lambda _: measured, result.__setitem__, method, plans=plans)
        seconds = time.process_time() - started
        errors[method] = error(result[0])
        kept = report.scattered.structure_kept if report.scattered else None
    if with_bart:
        by_bart = (torch.from_numpy(bart_kspace(measured.numpy(), l1(weight))) for weight in L1_WEIGHTS)
        errors["tuned_bart"] = min(map(error, by_bart))
    return ScatteredMeasurement(plane=name, rate=rate, errors=errors, structure_kept=kept, seconds=seconds)
