"""`python -m benchmarks gpu`: a scan of gigabytes through one device, stage by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from rich.table import Table

from benchmarks.plots import plot_stages
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.synthetic import noisy_slices
from benchmarks.undersampling import Undersampling
from raki.coils import Image, root_sum_of_squares
from raki.kspace import complete
from raki.scan.fourier import KSpace, to_image

GIGABYTE = 10**9
SLICES_AT_ONCE = 8


class StageClock:
    """Seconds of each stage, in their order: on a GPU between CUDA events, which wait for the work queued before."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done inside under this name."""
        if self.device.type != "cuda":
            begin = time.perf_counter()
            yield
            self.seconds[name] = time.perf_counter() - begin
            return
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        yield
        stop.record()
        stop.synchronize()
        self.seconds[name] = start.elapsed_time(stop) / 1000


def gpu(
    gigabytes: Annotated[float, typer.Option(min=0.0001, help="Size of the full k-space.")] = 2.4,
    coils: Annotated[int, typer.Option(min=2)] = 32,
    matrix: Annotated[int, typer.Option(min=32, help="Pixels along readout and phase-encode.")] = 320,
    acceleration: Annotated[int, typer.Option("--acceleration", "-R", min=2)] = 4,
    acs: Annotated[int, typer.Option(min=4, help="Lines of the ACS.")] = 24,
    method: Annotated[str, typer.Option(help="What fills in the lines that were not acquired.")] = "raki",
    device: Annotated[str, typer.Option(help="cuda, or cpu to try a small scan.")] = "cuda",
    output: Output = RESULTS,
) -> None:
    """A synthetic scan of 2.4 GB with 32 coils: loaded, filled and combined on one GPU."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        CONSOLE.print("there is no CUDA device here; --device cpu with --gigabytes 0.05 runs the same on the processor")
        raise typer.Exit(1)
    n_bytes_per_slice = np.dtype(np.complex64).itemsize * coils * matrix**2
    n_slices = max(1, round(gigabytes * GIGABYTE / n_bytes_per_slice))
    lines = Undersampling(n_pe=matrix, acceleration=acceleration, n_acs_lines=acs)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kspace.npy"
        _write_scan(path, n_slices, coils, lines)
        clock = StageClock(torch.device(device))
        run(path, method, clock)
    title = f"{n_slices} slices, {coils} coils, {matrix}x{matrix}: {n_slices * n_bytes_per_slice / GIGABYTE:.2f} GB"
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    for stage, seconds in (clock.seconds | {"all": sum(clock.seconds.values())}).items():
        table.add_row(stage, f"{seconds:.3f}")
    CONSOLE.print(table)
    shape = {"n_slices": n_slices, "n_coils": coils, "matrix": matrix, "acceleration": acceleration, "n_acs_lines": acs}
    facts = shape | {"method": method, "device": device, "seconds": clock.seconds}
    write_record(output, "gpu", facts, lambda path: plot_stages(clock.seconds, f"{method}, {title}", path))


def run(path: Path, method: str, clock: StageClock) -> Image:
    """The scan in the file to an image, each stage timed."""
    kspace = torch.from_numpy(np.load(path))  # once unmeasured: then it lies in the page cache
    small = kspace[:1]
    complete(small, method, device=clock.device)  # loads the device's libraries
    with clock.stage("load"):
        kspace = torch.from_numpy(np.load(path)).to(clock.device)
    with clock.stage("calibrate, train and fill"):
        filled, _ = complete(kspace, method, device=clock.device)
    with clock.stage("combine"):
        return combine(filled, clock.device)


def combine(kspace: KSpace, device: torch.device) -> Image:
    """Root-sum-of-squares image, some slices at a time, back on the CPU."""
    return torch.cat([root_sum_of_squares(to_image(some.to(device))).cpu() for some in kspace.split(SLICES_AT_ONCE)])


def _write_scan(path: Path, n_slices: int, n_coils: int, lines: Undersampling) -> None:
    """A slice at a time: the scan may be larger than memory."""
    shape = (n_slices, n_coils, lines.n_pe, lines.n_pe)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.complex64, shape=shape)
    for index, kspace in enumerate(noisy_slices(n_slices, n_coils, lines.n_pe)):
        file[index] = lines.applied_to(torch.from_numpy(kspace)).numpy()
    file.flush()
