"""`raki compare`: methods against the image of all lines, on a scan of one's own."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from raki.commands.images import DEFAULTS, Method
from raki.commands.raw_files import RawFile, prepared_scan, progress_bar
from raki.commands.targets import require_device, require_folder


def compare(
    file: RawFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the picture and the figures.")],
    acceleration: Annotated[int, typer.Option("--acceleration", "-R", min=2, max=12, help="Keep every R-th line.")] = 4,
    acs: Annotated[int, typer.Option(min=0, help="Lines to keep in the centre.")] = 24,
    method: Annotated[list[Method] | None, typer.Option(help="May be given several times; raki if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; found by itself when left out.")] = None,
) -> None:
    """Undersample a fully sampled scan, and hold each method against the image of all its lines."""
    from raki.results import method_label
    from raki.results.comparison import compare as compare_methods
    from raki.results.comparison import write_comparison

    require_folder(output, file)
    require_device(device)
    methods = tuple(each.value for each in method) if method else (DEFAULTS.method,)
    with progress_bar() as show, prepared_scan(file, show) as (scan, *_):
        comparison = compare_methods(
            scan,
            acceleration=acceleration,
            n_acs_lines=acs,
            methods=methods,
            seed=seed,
            device=device,
            progress=show,
        )
        written = write_comparison(comparison, scan, output)
    table = Table(title=f"R = {acceleration}, {acs} ACS lines; inside the object, against the image of all lines")
    for column in ("method", "NMSE", "PSNR / dB", "SSIM"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for name, score in comparison.scores.items():
        table.add_row(method_label(name), f"{score.nmse:.5f}", f"{score.psnr_db:.2f}", f"{score.ssim:.4f}")
    Console().print(table)
    for path in written:
        typer.echo(path)
