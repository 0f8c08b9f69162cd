"""docs/catalogue.md is run as it stands, block after block, and prints what it says."""

import pyarrow.parquet as pq

from tests.pages import blocks_of, run_page

PAGE = "docs/catalogue.md"


def test_every_block_runs_and_prints_what_stands_below_it(run, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    run_page(PAGE, run, capsys)
    assert pq.read_table(tmp_path / "cohort.parquet").num_rows == 5
    assert len((tmp_path / "cohort.csv").read_text().splitlines()) == 3
    assert [language for language, _ in blocks_of(PAGE)].count("sh") >= 4
