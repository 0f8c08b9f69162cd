"""A page of the documentation, run as it stands: commands succeed, and code prints what stands below it."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Language and content of the blocks that are run, in their order."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(r"^```(python|text|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run_page(page: str, run, capsys) -> dict[str, Any]:
    """Runs every block in the current folder; returns the names that the code left."""
    names: dict[str, Any] = {}
    said = ""
    for language, block in blocks_of(page):
        if language == "python":
            cell(block, names)
            said = capsys.readouterr().out
        elif language == "text":
            assert said == block
        else:
            for command in block.splitlines():
                code, _, errors = run(*shlex.split(command)[1:])
                assert code == 0, f"{command}: {errors}"
    return names


def cell(code: str, names: dict[str, Any]) -> Any:
    """The value of the last expression, as a notebook has it."""
    *before, last = ast.parse(code).body
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return None
