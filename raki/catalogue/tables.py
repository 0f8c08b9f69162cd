"""The catalogue's tables in a DuckDB that reads its files and nothing else, and writes nothing.

`slices` (a row an image), `scans` (a row a scan), `labels` (all that was ever said) and `labels_now` (what holds of
it). The files that compaction left are read when they are asked; rows that it hasn't taken in lie in memory.

Raasveldt and Mühleisen 2019, SIGMOD, doi:10.1145/3299869.3320212 (DuckDB).
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from raki.catalogue.rows import LABELS, SLICES
from raki.catalogue.schema import COLUMNS, LABEL_COLUMNS, SCAN_COLUMNS, Column

NO_EXTENSIONS = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}

LABELS_NOW = """
    CREATE VIEW labels_now AS
    SELECT * EXCLUDE (rank) FROM (
        SELECT *, row_number() OVER (
            PARTITION BY scan_id, image, label, made_by, mask_sha256 ORDER BY made_utc DESC, label_id DESC
        ) AS rank FROM labels
    ) WHERE rank = 1 AND value IS NOT NULL
"""


def connect(
    *, parts: Sequence[Path], fresh: pa.Table, superseded: Sequence[str], labels: Sequence[Path], within: Path
) -> duckdb.DuckDBPyConnection:
    """A connection that reads these files alone, and can't be told otherwise.

    Args:
        parts: of the table of slices, as compaction left them.
        superseded: results whose rows in the parts don't count.
        within: the folder in which DuckDB may keep what doesn't fit into memory.
    """
    connection = duckdb.connect(":memory:", config=NO_EXTENSIONS)
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("fresh", fresh)
    connection.register("no_slices", SLICES.empty_table())
    connection.register("no_labels", LABELS.empty_table())
    connection.register("superseded", pa.table({"result_id": pa.array(superseded, pa.string())}))
    files = [str(file) for file in (*parts, *labels)]
    connection.execute(f"SET allowed_paths = [{', '.join(map(_text, files))}]")
    where = "WHERE result_id NOT IN (SELECT result_id FROM superseded)" if superseded else ""
    compacted = f"UNION ALL BY NAME SELECT * FROM {_parquet(parts)} {where}" if parts else ""
    connection.execute(
        f"CREATE VIEW slices AS SELECT {_names(COLUMNS)}, substr(created_utc, 1, 7) AS month FROM "
        f"(SELECT * FROM no_slices UNION ALL BY NAME SELECT * FROM fresh {compacted})"
    )
    connection.execute(f"CREATE VIEW scans AS SELECT {_names(SCAN_COLUMNS)}, month FROM slices WHERE image = 0")
    said = f"UNION ALL BY NAME SELECT DISTINCT ON (label_id) * FROM {_parquet(labels)}" if labels else ""
    connection.execute(f"CREATE VIEW labels AS SELECT {_names(LABEL_COLUMNS)} FROM (SELECT * FROM no_labels {said})")
    connection.execute(LABELS_NOW)
    connection.execute(f"SET temp_directory = {_text(str(within))}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def readable_parquet(files: Sequence[Path], schema: pa.Schema) -> tuple[list[Path], dict[Path, str]]:
    """The files whose ends say what they hold, and what is wrong with the others."""
    good, damaged = [], {}
    for file in files:
        try:
            held = pq.read_schema(file)
            known = [name for name in held.names if name in schema.names]
            other = [name for name in known if not _is_same_kind(held.field(name).type, schema.field(name).type)]
            if other:
                damaged[file] = f"has a column of another kind: {', '.join(other)}"
            else:
                good.append(file)
        except (OSError, pa.ArrowException):
            damaged[file] = "is no Parquet, or cut short"
    return good, damaged


def _is_same_kind(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether types are the same but for how the elements of a list are called."""
    if pa.types.is_list(one) and pa.types.is_list(other):
        return bool(one.value_type == other.value_type)
    return bool(one == other)


def _parquet(files: Sequence[Path]) -> str:
    listed = ", ".join(_text(str(file)) for file in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(
        f'CAST("{column.name}" AS FLOAT[32]) AS "{column.name}"' if column.type == "FLOAT[32]" else f'"{column.name}"'
        for column in columns
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
