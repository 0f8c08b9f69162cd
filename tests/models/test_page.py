"""docs/models.md is run as it stands, block after block: commands succeed, and code prints what stands below it."""

from tests.pages import blocks_of, run_page

PAGE = "docs/models.md"


def test_every_block_runs_and_prints_what_stands_below_it(run, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    run_page(PAGE, run, capsys)
    assert [language for language, _ in blocks_of(PAGE)].count("sh") == 2
    assert (tmp_path / "second/report.html").exists()
    assert (tmp_path / "models/head-6ch/1/model.json").exists()
