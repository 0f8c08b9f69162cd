"""What a command costs before it does anything: seconds of computing of each, and what heavy it loads."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.phantom import simulate_scan

RAKI = Path(sys.executable).parent / "raki"
HEAVY = ("torch", "scipy", "nibabel", "jinja2", "pydicom", "boto3", "PIL", "h5py", "numpy")
WITH_MODULES = (
    "import sys; from raki.cli import main\n"
    "try: main()\n"
    "except SystemExit: pass\n"
    f"print('loaded', *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
)


def startup(
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each command; the quickest counts.")] = 3,
    output: Output = RESULTS,
) -> None:
    """Seconds of computing that each command takes on a small scan, its own processes included."""
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as scratch:
        for name, arguments in commands_on(Path(scratch)).items():
            seconds = min(_seconds([str(RAKI), *arguments]) for _ in range(repeats))
            rows.append({"command": name, "cpu_s": seconds, "loads": _loaded(arguments)})
    table = Table(title="Start-up: a scan of 1 slice, 4 coils, 64 x 64")
    for column in ("command", "CPU s", "loads"):
        table.add_column(column, justify="right" if column == "CPU s" else "left")
    for row in rows:
        table.add_row(row["command"], f"{row['cpu_s']:.2f}", ", ".join(row["loads"]))
    CONSOLE.print(table)
    write_record(output, "startup", {"commands": rows})


def commands_on(folder: Path) -> dict[str, list[str]]:
    """The commands that make no image, each on a scan in this folder."""
    scan, tokens = folder / "scan.h5", folder / "tokens.json"
    simulate_scan(scan, n_slices=1, n_coils=4, matrix=64, acceleration=2, n_acs_lines=16)
    return {
        "--help": ["--help"],
        "--version": ["--version"],
        "inspect --help": ["inspect", "--help"],
        "inspect": ["inspect", str(scan)],
        "convert": ["convert", str(scan), str(folder / "scan.npz"), "--force"],
        "deidentify": ["deidentify", str(scan), str(folder / "copy.h5"), "--token-map", str(tokens), "--force"],
        "simulate": ["simulate", str(folder / "made.h5"), "--slices", "1", "--coils", "2", "--matrix", "32", "--force"],
    }


def _seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _loaded(arguments: list[str]) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", WITH_MODULES, *arguments], check=True, capture_output=True, text=True)
    return ran.stderr.splitlines()[-1].split()[1:]
