"""Slices excited at once: each way to take them apart beside a textbook slice-GRAPPA, where the truth is known.

Three kinds of slices are summed: those of the simulated head; simulated slices seen by measured coils; and measured
slices of a phantom. Sums and single-band references get noise of their own, so that what was learnt of the
reference's noise helps nobody. Nothing was tuned on the measured slices.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Complex64
from rich.table import Table
from torch import Tensor

from benchmarks.multiband_epi import epi_measurements, epi_table
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scans import REAL_SCANS
from raki.coils import root_sum_of_squares
from raki.images import nmse
from raki.images.metrics import object_mask
from raki.kspace import complete
from raki.kspace.caipi import GroupAcs, GroupKSpace, Turns, collapsed, demodulated, modulated
from raki.kspace.separation import SEPARATIONS, Tried, lattice
from raki.phantom.anatomy import draw_head
from raki.phantom.phantom import FOV_MM, phantom_planes
from raki.scan.fourier import SliceKSpace, to_image, to_kspace

N_REFERENCE_LINES = 24
# Slices at once, and N of the shift by one N-th of the field of view over R.
SHIFTS = {2: 2, 3: 3, 4: 3}
ACCELERATIONS = (1, 2)
TEXTBOOK = "textbook slice-GRAPPA"
TEXTBOOK_KERNEL, TEXTBOOK_RIDGE = 5, 1e-3
PLACES_MM = {2: (-4.0, 36.0), 3: (-14.0, 16.0, 46.0), 4: (-14.0, 6.0, 26.0, 46.0)}
# Of the brightest pixel of a coil's image.
NOISE = 0.01

Separate = Callable[[SliceKSpace], GroupKSpace]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One sum of slices, taken apart in every way."""

    scan: str
    n_bands: int
    acceleration: int
    errors: dict[str, float]
    """NMSE of the root-sum-of-squares images inside the object, all slices, gaps filled by GRAPPA."""
    leakage: dict[str, float]
    """Of slices without the sum's noise: root of the energy of each that shows in another, over its own; mean."""
    chosen: str
    reported_leakage: float
    """Mean, as held-out samples tell it."""


def multiband(
    bands: Annotated[list[int] | None, typer.Option(help="Slices at once.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with the measured coils and slices.")] = REAL_SCANS / "kspace",
    epi: Annotated[bool, typer.Option(help="Read back and forth, each slice with a ghost of its own.")] = False,
    output: Output = RESULTS,
) -> None:
    """NMSE and leakage of slices excited at once, by each way to take them apart, beside a textbook slice-GRAPPA."""
    if epi:
        measured = list(epi_measurements(_groups(bands or list(SHIFTS), data, others=True), NOISE))
        CONSOLE.print(epi_table(measured))
        write_record(output, "multiband_epi", {"measurements": [asdict(one) for one in measured]}, None)
        return
    names = [TEXTBOOK, *SEPARATIONS]
    table = Table("slices", "at once", "R", *names, "chosen", "leakage: textbook", "chosen, true", "reported")
    found = []
    for one in _measured(bands or list(SHIFTS), data):
        found.append(one)
        CONSOLE.print(asdict(one))
        table.add_row(
            one.scan,
            str(one.n_bands),
            str(one.acceleration),
            *(f"{one.errors[name]:.2e}" for name in names),
            one.chosen,
            f"{one.leakage[TEXTBOOK]:.3f}",
            f"{one.leakage[one.chosen]:.3f}",
            f"{one.reported_leakage:.3f}",
        )
    CONSOLE.print(table)
    summary = {}
    for scan in dict.fromkeys(one.scan for one in found):
        ratios = [one.errors[one.chosen] / one.errors[TEXTBOOK] for one in found if one.scan == scan]
        leaks = [one.leakage[one.chosen] / one.leakage[TEXTBOOK] for one in found if one.scan == scan]
        summary[scan] = {
            "error, chosen / textbook": prod(ratios) ** (1 / len(ratios)),
            "worst": max(ratios),
            "leakage, chosen / textbook": prod(leaks) ** (1 / len(leaks)),
        }
        CONSOLE.print(f"{scan}: {summary[scan]}")
    write_record(output, "multiband", {"summary": summary, "measurements": [asdict(one) for one in found]}, None)


def _measured(bands: list[int], data: Path) -> Iterator[Measurement]:
    for (name, slices), acceleration in product(_groups(bands, data), ACCELERATIONS):
        yield _measure(name, slices, acceleration)


def _groups(bands: list[int], data: Path, *, others: bool = False) -> Iterator[tuple[str, GroupKSpace]]:
    """Slices to sum, by what they are of; those with measured coils, or measured, where the files are there.

    Args:
        others: whether there is another head, seen by other coils, too.
    """
    sensitivities, measured = data / "sens8_4slices.npy", data / "phantom8_ge_7slices.npy"
    for n_bands in bands:
        yield (
            "simulated head",
            torch.from_numpy(np.stack(list(phantom_planes(np.array(PLACES_MM[n_bands]), 12, 96, 0)))),
        )
        if others:
            places_mm = np.array(PLACES_MM[n_bands]) + 6
            yield "another head", torch.from_numpy(np.stack(list(phantom_planes(places_mm, 16, 80, 3))))
        if sensitivities.exists():
            maps = np.load(sensitivities)[np.linspace(0, 3, n_bands).round().astype(int)]
            yield "measured coils", _seen_by(torch.from_numpy(maps), PLACES_MM[n_bands])
        if measured.exists():
            far_apart = np.linspace(0, 6, n_bands).round().astype(int)
            yield "measured slices", torch.from_numpy(np.load(measured)[far_apart])


