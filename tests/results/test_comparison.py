"""A fully sampled scan against a part of itself."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.errors import UnsupportedScan
from raki.formats import read_scan
from raki.phantom.simulation import simulate_scan
from raki.prepare.preparation import preprocess
from raki.results.comparison import compare, undersampled, write_comparison
from raki.scan import lattice_and_acs


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "scan.h5"
    simulate_scan(path, n_slices=2, n_coils=6, matrix=64, acceleration=1, noise_level=0.05, seed=4)
    return preprocess(read_scan(path))


@given(n_pe=st.integers(1, 200), acceleration=st.integers(1, 12), n_acs_lines=st.integers(0, 40))
def test_dc_and_the_acs_are_always_kept(n_pe, acceleration, n_acs_lines):
    keep = np.logical_or(*lattice_and_acs(n_pe, acceleration, n_acs_lines))
    assert keep[n_pe // 2]
    assert keep.sum() >= min(n_pe, n_acs_lines)
    assert np.all(np.diff(np.flatnonzero(keep)) <= acceleration)


def test_every_line_kept_is_no_loss(full):
    assert compare(full, acceleration=1, n_acs_lines=16).scores["raki"].nmse == 0


def test_filling_beats_zeros_and_is_scored_on_the_same_object(full):
    scores = compare(full, acceleration=3, n_acs_lines=20).scores
    assert list(scores) == ["zero_filled", "grappa", "raki"]
    assert scores["raki"].nmse < 0.5 * scores["zero_filled"].nmse
    assert scores["raki"].ssim > scores["zero_filled"].ssim


def test_a_scan_with_gaps_is_no_reference(full):
    with pytest.raises(UnsupportedScan, match="32 of 64 lines were not acquired"):
        compare(undersampled(full, 2, 0), acceleration=2, n_acs_lines=16)


def test_picture_and_figures_are_written(full, tmp_path):
    comparison = compare(full, acceleration=2, n_acs_lines=16, methods=("grappa",))
    picture, figures = write_comparison(comparison, full, tmp_path)
    assert picture.stat().st_size > 1000
    facts = json.loads(figures.read_text())
    assert facts["inside the object"]["grappa"]["nmse"] == comparison.scores["grappa"].nmse
