"""A catalogue of many images: how large it is, how soon it answers, what loading takes, and whether a training waits.

The streaming of a cohort from a bucket is in `benchmarks.catalogue_streaming`.
"""

import json
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import duckdb
import numpy as np
import pyarrow as pa
import typer
from rich.table import Table

import raki
import raki.catalogue
from benchmarks.catalogue_streaming import streaming
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.catalogue.index import FOLDER, Index, survey, write_index
from raki.catalogue.rows import SLICES
from raki.catalogue.schema import COLUMNS, ROWS_FILE
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


def catalogue(
    rows: Annotated[
        int, typer.Option(min=1000, help="Images that the catalogue has already; 18000000: a large site.")
    ] = (60_000),
    scans: Annotated[int, typer.Option(min=10, help="Small scans that are delivered to it then.")] = 1000,
    results: Annotated[int, typer.Option(min=10, help="Results of 30 images that are loaded from nothing.")] = 1000,
    files: Annotated[int, typer.Option(min=4, help="Scans of a cohort that is trained on.")] = 24,
    seed: int = 0,
    output: Output = RESULTS,
) -> None:
    """Size, answers and memory; delivery; loading from nothing; and a cohort from a bucket on this machine."""
    with TemporaryDirectory(prefix="raki-benchmark-") as scratch:
        template = _template(Path(scratch))
        facts: dict[str, Any] = {"n_rows": rows, **_answers(Path(scratch) / "large", template, rows, seed)}
        facts |= _delivery(Path(scratch) / "large", template, scans)
        facts["peak_memory_mib"] = _peak_mib()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:  # its memory is its own
            facts["load"] = apart.submit(load, Path(scratch) / "load", template[0], results, seed).result()
        facts["stream"] = streaming(Path(scratch) / "cohort", template[0], files)
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


def load(root: Path, row: dict[str, Any], n_results: int, seed: int) -> dict[str, Any]:
    """What it takes to find results, to read their rows and to compact them, with nothing compacted before."""
    random = np.random.default_rng(seed)
    n_bytes = 0
    for number in range(n_results):
        month = MONTHS[number % len(MONTHS)]
        rows = [_unlike(row, image, random) for image in range(SLICES_OF_A_SCAN)]
        told = {"n_slices": SLICES_OF_A_SCAN, "n_frames": 1, "created_utc": f"{month}-01T00:00:00+00:00"}
        folder = root / f"site{number % 100}/scan{number}"
        _deliver(folder, rows, f"scan-{number}", **told)
        n_bytes += (folder / ROWS_FILE).stat().st_size
    before_mib = _peak_mib()
    facts: dict[str, Any] = {"n_results": n_results, "n_images": SLICES_OF_A_SCAN * n_results, "n_bytes": n_bytes}
    for name, work in {
        "found_s": lambda: survey(root),
        "compacted_s": lambda: raki.catalogue.compact(root),
        "opened_s": lambda: raki.catalogue.open(root).close(),
        "compacted_again_s": lambda: raki.catalogue.compact(root),
    }.items():
        began, computed = time.perf_counter(), time.process_time()
        work()
        facts[name] = time.perf_counter() - began
        facts[name.replace("_s", "_cpu_s")] = time.process_time() - computed
    parts = sum(part.stat().st_size for part in (root / FOLDER).glob("slices/*/*.parquet"))
    return facts | {"n_bytes_compacted": parts, "memory_before_mib": before_mib, "peak_memory_mib": _peak_mib()}


def _unlike(row: dict[str, Any], image: int, random: np.random.Generator) -> dict[str, Any]:
    """A row of its own numbers: alike ones would take no room in Parquet."""
    names = ("standard_error", "held_out_error", "g_factor_median", "g_factor_99", "snr_median", "mean")
    numbers = {name: float(f"{value:.7g}") for name, value in zip(names, random.random(len(names)), strict=True)}
    embedding = [float(f"{value:.7g}") for value in random.normal(size=32)]
    return row | numbers | {"image": image, "slice": image, "frame": 0, "embedding": embedding}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
    table.add_row("peak memory", f"{facts['peak_memory_mib']:.0f} MiB", "")
    CONSOLE.print(table)
    _show_load(facts["load"])
    _show_stream(facts["stream"])
    CONSOLE.print(
        f"Scans after a tenth was made again: {facts['n_scans_after_a_rerun']} of {facts['n_delivered']}; "
        f"resumed whole: {facts['stream']['resumed_whole']}"
    )


def _show_load(load: dict[str, Any]) -> None:
    title = (
        f"{load['n_results']} results, {load['n_images']} images, {load['n_bytes'] / 1e6:.0f} MB of rows, from nothing"
    )
    table = Table("what", "seconds", "of a processor", "of it per 1,000 images", title=title)
    for name in ("found", "compacted", "opened", "compacted_again"):
        computed = load[f"{name}_cpu_s"]
        table.add_row(
            name.replace("_", " "),
            f"{load[f'{name}_s']:.2f}",
            f"{computed:.2f}",
            f"{computed / load['n_images'] * 1000:.3f}",
        )
    CONSOLE.print(table)
    CONSOLE.print(
        f"Peak memory {load['peak_memory_mib']:.0f} MiB ({load['memory_before_mib']:.0f} before); "
        f"{load['n_bytes_compacted'] / 1e6:.1f} MB of Parquet"
    )


def _show_stream(stream: dict[str, Any]) -> None:
    title = f"{stream['n_images']} images in {stream['n_files']} objects of {stream['n_bytes_of_a_file'] / 1e6:.1f} MB"
    table = Table("how", "images a second", f"idle at {1000 * stream['compute_s']:.0f} ms an image", title=title)
    for name, each in stream["ways"].items():
        table.add_row(name, f"{each['images_per_s']:.0f}", f"{100 * each['idle_share']:.0f} %")
    CONSOLE.print(table)
