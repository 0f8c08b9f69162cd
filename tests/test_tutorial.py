"""The tutorial is run as it stands, block after block, and prints what it says."""

import ast
import re
import shlex
from pathlib import Path

TUTORIAL = (Path(__file__).parents[1] / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|text|sh)\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)


def cell(code, names):
    """The value of the last expression, as a notebook has it."""
    *before, last = ast.parse(code).body
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return None


def test_every_block_runs_and_prints_what_stands_below_it(run, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    said = ""
    for language, block in BLOCKS:
        if language == "python":
            cell(block, names)
            said = capsys.readouterr().out
        elif language == "text":
            assert said == block
        else:
            for command in block.splitlines():
                assert run(*shlex.split(command)[1:])[0] == 0
    assert names["errors"].keys() == {"zero_filled", "grappa", "raki"}
    assert {path.name for path in tmp_path.iterdir()} >= {"images.png", "out", "scan.npz"}


def test_there_is_a_block_of_each_kind():
    assert [language for language, _ in BLOCKS].count("python") >= 6
    assert "sh" in dict(BLOCKS)
