"""Every parser and unpacker under a coverage-guided fuzzer: how many inputs each took, and which faults they found."""

import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from json import loads
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from benchmarks.fuzz_ends import fault_apart, minimised
from benchmarks.fuzz_targets import NAMES, target_of
from benchmarks.records import CONSOLE, RESULTS, Output, write_record

REPOSITORY = Path(__file__).parents[1]
MINIMISING_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What an input did that none may do."""

    target: str
    fault: str
    n_bytes: int
    """Of the smallest input that was found."""
    input: str


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """What became of one parser."""

    target: str
    executions: int
    seconds: float
    n_inputs: int
    """In the corpus at the end: each reaches a part of the code that no other does."""


def fuzz(
    output: Output = RESULTS,
    minutes: Annotated[float, typer.Option(min=0.01, help="In all; each parser gets an equal share.")] = 30.0,
    target: Annotated[list[str] | None, typer.Option(help="Of the parsers; repeatable. [all]")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Feed every parser and unpacker what reaches more of its code, by atheris; faults and their smallest inputs."""
    if find_spec("atheris") is None:
        raise typer.BadParameter("atheris isn't installed; it is needed to fuzz: pip install '.[fuzz]'")
    if unknown := set(target or ()) - set(NAMES):
        raise typer.BadParameter(f"no parser is called {', '.join(sorted(unknown))}; those are {', '.join(NAMES)}")
    names = [name for name in NAMES if not target or name in target]
    fuzzed, faults = [], list[Fault]()
    for name in names:
        with TemporaryDirectory() as folder:
            one = _fuzzed(name, Path(folder), 60 * minutes / len(names), seed)
            fuzzed.append(one)
            faults += _faults(name, Path(folder) / "found", output / "fuzz")
        CONSOLE.print(f"{name}: {one.executions} inputs in {one.seconds:.0f} s, {len(faults)} faults so far")
    _show(fuzzed, faults)
    facts = {"seed": seed, "targets": [asdict(one) for one in fuzzed], "faults": [asdict(one) for one in faults]}
    write_record(output, "fuzz", facts)
    if faults:
        raise typer.Exit(1)


def _fuzzed(name: str, folder: Path, seconds: float, seed: int) -> Fuzzed:
    """One process after the other until the time is up: a crash ends one."""
    corpus, found = folder / "corpus", folder / "found"
    corpus.mkdir()
    found.mkdir()
    for number, content in enumerate(target_of(name).seeds()):
        (corpus / f"seed-{number}").write_bytes(content)
    executions, passed = 0, 0.0
    while (left := int(seconds - passed)) > 0:
        command = [sys.executable, "-m", "benchmarks.fuzz_process", name, str(folder), str(left), str(seed)]
        with (folder / "log").open("ab") as log:
            subprocess.run(command, cwd=REPOSITORY, stdout=log, stderr=log, check=False)
        if not (folder / "counts.json").is_file():
            raise RuntimeError((folder / "log").read_text(errors="replace")[-2000:])
        counts = loads((folder / "counts.json").read_text())
        (folder / "counts.json").unlink()
        executions += counts["executions"]
        # To load and to instrument the parsers takes its own time, and a crash at once some of what is left.
        passed += max(counts["seconds"], 1.0)
        seed += 1
    return Fuzzed(target=name, executions=executions, seconds=passed, n_inputs=len(list(corpus.iterdir())))


def _faults(name: str, found: Path, folder: Path) -> list[Fault]:
    """Those that stay when the input is tried again, with their smallest inputs."""
    faults: dict[str, Fault] = {}
    for file in sorted(found.iterdir()):
        if file.suffix == ".txt":
            continue
        content = minimised(target_of(name).read, file.read_bytes(), MINIMISING_S)
        fault = fault_apart(target_of(name).read, content)
        # What happens in the fuzzer alone is worth a look too.
        fault = fault or f"only there: {file.name}"
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / f"{name}-{file.name}"
        kept.write_bytes(content)
        faults.setdefault(fault, Fault(target=name, fault=fault, n_bytes=len(content), input=kept.name))
    return list(faults.values())


def _show(fuzzed: list[Fuzzed], faults: list[Fault]) -> None:
    table = Table(title=f"{sum(one.executions for one in fuzzed)} inputs, {len(faults)} faults")
    for column in ("parser", "inputs", "seconds", "corpus", "faults"):
        table.add_column(column, justify="left" if column == "parser" else "right")
    for one in fuzzed:
        n_faults = sum(fault.target == one.target for fault in faults)
        table.add_row(one.target, str(one.executions), f"{one.seconds:.0f}", str(one.n_inputs), str(n_faults))
    CONSOLE.print(table)
    for fault in faults:
        CONSOLE.print(f"{fault.target}: {fault.fault} ({fault.n_bytes} bytes, {fault.input})", markup=False)
