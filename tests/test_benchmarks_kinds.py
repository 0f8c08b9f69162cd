"""The benchmark of every kind of scan: what it measures, and what it says of a kind that has no image."""

import numpy as np
import pytest

from benchmarks.kinds import _kinds, _nmse, _outcome


def test_an_image_in_other_units_is_the_truth_and_one_that_lacks_a_part_is_not():
    truth = np.ones((2, 8, 8), np.float32)
    assert _nmse(7 * truth, truth) == pytest.approx(0, abs=1e-12)
    assert _nmse(truth * (np.arange(8) < 4), truth) == pytest.approx(0.5)


def test_a_kind_without_an_image_says_why(tmp_path):
    kind = _kinds()[0]
    shown = tmp_path / "0"
    shown.mkdir()
    assert "nothing after" in _outcome(kind, shown, tmp_path, 1.0).said
    (shown / "error.json").write_text('{"failure": "It is a letter."}')
    assert "It is a letter." in _outcome(kind, shown, tmp_path, 1.0).said


def test_each_kind_has_a_name_of_its_own():
    names = [kind.name for kind in _kinds()]
    assert len(set(names)) == len(names)
