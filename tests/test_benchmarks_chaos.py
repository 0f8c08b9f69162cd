"""A short storm, the same each time: nothing is lost, broken or left."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app

pytestmark = pytest.mark.timeout(300)


def test_under_faults_no_scan_is_lost_and_nothing_is_left(tmp_path):
    result = CliRunner().invoke(
        app, ["chaos", "--scans", "6", "--faults", "20", "--minutes", "3", "--seed", "1", "-o", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "chaos.json").read_text())
    assert found["broken"] == []
    assert sum(found["dropped"].values()) == 6
    assert sum(found["injected"].values()) >= 8
    assert found["ended"]["delivered"] >= 6
