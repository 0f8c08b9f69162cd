"""What every command leaves behind: a JSON file that says how and where it was measured, and its plot's place."""

import json
import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks.plots import why_no_plot

CONSOLE = Console()
RESULTS = Path(__file__).parent / "results"

Output = Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder for the JSON file and the plot.")]


def write_record(
    folder: Path, command: str, facts: Mapping[str, Any], draw: Callable[[Path], None] | None = None
) -> None:
    """Write `COMMAND.json`, the facts after the machine that they were measured on, and `COMMAND.png`.

    `draw` makes the plot at the path it is given; it isn't called where matplotlib is missing, and None draws nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{command}.json"
    record = {"command": command, "machine": machine()} | dict(facts)
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    CONSOLE.print(path, soft_wrap=True)
    if draw is None:
        return
    reason = why_no_plot()
    if reason:
        CONSOLE.print(reason, soft_wrap=True, highlight=False, markup=False)
        return
    draw(path.with_suffix(".png"))
    CONSOLE.print(path.with_suffix(".png"), soft_wrap=True)


def machine() -> dict[str, Any]:
    """Processor, cores and versions: what a time has no meaning without."""
    return {
        "processor": _processor(),
        "n_cores": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "raki": version("raki-mri"),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
