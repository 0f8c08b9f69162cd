"""`raki catalogue`: ask what is known of all images, collect it, label it, and take cohorts out."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raki.commands.operating import NotInstalled
from raki.commands.raw_files import CONSOLE
from raki.commands.targets import Force, require_free
from raki.wording import plain

if TYPE_CHECKING:
    import pyarrow as pa

    from raki.catalogue import Catalogue
    from raki.catalogue.finding import Wanted

catalogue = typer.Typer(no_args_is_help=True, help="Ask what is known of all images in a folder of results.")

Results = Annotated[
    str, typer.Option("--results", "-r", help="The folder of results, or s3://bucket/prefix.", show_default="here")
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]
ROWS_SHOWN = 40
COLUMNS_SHOWN = ("scan_id", "image", "method", "acceleration", "field_strength_t", "standard_error", "held_out_error")
"""Of what is found; --json and export have all."""


class Format(StrEnum):
    """What a cohort is written as."""

    PARQUET = ".parquet"
    CSV = ".csv"


@catalogue.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT on slices, scans, labels and labels_now.")],
    results: Results = ".",
    as_json: AsJson = False,
) -> None:
    """Answer one SELECT. It reads the catalogue and nothing else, and nothing can be written by it."""
    with _opened(results) as opened:
        _say(opened.query(sql), as_json=as_json)


FieldStrength = Annotated[str | None, typer.Option(help="In T; 3 means 2.85 to 3.15.")]
Acceleration = Annotated[str | None, typer.Option(help="R: 4, '>=4' or 2..4.")]
Coils = Annotated[str | None, typer.Option(help="Receiver channels: 16, '>=8' or 8..32.")]
Vendor = Annotated[str | None, typer.Option(help="Of the scanner.")]
Method = Annotated[str | None, typer.Option(help="That was asked for.")]
Since = Annotated[str | None, typer.Option(help="Made in this month, as 2026-11.")]
Where = Annotated[
    list[str] | None, typer.Option("--where", "-w", help="COLUMN=CONDITION, of any column: 'snr_median=>=20'.")
]
LabelChoice = Annotated[str | None, typer.Option("--label", help="LABEL or LABEL=VALUE, of the image or its scan.")]
Worst = Annotated[str | None, typer.Option(help="The column by which the worst come first.")]
Best = Annotated[str | None, typer.Option(help="The column by which the best come first.")]
Like = Annotated[str | None, typer.Option(help="SCAN:IMAGE; the most alike come first.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many images.")]


@catalogue.command()
def find(
    field_strength: FieldStrength = None,
    acceleration: Acceleration = None,
    coils: Coils = None,
    vendor: Vendor = None,
    method: Method = None,
    month: Since = None,
    where: Where = None,
    label: LabelChoice = None,
    worst: Worst = None,
    best: Best = None,
    like: Like = None,
    limit: Limit = 100,
    results: Results = ".",
    as_json: AsJson = False,
) -> None:
    """Find images by what is known of them; all conditions hold together."""
    wanted = _wanted(field_strength, acceleration, coils, vendor, method, month, where, label, worst, best, like, limit)
    with _opened(results) as opened:
        _say(opened.find(wanted), as_json=as_json, columns=_shown(wanted))


@catalogue.command()
def export(
    target: Annotated[Path, typer.Argument(dir_okay=False, help="*.parquet or *.csv.")],
    field_strength: FieldStrength = None,
    acceleration: Acceleration = None,
    coils: Coils = None,
    vendor: Vendor = None,
    method: Method = None,
    month: Since = None,
    where: Where = None,
    label: LabelChoice = None,
    worst: Worst = None,
    best: Best = None,
    like: Like = None,
    limit: Limit = None,
    results: Results = ".",
    force: Force = False,
) -> None:
    """Write the images that are found as a list, with where each lies and what is said of it."""
    if target.suffix not in tuple(Format):
        raise typer.BadParameter(f"the name ends in '{target.suffix}'; raki writes {' and '.join(Format)}")
    require_free(target, force=force)
    wanted = _wanted(field_strength, acceleration, coils, vendor, method, month, where, label, worst, best, like, limit)
    with _opened(results) as opened:
        cohort = opened.cohort(wanted)
    _write(cohort, target)
    typer.echo(f"{target}: {cohort.num_rows} images")


@catalogue.command()
def compact(results: Results = ".", as_json: AsJson = False) -> None:
    """Take the rows that lie beside results into Parquet files of a month each. To be run again at any time."""
    _require_installed()
    from raki.catalogue import compact as compacted

    done = compacted(results)
    _name_damaged(done.damaged)
    if as_json:
        facts = {name: getattr(done, name) for name in ("n_results", "n_gone", "n_parts", "n_bytes")}
        typer.echo(json.dumps(facts | {"damaged": dict(done.damaged)}, indent=2))
    else:
        typer.echo(
            f"{done.n_results} results taken in, {done.n_gone} taken out; {done.n_parts} files of "
            f"{done.n_bytes / 1e6:.1f} MB"
        )


@catalogue.command()
def label(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="CSV: scan_id, label, image, value, mask; a DICOM Segmentation; MONAI Label's datastore_v2.json.",
        ),
    ],
    by: Annotated[str, typer.Option("--by", help="Who says so, where the file doesn't tell.")],
    results: Results = ".",
) -> None:
    """Add labels of scans, images and regions; all of a file, or where one is wrong, none of it."""
    _require_installed()
    from raki.catalogue import UnknownSlices, import_labels

    try:
        done = import_labels(results, file, made_by=by)
    except UnknownSlices as error:
        for line in "\n".join(getattr(error, "__notes__", [])).splitlines():
            typer.echo(plain(line), err=True)
        raise
    left = f"; {done.n_left} volumes that aren't final were left" if done.n_left else ""
    typer.echo(f"{done.n_new} labels added, {done.n_known} were there{left}")


@catalogue.command()
def columns(as_json: AsJson = False) -> None:
    """Say which columns there are, and what each means."""
    from raki.catalogue.schema import COLUMNS, LABEL_COLUMNS

    tables = {"slices": COLUMNS, "labels": LABEL_COLUMNS}
    if as_json:
        typer.echo(json.dumps({name: [vars(column) for column in listed] for name, listed in tables.items()}, indent=2))
        return
    for name, listed in tables.items():
        shown = Table("column", "type", "meaning", title=name)
        for column in listed:
            shown.add_row(column.name, escape(column.type), escape(column.meaning))
        Console().print(shown)


def _wanted(
    field_strength: str | None,
    acceleration: str | None,
    coils: str | None,
    vendor: str | None,
    method: str | None,
    month: str | None,
    where: list[str] | None,
    label: str | None,
    worst: str | None,
    best: str | None,
    like: str | None,
    limit: int | None,
) -> "Wanted":
    _require_installed()
    from raki.catalogue.finding import Wanted

    named = {
        "field_strength_t": field_strength,
        "acceleration": acceleration,
        "n_coils": coils,
        "vendor": vendor,
        "method": method,
        "month": month,
    }
    conditions = {name: value for name, value in named.items() if value is not None}
    for each in where or ():
        name, equals, value = each.partition("=")
        if not equals:
            raise typer.BadParameter(f"--where is '{each}'; write COLUMN=CONDITION, as 'snr_median=>=20'")
        conditions[name.strip()] = value
    return Wanted(columns=conditions, label=label, worst=worst, best=best, like=_image(like), limit=limit)


def _image(like: str | None) -> tuple[str, int] | None:
    if like is None:
        return None
    scan_id, _, image = like.rpartition(":")
    if not scan_id or not image.isdecimal():
        raise typer.BadParameter(f"--like is '{like}'; write SCAN:IMAGE, the scan's id and the image's number")
    return scan_id, int(image)


def _shown(wanted: "Wanted") -> list[str]:
    asked = [*wanted.columns, *(each for each in (wanted.worst, wanted.best) if each)]
    return list(dict.fromkeys([*COLUMNS_SHOWN, *asked, *(["distance"] if wanted.like else [])]))


@contextmanager
def _opened(results: str) -> "Iterator[Catalogue]":
    _require_installed()
    import raki.catalogue

    with raki.catalogue.open(results) as opened:
        _name_damaged(opened.damaged)
        yield opened


def _require_installed() -> None:
    missing = [name for name in ("duckdb", "pyarrow") if find_spec(name) is None]
    if missing:
        raise NotInstalled(f"the catalogue needs {' and '.join(missing)}: pip install 'raki-mri[catalogue]'")


def _name_damaged(damaged: Any) -> None:
    for path, why in sorted(damaged.items()):
        CONSOLE.print(f"{escape(plain(path))} is passed over: it {escape(plain(why))}", highlight=False, soft_wrap=True)


def _say(found: "pa.Table", *, as_json: bool, columns: list[str] | None = None) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_pylist(), indent=2, default=str))
        return
    shown = found if columns is None else found.select(columns)
    table = Table(*(escape(name) for name in shown.column_names))
    for row in shown.slice(0, ROWS_SHOWN).to_pylist():
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    # Nothing is cut where the output goes on to a program.
    Console(width=None if sys.stdout.isatty() else 40 * max(1, shown.num_columns)).print(table)
    if shown.num_rows > ROWS_SHOWN:
        typer.echo(f"{shown.num_rows} rows; the first {ROWS_SHOWN} are shown. --json has all.")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return plain(str(value), 100)


def _write(cohort: "pa.Table", target: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    from raki.whole_file import whole_file

    with whole_file(target) as part:
        if target.suffix == Format.PARQUET:
            pq.write_table(cohort, part, compression="zstd")
            return
        flat = [
            pa.array([None if cell is None else json.dumps(cell) for cell in column.to_pylist()], pa.string())
            if pa.types.is_nested(column.type)
            else column
            for column in cohort.columns
        ]
        pyarrow.csv.write_csv(pa.table(dict(zip(cohort.column_names, flat, strict=True))), part)