def _seen_by(maps: Complex64[Tensor, "band coil pe ro"], places_mm: tuple[float, ...]) -> GroupKSpace:
    n_pixels = maps.shape[-1]
    grid_mm = ((np.arange(4 * n_pixels) - 2 * n_pixels) * FOV_MM / (4 * n_pixels)).astype(np.float32)
    heads = [draw_head(grid_mm, z_mm).reshape(n_pixels, 4, n_pixels, 4).mean(axis=(1, 3)) for z_mm in places_mm]
    return to_kspace(maps * torch.from_numpy(np.stack(heads)).to(torch.complex64)[:, None])


def _measure(name: str, slices: GroupKSpace, acceleration: int) -> Measurement:
    n_bands, _, n_pe, _ = slices.shape
    turns = tuple(band / SHIFTS[n_bands] / acceleration for band in range(n_bands))
    sampled = torch.zeros(n_pe, dtype=torch.bool)
    sampled[n_pe // 2 % acceleration :: acceleration] = True
    generator = torch.Generator().manual_seed(0)
    sigma = NOISE * float(to_image(slices).abs().max())
    first = n_pe // 2 - N_REFERENCE_LINES // 2
    reference = _noisy(slices[:, :, first : first + N_REFERENCE_LINES], sigma, generator)
    total = torch.where(sampled[:, None], _noisy(collapsed(slices, turns), sigma, generator), 0)
    tried = Tried.on(reference, turns, acceleration)
    textbook = _textbook(reference, turns, acceleration)
    ways: dict[str, Separate] = {TEXTBOOK: textbook} | {each: tried.calibrated(each).separate for each in SEPARATIONS}
    wanted = root_sum_of_squares(to_image(slices))
    mask = object_mask(wanted)
    errors, leakage = {}, {}
    for way, separate in ways.items():
        filled, _ = complete(separate(total), "grappa", sampled=sampled, acs=reference)
        errors[way] = nmse(root_sum_of_squares(to_image(filled)), wanted, mask)
        leakage[way] = _leakage(slices, turns, sampled, separate)
    return Measurement(
        scan=name,
        n_bands=n_bands,
        acceleration=acceleration,
        errors=errors,
        leakage=leakage,
        chosen=tried.best,
        reported_leakage=float(tried.calibrated(tried.best).leakage.sum()) / (n_bands * (n_bands - 1)),
    )


def _noisy(kspace: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    return kspace + sigma * torch.randn(kspace.shape, generator=generator, dtype=torch.complex64)


def _leakage(slices: GroupKSpace, turns: Turns, sampled: Tensor, separate: Separate) -> float:
    """What shows of each slice in the others, mean over all pairs."""
    parts = []
    for source in range(len(slices)):
        alone = torch.zeros_like(slices)
        alone[source] = slices[source]
        measured = torch.where(sampled[:, None], collapsed(alone, turns), 0)
        shown = (separate(measured).abs().square().sum(dim=(1, 2, 3)) / measured.abs().square().sum()).sqrt()
        parts += [float(part) for into, part in enumerate(shown) if into != source]
    return sum(parts) / len(parts)


def _textbook(reference: GroupAcs, turns: Turns, step: int) -> Separate:
    """Slice-GRAPPA as in the paper, a kernel of 5 by 5 with one Tikhonov weight, written apart from the library's.

    Setsompop et al. 2012, Magn Reson Med 67:1210-1224, doi:10.1002/mrm.23097.
    """
    shifted = modulated(reference, turns).numpy()
    half = TEXTBOOK_KERNEL // 2

    def patches(lines: np.ndarray, distance: int) -> np.ndarray:
        n_lines, n_ro = lines.shape[1] - 2 * half * distance, lines.shape[2] - 2 * half
        seen = [
            lines[:, distance * row : distance * row + n_lines, column : column + n_ro]
            for row in range(TEXTBOOK_KERNEL)
            for column in range(TEXTBOOK_KERNEL)
        ]
        return np.concatenate(seen).reshape(len(lines) * TEXTBOOK_KERNEL**2, -1).T

    rows = patches(shifted.sum(axis=0), step)
    inside = shifted[:, :, half * step : shifted.shape[2] - half * step, half:-half]
    targets = inside.reshape(len(shifted) * shifted.shape[1], -1).T
    square = rows.conj().T @ rows
    ridge = TEXTBOOK_RIDGE * np.trace(square).real / len(square)
    weights = np.linalg.solve(square + ridge * np.eye(len(square)), rows.conj().T @ targets)

    def separate(measured: SliceKSpace) -> GroupKSpace:
        lines = lattice(measured, step)
        acquired = measured[:, lines].numpy()
        padded = np.pad(acquired, ((0, 0), (half, half), (half, half)))
        made = (patches(padded, 1) @ weights).T.reshape(len(shifted), *acquired.shape)
        apart = torch.zeros((len(shifted), *measured.shape), dtype=torch.complex64)
        apart[:, :, lines] = torch.from_numpy(made.astype(np.complex64))
        return demodulated(apart, turns)

    return separate
