"""`raki convert`: what is in a raw file, in another format."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from raki.commands.raw_files import RawFile, prepared_scan, progress_bar
from raki.commands.targets import Force, require_free


def convert(
    file: RawFile,
    target: Annotated[
        Path,
        typer.Argument(dir_okay=False, help="*.h5 or *.mrd (ISMRMRD), *.hdr and .cfl (BART), *.npz or *.npy (NumPy)."),
    ],
    prepared: Annotated[
        bool, typer.Option(help="Without readout oversampling, and whitened where there is a noise scan.")
    ] = False,
    force: Force = False,
) -> None:
    """Write a raw scan, sorted, in another format. The raw file stays as it is."""
    from raki.export import WRITERS, export, write_scan
    from raki.prepare import open_within, room_for
    from raki.sandbox import Allowance, Readers

    if target.suffix not in WRITERS:
        raise typer.BadParameter(f"the name ends in '{target.suffix}'; raki writes {', '.join(WRITERS)}")
    require_free(target, file, force=force)
    if prepared:
        with progress_bar() as show, prepared_scan(file, show) as (scan, *_):
            write_scan(scan, target)
    else:
        with TemporaryDirectory() as scratch, Readers() as readers, room_for(target) as part:
            files = open_within(file, Path(scratch), within=readers.contained)
            allowance = Allowance.for_size(sum(file.stat().st_size for file in files))
            readers.contained(export, files, part, allowance=allowance, reads=files, folder=part.parent)
    typer.echo(target)
