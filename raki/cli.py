"""The command line: `raki reconstruct`, `raki simulate`, and what other packages add (`raki local`)."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from raki.errors import RakiError

app = typer.Typer(
    name="raki",
    help="MRI reconstruction with a network trained on the one scan at hand. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
CONSOLE = Console(stderr=True)


class Method(StrEnum):
    """What fills in the lines that were not acquired."""

    RAKI = "raki"
    GRAPPA = "grappa"
    ZERO_FILLED = "zero_filled"
    RAKI_2019 = "raki2019"
    RESIDUAL_RAKI = "rraki"
    ITERATIVE_RAKI = "iraki"


class Combination(StrEnum):
    """How the coils become one image."""

    RSS = "rss"
    ADAPTIVE = "adaptive"


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar a stage on standard error; the function given takes the stage's name and the fraction done."""
    columns = TextColumn("{task.description:<22}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=CONSOLE) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, fraction: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=fraction)

        yield show


@app.command()
def reconstruct(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A raw scan, plain or in a tar or tar.gz.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the images and the report.")],
    method: Annotated[
        Method,
        typer.Option(help="What fills in the lines that were not acquired; the last three as published, and slow."),
    ] = Method.RAKI,
    combine: Annotated[
        Combination, typer.Option(help="Coils to one image: root sum of squares, or by the sensitivities they show.")
    ] = Combination.RSS,
    coils: Annotated[
        int | None, typer.Option(min=1, help="Compress the coils to so many before filling; all are used if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the training: the same seed gives the same image.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; found by itself when left out.")] = None,
) -> None:
    """Reconstruct one raw scan on this machine, without any cloud."""
    from raki.archive import unpack_scan
    from raki.formats import read_scan
    from raki.preprocess import preprocess
    from raki.reconstruction import reconstruct as reconstruct_scan
    from raki.results import Source, write_results

    with progress_bar() as show, TemporaryDirectory() as scratch:
        show("reading", 0.0)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            raw = unpack_scan(stream, into=Path(scratch))
        scan = preprocess(read_scan(raw))
        n_coils = scan.kspace.shape[1]
        if coils is not None and coils > n_coils:
            raise typer.BadParameter(f"--coils is {coils} and the scan has {n_coils} coils; ask for 1 to {n_coils}")
        show("reading", 1.0)
        result = reconstruct_scan(
            scan,
            method=method.value,
            combine=combine.value,
            n_virtual_coils=coils,
            seed=seed,
            device=device,
            progress=show,
        )
        output.mkdir(parents=True, exist_ok=True)
        source = Source(name=file.name, sha256=digest, n_bytes=file.stat().st_size)
        show("writing", 0.0)
        written = write_results(result, output, source=source)
        show("writing", 1.0)
    for path in written:
        typer.echo(path)


@app.command()
def simulate(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write: *.h5, *.tar or *.tar.gz.")],
    slices: Annotated[int, typer.Option(min=1, max=256)] = 4,
    coils: Annotated[int, typer.Option(min=1, max=128)] = 12,
    matrix: Annotated[int, typer.Option(min=32, max=1024, help="Pixels along readout and phase-encode.")] = 192,
    acceleration: Annotated[int, typer.Option("--acceleration", "-R", min=1, max=12)] = 4,
    acs: Annotated[int, typer.Option(min=0, help="Fully sampled lines in the centre.")] = 24,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Write the raw scan of a head phantom, as a scanner would."""
    from raki.simulation import simulate_scan

    try:
        with progress_bar() as show:
            simulate_scan(
                file,
                n_slices=slices,
                n_coils=coils,
                matrix=matrix,
                acceleration=acceleration,
                n_acs_lines=acs,
                seed=seed,
                progress=lambda fraction: show("simulating", fraction),
            )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    typer.echo(file)


def main() -> None:
    """Entry point: a known error is one sentence and its own exit code, never a traceback."""
    for plugin in entry_points(group="raki.commands"):
        app.command(name=plugin.name)(plugin.load())
    try:
        app()
    except RakiError as error:
        CONSOLE.print(f"[red]{error.failure_class}:[/red] {escape(error.sentence)}", highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
