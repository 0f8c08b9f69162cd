"""The image behind all coils: acquired samples untouched, never worse than GRAPPA where GRAPPA is good."""

from dataclasses import replace

import pytest
import torch

from raki.coils import root_sum_of_squares
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.image_prior import SparseFilling, coil_model
from raki.kspace.sampling import find_sampling
from raki.kspace.self_calibration import self_calibrated
from raki.scan.fourier import columns_to_image, columns_to_kspace, from_columns, to_columns, to_image, to_kspace
from tests.kspace.slices import complex_noise, head, line_pairs, seen_by_coils, undersampled

SIGMA = 0.003


def error(kspace, full):
    """Of the root-sum-of-squares image, relative."""
    found, wanted = (root_sum_of_squares(to_image(each)) for each in (kspace, full))
    return float((found - wanted).square().sum() / wanted.square().sum())


def linear_and_sparse(measured, strength=0.5):
    grappa = calibrated_grappa(measured.acs, measured.sampling.acceleration)
    linear = self_calibrated(measured, grappa, seed=0)
    model = coil_model(measured, linear.filled(measured), linear, 0)
    return grappa, linear, SparseFilling(model=model, strength=strength)


@pytest.fixture(scope="module")
def noisy():
    full = head() + SIGMA * complex_noise(head().shape)
    measured = undersampled(full, acceleration=4, n_acs_lines=20, sigma=SIGMA)
    return full, measured, linear_and_sparse(measured)


def test_acquired_lines_come_back_bit_for_bit(noisy):
    full, measured, (_, _, sparse) = noisy
    assert torch.equal(sparse.filled(measured)[:, measured.known], full[:, measured.known])


def test_it_has_less_error_than_what_it_starts_from(noisy):
    full, measured, (grappa, linear, sparse) = noisy
    errors = [error(filling.filled(measured), full) for filling in (grappa, linear, sparse)]
    assert errors[2] < 0.7 * min(errors[:2])


def test_a_stronger_threshold_leaves_less_detail(noisy):
    _, measured, (_, _, sparse) = noisy
    filled = [to_image(replace(sparse, strength=strength).filled(measured)) for strength in (0.0, 0.5, 2.0)]
    rough = [float((image - image.roll(1, -1)).abs().square().sum()) for image in filled]
    assert rough == sorted(rough, reverse=True)


def test_refining_is_the_second_half_of_filling(noisy):
    _, measured, (_, linear, sparse) = noisy
    assert torch.equal(sparse.refined(measured, linear.filled(measured)), sparse.filled(measured))


def test_lines_that_were_never_meant_to_be_acquired_stay_zero():
    full = head()
    known = undersampled(full, acceleration=3, n_acs_lines=20, sigma=0.0).known
    known[:12] = False
    sampling = find_sampling(known)
    first, stop = sampling.acs_lines
    measured = replace(
        undersampled(full, acceleration=3, n_acs_lines=20, sigma=0.0),
        kspace=torch.where(known[:, None], full, 0),
        known=known,
        sampling=sampling,
        acs=full[:, first:stop],
    )
    _, _, sparse = linear_and_sparse(measured)
    filled = sparse.filled(measured)
    first_filled, _ = sampling.filled_lines()
    assert first_filled > 8
    assert not filled[:, :first_filled].any()
    assert (filled[:, first_filled:].abs().sum(dim=(0, 2)) > 0).all()


@pytest.mark.parametrize(("n_coils", "acceleration"), [(2, 2), (4, 2), (4, 3), (8, 3)])
@pytest.mark.parametrize("snr", [50, 1000])
def test_bars_of_two_pixels_are_no_worse_than_by_grappa(n_coils, acceleration, snr):
    """The bars' k-space is far from the ACS and bright: what is learnt of faint lines must not be done to them."""
    clean = line_pairs(n_coils)
    sigma = float(root_sum_of_squares(to_image(clean)).max()) / snr
    full = clean + sigma * complex_noise(clean.shape)
    measured = undersampled(full, acceleration=acceleration, n_acs_lines=24, sigma=sigma)
    grappa, _, sparse = linear_and_sparse(measured)
    assert error(sparse.filled(measured), full) <= error(grappa.filled(measured), full)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_half_and_double_the_noise_level_hardly_matter(noisy, factor):
    full, measured, (_, _, right) = noisy
    _, _, wrong = linear_and_sparse(replace(measured, sigma=factor * SIGMA))
    assert error(wrong.filled(measured), full) < 1.1 * error(right.filled(measured), full)


def test_an_object_folded_onto_itself_is_no_worse_than_by_grappa():
    """A field of view of half the object: two layers in a pixel, which one set of sensitivities can't show."""
    wide = head(n_coils=8, matrix=128)[:, ::2]
    full = wide / wide.abs().max() + SIGMA * complex_noise(wide.shape)
    measured = undersampled(full, acceleration=2, n_acs_lines=20, sigma=SIGMA)
    grappa, _, sparse = linear_and_sparse(measured)
    assert error(sparse.filled(measured), full) < error(grappa.filled(measured), full)


def test_a_very_noisy_image_keeps_its_noise_floor(monkeypatch):
    """Noise of all coils makes a root sum of squares brighter; an image without it were darker than all lines say."""
    clean = seen_by_coils(_disk(64), 8)
    sigma = float(root_sum_of_squares(to_image(clean)).max()) / 3
    full = clean + sigma * complex_noise(clean.shape)
    measured = undersampled(full, acceleration=3, n_acs_lines=20, sigma=sigma)
    _, _, sparse = linear_and_sparse(measured)
    with_floor = sparse.filled(measured)
    monkeypatch.setattr("raki.kspace.image_prior.FLOOR_UNSEEN", 1e9)
    without = sparse.filled(measured)
    assert error(with_floor, full) < 0.9 * error(without, full)


def test_columns_are_lines_without_shift():
    kspace = complex_noise((2, 9, 6))
    images = to_image(kspace)
    by_columns = from_columns(columns_to_image(to_columns(to_kspace(images))))
    along_both = torch.fft.fftshift(
        torch.fft.fft(torch.fft.ifftshift(to_image(kspace), dim=-1), dim=-1, norm="ortho"), dim=-1
    )
    torch.testing.assert_close(by_columns, along_both)
    torch.testing.assert_close(columns_to_kspace(columns_to_image(to_columns(kspace))), to_columns(kspace))
    assert torch.equal(from_columns(to_columns(kspace)), kspace)


def _disk(matrix):
    rows, columns = torch.meshgrid(torch.arange(matrix), torch.arange(matrix), indexing="ij")
    return (((rows - matrix // 2) ** 2 + (columns - matrix // 2) ** 2).sqrt() < 0.4 * matrix).float()
