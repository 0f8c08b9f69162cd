"""`raki reconstruct` and `raki simulate`: images of a scan, and a scan to try it on."""

from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raki.commands.raw_files import RawFile, prepared_scan, progress_bar

if TYPE_CHECKING:

    class Method(StrEnum):
        """What fills in the lines that were not acquired."""

else:
    # By their names alone: to load a method is to load torch, and `--help` needs none.
    Method = StrEnum("Method", {name: name for name in sorted(entry_points(group="raki.methods").names)})

DEFAULT = Method("raki")


class Combination(StrEnum):
    """How the coils become one image."""

    RSS = "rss"
    ADAPTIVE = "adaptive"


MethodChoice = Annotated[
    Method,
    typer.Option(
        help="What fills in the lines that were not acquired; iraki, raki2019 and rraki as published, and slow."
    ),
]


def reconstruct(
    file: RawFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the images and the report.")],
    method: MethodChoice = DEFAULT,
    combine: Annotated[
        Combination, typer.Option(help="Coils to one image: root sum of squares, or by the sensitivities they show.")
    ] = Combination.RSS,
    coils: Annotated[
        int | None, typer.Option(min=1, help="Compress the coils to so many before filling; all are used if left out.")
    ] = None,
    dicom: Annotated[bool, typer.Option(help="Write DICOM images too, into the folder `dicom`.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the training: the same seed gives the same image.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; found by itself when left out.")] = None,
) -> None:
    """Reconstruct one raw scan on this machine, without any cloud."""
    from raki.images import reconstruct as reconstruct_scan
    from raki.results import write_results
    from raki.results.dicom import write_dicom

    with progress_bar() as show, prepared_scan(file, show) as (scan, source):
        n_coils = scan.kspace.shape[1]
        if coils is not None and coils > n_coils:
            raise typer.BadParameter(f"--coils is {coils} and the scan has {n_coils} coils; ask for 1 to {n_coils}")
        result = reconstruct_scan(
            scan,
            method=method.value,
            combine=combine.value,
            n_virtual_coils=coils,
            seed=seed,
            device=device,
            progress=show,
        )
        show("writing", 0.0)
        written = write_results(result, output, source=source)
        if dicom:
            written += write_dicom(result, output / "dicom")
        show("writing", 1.0)
    for path in written:
        typer.echo(path)


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
    from raki.phantom import simulate_scan

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
