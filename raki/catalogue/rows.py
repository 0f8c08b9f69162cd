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

_OTHER_KIND = (pa.ArrowException, TypeError, ValueError, OverflowError)
Row = dict[str, Any]

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
    found: dict[str, list[Row]] = {}
    damaged: dict[str, str] = {}
    for path in paths:
        try:
            found[path] = _rows_of_one(root / path)
        except ValueError as error:
            damaged[path] = str(error)
        except OSError as error:
            damaged[path] = f"can't be read ({error.strerror})"
    try:
        return _of_newest(found, damaged)
    except _OTHER_KIND:  # in some of them: which, is looked for only then, for it takes several times as long
        for path, rows in list(found.items()):
            try:
                _table(rows)
            except _OTHER_KIND:
                damaged[path] = "holds a value of another kind than its column"
                del found[path]
        return _of_newest(found, damaged)


def _of_newest(found: Mapping[str, list[Row]], damaged: Mapping[str, str]) -> Rows:
    result_of = {path: rows[0]["result_id"] for path, rows in found.items()}
    newest: dict[str, str] = {}
    for path in sorted(found, key=lambda path: (found[path][0]["created_utc"], path)):
        newest[result_of[path]] = path
    table = _table([row for path in sorted(newest.values()) for row in found[path]])
    # What doesn't count has to be right all the same: it is taken for one that does when the other goes.
    _table([found[path][0] for path in found if newest[result_of[path]] != path])
    return Rows(table=table, result_of=result_of, damaged=damaged)


def _rows_of_one(path: Path) -> list[Row]:
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
    _require_one_result(rows)
    return rows


def _require_one_result(rows: Sequence[Row]) -> None:
    names, counts = ("result_id", "scan_id", "created_utc"), ("n_slices", "n_frames")
    first: dict[str, Any] = {name: rows[0].get(name) for name in (*names, *counts)}
    is_told = all(isinstance(first[name], str) for name in names) and all(type(first[name]) is int for name in counts)
    if not is_told or not MONTH.match(first["created_utc"]):
        raise ValueError("holds a row that says not which result it is of, or when it was made")
    if any(row.get(name) != value for row in rows for name, value in first.items()):
        raise ValueError("holds rows of several results")
    if [row.get("image") for row in rows] != list(range(first["n_slices"] * first["n_frames"])):
        raise ValueError("has not one row for each image")


def _table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SLICES)
