"""Files as broken copies, broken converters and malice make them: what becomes of each."""

import gzip
import hashlib
import json
import lzma
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.broken_bytes import MUTATIONS
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from benchmarks.scans import REAL_SCANS
from raki.archive import open_local
from raki.errors import RakiError
from raki.formats import formats
from raki.prepare import prepare_here
from raki.sandbox import Allowance, contained
from raki.scan import Scan
from raki.scan.prepared import read_prepared

RAKI = Path(sys.executable).parent / "raki"
ALLOWANCE = Allowance(seconds=60, memory_bytes=4 << 30)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one mutated file."""

    number: int
    base: str
    mutation: str
    result: str
    """"same scan", "other samples", "other layout", or the class of the error."""
    sentence: str
    seconds: float
    """From opening to the end."""


def damaged(
    output: Output = RESULTS,
    n_files: Annotated[int, typer.Option("--files", min=1, help="How many mutated files.")] = 1000,
    folder: Annotated[Path, typer.Option(help="Folder of vendor files to mutate.")] = REAL_SCANS / "vendor",
    seed: Annotated[int, typer.Option()] = 0,
    through_cli: Annotated[int, typer.Option(help="So many of them through `raki reconstruct` as well.")] = 20,
    keep: Annotated[Path | None, typer.Option(help="Keep the files that came out as another scan here.")] = None,
) -> None:
    """Mutate real files, read them all, and count what becomes of them: no crash, no hang, no wrong success."""
    outcomes: list[Outcome] = []
    codes: Counter[int] = Counter()
    with TemporaryDirectory() as scratch:
        bases = _bases(folder, Path(scratch))
        for number in range(n_files):
            base = list(bases)[number % len(bases)]
            outcome, mutated = _try(number, base, bases[base], np.random.default_rng([seed, number]), Path(scratch))
            outcomes.append(outcome)
            if outcome.result == "other layout" and keep:
                keep.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(mutated, keep / mutated.name)
            if number % max(1, n_files // max(1, through_cli)) == 0 and through_cli:
                codes[_exit_code(mutated, Path(scratch))] += 1
            mutated.unlink()
    _show(outcomes, codes)
    facts = {"outcomes": [asdict(one) for one in outcomes], "exit_codes": {str(code): n for code, n in codes.items()}}
    write_record(output, "damaged", facts)


@dataclass(frozen=True)
class Base:
    """A sound file, and the scan in it."""

    path: Path
    scan: Scan


def _bases(folder: Path, scratch: Path) -> dict[str, Base]:
    """Every vendor file that can be prepared, plain, and the smaller ones packed in every way."""
    bases = {}
    for raw in sorted(folder.iterdir()):
        scan = _prepared(raw, scratch)
        bases[raw.name] = Base(raw, scan)
    smallest = min(bases.values(), key=lambda base: base.path.stat().st_size)
    for name, pack in PACKERS.items():
        packed = scratch / name
        pack(smallest.path, packed)
        bases[name] = Base(packed, smallest.scan)
    return bases


def _tar(mode: str) -> Callable[[Path, Path], None]:
    def pack(raw: Path, packed: Path) -> None:
        with tarfile.open(packed, mode) as archive:  # type: ignore[call-overload]
            archive.add(raw, raw.name)

    return pack


def _zip(raw: Path, packed: Path) -> None:
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(raw, raw.name)


def _gzip(raw: Path, packed: Path) -> None:
    packed.write_bytes(gzip.compress(raw.read_bytes(), 1))


def _xz(raw: Path, packed: Path) -> None:
    packed.write_bytes(lzma.compress(raw.read_bytes(), preset=0))


def _zstd(raw: Path, packed: Path) -> None:
    subprocess.run(["zstd", "-q", str(raw), "-o", str(packed)], check=True)


PACKERS: dict[str, Callable[[Path, Path], None]] = {
    "packed.tar": _tar("w"),
    "packed.tar.gz": _tar("w:gz"),
    "packed.gz": _gzip,
    "packed.xz": _xz,
    "packed.zip": _zip,
    **({"packed.zst": _zstd} if shutil.which("zstd") else {}),
}


def _try(number: int, name: str, base: Base, random: np.random.Generator, scratch: Path) -> tuple[Outcome, Path]:
    mutation = list(MUTATIONS)[number // 7 % len(MUTATIONS)]
    mutated = scratch / f"{number:04d}-{mutation}-{name}".replace(" ", "_")
    content = bytearray(base.path.read_bytes())
    for _ in range(int(random.integers(1, 4))):
        content = MUTATIONS[mutation](content, random)
    mutated.write_bytes(content)
    digest = hashlib.sha256(content).digest()
    started = time.perf_counter()
    result, sentence = _read(mutated, base.scan, scratch)
    seconds = time.perf_counter() - started
    if hashlib.sha256(mutated.read_bytes()).digest() != digest:
        result = "RAW FILE CHANGED"
    outcome = Outcome(number=number, base=name, mutation=mutation, result=result, sentence=sentence, seconds=seconds)
    return outcome, mutated


def _read(path: Path, sound: Scan, scratch: Path) -> tuple[str, str]:
    try:
        scan = _prepared(path, scratch)
    except RakiError as error:
        is_clean = "\n" not in error.sentence and str(scratch) not in error.sentence and path.name not in error.sentence
        return error.failure_class if is_clean else "UNCLEAN SENTENCE", error.sentence
    except Exception as error:  # noqa: BLE001  # what the benchmark is looking for
        return "TRACEBACK", repr(error)
    layout = [(one.kspace.shape, one.sampled.tolist(), one.geometry, one.frames) for one in (scan, sound)]
    if layout[0] != layout[1]:
        return "other layout", str([layout[0][0], layout[0][2]])
    same = np.array_equal(np.asarray(scan.kspace), np.asarray(sound.kspace))
    return ("same scan" if same else "other samples"), ""


def _prepared(path: Path, scratch: Path) -> Scan:
    with TemporaryDirectory(dir=scratch) as folder:
        prepared = Path(folder) / "prepared"
        contained(_prepare, path, Path(folder), prepared, allowance=ALLOWANCE, reads=[path.parent], folder=Path(folder))
        return read_prepared(prepared)


def _prepare(path: Path, folder: Path, prepared: Path) -> None:
    prepare_here(open_local(path, folder, formats=formats()), prepared)


def _exit_code(path: Path, scratch: Path) -> int:
    """Of the command line; its error output has to be one sentence, and no traceback."""
    command = [str(RAKI), "reconstruct", str(path), "-o", str(scratch / "out"), "--method", "zero_filled"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Traceback" in ended.stderr:
        CONSOLE.print(ended.stderr)
    return ended.returncode


def _counted(outcomes: list[Outcome]) -> Iterator[tuple[str, list[int]]]:
    results = sorted({one.result for one in outcomes})
    for mutation in MUTATIONS:
        counts = Counter(one.result for one in outcomes if one.mutation == mutation)
        yield mutation, [counts[result] for result in results]
    totals = Counter(one.result for one in outcomes)
    yield "all", [totals[result] for result in results]


def _show(outcomes: list[Outcome], codes: Counter[int]) -> None:
    table = Table(title=f"{len(outcomes)} mutated files")
    for column in ("mutation", *sorted({one.result for one in outcomes})):
        table.add_column(column, justify="right")
    for mutation, counts in _counted(outcomes):
        table.add_row(mutation, *map(str, counts))
    CONSOLE.print(table)
    slowest = max(outcomes, key=lambda one: one.seconds)
    CONSOLE.print(f"slowest: {slowest.seconds:.1f} s ({slowest.base}, {slowest.mutation}: {slowest.result})")
    contained_ends = [one for one in outcomes if "process down" in one.sentence or "took" in one.sentence]
    CONSOLE.print(f"ended by the containment, not by a reader's own check: {len(contained_ends)}")
    for one in contained_ends:
        CONSOLE.print(f"  {one.base}, {one.mutation}: {one.sentence}")
    if codes:
        CONSOLE.print(f"exit codes of raki reconstruct: {json.dumps({str(code): n for code, n in codes.items()})}")
