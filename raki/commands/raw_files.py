"""What commands on raw files share: how a file is named, opened and prepared, and a bar that shows how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from raki.results import Source
    from raki.scan import Scan

CONSOLE = Console(stderr=True)

READING = ("raki.prepare", "raki.formats:formats")
"""What a process that reads files loads beforehand; see `raki.sandbox.Readers`."""

RawFile = Annotated[
    Path,
    typer.Argument(exists=True, help="A raw scan, plain or in an archive, or a folder with the files of one scan."),
]


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


@contextmanager
def prepared_scan(file: Path, show: Callable[[str, float], None]) -> "Iterator[tuple[Scan, Source, bytes]]":
    """The scan of a raw file, an archive or a folder, prepared on this machine; its slices are read on demand.

    With it comes what the scan's own `raki.toml` says, empty where there is none.
    """
    from raki.archive import options_text
    from raki.prepare import open_within, prepare
    from raki.results import Source
    from raki.sandbox import Readers
    from raki.scan.prepared import open_prepared

    show("reading", 0.0)
    with TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared"
        with Readers(READING) as readers:
            files = open_within(file, Path(scratch), within=readers.contained)
            options = options_text(file, Path(scratch))
            prepare(files, prepared, within=readers.contained)
        source = Source.of(file)
        with open_prepared(prepared) as scan:
            show("reading", 1.0)
            yield scan, source, options
