"""docs/catalogue.md is run as it stands, block after block, and prints what it says."""

import re
import shlex
from pathlib import Path

import pyarrow.parquet as pq

from tests.test_tutorial import cell

PAGE = (Path(__file__).parents[1] / "docs/catalogue.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|text|sh)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_block_runs_and_prints_what_stands_below_it(run, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
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
                code, _, why = run(*shlex.split(command)[1:])
                assert code == 0, f"{command}: {why}"
    assert pq.read_table(tmp_path / "cohort.parquet").num_rows == 5
    assert len((tmp_path / "cohort.csv").read_text().splitlines()) == 3
    assert [language for language, _ in BLOCKS].count("sh") >= 4
