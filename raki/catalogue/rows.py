"""Rows that lie beside results, read and held against the schema: what is damaged is named and passed over."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from raki.catalogue.schema import COLUMNS, LABEL_COLUMNS, SCHEMA, Column

LARGEST_BYTES = 1 << 30
"""A scan of 100 000 images has a quarter of this."""

_ARROW = {
    "VARCHAR": pa.string(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR[]": pa.list_(pa.string()),
    "DOUBLE[]": pa.list_(pa.float64()),
    "FLOAT[32]": pa.list_(pa.float32()),
}

MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-")
"""How a date begins: its month names a folder."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of several results, one result once."""

    table: pa.Table
    result_of: Mapping[str, str]
    """Path -> the result whose rows lie there."""
    damaged: Mapping[str, str]
    """Path -> what is wrong with it, as the end of a sentence."""


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The types of a table's columns."""
    return pa.schema([(column.name, _ARROW[column.type]) for column in columns])


SLICES = arrow_schema(COLUMNS)
LABELS = arrow_schema(LABEL_COLUMNS)


def read_rows(root: Path, paths: Iterable[str]) -> Rows:
    """The rows at these paths. Of a result that lies in several places the newest count, alone."""
    found: dict[str, pa.Table] = {}
    damaged: dict[str, str] = {}
    for path in paths:
        try:
            found[path] = _rows_of_one(root / path)
        except ValueError as error:
            damaged[path] = str(error)
        except OSError as error:
            damaged[path] = f"can't be read ({error.strerror})"
    result_of = {path: _first(table, "result_id") for path, table in found.items()}
    newest: dict[str, str] = {}
    for path in sorted(found, key=lambda path: (_first(found[path], "created_utc"), path)):
        newest[result_of[path]] = path
    tables = [found[path] for path in sorted(newest.values())]
    table = pa.concat_tables([SLICES.empty_table(), *tables]).combine_chunks()
    return Rows(table=table, result_of=result_of, damaged=damaged)


def _rows_of_one(path: Path) -> pa.Table:
    """Raises ValueError, with the reason, where they are not as raki wrote them, all of them."""
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError("is larger than the rows of any scan")
    try:
        text = path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
    except (ValueError, RecursionError):
        raise ValueError("holds a line that is no JSON") from None
    if not rows or not text.endswith("\n"):
        raise ValueError("is empty or cut short")
    if not all(isinstance(row, dict) and row.get("schema") == SCHEMA for row in rows):
        raise ValueError(f"holds a line that is no row of {SCHEMA}")
    try:
        table = pa.Table.from_pylist(rows, schema=SLICES)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise ValueError("holds a value of another kind than its column") from None
    _require_one_result(table)
    return table


def _require_one_result(table: pa.Table) -> None:
    needed = ("result_id", "scan_id", "created_utc", "n_slices", "n_frames")
    first = {name: _first(table, name) for name in needed}
    if any(value is None for value in first.values()) or not MONTH.match(first["created_utc"]):
        raise ValueError("holds a row that says not which result it is of, or when it was made")
    if any(set(table.column(name).to_pylist()) != {value} for name, value in first.items()):
        raise ValueError("holds rows of several results")
    if table.column("image").to_pylist() != list(range(first["n_slices"] * first["n_frames"])):
        raise ValueError("has not one row for each image")


def _first(table: pa.Table, name: str) -> Any:
    return table.column(name)[0].as_py()
