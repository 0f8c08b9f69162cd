"""Rows that lie beside results, taken into one Parquet file a month: a result that was made again is there once."""

import fcntl
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raki.catalogue.errors import NoCatalogue
from raki.catalogue.index import FOLDER, Absorbed, Index, Survey, survey, write_index
from raki.catalogue.rows import LABELS, SLICES, Rows, read_rows
from raki.catalogue.tables import NO_EXTENSIONS, readable_parquet
from raki.whole_file import whole_file

ROWS_IN_A_GROUP = 100_000
"""Of Parquet: what is read at once, or passed over by its least and largest values."""


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """What a compaction did."""

    n_results: int
    """Whose rows were taken in."""
    n_gone: int
    """Whose rows were taken out: made again since, or no longer there."""
    n_parts: int
    n_bytes: int
    """Of all parts there are now."""
    damaged: Mapping[str, str]
    """Path -> what is wrong with it, as the end of a sentence: it was passed over."""


@dataclass(frozen=True, kw_only=True)
class FolderCompacted:
    """What a compaction did, and what it leaves behind for whoever keeps the folder's copy elsewhere."""

    compacted: Compacted
    before: Index
    after: Index
    merged: Mapping[str, Sequence[str]]
    """Of files of labels: the new one -> those that it took the place of; paths in the catalogue's folder."""


def compact_folder(root: Path, *, mark: str = "") -> FolderCompacted:
    """Takes all rows that lie beside results, and aren't yet, into the catalogue of a folder.

    Of two at the same time in one folder the second waits.

    Args:
        mark: is in the names of new parts, beside a digest of their content.

    Raises:
        NoCatalogue: there is no such folder.
    """
    if not root.is_dir():
        raise NoCatalogue(f"there is no folder '{root}'; a catalogue is of a folder of results")
    with _alone(root):
        found = survey(root)
        before = found.index
        old, damaged = readable_parquet([root / FOLDER / part for part in before.parts], SLICES)
        if before.is_damaged or damaged:  # all of it again, from the rows beside the results
            old, found = [], Survey(Index(), found.standing)
        fresh = read_rows(root, found.fresh)
        parts = _write_parts(root, old, fresh, out=found.gone | set(fresh.result_of.values()), mark=mark)
        after = Index(parts=tuple(parts), absorbed=_absorbed(found, fresh))
        write_index(root, after)
        _remove_others(root, parts)
        merged, bad_labels = _merge_labels(root)
    compacted = Compacted(
        n_results=len(set(fresh.result_of.values())),
        n_gone=len(found.gone),
        n_parts=len(parts),
        n_bytes=sum((root / FOLDER / part).stat().st_size for part in parts),
        damaged={
            **fresh.damaged,
            **{path.relative_to(root).as_posix(): why for path, why in (damaged | bad_labels).items()},
        },
    )
    return FolderCompacted(compacted=compacted, before=before, after=after, merged=merged)


