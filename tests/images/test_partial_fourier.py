"""Partial Fourier and asymmetric echoes from the raw file to the image, beside the image of all of k-space."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raki.formats import read_scan
from raki.images import nmse as nmse_of_tensors
from raki.images import reconstruct
from raki.phantom import simulate_scan
from raki.prepare import preprocess
from raki.prepare.oversampling import remove_readout_oversampling

MATRIX = 64


def nmse(images, truth):
    return nmse_of_tensors(torch.from_numpy(images), torch.from_numpy(truth))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "whole.h5"
    simulate_scan(path, n_slices=1, n_coils=6, matrix=MATRIX, acceleration=1, n_acs_lines=16, noise_level=0.01)
    return read_scan(path)


@pytest.fixture(scope="module")
def truth(whole):
    return reconstruct(preprocess(whole), method="grappa", device="cpu").result


def without_early_samples(scan, n_missing):
    kspace = scan.kspace.copy()
    kspace[..., :n_missing] = 0
    return replace(scan, kspace=kspace, echo=(n_missing, kspace.shape[-1]))


@pytest.mark.parametrize("n_missing", [24, 33])
def test_an_asymmetric_echo_is_filled_from_its_other_side(whole, truth, n_missing):
    scan = preprocess(without_early_samples(whole, n_missing))
    made = reconstruct(scan, method="grappa", device="cpu")
    assert nmse(made.result, truth) < 0.5 * nmse(made.images["zero_filled"], truth)
    assert made.opposite is not None
    assert 0.9 < made.opposite.missing_part * 2 * MATRIX / n_missing < 1.3


def test_measured_samples_of_the_shorter_line_are_those_that_zeros_have_no_part_in(whole):
    """Samples well within the part that is called measured are the whole line's; before it they are not."""
    for n_missing in (24, 25, 33):
        short = remove_readout_oversampling(without_early_samples(whole, n_missing))
        same = remove_readout_oversampling(whole)
        off = root_sum_of_squares_of(short.kspace - same.kspace) / root_sum_of_squares_of(same.kspace)
        assert short.echo is not None
        first, stop = short.echo
        assert stop == MATRIX
        assert off[first + 1 :].max() < 0.35
        assert off[: first - 1].min() > 0.5
    late = replace(whole, echo=(0, 2 * MATRIX - 24))
    assert remove_readout_oversampling(late).echo == (0, MATRIX - 13)


def root_sum_of_squares_of(kspace):
    return np.sqrt((np.abs(kspace) ** 2).mean(axis=(0, 1, 2)))


@pytest.mark.parametrize("method", ["zero_filled", "raki"])
def test_lines_of_one_side_are_filled_but_where_nothing_is_to_be_filled(tmp_path, truth, method):
    path = tmp_path / "part.h5"
    simulate_scan(
        path, n_slices=1, n_coils=6, matrix=MATRIX, acceleration=1, n_acs_lines=16, partial_fourier=0.75,
        noise_level=0.01,
    )  # fmt: skip
    made = reconstruct(preprocess(read_scan(path)), method=method, device="cpu")
    zeros = nmse(made.images["zero_filled"], truth)
    if method == "zero_filled":
        assert made.opposite is None
        return
    assert nmse(made.result, truth) < 0.5 * zeros
    assert sum(made.opposite.n_slices_by_filling.values()) == 1
    assert sum(note.startswith("Partial Fourier") for note in made.notes) == 1
    assert made.scan.encoded_lines == (MATRIX // 4, MATRIX)
