"""The tutorial is run as it stands, block after block, and prints what it says."""

from tests.pages import blocks_of, run_page

PAGE = "docs/tutorial.md"


def test_every_block_runs_and_prints_what_stands_below_it(run, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    names = run_page(PAGE, run, capsys)
    assert names["errors"].keys() == {"zero_filled", "grappa", "raki"}
    assert {path.name for path in tmp_path.iterdir()} >= {"images.png", "out", "scan.npz"}


def test_there_is_a_block_of_each_kind():
    assert [language for language, _ in blocks_of(PAGE)].count("python") >= 6
    assert "sh" in dict(blocks_of(PAGE))
