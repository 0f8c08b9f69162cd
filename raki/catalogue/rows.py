"""Rows that lie beside results, read and held against the schema: what is damaged is named and passed over."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from raki.catalogue.schema import COLUMNS, LABEL_COLUMNS, SCHEMA, Column

LARGEST_BYTES = 1 << 30
"""A scan of 100 000 images has a quarter of this."""
ROWS_AT_ONCE = 5000
"""As objects of Python: some 50 MB."""

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
    """The rows at these paths. Of a result that lies in several places the newest count, alone.

    As objects of Python rows take many times their bytes: only some files are so at once.
    """
    damaged: dict[str, str] = {}
    files: list[tuple[str, str, str, int]] = []
    tables = [SLICES.empty_table()]
    for some in _some_at_once(_readable(root, paths, damaged)):
        held, table = _in_one(some, damaged)
        files += [(held[path][0]["created_utc"], path, held[path][0]["result_id"], len(held[path])) for path in held]
        tables.append(table)
    newest = {result: path for _, path, result, _ in sorted(files)}
    counts = [newest[result] == path for _, path, result, _ in files]
    rows_count = pa.array(np.repeat(np.array(counts, bool), [n_rows for *_, n_rows in files]))
    return Rows(
        table=pa.concat_tables(tables).filter(rows_count),
        result_of={path: result for _, path, result, _ in files},
        damaged=damaged,
    )


def _readable(root: Path, paths: Iterable[str], damaged: dict[str, str]) -> Iterator[tuple[str, list[Row]]]:
    for path in paths:
        try:
            yield path, _rows_of_one(root / path)
        except ValueError as error:
            damaged[path] = str(error)
        except OSError as error:
            damaged[path] = f"can't be read ({error.strerror})"


def _some_at_once(files: Iterable[tuple[str, list[Row]]]) -> Iterator[dict[str, list[Row]]]:
    some: dict[str, list[Row]] = {}
    n_rows = 0
    for path, rows in files:
        some[path] = rows
        n_rows += len(rows)
        if n_rows >= ROWS_AT_ONCE:
            yield some
            some, n_rows = {}, 0
    yield some


def _in_one(some: Mapping[str, list[Row]], damaged: dict[str, str]) -> tuple[Mapping[str, list[Row]], pa.Table]:
    """A table of the files whose values are of their columns' kinds; which aren't is looked for only where some are."""
    try:
        return some, _table(itertools.chain.from_iterable(some.values()))
    except _OTHER_KIND:
        good, tables = {}, [SLICES.empty_table()]
        for path, rows in some.items():
            try:
                tables.append(_table(rows))
                good[path] = rows
            except _OTHER_KIND:
                damaged[path] = "holds a value of another kind than its column"
        return good, pa.concat_tables(tables)


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


def _table(rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SLICES)
