"""`python -m benchmarks volumes`: whole 3-D scans beside GRAPPA and BART, which know all three directions.

raki transforms the readout and fills each of its positions by itself; GRAPPA's kernels reach along the readout here and
are calibrated once for all of it, and BART has maps and wavelets of the volume. Both are tuned by the answer.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Complex64, Float64
from rich.table import Table

from benchmarks.bart import L1_WEIGHTS, every_bart_kspace, l1, why_no_bart
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.coils import root_sum_of_squares
from raki.images.metrics import nmse, object_mask
from raki.kspace.completion import complete_slices
from raki.kspace.linear_fit import LinearFilling, NormalEquations
from raki.kspace.points import acs_point_examples
from raki.phantom.coil_array import sensitivities
from raki.phantom.phantom import FOV_MM, phantom_planes
from raki.phantom.simulation import complex_noise
from raki.phantom.volume import sampled_points
from raki.planning import Kernel, PointSampling, find_point_sampling, plans_of_planes
from raki.scan.arrays import PointMask
from raki.scan.fourier import SliceKSpace

Kspace = Complex64[np.ndarray, "coil ro pe pe2"]
Lattice = tuple[int, int, int, bool]

# R along lines and along partitions, displacement, and whether the corners are left out.
LATTICES: tuple[Lattice, ...] = (
    (2, 2, 0, False),
    (2, 2, 0, True),
    (2, 2, 1, False),
    (3, 2, 1, False),
    (3, 2, 1, True),
)
# Lines, partitions and samples of the readout.
KERNELS = ((2, 2, 1), (2, 2, 3), (2, 2, 5), (2, 4, 3), (4, 2, 3), (4, 4, 3))
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
METHODS = ("grappa", "raki_linear", "raki")
MATRIX, N_PARTITIONS, PARTITION_MM = 48, 32, 4.0
N_VESSELS, N_BALLS = 24, 12


@dataclass(frozen=True, kw_only=True)
class VolumeMeasurement:
    """NMSE inside the object of one volume, by method; those of the tuned ones are the best of all settings."""

    scan: str
    lattice: Lattice
    errors: dict[str, float]


def volumes(
    coils: Annotated[list[int] | None, typer.Option(help="Coils of each object; may be repeated.")] = None,
    acs: int = 20,
    snr: float = 30.0,
    seed: int = 0,
    bart: Annotated[bool, typer.Option(help="Measure BART too, where it is installed.")] = True,
    output: Output = RESULTS,
) -> None:
    """NMSE of whole 3-D scans, beside GRAPPA over three directions and BART, both tuned by the answer."""
    with_bart = bart and not why_no_bart()
    opponents = ("tuned_grappa", *(("tuned_bart",) if with_bart else ()))
    table = Table("scan", "R", "corners", *METHODS, *opponents, "raki / tuned GRAPPA")
    found = []
    for name, n_coils, lattice in product(OBJECTS, coils or [8, 16], LATTICES):
        kspace = noisy_volume(name, n_coils, snr=snr, seed=seed)
        found.append(_measure(f"{name}, {n_coils} coils", kspace, lattice, acs, with_bart=with_bart))
        _show(table, found[-1], opponents)
    CONSOLE.print(table)
    summary = {}
    for method, opponent in product(METHODS, opponents):
        ratios = [one.errors[method] / one.errors[opponent] for one in found]
        summary[f"{method} / {opponent}"] = {"mean": prod(ratios) ** (1 / len(ratios)), "worst": max(ratios)}
        CONSOLE.print(f"{method} / {opponent}: {summary[f'{method} / {opponent}']}")
    write_record(output, "volumes", {"summary": summary, "measurements": [asdict(one) for one in found]}, None)


def noisy_volume(name: str, n_coils: int, *, snr: float, seed: int) -> Kspace:
    """Fully sampled k-space of an object as `n_coils` loops see it, white noise in each; DC at n // 2 of all axes.

    Args:
        name: of OBJECTS.
        snr: mean of the magnitude inside the object over the standard deviation of the noise there.
    """
    slices = OBJECTS[name](n_coils, seed)
    kspace = _centred(np.fft.fftn, slices.transpose(1, 3, 2, 0), (1, 2, 3))
    magnitude = torch.from_numpy(np.sqrt((np.abs(slices) ** 2).sum(axis=1)))
    level = math.sqrt(2) * float(magnitude[object_mask(magnitude)].mean()) / snr
    noise = level * complex_noise(np.random.default_rng(seed), kspace.shape)
    return (kspace + noise).astype(np.complex64)


def _head(n_coils: int, seed: int) -> Complex64[np.ndarray, "slice coil row column"]:
    """Slices of the phantom, cut in k-space as a scanner does it."""
    planes = phantom_planes(_z_mm(), n_coils, MATRIX, seed, readout_oversampling=1)
    return np.stack([_centred(np.fft.ifftn, plane, (1, 2)) for plane in planes])


def _angiogram(n_coils: int, seed: int) -> Complex64[np.ndarray, "slice coil row column"]:
    """Bright vessels of one to three voxels and balls, in a dim ellipsoid whose phase rolls; drawn in voxels."""
    rng = np.random.default_rng(seed)
    axes = [np.linspace(-1, 1, n, endpoint=False) for n in (N_PARTITIONS, MATRIX, MATRIX)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    inside = (x / 0.78) ** 2 + (y / 0.9) ** 2 + (z / 0.85) ** 2 < 1
    drawn = np.where(inside, 0.3 + 0.05 * np.sin(7 * x + 3 * y) * np.cos(5 * z), 0.0)
    for _ in range(N_BALLS):
        centre, radius = rng.uniform(-0.5, 0.5, 3), rng.uniform(0.05, 0.2)
        drawn[inside & (_distance(z, y, x, centre, centre) < radius)] = rng.uniform(0.1, 0.6)
    for _ in range(N_VESSELS):
        drawn[inside & (_distance(z, y, x, *rng.uniform(-0.7, 0.7, (2, 3))) < rng.uniform(0.015, 0.05))] = 1.0
    phased = drawn * np.exp(1j * (0.8 * x - 0.6 * y * z + 0.5 * z**2))
    places_mm = FOV_MM / 2 * axes[1]
    return np.stack(
        [
            pixels * sensitivities(places_mm, places_mm, float(at_mm), n_coils)
            for pixels, at_mm in zip(phased, _z_mm(), strict=True)
        ]
    ).astype(np.complex64)


OBJECTS = {"head": _head, "angiogram": _angiogram}


def _z_mm() -> Float64[np.ndarray, " slice"]:
    return 16.0 + PARTITION_MM * (np.arange(N_PARTITIONS) - N_PARTITIONS // 2)


def _distance(
    z: np.ndarray, y: np.ndarray, x: np.ndarray, start: np.ndarray, end: np.ndarray
) -> Float64[np.ndarray, "slice row column"]:
    """Of each voxel from the segment between two points."""
    away = np.stack([axis - at for axis, at in zip((z, y, x), start, strict=True)], axis=-1)
    along = end - start
    part = np.clip(away @ along / max(float(along @ along), 1e-12), 0, 1)
    return np.asarray(np.linalg.norm(away - part[..., None] * along, axis=-1))


def _measure(name: str, full: Kspace, lattice: Lattice, n_acs: int, *, with_bart: bool) -> VolumeMeasurement:
    n_pe, n_pe2, shift, elliptical = lattice
    acquired, _ = sampled_points(full.shape[2:], (n_pe, n_pe2), shift, n_acs, elliptical=elliptical)
    sampling = find_point_sampling(acquired)
    reference = _image(full * sampling.meant)
    mask = object_mask(reference)
    measured = (full * acquired).astype(np.complex64)

    def error(filled: Kspace) -> float:
        kept = np.where(acquired, measured, np.where(sampling.meant, filled, 0))
        return float(nmse(_image(kept), reference, mask))

    errors = {method: error(_filled(measured, acquired, method)) for method in METHODS}
    errors["tuned_grappa"] = min(error(filled) for filled in every_grappa(measured, sampling))
    if with_bart:
        as_bart = measured.transpose(0, 3, 2, 1)
        errors["tuned_bart"] = min(
            error(found.transpose(0, 3, 2, 1))
            for found in every_bart_kspace(as_bart, [l1(weight, n_axes=3) for weight in L1_WEIGHTS])
        )
    return VolumeMeasurement(scan=name, lattice=lattice, errors=errors)


def _filled(measured: Kspace, acquired: PointMask, method: str) -> Kspace:
    """By raki: each position of the transformed readout by itself."""
    hybrid = torch.from_numpy(_centred(np.fft.ifftn, measured, (1,)))
    planes: dict[int, SliceKSpace] = {}
    n_ro = measured.shape[1]
    complete_slices(
        n_ro, lambda x: hybrid[:, x], planes.__setitem__, method, plans=plans_of_planes(acquired, n_ro), with_maps=False
    )
    return _centred(np.fft.fftn, np.stack([planes[x].numpy() for x in range(n_ro)], axis=1), (1,))


def every_grappa(measured: Kspace, sampling: PointSampling) -> Iterator[Kspace]:
    """The volume filled with each kernel and ridge, calibrated by least squares on the block of all readout samples.

    What lies beside a sample along the readout counts as further coils: the kernel then is one of a plane.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171; Blaimer et al. 2006, Magn Reson Med
    56:1359-1364, doi:10.1002/mrm.21090 (two directions).
    """
    n_coils, n_ro = measured.shape[:2]
    block = (slice(None), *sampling.acs_block())
    for n_pe, n_pe2, along in KERNELS:
        kernel = Kernel(n_pe=n_pe, n_ro=n_pe2)
        sums = None
        for at in range(along // 2, n_ro - along // 2):
            of_plane = NormalEquations.of(
                acs_point_examples(_beside(measured, at, along)[block], kernel, sampling.cell)
            )
            sums = of_plane if sums is None else sums.plus(of_plane)
        if sums is None:
            continue
        middle = slice(along // 2 * n_coils, (along // 2 + 1) * n_coils)
        for ridge in RIDGES:
            filling = LinearFilling(kernel=kernel, fit=sums.solved(ridge=ridge))
            planes = [filling.fill(_beside(measured, at, along), sampling)[middle].numpy() for at in range(n_ro)]
            yield np.stack(planes, axis=1)


def _beside(measured: Kspace, at: int, along: int) -> SliceKSpace:
    """A sample's plane and those of its neighbours along the readout as coils, zero beyond its ends."""
    n_ro = measured.shape[1]
    planes = [
        measured[:, near] if 0 <= near < n_ro else np.zeros_like(measured[:, 0])
        for near in range(at - along // 2, at + along // 2 + 1)
    ]
    return torch.from_numpy(np.concatenate(planes))


def _image(kspace: Kspace) -> torch.Tensor:
    """Root sum of squares, of all slices."""
    images = _centred(np.fft.ifftn, kspace, (1, 2, 3))
    return root_sum_of_squares(torch.from_numpy(images.reshape(len(images), images.shape[1], -1)))


def _centred(transform: Callable[..., np.ndarray], array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """A unitary transform with DC and the image's centre at n // 2."""
    moved = transform(np.fft.ifftshift(array, axes=axes), axes=axes, norm="ortho")
    return np.fft.fftshift(moved, axes=axes).astype(np.complex64)


def _show(table: Table, one: VolumeMeasurement, opponents: tuple[str, ...]) -> None:
    n_pe, n_pe2, shift, elliptical = one.lattice
    table.add_row(
        one.scan,
        f"{n_pe} x {n_pe2}" + (f", displaced by {shift}" if shift else ""),
        "left out" if elliptical else "",
        *(f"{one.errors[name]:.2e}" for name in (*METHODS, *opponents)),
        f"{one.errors['raki'] / one.errors['tuned_grappa']:.2f}",
    )
