"""`python -m benchmarks COMMAND`."""

import sys

import typer

from benchmarks.ablation import ablation
from benchmarks.bill import bill
from benchmarks.burst import burst
from benchmarks.catalogue import catalogue
from benchmarks.chaos import chaos
from benchmarks.coverage import coverage
from benchmarks.damaged import damaged
from benchmarks.explanation import explanation
from benchmarks.fading import features
from benchmarks.fuzz import fuzz
from benchmarks.gpu import gpu
from benchmarks.kinds import kinds
from benchmarks.models import models
from benchmarks.multiband import multiband
from benchmarks.mutation import mutation
from benchmarks.partial import partial_fourier
from benchmarks.peers import peers
from benchmarks.planes import planes
from benchmarks.quality import quality
from benchmarks.records import CONSOLE
from benchmarks.scaling import scaling
from benchmarks.scattered import scattered
from benchmarks.speed import speed
from benchmarks.starts import starts
from benchmarks.startup import startup
from benchmarks.throughput import throughput
from benchmarks.volumes import volumes
from raki.errors import RakiError

app = typer.Typer(
    name="benchmarks",
    help="raki side by side with its peers. Each command prints a table, and writes a JSON file and a plot.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    quality,
    planes,
    volumes,
    scattered,
    multiband,
    partial_fourier,
    features,
    coverage,
    explanation,
    ablation,
    speed,
    startup,
    peers,
    gpu,
    throughput,
    burst,
    kinds,
    models,
    starts,
    catalogue,
    scaling,
    bill,
    chaos,
    damaged,
    fuzz,
    mutation,
):
    app.command()(command)

if __name__ == "__main__":
    try:
        app(prog_name="benchmarks")
    except RakiError as error:
        CONSOLE.print(f"{error.failure_class}: {error.sentence}", style="red", highlight=False, markup=False)
        sys.exit(error.exit_code)
