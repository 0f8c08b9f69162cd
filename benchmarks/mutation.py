"""`python -m benchmarks mutation`: small faults in a copy of the code, one at a time, and which ones no test notices.

A tool of our own: cosmic-ray changes the working tree in place and has one test command for all modules, and mutmut
calls functions through wrappers of its own, which jaxtyping's import hook would check in their stead.
"""

import ast
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import typer
from rich.table import Table

from benchmarks.records import CONSOLE, RESULTS, Output, write_record

REPOSITORY = Path(__file__).parents[1]
LIMIT_S = 240.0
"""The tests of one folder take a minute at most: what takes longer hangs, and that is noticed."""

NOT_COPIED = {"build", "cdk.out", "demo", "dist", "node_modules", "share"}
"""Folders of a checkout in which there is no code; those that are hidden aren't copied either."""

# Tests of a folder beside those in the folder of the same name.
ALSO_TESTED_BY = {"raki/service": ("tests/lambdas",)}

EQUIVALENT = {
    ("lambdas/activate_gateway.py", "PAUSE_S =", "off by one"): "how often is looked",
    ("lambdas/activate_gateway.py", "response.read(1000)", "off by one"): "a key is far shorter",
    ("raki/service/ledger.py", '"lease_until": 0', "off by one"): "long past, as 1 is",
    ("raki/service/metrics.py", "round(", "off by one"): "digits of a time",
    ("raki/service/objects.py", "1 << 20", "off by one"): "how much is read at once",
    ("raki/service/stage.py", "REST_S =", "off by one"): "how long a worker rests",
    ("raki/service/stage.py", "round(", "off by one"): "digits of a time",
}
"""Module, a part of the line and the kind of change, with why no test should notice it."""

FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
SWAPPED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


class Change(NamedTuple):
    """What may stand in a module's syntax tree at a place in the order of `ast.walk`."""

    place: int
    operator: str
    changed: ast.AST


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault in one module."""

    module: str
    line: int
    operator: str
    before: str
    after: str
    source: str
    """The whole module with the fault."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the tests said of a mutant."""

    module: str
    line: int
    operator: str
    before: str
    after: str
    result: str
    """"killed", "timed out" or "survived"; "equivalent" where it survived and may."""


def mutation(
    paths: Annotated[
        list[str] | None, typer.Option("--paths", help="Folders to mutate; repeatable. [all of raki, lambdas]")
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
    n: Annotated[int, typer.Option("--n", min=1, help="How many mutants.")] = 100,
    jobs: Annotated[int, typer.Option(min=1, help="So many at a time.")] = 1,
    output: Output = RESULTS,
    repository: Annotated[Path, typer.Option(hidden=True)] = REPOSITORY,
) -> None:
    """Share of small faults that the tests notice; each is put into a copy of the repository."""
    mutants = drawn(repository, paths or ["raki", "lambdas"], n, seed)
    with TemporaryDirectory() as scratch:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            copies.put(_copy(repository, Path(scratch) / str(number)))
        with ThreadPoolExecutor(jobs) as pool:
            found = [_told(one) for one in pool.map(lambda mutant: _tried(mutant, copies), mutants)]
    _show(found)
    facts = {"seed": seed, "kill_rates": kill_rates(found), "mutants": [asdict(one) for one in found]}
    write_record(output, "mutation", facts)


def drawn(repository: Path, paths: Sequence[str], n: int, seed: int) -> list[Mutant]:
    """`n` mutants of all that these folders could have, or all of them, in an order that the seed says."""
    modules = sorted({module for path in paths for module in (repository / path).rglob("*.py")})
    every = [
        (module, change) for module in modules for change in changes(ast.parse(module.read_text(encoding="utf-8")))
    ]
    chosen = random.Random(seed).sample(every, min(n, len(every)))
    return [_mutant(repository, module, change) for module, change in chosen]


def changes(tree: ast.Module) -> Iterator[Change]:
    """Every change of every node.

    Strings stay as they are, since another name breaks at once; so do decorators, annotations, imports, logs and what
    is raised.
    """
    left_alone = {id(node) for node in _not_mutated(tree)}
    for place, node in enumerate(ast.walk(tree)):
        if id(node) not in left_alone:
            found = (*_of_operators(node), *_of_statements(node), *_of_constants(node))
            yield from (Change(place, operator, changed) for operator, changed in found)


def tests_of(module: str) -> list[str]:
    """The module's own tests, then those of its whole folder, and those that go with it."""
    path = Path(module)
    mirrored = Path("tests", *(path.parent.parts[1:] if path.parts[0] == "raki" else path.parent.parts))
    return [str(mirrored / f"test_{path.name}"), str(mirrored), *ALSO_TESTED_BY.get(str(path.parent), ())]


def kill_rates(found: Sequence[Verdict]) -> dict[str, float]:
    """Share of the mutants that were noticed, by folder and over all; those that make no difference aren't counted."""
    counted = sorted((one for one in found if one.result != "equivalent"), key=_folder)
    rates = {folder: _rate(list(group)) for folder, group in groupby(counted, _folder)}
    return rates | {"all": _rate(counted)}


def _of_operators(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare(ops=[first, *others]) if type(first) in FLIPPED:
            flipped = FLIPPED[type(first)]()
            yield "comparison", ast.Compare(left=node.left, ops=[flipped, *others], comparators=node.comparators)
        case ast.BinOp() if type(node.op) in SWAPPED:
            yield "arithmetic", ast.BinOp(left=node.left, op=SWAPPED[type(node.op)](), right=node.right)
        case ast.BoolOp():
            other = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield "and, or", ast.BoolOp(op=other, values=node.values)
        case ast.UnaryOp(op=ast.Not()):
            yield "negation", node.operand


def _of_statements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.If() | ast.IfExp() | ast.While():
            for value in (True, False):
                # A loop that never ends is noticed by its time limit alone.
                if not (value and isinstance(node, ast.While)):
                    fields = {name: getattr(node, name) for name in node._fields} | {"test": ast.Constant(value)}
                    yield "condition", type(node)(**fields)
        case ast.Return(value=ast.expr() as value) if not _is(value, None):
            yield "return", ast.Return(value=ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield "call", ast.Pass()


def _of_constants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Constant(value=bool() as value):
            yield "constant", ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield "off by one", ast.Constant(value + 1)


def _not_mutated(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Raise() | ast.JoinedStr():
                yield from ast.walk(node)
            case ast.Expr(value=ast.Constant()):
                yield from ast.walk(node)
            case ast.AnnAssign() | ast.arg() if node.annotation:
                yield from ast.walk(node.annotation)
            case ast.FunctionDef() | ast.ClassDef():
                for around in (*node.decorator_list, getattr(node, "returns", None)):
                    yield from ast.walk(around) if around else ()
            case ast.Call(func=ast.Attribute(value=ast.Name(id="LOG"))):
                yield from ast.walk(node)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="LOG")))):
                yield node
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                yield from ast.walk(node)


