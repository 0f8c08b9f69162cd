"""Partial Fourier: the missing side of k-space is filled where measured samples say that it can be, and only there."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raki.coils import root_sum_of_squares
from raki.images import nmse
from raki.kspace import complete
from raki.kspace import opposite as module
from raki.kspace.opposite import fill_opposite, missing_side, opposite
from raki.kspace.uncertainty import UncertaintyMaps
from raki.phantom import phantom_kspace
from raki.phantom.simulation import complex_noise, sampled_lines
from raki.scan.fourier import to_image, to_kspace

N = 64


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    return torch.from_numpy(phantom_kspace(n_slices=1, n_coils=6, matrix=N)[0])


def later_lines(part: float, n: int = N) -> np.ndarray:
    known = np.zeros((n, n), bool)
    known[round((1 - part) * n) :] = True
    return known


def kept(kspace: torch.Tensor, known: np.ndarray) -> torch.Tensor:
    return kspace * torch.from_numpy(known)


def energy(kspace: torch.Tensor) -> float:
    return float(kspace.abs().square().sum())


def error(kspace: torch.Tensor, truth: torch.Tensor) -> float:
    return nmse(root_sum_of_squares(to_image(kspace)), root_sum_of_squares(to_image(truth)))


@pytest.mark.parametrize("part", [5 / 8, 6 / 8, 7 / 8])
@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_smooth_phase_is_seen_through_whichever_side_is_missing(head, part, turn):
    known = np.rot90(later_lines(part), turn).copy()
    # Half a turn about DC takes the first line of an even axis with it, which has no other.
    known = opposite(known) if turn == 2 else known
    given_ = kept(head, known)
    filled, side = fill_opposite(given_, known, known)
    assert side is not None
    assert side.filled_by is not None
    assert error(filled, head) < 0.35 * error(given_, head)
    assert torch.equal(kept(filled, known), given_), "what was measured stays as it came"
    assert not filled[:, torch.from_numpy(~known & ~missing_side(known))].any(), "what has no opposite stays zero"


def test_one_coil_is_enough_where_the_phase_is_smooth(head):
    known = later_lines(6 / 8)
    alone = head[:1]
    filled, side = fill_opposite(kept(alone, known), known, known)
    assert side is not None
    assert side.filled_by is not None
    assert error(filled, alone) < 0.5 * error(kept(alone, known), alone)


@pytest.mark.parametrize("part", [5 / 8, 6 / 8, 7 / 8])
def test_a_phase_at_random_leaves_zeros(head, part):
    angles = torch.from_numpy(np.random.default_rng(3).uniform(-np.pi, np.pi, (N, N)).astype(np.float32))
    rough = to_kspace(to_image(head) * torch.polar(torch.ones_like(angles), angles))
    known = later_lines(part)
    filled, side = fill_opposite(kept(rough, known), known, known)
    assert side is not None
    assert side.filled_by is None
    assert torch.equal(filled, kept(rough, known))


def test_what_was_predicted_worse_is_put_in_with_more_caution(head, monkeypatch):
    """What is missing lies farther out than what was withheld."""
    known = later_lines(6 / 8)
    judged = [module._Judged(name="pocs", error=error, scale=0.8) for error in (0.0, 0.5)]
    monkeypatch.setattr(module, "_judge", lambda *_arguments: judged.pop(0))
    (sure, side), (unsure, other) = (fill_opposite(kept(head, known), known, known) for _ in range(2))
    assert (side.scale, other.scale) == (pytest.approx(0.8), pytest.approx(0.6))
    missing = torch.from_numpy(missing_side(known))
    torch.testing.assert_close(unsure[:, missing], 0.75 * sure[:, missing])


def test_noise_alone_leaves_zeros():
    noise = torch.from_numpy(complex_noise(np.random.default_rng(1), (4, N, N)))
    known = later_lines(6 / 8)
    filled, side = fill_opposite(kept(noise, known), known, known)
    assert torch.equal(filled, kept(noise, known))
    assert side is not None
    assert side.held_out_error == pytest.approx(1.0, abs=0.1)


@given(
    n_pe=st.integers(8, 40),
    n_ro=st.integers(8, 40),
    first=st.integers(0, 3),
    behind=st.integers(0, 3),
)
def test_padding_on_both_sides_is_no_missing_side(n_pe, n_ro, first, behind):
    known = np.zeros((n_pe, n_ro), bool)
    known[first : n_pe - behind] = True
    before, after = n_pe // 2 - first, n_pe - behind - 1 - n_pe // 2
    missing = missing_side(known)
    assert missing.any() == (abs(before - after) > max(1, n_pe / 32) and min(before, after) >= 4)
    assert not (missing & known).any()
    assert not (missing & ~opposite(known)).any()


@given(n_pe=st.integers(4, 9), n_ro=st.integers(4, 9), seed=st.integers(0, 99))
def test_the_opposite_of_the_opposite_is_the_point_itself(n_pe, n_ro, seed):
    mask = np.random.default_rng(seed).random((n_pe, n_ro)) < 0.5
    has_other = opposite(np.ones_like(mask))
    assert (opposite(opposite(mask)) == (mask & has_other)).all()
    centre = n_pe // 2, n_ro // 2
    assert opposite(mask)[centre] == mask[centre]


@given(n_pe=st.integers(4, 9), n_ro=st.integers(4, 9), seed=st.integers(0, 99))
def test_the_kspace_of_a_real_image_is_its_own_opposite(n_pe, n_ro, seed):
    image = torch.from_numpy(np.random.default_rng(seed).random((2, n_pe, n_ro)).astype(np.complex64))
    kspace = to_kspace(image)
    has_other = torch.from_numpy(opposite(np.ones((n_pe, n_ro), bool)))
    torch.testing.assert_close(module._turned(kspace), torch.where(has_other, kspace, 0), atol=1e-5, rtol=0)


def test_too_small_a_centre_is_left_alone(head):
    known = later_lines(0.5 + 2 / N)
    filled, side = fill_opposite(kept(head, known), known, known)
    assert side is None
    assert torch.equal(filled, kept(head, known))


def test_what_was_filled_before_judges_nothing(head):
    known = later_lines(6 / 8)
    acquired = known.copy()
    acquired[N // 4 : N // 4 + 6 : 2] = False
    wrong = kept(head, known)
    wrong[:, torch.from_numpy(known & ~acquired)] *= -3
    _, side = fill_opposite(kept(head, known), known, acquired)
    _, other = fill_opposite(wrong, known, acquired)
    assert side is not None
    assert other is not None
    assert side.held_out_error == pytest.approx(other.held_out_error, rel=1e-3)


def test_noise_grows_as_it_is_said_to(head):
    """Over replicas of the noise, about the same image."""
    known = later_lines(6 / 8)
    rng = np.random.default_rng(7)
    bare, filled, told = [], [], []
    for _ in range(12):
        noisy = kept(head + torch.from_numpy(0.01 * complex_noise(rng, tuple(head.shape))), known)
        whole, side = fill_opposite(noisy, known, known)
        assert side is not None
        bare.append(root_sum_of_squares(to_image(noisy)))
        filled.append(root_sum_of_squares(to_image(whole)))
        told.append(side.noise)
    bright = bare[0] > 0.5 * bare[0].max()
    grown = (
        torch.stack(filled).std(dim=0)[bright].square().mean() / torch.stack(bare).std(dim=0)[bright].square().mean()
    )
    assert float(grown.sqrt()) == pytest.approx(np.mean(told), rel=0.1)


@pytest.mark.parametrize("method", ["grappa", "raki"])
def test_undersampled_too_and_the_report_says_how(head, method):
    lines, _ = sampled_lines(N, 2, 20, 6 / 8)
    sampled = torch.zeros(N, dtype=torch.bool)
    sampled[torch.from_numpy(lines)] = True
    measured = torch.where(sampled[:, None], head, 0)
    bare, nothing = complete(measured[None], "zero_filled", sampled=sampled)
    filled, report = complete(measured[None], method, sampled=sampled, device="cpu")
    assert nothing.opposite is None
    assert not bare[0, :, ~sampled].any()
    assert report.opposite is not None
    assert "zeros" not in report.opposite.n_slices_by_filling
    assert any(note.startswith("Partial Fourier") for note in report.notes)
    assert energy(filled[0] - head) < 0.5 * energy(head[:, : N // 4])
    assert torch.equal(filled[0, :, sampled], measured[:, sampled])


def test_a_fully_sampled_scan_has_no_opposite_side(head):
    _, report = complete(head[None], "raki", device="cpu")
    assert report.opposite is None
    assert not any("Partial Fourier" in note for note in report.notes)


def test_maps_know_of_the_noise_that_was_put_in():
    ones = torch.ones(2, 3)
    maps = UncertaintyMaps(g_factor=ones, standard_error=2 * ones, structure_kept=0.5 * ones).with_more_noise(1.5)
    assert maps.g_factor.unique().item() == 1.5
    assert maps.standard_error.unique().item() == 3.0
    assert maps.structure_kept.unique().item() == 0.5


def test_a_slices_maps_are_told_of_it(head, monkeypatch):
    told = []
    with_more_noise = UncertaintyMaps.with_more_noise
    monkeypatch.setattr(
        UncertaintyMaps, "with_more_noise", lambda maps, factor: told.append(factor) or with_more_noise(maps, factor)
    )
    middle = head[:4, 16:-16, 16:-16]
    sampled = torch.zeros(32, dtype=torch.bool)
    sampled[torch.from_numpy(sampled_lines(32, 2, 12, 6 / 8)[0])] = True
    noise = torch.from_numpy(complex_noise(np.random.default_rng(5), tuple(middle.shape)))
    measured = torch.where(sampled[:, None], middle + 0.01 * noise, 0)
    _, report = complete(measured[None], "raki_linear", sampled=sampled, device="cpu", with_maps=True)
    assert len(report.maps) == 1
    assert len(told) == 1
    assert 1 < told[0] < 2
