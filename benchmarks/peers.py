"""`python -m benchmarks peers`: raki beside pygrappa, sigpy, BART and the public RAKI, in seconds and error."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.filling import Fill, TunedFill, settled
from benchmarks.opponents import OPPONENTS, can_fill, fills, why_not
from benchmarks.plots import plot_time_and_error
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scans import load_scan
from benchmarks.scores import score
from benchmarks.synthetic import noisy_slices
from benchmarks.undersampling import Undersampling
from raki.coils import root_sum_of_squares
from raki.images import object_mask
from raki.scan.fourier import KSpace, to_image

# Who has taken this long is timed well enough, and isn't run again.
ENOUGH_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method on the slice."""

    method: str
    seconds: float
    """The best of all rounds: whatever else runs on the machine only adds."""
    all_seconds: tuple[float, ...]
    scores: dict[str, float]


def peers(
    scan: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="A fully sampled scan; a phantom if none.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Of raki; repeatable. [raki, grappa]")] = None,
    public_raki: Annotated[
        Path | None, typer.Option(file_okay=False, help="A clone of pdawood/iterativeRaki: its RAKI is measured too.")
    ] = None,
    public_iraki: Annotated[
        bool, typer.Option("--public-iraki", help="And its iterative RAKI: an hour or so.")
    ] = False,
    coils: Annotated[int, typer.Option(min=2, help="Coils of the phantom.")] = 16,
    matrix: Annotated[int, typer.Option(min=32, help="Pixels of the phantom along readout and phase-encode.")] = 256,
    acceleration: Annotated[int, typer.Option("--acceleration", "-R", min=2)] = 4,
    acs: Annotated[int, typer.Option(min=4, help="Lines of the ACS.")] = 24,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each, the methods taking turns.")] = 3,
    output: Output = RESULTS,
) -> None:
    """The same slice through other people's code. What isn't installed is left out, and said to be."""
    full = _middle_slice(scan) if scan else _phantom(coils, matrix)
    lines = Undersampling(n_pe=full.shape[-2], acceleration=acceleration, n_acs_lines=acs)
    wanted = [*(method or ["raki", "grappa"]), *(name for name in OPPONENTS if name != "public_iraki" or public_iraki)]
    for name in wanted:
        if why_not(name, public_raki):
            CONSOLE.print(f"left out: {why_not(name, public_raki)}", style="dim", highlight=False, markup=False)
    taking_part = [name for name in wanted if not why_not(name, public_raki) and can_fill(name, lines)]
    results = race(full, lines, fills(taking_part, public_raki), rounds)
    title = f"{full.shape[1]} coils, {full.shape[2]}x{full.shape[3]}, R={acceleration}, ACS of {acs} lines"
    _show(results, f"{scan.stem if scan else 'phantom'}: {title}")
    facts = {"scan": scan.stem if scan else "phantom", "shape": list(full.shape), "lines": asdict(lines)}
    points = {result.method: (result.seconds, result.scores["nmse"]) for result in results}
    facts["results"] = [asdict(result) for result in results]
    write_record(output, "peers", facts, lambda path: plot_time_and_error(points, title, path))


def race(full: KSpace, lines: Undersampling, how: Mapping[str, Fill | TunedFill], rounds: int) -> list[Result]:
    """Every method on the same undersampled slice, taking turns. One that is tuned has been before its time counts."""
    measured = lines.applied_to(full)
    reference = root_sum_of_squares(to_image(full))
    mask = object_mask(reference)
    seconds: dict[str, list[float]] = {name: [] for name in how}
    scores: dict[str, dict[str, float]] = {}
    chosen = {name: settled(fill, full, lines)[0] for name, fill in how.items()}
    for _ in range(rounds):
        for name, fill in chosen.items():
            if sum(seconds[name]) < ENOUGH_SECONDS:
                start = time.perf_counter()
                filled = fill(measured, lines)
                seconds[name].append(time.perf_counter() - start)
                scores[name] = score(filled, reference, mask)
    return [
        Result(method=name, seconds=min(seconds[name]), all_seconds=tuple(seconds[name]), scores=scores[name])
        for name in how
    ]


def _middle_slice(path: Path) -> KSpace:
    return load_scan(path, n_slices=1).kspace


def _phantom(n_coils: int, matrix: int) -> KSpace:
    return torch.from_numpy(np.stack(list(noisy_slices(1, n_coils, matrix))))


def _show(results: Sequence[Result], title: str) -> None:
    first = results[0]
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    for heading in ("seconds", f"/ {first.method}", "NMSE", f"/ {first.method}", "PSNR", "runs"):
        table.add_column(heading, justify="right")
    for one in results:
        table.add_row(
            one.method,
            f"{one.seconds:.3f}",
            f"{one.seconds / first.seconds:.2f}",
            f"{one.scores['nmse']:.6f}",
            f"{one.scores['nmse'] / first.scores['nmse']:.2f}",
            f"{one.scores['psnr']:.1f} dB",
            str(len(one.all_seconds)),
        )
    CONSOLE.print(table)
