"""A catalogue, opened: questions in SQL or by name, answers as Arrow or pandas."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from raki.catalogue.errors import NoCatalogue, QueryRefused
from raki.catalogue.finding import Wanted
from raki.catalogue.index import FOLDER, Survey, read_index, survey
from raki.catalogue.mirror import copied
from raki.catalogue.rows import LABELS, SLICES, read_rows
from raki.catalogue.schema import OUTSIDE
from raki.catalogue.tables import connect, readable_parquet
from raki.wording import plain

OPENED_AT_MOST = 8
"""Times, one after the other: each time a compaction came between."""


class Catalogue:
    """What is known of the images in a folder of results, as of the moment when it was opened.

    Where a compaction has taken files away since that it reads, it is opened anew by the next question: what is known
    then is as of that moment.

    >>> import raki.catalogue
    >>> with raki.catalogue.open("results") as catalogue:  # doctest: +SKIP
    ...     catalogue.query("SELECT count(*) FROM slices WHERE acceleration >= 4").to_pylist()
    """

    def __init__(self, root: Path) -> None:
        """Looks through the folder.

        Raises:
            NoCatalogue: there is none, or it changes faster than it can be read.
        """
        if not root.is_dir():
            raise NoCatalogue(f"there is no folder '{root}'; a catalogue is of a folder of results")
        self.root = root.resolve()
        self._spill = TemporaryDirectory(prefix="raki-catalogue-")
        self._open()

    def _open(self) -> None:
        """Reads what there is; again, where a compaction took files away between two looks."""
        for _ in range(OPENED_AT_MOST):
            found = survey(self.root)
            labels = self._label_files()
            with suppress(duckdb.IOException):  # a file that was there a moment ago
                self._read(found, labels)
                if read_index(self.root).parts == found.index.parts and set(labels) <= set(self._label_files()):
                    return
        raise NoCatalogue(f"the catalogue in '{self.root}' changes faster than it can be read; try again")

    def _read(self, found: Survey, all_labels: Sequence[Path]) -> None:
        fresh = read_rows(self.root, found.standing if found.index.is_damaged else found.fresh)
        parts, bad_parts = readable_parquet([self._inside(part) for part in found.index.parts], SLICES)
        if bad_parts:  # the rows in it still lie beside their results
            fresh = read_rows(self.root, found.standing)
            parts = []
        labels, bad_labels = readable_parquet(all_labels, LABELS)
        self.damaged: Mapping[str, str] = {
            **fresh.damaged,
            **{path.relative_to(self.root).as_posix(): why for path, why in (bad_parts | bad_labels).items()},
            **({f"{FOLDER}/index.json": "can't be read"} if found.index.is_damaged else {}),
        }
        """Path -> what is wrong with it, as the end of a sentence: it is passed over."""
        self._places = {result: path.rpartition("/")[0] for path, result in fresh.result_of.items()}
        self._places |= {
            each.result_id: path.rpartition("/")[0]
            for path, each in found.index.absorbed.items()
            if found.standing.get(path) == each.state
        }
        self._files = [*parts, *labels]
        superseded = sorted({*found.gone, *fresh.result_of.values()}) if parts else []
        self._connection = connect(
            parts=parts, fresh=fresh.table, superseded=superseded, labels=labels, within=Path(self._spill.name)
        )

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pa.Table:
        """The answer to one SELECT on the tables `slices`, `scans`, `labels` and `labels_now`.

        Raises:
            QueryRefused: it isn't one, or can't be answered; the sentence has DuckDB's words.
        """
        for _ in range(OPENED_AT_MOST):
            try:
                return self._answer(sql, parameters)
            except duckdb.Error as error:
                if all(map(Path.exists, self._files)):
                    words = plain(str(error).partition("LINE 1")[0].partition("\n\n")[0], 300)
                    raise QueryRefused(f"the catalogue can't answer that: {words}") from None
            self._connection.close()
            self._open()
        raise QueryRefused("the catalogue can't answer that: it changes faster than it can be read; ask again")

    def _answer(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> pa.Table:
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise QueryRefused("a question to the catalogue is one SELECT; this is something else")
        self._connection.execute("BEGIN TRANSACTION READ ONLY")
        try:
            return self._connection.sql(statements[0], params=parameters).to_arrow_table()
        finally:
            self._connection.execute("ROLLBACK")

    def find(self, wanted: Wanted | None = None, **conditions: Any) -> pa.Table:
        """The images that meet all conditions: rows of `slices`, with the distance where `like` was asked for.

        Args:
            conditions: as the options of `raki catalogue find` are called, `field_strength_t=3`, `acceleration=">=4"`,
                `label="motion"`, `worst="standard_error"`, `limit=100`.

        Raises:
            QueryRefused: a column that there isn't, or a condition that is none.
        """
        sql, parameters = (wanted or Wanted.of(conditions)).sql()
        return self.query(sql, parameters)

    def folder_of(self, result_id: str) -> Path | None:
        """Where a result's files lie; None where the folder doesn't have them. It stands in no table: a site's folders
        may be called after patients."""
        place = self._places.get(result_id)
        return None if place is None else self.root / place

    def cohort(self, wanted: Wanted | None = None, **conditions: Any) -> pa.Table:
        """What `find` finds, with what `raki.catalogue.stream` needs: where each image lies and what is said of it.

        Added are `folder` (in the folder of results), `prepared_key` (in the service's prepared bucket, as long as it
        is kept there) and `labels`: label=value, of the image or its scan, those that hold.
        """
        found = self.find(wanted, **conditions)
        said = self.query("SELECT scan_id, image, label, value FROM labels_now ORDER BY ALL").to_pylist()
        by_place: dict[tuple[str, int | None], list[str]] = {}
        for each in said:
            by_place.setdefault((each["scan_id"], each["image"]), []).append(f"{each['label']}={each['value']}")
        keys = list(zip(found.column("scan_id").to_pylist(), found.column("image").to_pylist(), strict=True))
        labels = [[*by_place.get((scan, None), ()), *by_place.get((scan, image), ())] for scan, image in keys]
        folders = [self._places.get(result) for result in found.column("result_id").to_pylist()]
        return (
            found.append_column("folder", pa.array(folders, pa.string()))
            .append_column("prepared_key", pa.array([_prepared_key(scan) for scan, _ in keys], pa.string()))
            .append_column("labels", pa.array(labels, pa.list_(pa.string())))
        )

    def close(self) -> None:
        """Lets go of the files."""
        self._connection.close()
        self._spill.cleanup()

    def __enter__(self) -> "Catalogue":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _label_files(self) -> list[Path]:
        return sorted((self.root / FOLDER).glob("labels/*/*.parquet"))

    def _inside(self, part: str) -> Path:
        return self.root / FOLDER / part


def _prepared_key(scan_id: str) -> str | None:
    """As the service calls it; a scan that it never saw has none."""
    return None if scan_id.startswith(OUTSIDE) else f"scans/{scan_id}.h5"


def open_catalogue(place: str | Path) -> Catalogue:
    """Opens the catalogue of a folder of results, or of a bucket's (`s3://bucket/prefix`).

    Of a bucket the rows, parts and labels are kept on the local disk and brought up to date: what has not changed is
    not read again.

    Raises:
        NoCatalogue: there is no such folder or bucket.
    """
    if not str(place).startswith("s3://"):
        return Catalogue(Path(place))
    with copied(place) as copy:
        return Catalogue(copy.root)
