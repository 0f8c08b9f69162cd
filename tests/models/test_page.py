"""docs/models.md is run as it stands, block after block: commands succeed, and code prints what stands below it."""

import re
import shlex
from pathlib import Path

from tests.test_tutorial import cell

PAGE = (Path(__file__).parents[2] / "docs/models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|text|sh)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


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
                code, _, errors = run(*shlex.split(command)[1:])
                assert code == 0, (command, errors)
    assert [language for language, _ in BLOCKS].count("sh") == 2
    assert (tmp_path / "second/report.html").exists()
    assert (tmp_path / "models/head-6ch/1/model.json").exists()
