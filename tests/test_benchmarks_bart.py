"""BART sees the scan that raki sees: its maps and image are those of the coil images, on the same scale.

Left out where the program isn't installed.
"""

import numpy as np
import pytest
import torch

from benchmarks.bart import bart_kspace, l1, l2, why_no_bart
from benchmarks.synthetic import noisy_slices
from benchmarks.undersampling import Undersampling

pytestmark = pytest.mark.skipif(bool(why_no_bart()), reason=why_no_bart())


@pytest.fixture(scope="module")
def full():
    """With fewer lines than samples: axes that were mixed up would be noticed."""
    return torch.from_numpy(next(noisy_slices(1, 4, 48)))[:, 4:44].contiguous()


@pytest.mark.parametrize("regularisation", [l2(1e-4), l1(1e-4)])
def test_a_fully_sampled_scan_comes_back(full, regularisation):
    found = bart_kspace(1e-6 * full.numpy(), regularisation)
    error = np.abs(1e6 * found - full.numpy())
    assert np.square(error).sum() < 0.01 * full.abs().square().sum(), "but for noise and the air around the head"


def test_skipped_lines_are_filled_the_same_way_each_time(full):
    measured = Undersampling(n_pe=40, acceleration=2, n_acs_lines=16).applied_to(full).numpy()
    found = bart_kspace(measured, l1(0.002))
    assert np.square(np.abs(found - full.numpy())).sum() < 0.02 * np.square(np.abs(full.numpy())).sum()
    assert np.array_equal(found, bart_kspace(measured, l1(0.002)))


def test_more_weight_leaves_less(full):
    measured = Undersampling(n_pe=40, acceleration=2, n_acs_lines=16).applied_to(full).numpy()
    for options in (l1, l2):
        energies = [np.square(np.abs(bart_kspace(measured, options(weight)))).sum() for weight in (0.001, 0.1)]
        assert energies[0] > energies[1]
