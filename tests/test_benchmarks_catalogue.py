"""The benchmark of the catalogue counts every scan that was delivered, once, and resumes a killed training whole."""

import json

from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.catalogue import QUESTIONS


def test_a_small_catalogue_is_measured(tmp_path):
    options = ["--rows", "1000", "--scans", "10", "--results", "10", "--files", "4", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, ["catalogue", *options])
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "catalogue.json").read_text())
    assert (facts["n_rows"], facts["n_parts"]) == (1000, 24)
    assert facts["questions"].keys() == QUESTIONS.keys()
    assert facts["all_counted"] is True
    assert (facts["n_compacted"], facts["n_again"], facts["n_scans_after_a_rerun"]) == (10, 1, [10, 10])
    assert facts["stream"]["resumed_whole"] is True
    assert (facts["load"]["n_results"], facts["load"]["n_images"]) == (10, 300)
    assert facts["stream"]["n_images"] == 64
    assert facts["stream"]["n_before_killed"] + facts["stream"]["n_after"] == 64
    assert all(each["images_per_s"] > 0 and 0 < each["idle_share"] < 1 for each in facts["stream"]["ways"].values())
