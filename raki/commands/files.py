"""`raki inspect` and `raki convert`: what is in a raw file, and the same in another format."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from raki.commands.raw_files import RawFile, prepared_scan, progress_bar


def inspect(
    file: RawFile,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; found by itself when left out.")] = None,
) -> None:
    """Say what is in a raw file, whether raki can reconstruct it, by which methods, and what is missing."""
    from raki.archive import open_local
    from raki.formats import formats
    from raki.inspection.inspection import inspect as inspect_files
    from raki.inspection.text import describe

    with TemporaryDirectory() as scratch:
        inspection = inspect_files(open_local(file, Path(scratch), formats=formats()), device=device)
    if as_json:
        typer.echo(inspection.to_json())
    else:
        Console().print(describe(inspection))


def convert(
    file: RawFile,
    target: Annotated[
        Path,
        typer.Argument(dir_okay=False, help="*.h5 or *.mrd (ISMRMRD), *.hdr and .cfl (BART), *.npz or *.npy (NumPy)."),
    ],
    prepared: Annotated[
        bool, typer.Option(help="Without readout oversampling, and whitened where there is a noise scan.")
    ] = False,
) -> None:
    """Write a raw scan, sorted, in another format. The raw file stays as it is."""
    from raki.archive import open_local
    from raki.export import WRITERS, export
    from raki.formats import formats
    from raki.prepare import Allowance, contained

    write = WRITERS.get(target.suffix)
    if write is None:
        raise typer.BadParameter(f"the name ends in '{target.suffix}'; raki writes {', '.join(WRITERS)}")
    if prepared:
        with progress_bar() as show, prepared_scan(file, show) as (scan, *_):
            write(scan, target)
    else:
        with TemporaryDirectory() as scratch:
            files = open_local(file, Path(scratch), formats=formats())
            allowance = Allowance.for_size(sum(file.stat().st_size for file in files))
            contained(export, files, target, allowance=allowance)
    typer.echo(target)
