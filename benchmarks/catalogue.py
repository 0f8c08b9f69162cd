"""A catalogue of many images: how large it is, how soon it answers, and whether a training waits for what it finds."""

import json
import resource
import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import duckdb
import h5py
import numpy as np
import pyarrow as pa
import typer
from rich.table import Table

import raki
import raki.catalogue
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.catalogue import streaming
from raki.catalogue.index import FOLDER, Index, write_index
from raki.catalogue.rows import SLICES
from raki.catalogue.schema import COLUMNS, ROWS_FILE
from raki.catalogue.staging import Folder
from raki.manifest import MANIFEST
from raki.results import Source

SLICES_OF_A_SCAN = 30
MONTHS = [f"{year}-{month:02d}" for year in (2024, 2025) for month in range(1, 13)]
QUESTIONS = {
    "count": "SELECT count(*) FROM slices",
    "one scan": "SELECT * FROM slices WHERE scan_id = 'scan-7'",
    "worst 100 at 3 T, R of 4 and more": (
        "SELECT scan_id, image, standard_error FROM slices WHERE field_strength_t BETWEEN 2.85 AND 3.15 "
        "AND acceleration >= 4 ORDER BY standard_error DESC LIMIT 100"
    ),
    "means by R and field": (
        "SELECT acceleration, field_strength_t, count(*), avg(standard_error) FROM slices GROUP BY ALL ORDER BY ALL"
    ),
    "100 most alike": (
        "SELECT scan_id, image FROM slices ORDER BY array_inner_product(embedding, (SELECT first(embedding) "
        "FROM slices WHERE scan_id = 'scan-7' AND image = 3)) DESC LIMIT 100"
    ),
}
WAIT_S, MB_PER_S = 0.03, 60.0
"""A store that answers late: of each file, its first byte, and then its rate."""