def _mutant(repository: Path, module: Path, change: Change) -> Mutant:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    node = list(ast.walk(tree))[change.place]
    assert isinstance(node, ast.stmt | ast.expr)
    changed = ast.copy_location(change.changed, node)
    source = ast.unparse(ast.fix_missing_locations(_Exchanged(node, changed).visit(tree)))
    return Mutant(
        module=module.relative_to(repository).as_posix(),
        line=node.lineno,
        operator=change.operator,
        before=_first_line(node),
        after=_first_line(changed),
        source=source,
    )


class _Exchanged(ast.NodeTransformer):
    def __init__(self, node: ast.AST, changed: ast.AST) -> None:
        self._node, self._changed = node, changed

    def visit(self, node: ast.AST) -> ast.AST:
        return self._changed if node is self._node else super().visit(node)


def _tried(mutant: Mutant, copies: "SimpleQueue[Path]") -> Verdict:
    copy = copies.get()
    path = copy / mutant.module
    original = path.read_bytes()
    try:
        path.write_text(mutant.source, encoding="utf-8")
        result = _result(copy, [tests for tests in tests_of(mutant.module) if (copy / tests).exists()])
    finally:
        path.write_bytes(original)
        copies.put(copy)
    if result == "survived" and _is_equivalent(mutant, original.decode()):
        result = "equivalent"
    facts = {name: value for name, value in asdict(mutant).items() if name != "source"}
    return Verdict(**facts, result=result)


def _result(copy: Path, tests: Sequence[str]) -> str:
    argv = [sys.executable, "-B", "-m", "pytest", "-x", "-q", *tests]
    # The copy comes before the checkout that the environment has installed.
    environment = os.environ | {"PYTHONPATH": str(copy)}
    with subprocess.Popen(
        argv, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return "killed" if process.wait(LIMIT_S) else "survived"
        except subprocess.TimeoutExpired:
            return "timed out"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _copy(repository: Path, folder: Path) -> Path:
    def left_out(parent: str, names: list[str]) -> set[str]:
        at_the_top = {name for name in names if name in NOT_COPIED or name.startswith(".")}
        return {"__pycache__"} | (at_the_top if Path(parent) == repository else set())

    return shutil.copytree(repository, folder, ignore=left_out)


def _is_equivalent(mutant: Mutant, original: str) -> bool:
    line = original.splitlines()[mutant.line - 1]
    return any(
        part in line and (mutant.module, mutant.operator) == (module, operator) for module, part, operator in EQUIVALENT
    )


def _folder(one: Verdict) -> str:
    return str(Path(one.module).parent)


def _rate(found: Sequence[Verdict]) -> float:
    return round(sum(one.result != "survived" for one in found) / len(found), 3) if found else 1.0


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).partition("\n")[0]


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _told(one: Verdict) -> Verdict:
    change = f"{one.result:10} {one.module}:{one.line}: {one.operator}: {one.before}  ->  {one.after}"
    CONSOLE.print(change, soft_wrap=True, highlight=False, markup=False)
    return one


def _show(found: Sequence[Verdict]) -> None:
    survivors = [one for one in found if one.result == "survived"]
    if survivors:
        CONSOLE.print("\nNo test notices:")
    for one in sorted(survivors, key=lambda one: (one.module, one.line)):
        _told(one)
    table = Table(title=f"{len(found)} mutants, {len(survivors)} survived", title_justify="left")
    for heading in ("folder", "noticed"):
        table.add_column(heading)
    for folder, rate in kill_rates(found).items():
        table.add_row(folder, f"{rate:.0%}")
    CONSOLE.print(table)
