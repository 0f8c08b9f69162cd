"""The gate sends each row to one expert, and its threshold is the best there is."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raki.kspace.experts import PREFERENCE, Experts, best_threshold
from raki.kspace.patches import magnitude

INFINITE = float("inf")


def gated(threshold):
    return Experts(bright=lambda rows: 2 * rows[..., :1], faint=lambda rows: 3 * rows[..., :1], threshold=threshold)


def rows(shape=(5, 4, 6)):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))


def cost(threshold, sizes, bright, faint):
    return float(torch.where(sizes >= threshold, bright, PREFERENCE * faint).sum())


energies = st.integers(0, 100).map(float)


@given(st.lists(st.tuples(energies, energies), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_no_other_threshold_is_better(pairs, random):
    sizes = [float(number + 1) for number in range(len(pairs))]
    random.shuffle(sizes)
    sizes, (bright, faint) = torch.tensor(sizes), torch.tensor(pairs).T
    costs = [cost(threshold, sizes, bright, faint) for threshold in (0.0, *sizes.tolist(), INFINITE)]
    assert cost(best_threshold(sizes, bright, faint), sizes, bright, faint) == pytest.approx(min(costs), rel=1e-5)


def test_an_expert_that_is_always_better_gets_everything():
    sizes, small, large = torch.arange(1.0, 9.0), torch.full((8,), 0.1), torch.ones(8)
    assert best_threshold(sizes, small, large) == 0
    assert best_threshold(sizes, large, small) == INFINITE


def test_beside_the_acs_the_bright_expert_has_to_show_for_it():
    sizes, equal = torch.arange(1.0, 9.0), torch.ones(8)
    assert best_threshold(sizes, equal, equal) == INFINITE
    assert best_threshold(sizes, PREFERENCE / 2 * equal, equal) == 0


def test_rows_go_where_their_magnitude_belongs():
    sources = rows()
    threshold = float(magnitude(sources).median())
    factor = (gated(threshold).predict(sources) / sources[..., :1]).real[..., 0].round()
    assert torch.equal(factor == 2, magnitude(sources) >= threshold)
    assert set(factor.flatten().tolist()) == {2, 3}


@pytest.mark.parametrize(("threshold", "factor"), [(0.0, 2), (INFINITE, 3)])
def test_the_extremes_leave_everything_to_one_expert(threshold, factor):
    sources = rows()
    torch.testing.assert_close(gated(threshold).predict(sources), factor * sources[..., :1])


@pytest.mark.parametrize("scale", [1e-3, 2.0, 1e3])
def test_a_brighter_scan_with_a_threshold_as_much_higher_is_the_same_scan(scale):
    sources = rows((200, 6))
    torch.testing.assert_close(gated(scale).predict(scale * sources), scale * gated(1.0).predict(sources))
