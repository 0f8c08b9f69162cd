"""`python -m benchmarks speed`: seconds and memory of one slice, and how both grow with slices and coils."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from rich.table import Table

from benchmarks.plots import Panel, plot_growth
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.synthetic import noisy_slices
from benchmarks.undersampling import Undersampling
from raki.kspace import methods as known_methods

MIB = 2**20


@dataclass(frozen=True, kw_only=True, order=True)
class Size:
    """How large a scan is."""

    n_slices: int
    n_coils: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one method costs at one size."""

    method: str
    size: Size
    seconds: float
    """The best of all rounds: whatever else runs on the machine only adds."""
    all_seconds: tuple[float, ...]
    growth_mib: float | None
    """Peak memory beyond input and output, the worst of all rounds; None where the system doesn't tell."""


def speed(
    method: Annotated[list[str] | None, typer.Option(help="What to measure; repeatable. [grappa, raki]")] = None,
    slices: Annotated[list[int] | None, typer.Option(min=1, help="Sizes of the stack. [1, 2, 4, 8, 16]")] = None,
    coils: Annotated[int, typer.Option(min=2, help="Coils of the stack.")] = 16,
    also_coils: Annotated[
        list[int] | None, typer.Option(min=2, help="Coils of other single slices. [8, 32, 64]")
    ] = None,
    matrix: Annotated[int, typer.Option(min=32, help="Pixels along readout and phase-encode.")] = 256,
    acceleration: Annotated[int, typer.Option("--acceleration", "-R", min=2)] = 4,
    acs: Annotated[int, typer.Option(min=4, help="Lines of the ACS.")] = 24,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, the methods taking turns.")] = 3,
    output: Output = RESULTS,
) -> None:
    """Wall time and peak memory on the phantom, every run in a process of its own."""
    methods = method or ["grappa", "raki"]
    unknown = [name for name in methods if name not in known_methods()]
    if unknown:
        raise typer.BadParameter(f"there is no method {unknown[0]!r}; there are {', '.join(known_methods())}")
    stack = [Size(n_slices=n, n_coils=coils) for n in sorted({1, *(slices or [2, 4, 8, 16])})]
    others = [Size(n_slices=1, n_coils=n) for n in (also_coils or [8, 32, 64])]
    lines = Undersampling(n_pe=matrix, acceleration=acceleration, n_acs_lines=acs)
    sizes = sorted({*stack, *others})
    costs = [cost for size in track(sizes, console=CONSOLE) for cost in measure(size, lines, methods, rounds)]
    title = f"{matrix}x{matrix}, R={acceleration}, ACS of {acs} lines"
    _show(costs, methods, f"Seconds (MiB beyond input and output): {title}")
    growths = {name: growth(costs, name, coils) for name in methods}
    for name, (n_slices, factor) in growths.items():
        CONSOLE.print(f"{name}: a slice of {n_slices} costs {factor:.2f} x a single one", highlight=False)
    facts = {
        "matrix": matrix,
        "acceleration": acceleration,
        "n_acs_lines": acs,
        "seconds_per_slice_of_most_over_one": {name: factor for name, (_, factor) in growths.items()},
        "costs": [asdict(cost) for cost in costs],
    }
    write_record(output, "speed", facts, lambda path: plot_growth(_panels(costs, methods, coils), path))


def measure(size: Size, lines: Undersampling, methods: Sequence[str], rounds: int) -> Iterator[Cost]:
    """The cost of each method at one size; the methods take turns, so that a busy minute meets them all."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kspace.npy"
        volume = np.stack(list(noisy_slices(size.n_slices, size.n_coils, lines.n_pe)))
        np.save(path, lines.applied_to(torch.from_numpy(volume)).numpy())
        probes = [(name, _probe(name, path)) for _ in range(rounds) for name in methods]
    for method in methods:
        seconds = [probe["seconds"] for name, probe in probes if name == method]
        grown = [probe["growth_bytes"] for name, probe in probes if name == method]
        yield Cost(
            method=method,
            size=size,
            seconds=min(seconds),
            all_seconds=tuple(seconds),
            growth_mib=None if None in grown else max(grown) / MIB,
        )


def growth(costs: Sequence[Cost], method: str, n_coils: int) -> tuple[int, float]:
    """Slices of the largest stack, and its seconds per slice over those of a single slice."""
    seconds = {one.size.n_slices: one.seconds for one in costs if (one.method, one.size.n_coils) == (method, n_coils)}
    most = max(seconds)
    return most, seconds[most] / most / seconds[1]


def _probe(method: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.probe", method, str(path)]
    repository = Path(__file__).parents[1]
    return json.loads(subprocess.run(command, cwd=repository, check=True, stdout=subprocess.PIPE).stdout)


def _show(costs: Sequence[Cost], methods: Sequence[str], title: str) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("slices", "coils", *methods, *(f"{name} / {methods[0]}" for name in methods[1:])):
        table.add_column(heading, justify="right")
    for size in sorted({cost.size for cost in costs}):
        at_size = {cost.method: cost for cost in costs if cost.size == size}
        cells = [_cell(at_size[name]) for name in methods]
        ratios = [f"{at_size[name].seconds / at_size[methods[0]].seconds:.2f}" for name in methods[1:]]
        table.add_row(f"{size.n_slices}", f"{size.n_coils}", *cells, *ratios)
    CONSOLE.print(table)


def _cell(cost: Cost) -> str:
    return f"{cost.seconds:.3f}" + ("" if cost.growth_mib is None else f" ({cost.growth_mib:.0f})")


def _panels(costs: Sequence[Cost], methods: Sequence[str], n_coils: int) -> list[Panel]:
    stack = [cost for cost in costs if cost.size.n_coils == n_coils]
    single = [cost for cost in costs if cost.size.n_slices == 1]
    seconds_by_slices = {m: {c.size.n_slices: c.seconds for c in stack if c.method == m} for m in methods}
    memory = {m: {c.size.n_slices: c.growth_mib for c in stack if c.method == m and c.growth_mib} for m in methods}
    seconds_by_coils = {m: {c.size.n_coils: c.seconds for c in single if c.method == m} for m in methods}
    panels = [
        Panel(title=f"{n_coils} coils", x_label="slices", y_label="seconds", curves=seconds_by_slices),
        Panel(title="one slice", x_label="coils", y_label="seconds", curves=seconds_by_coils),
    ]
    if all(memory.values()):
        y_label = "MiB beyond input and output"
        panels.append(Panel(title=f"{n_coils} coils", x_label="slices", y_label=y_label, curves=memory))
    return panels