def _absorbed(found: Survey, fresh: Rows) -> dict[str, Absorbed]:
    """Which rows the parts now hold: those that they held and that still stand so, and those that were fresh."""
    held = {path: each for path, each in found.index.absorbed.items() if found.standing.get(path) == each.state}
    return held | {path: Absorbed(state=found.standing[path], result_id=each) for path, each in fresh.result_of.items()}


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    (root / FOLDER).mkdir(exist_ok=True)
    with (root / FOLDER / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_parts(root: Path, old: list[Path], fresh: Rows, *, out: Collection[str], mark: str) -> list[str]:
    """The parts that there are to be, as paths in the catalogue's folder; months that nothing changes stay as they are.

    Args:
        out: results whose rows go out of the old parts.
    """
    months = pc.utf8_slice_codeunits(fresh.table.column("created_utc"), 0, 7)
    changed = set(months.unique().to_pylist())
    by_month: dict[str, list[Path]] = {}
    for part in old:
        by_month.setdefault(part.parent.name.removeprefix("month="), []).append(part)
    with TemporaryDirectory(prefix="raki-catalogue-") as spill:
        connection = duckdb.connect(":memory:", config={**NO_EXTENSIONS, "temp_directory": spill})
        connection.register("going", pa.table({"result_id": pa.array(sorted(out), pa.string())}))
        for month, files in by_month.items():
            if month not in changed and _holds_any(connection, files):
                changed.add(month)
        kept = [part.relative_to(root / FOLDER).as_posix() for part in old]
        kept = [part for part in kept if part.split("/")[1].removeprefix("month=") not in changed]
        connection.register("no_slices", SLICES.empty_table())
        for month in sorted(changed):
            connection.register("incoming", fresh.table.filter(pc.equal(months, month)))
            if written := _write_part(connection, root, month, by_month.get(month, []), mark):
                kept.append(written)
        connection.close()
    return sorted(kept)


def _holds_any(connection: duckdb.DuckDBPyConnection, files: list[Path]) -> bool:
    found = connection.execute(
        "SELECT 1 FROM read_parquet(?, hive_partitioning = false) WHERE result_id IN (FROM going) LIMIT 1",
        [[str(file) for file in files]],
    )
    return bool(found.fetchall())


def _write_part(
    connection: duckdb.DuckDBPyConnection, root: Path, month: str, old: list[Path], mark: str
) -> str | None:
    """One file of a month's rows, called after its content; None where no row is left."""
    folder = root / FOLDER / "slices" / f"month={month}"
    folder.mkdir(parents=True, exist_ok=True)
    before = "SELECT * FROM read_parquet($old, union_by_name = true, hive_partitioning = false)"
    kept = f"UNION ALL BY NAME {before} WHERE result_id NOT IN (FROM going)" if old else ""
    rows = f"SELECT * FROM no_slices UNION ALL BY NAME SELECT * FROM incoming {kept} ORDER BY result_id, image"
    with whole_file(folder / "new.parquet") as room:
        parameters = {"old": [str(file) for file in old]} if old else {}
        connection.execute(
            f"COPY ({rows}) TO '{str(room).replace(chr(39), chr(39) * 2)}' "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_IN_A_GROUP})",
            parameters,
        )
        n_rows = pq.read_metadata(room).num_rows
        with room.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    name = folder / f"{digest[:24]}{mark}.parquet"
    (folder / "new.parquet").replace(name)
    if n_rows == 0:
        name.unlink()
        return None
    return name.relative_to(root / FOLDER).as_posix()


def _remove_others(root: Path, parts: Collection[str]) -> None:
    for file in (root / FOLDER).glob("slices/*/*.parquet"):
        if file.relative_to(root / FOLDER).as_posix() not in parts:
            file.unlink()


def _merge_labels(root: Path) -> tuple[dict[str, list[str]], dict[Path, str]]:
    """The labels of a month into one file: the new one -> those before it; and what is wrong with which.

    One that is killed leaves some labels twice, which by their ids are one.
    """
    merged: dict[str, list[str]] = {}
    bad: dict[Path, str] = {}
    for folder in sorted((root / FOLDER).glob("labels/month=*")):
        files, damaged = readable_parquet(sorted(folder.glob("*.parquet")), LABELS)
        bad |= damaged
        if len(files) > 1:
            one = write_labels(pa.concat_tables([pq.read_table(file, partitioning=None) for file in files]), folder)
            others = [file for file in files if file != one]
            for file in others:
                file.unlink(missing_ok=True)
            merged[_key(root, one)] = [_key(root, file) for file in others]
    return merged, bad


def _key(root: Path, file: Path) -> str:
    return file.relative_to(root / FOLDER).as_posix()


def write_labels(table: pa.Table, folder: Path) -> Path:
    """A file of labels, each once, called after its content, so that none is written over by another."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {row["label_id"]: row for row in table.to_pylist()}
    ordered = sorted(rows.values(), key=lambda row: (row["made_utc"], row["label_id"]))
    digest = hashlib.sha256("\n".join(row["label_id"] for row in ordered).encode()).hexdigest()
    path = folder / f"{digest[:24]}.parquet"
    with whole_file(path) as part:
        pq.write_table(pa.Table.from_pylist(ordered, schema=LABELS), part, compression="zstd")
    return path