def catalogue(
    rows: Annotated[
        int, typer.Option(min=1000, help="Images that the catalogue has already; 18000000: a large site.")
    ] = (60_000),
    scans: Annotated[int, typer.Option(min=10, help="Small scans that are delivered to it then.")] = 1000,
    files: Annotated[int, typer.Option(min=4, help="Scans of a cohort that is trained on.")] = 24,
    seed: int = 0,
    output: Output = RESULTS,
) -> None:
    """Load, compaction, size, answers and memory; delivery; and reading a cohort from a slow store."""
    with TemporaryDirectory(prefix="raki-benchmark-") as scratch:
        template = _template(Path(scratch))
        facts: dict[str, Any] = {"n_rows": rows, **_answers(Path(scratch) / "large", template, rows, seed)}
        facts |= _delivery(Path(scratch) / "large", template, scans)
        facts |= {"stream": _streaming(Path(scratch) / "cohort", template, files)}
    facts["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _show(facts)
    write_record(output, "catalogue", facts)


def _template(folder: Path) -> list[dict[str, Any]]:
    """The rows of a real result."""
    raki.simulate_scan(folder / "scan.h5", n_slices=2, n_coils=6, matrix=64, acceleration=3, n_acs_lines=20)
    result = raki.reconstruct(raki.preprocess(raki.read_scan(folder / "scan.h5")), device="cpu")
    raki.write_results(result, folder / "out", source=Source.of(folder / "scan.h5"))
    return [json.loads(line) for line in (folder / "out" / ROWS_FILE).read_text().splitlines()]


def _answers(root: Path, template: list[dict[str, Any]], n_rows: int, seed: int) -> dict[str, Any]:
    """Makes the catalogue as compactions would have left it, and asks."""
    began = time.perf_counter()
    parts = list(_made_up(root, template[0], n_rows, seed))
    write_index(root, Index(parts=tuple(parts)))
    made_s = time.perf_counter() - began
    began = time.perf_counter()
    questions: dict[str, dict[str, float]] = {}
    with raki.catalogue.open(root) as opened:
        opened_s = time.perf_counter() - began
        if opened.damaged or opened.query("SELECT count(*) AS n FROM slices").to_pylist() != [{"n": n_rows}]:
            raise RuntimeError(f"the catalogue is not as it was made up: {dict(opened.damaged)}")
        for name, sql in QUESTIONS.items():
            seconds = []
            for _ in range(4):
                began = time.perf_counter()
                opened.query(sql)
                seconds.append(time.perf_counter() - began)
            questions[name] = {"first_s": seconds[0], "again_s": min(seconds[1:])}
    n_bytes = sum((root / FOLDER / part).stat().st_size for part in parts)
    return {"made_s": made_s, "opened_s": opened_s, "n_parts": len(parts), "n_bytes": n_bytes, "questions": questions}


def _made_up(root: Path, row: dict[str, Any], n_rows: int, seed: int) -> Iterator[str]:
    """A file for each month, of rows that differ in what is asked for. Embeddings are noise: nothing is smaller."""
    connection = duckdb.connect(":memory:")
    connection.execute(f"SELECT setseed({(seed % 100) / 100})").fetchall()
    connection.register("template", pa.Table.from_pylist([row], schema=SLICES))
    changed = {
        "result_id": f"'scan-' || (number // {SLICES_OF_A_SCAN})",
        "scan_id": f"'scan-' || (number // {SLICES_OF_A_SCAN})",
        "raw_sha256": f"sha256((number // {SLICES_OF_A_SCAN})::VARCHAR)",
        "image": f"(number % {SLICES_OF_A_SCAN})::INTEGER",
        "slice": f"(number % {SLICES_OF_A_SCAN})::INTEGER",
        "n_slices": str(SLICES_OF_A_SCAN),
        "acceleration": f"(1 + (number // {SLICES_OF_A_SCAN}) % 6)::INTEGER",
        "field_strength_t": f"CASE WHEN (number // {SLICES_OF_A_SCAN}) % 3 = 0 THEN 1.494 ELSE 2.89 END",
        **dict.fromkeys(("standard_error", "held_out_error", "g_factor_median", "g_factor_99"), "random()"),
        **dict.fromkeys(("standard_error_median", "standard_error_99", "snr_median", "mean"), "random()"),
        "embedding": "list_transform(range(32), lambda x: (random() - 0.5)::FLOAT + 0 * number)",
    }
    for index, month in enumerate(MONTHS):
        first, end = (n_rows * edge // len(MONTHS) for edge in (index, index + 1))
        folder = root / FOLDER / "slices" / f"month={month}"
        folder.mkdir(parents=True, exist_ok=True)
        values = changed | {"created_utc": f"'{month}-01T00:00:00+00:00'"}
        chosen = ", ".join(
            f"CAST({values.get(column.name, _quoted(column.name))} AS {column.type.replace('32', '')}) "
            f"AS {_quoted(column.name)}"
            for column in COLUMNS
        )
        connection.execute(
            f"COPY (SELECT {chosen} FROM range({first}, {end}) AS r(number), template) TO '{folder / 'made.parquet'}' "
            "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 100000)"
        )
        yield f"slices/month={month}/made.parquet"
    connection.close()


def _quoted(name: str) -> str:
    return f'"{name}"'


def _delivery(root: Path, template: list[dict[str, Any]], n_scans: int) -> dict[str, Any]:
    """Scans come one after the other; now and then it is asked how many there are, from nothing."""
    counts, waits = [], []
    with raki.catalogue.open(root) as opened:
        before = opened.query("SELECT count(*) AS n FROM scans").to_pylist()[0]["n"]
    for number in range(n_scans):
        _deliver(root / f"s{number % 10}/scan{number}", template, f"new-{number}")
        if (number + 1) % (n_scans // 5) == 0:
            delivered = time.perf_counter()
            counts.append(_n_scans(root) - before == number + 1)
            waits.append(time.perf_counter() - delivered)
    began = time.perf_counter()
    done = raki.catalogue.compact(root)
    compacted_s = time.perf_counter() - began
    for number in range(0, n_scans, 10):
        _deliver(root / f"s{number % 10}/scan{number}", template, f"new-{number}", acceleration=99)
    at_once = _n_scans(root) - before
    began = time.perf_counter()
    again = raki.catalogue.compact(root)
    return {
        "n_delivered": n_scans,
        "answered_s": waits,
        "all_counted": all(counts),
        "compacted_s": compacted_s,
        "n_compacted": done.n_results,
        "again_compacted_s": time.perf_counter() - began,
        "n_again": again.n_results,
        "n_scans_after_a_rerun": [at_once, _n_scans(root) - before],
    }


def _n_scans(root: Path) -> int:
    with raki.catalogue.open(root) as opened:
        return int(opened.query("SELECT count(*) AS n FROM scans").to_pylist()[0]["n"])


def _deliver(folder: Path, template: list[dict[str, Any]], scan_id: str, **changes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    told = {"result_id": scan_id, "scan_id": scan_id, **changes}
    (folder / ROWS_FILE).write_text("".join(json.dumps({**row, **told}) + "\n" for row in template))
    (folder / MANIFEST).write_text("{}")


class SlowFolder(Folder):
    """A folder that answers as late as a store far away."""

    def fetch(self, key: str, target: Path) -> None:
        """Copies a file, and takes its time."""
        time.sleep(WAIT_S + self.n_bytes(key) / MB_PER_S / 1e6)
        super().fetch(key, target)


def _streaming(root: Path, template: list[dict[str, Any]], n_files: int, compute_s: float = 0.004) -> dict[str, Any]:
    """A training that takes so long on each image, reading directly and through the local disk."""
    rows = [{**template[0], "n_slices": 16, "image": number, "slice": number} for number in range(16)]
    for number in range(n_files):
        folder = root / f"scan{number}"
        _deliver(folder, rows, f"scan-{number}", image_sha256="")
        with h5py.File(folder / "image.h5", "w") as file:
            file["dataset/image_0/data"] = np.random.default_rng(number).random((16, 1, 1, 256, 256), np.float32)
    with raki.catalogue.open(root) as opened:
        cohort = opened.cohort()
    local = root / ".local"
    found = {"direct": _idle(_direct(root, n_files), compute_s)}
    with _slow_source():
        images = raki.catalogue.stream(cohort, root, local=local, seed=1, prefetch=6)
        for name in ("first pass", "second pass"):
            found[name] = _idle(iter(images), compute_s)
        shutil.rmtree(local)
        killed = raki.catalogue.stream(cohort, root, local=local, seed=1, prefetch=6)
        half = cohort.num_rows // 2
        had = [(each["scan_id"], each["number"]) for each in islice(killed, half)]
        resumed = raki.catalogue.stream(cohort, root, local=local, seed=1, prefetch=6)
        resumed.load_state_dict(killed.state_dict())
        rest = [(each["scan_id"], each["number"]) for each in resumed]
    return {
        "n_images": cohort.num_rows,
        "compute_s": compute_s,
        "passes": found,
        "resumed_whole": sorted(had + rest) == sorted({*had, *rest}) and len(had + rest) == cohort.num_rows,
        "n_fetched_after_resumption": resumed.n_fetched,
    }


class _slow_source:  # noqa: N801
    def __enter__(self) -> None:
        self._fast = vars(streaming)["source_at"]
        setattr(streaming, "source_at", lambda place: SlowFolder(Path(place)))  # noqa: B010

    def __exit__(self, *_of_error: object) -> None:
        setattr(streaming, "source_at", self._fast)  # noqa: B010


def _direct(root: Path, n_files: int) -> Iterator[np.ndarray]:
    """File after file from the slow store, each read when it is needed."""
    for number in range(n_files):
        path = root / f"scan{number}/image.h5"
        time.sleep(WAIT_S + path.stat().st_size / MB_PER_S / 1e6)
        with h5py.File(path) as file:
            yield from (image[0, 0] for image in file["dataset/image_0/data"][:])


def _idle(images: Iterator[Any], compute_s: float) -> dict[str, float]:
    """How long a pass takes, and which part of it there was nothing to compute on."""
    began, idle = time.perf_counter(), 0.0
    while True:
        asked = time.perf_counter()
        image = next(images, None)
        idle += time.perf_counter() - asked
        if image is None:
            break
        time.sleep(compute_s)
    whole = time.perf_counter() - began
    return {"seconds": whole, "idle_share": idle / whole}


def _show(facts: dict[str, Any]) -> None:
    table = Table(title=f"{facts['n_rows']} images, {facts['n_bytes'] / 1e6:.0f} MB in {facts['n_parts']} files")
    for column in ("what", "first", "again"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, seconds in facts["questions"].items():
        table.add_row(name, f"{1000 * seconds['first_s']:.0f} ms", f"{1000 * seconds['again_s']:.0f} ms")
    table.add_row("opened", f"{1000 * facts['opened_s']:.0f} ms", "")
    table.add_row("answered after a delivery, at worst", f"{1000 * max(facts['answered_s']):.0f} ms", "")
    n_again = f"{facts['n_again']} again"
    table.add_row(f"{facts['n_compacted']} scans compacted, then {n_again}", f"{facts['compacted_s']:.2f} s", "")
    table.add_row("", "", f"{facts['again_compacted_s']:.2f} s")
    for name, each in facts["stream"]["passes"].items():
        table.add_row(f"{name}: seconds, idle", f"{each['seconds']:.2f} s", f"{100 * each['idle_share']:.0f} %")
    table.add_row("peak memory", f"{facts['peak_memory_mib']:.0f} MiB", "")
    CONSOLE.print(table)
    CONSOLE.print(
        f"Scans after a tenth was made again: {facts['n_scans_after_a_rerun']} of {facts['n_delivered']}; "
        f"resumed whole: {facts['stream']['resumed_whole']}"
    )
