"""ESPIRiT on coils whose sensitivities are known."""

import numpy as np
import pytest
import torch

import raki.coils.sensitivities
from raki.coils.combination import combine_with, root_sum_of_squares
from raki.coils.sensitivities import _dominant_eigenvectors, espirit
from raki.errors import NoCalibration
from raki.images.metrics import object_mask
from raki.phantom.coil_array import sensitivities as ring_sensitivities
from raki.phantom.phantom import FOV_MM, phantom_kspace
from raki.scan.fourier import to_image

N_COILS, MATRIX = 8, 72
SHAPE = (MATRIX, MATRIX)
SIGMA = 0.02


def complex_noise(shape, number=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


@pytest.fixture(scope="module")
def kspace():
    full = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=N_COILS, matrix=MATRIX, seed=0))[0]
    return full + SIGMA * complex_noise(full.shape)


@pytest.fixture(scope="module")
def acs(kspace):
    return kspace[:, MATRIX // 2 - 12 : MATRIX // 2 + 12]


@pytest.fixture(scope="module")
def mask(kspace):
    return object_mask(root_sum_of_squares(to_image(kspace)))


@pytest.fixture(scope="module")
def found(acs):
    return espirit(acs, shape=SHAPE)


def overlap(maps, others):
    """1 where the maps are the same but for a factor in each pixel; 0 where they are orthogonal or missing."""
    size = root_sum_of_squares(maps) * root_sum_of_squares(others)
    return torch.where(size > 0, (maps.conj() * others).sum(dim=0).abs() / size, 0)


def test_sensitivities_of_the_ring_are_found_inside_the_object(found, mask):
    grid_mm = (np.arange(MATRIX) - MATRIX // 2) * FOV_MM / MATRIX
    ring = torch.from_numpy(ring_sensitivities(grid_mm, grid_mm, 16.0, N_COILS))
    agreement = overlap(found.maps, ring)[mask]
    assert agreement.mean() > 0.9995
    assert agreement.min() > 0.99


def test_eigenvalues_are_one_inside_the_object_and_small_far_from_it(found, mask):
    assert found.eigenvalues[mask].min() > 0.95
    assert found.eigenvalues.max() <= 1
    corners = found.eigenvalues[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() < 0.5


def test_maps_have_unit_size_or_are_cropped(found):
    kept = found.eigenvalues >= 0.8
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(root_sum_of_squares(found.maps), kept.float())


def test_maps_explain_the_images_but_for_the_noise(found, kspace, mask):
    images = to_image(kspace)
    rest = root_sum_of_squares(images - found.maps * combine_with(images, found.maps))[mask]
    noise_energy = (N_COILS - 1) * SIGMA**2
    assert rest.square().mean() < 1.5 * noise_energy


def test_phase_is_continuous(found, mask):
    for dim in (-2, -1):
        inside = mask.narrow(dim, 1, MATRIX - 1) & mask.narrow(dim, 0, MATRIX - 1)
        assert root_sum_of_squares(found.maps.diff(dim=dim))[inside].max() < 0.2


def test_the_objects_phase_is_not_in_the_maps(kspace, found, mask):
    """A shift of k-space by a few samples is a steep phase across the object."""
    shifted = kspace.roll((2, 3), dims=(-2, -1))[:, MATRIX // 2 - 12 : MATRIX // 2 + 12]
    maps = espirit(shifted, shape=SHAPE).maps
    torch.testing.assert_close(maps[:, mask], found.maps[:, mask], rtol=0, atol=0.05)


def test_the_coarse_grid_costs_no_accuracy(acs, mask, monkeypatch):
    shape = (2 * MATRIX, 2 * MATRIX)
    inside = mask.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)
    coarse = espirit(acs, shape=shape)
    monkeypatch.setattr(raki.coils.sensitivities, "GRID_SIZE", 2 * MATRIX)
    at_each_pixel = espirit(acs, shape=shape)
    torch.testing.assert_close(coarse.eigenvalues[inside], at_each_pixel.eigenvalues[inside], rtol=0, atol=1e-3)
    torch.testing.assert_close(coarse.maps[:, inside], at_each_pixel.maps[:, inside], rtol=0, atol=3e-3)


def test_the_dominant_eigenvector_is_found_beside_one_nearly_as_strong():
    n_coils, grid = 10, (6, 7)
    basis = torch.linalg.qr(complex_noise((*grid, n_coils, n_coils)))[0]
    spectrum = torch.linspace(0.1, 1, n_coils) ** 0.5  # the second is 0.95
    vectors, eigenvalues = _dominant_eigenvectors((basis * 0.8 * spectrum) @ basis.mH)
    assert overlap(vectors, basis[..., -1].permute(2, 0, 1)).min() > 0.999
    torch.testing.assert_close(eigenvalues, torch.full(grid, 0.8), rtol=0, atol=1e-3)


def test_pixels_of_another_size_see_the_same_field_of_view(acs, found):
    twice = espirit(acs, shape=(2 * MATRIX, 2 * MATRIX)).maps[:, ::2, ::2]
    inside = (overlap(twice, twice) > 0) & (found.eigenvalues > 0.9)
    torch.testing.assert_close(twice[:, inside], found.maps[:, inside], rtol=0, atol=5e-3)


def test_coils_may_come_in_any_order_and_at_any_scale(acs, found, mask):
    order = torch.tensor([7, 2, 5, 0, 1, 6, 3, 4])
    permuted = espirit(1e-6 * acs[order], shape=SHAPE)
    torch.testing.assert_close(permuted.maps[:, mask], found.maps[order][:, mask], rtol=0, atol=1e-3)


def test_only_the_bright_middle_of_a_longer_acs_counts(kspace, found, mask):
    longer = kspace.clone()
    longer[:, : MATRIX // 2 - 14] = 5 * SIGMA * complex_noise((N_COILS, MATRIX // 2 - 14, MATRIX), 1)
    maps = espirit(longer, shape=SHAPE).maps
    torch.testing.assert_close(maps[:, mask], found.maps[:, mask], rtol=0, atol=0.05)


@pytest.mark.parametrize("sigma", [None, 1.0])
def test_noise_and_silence_have_no_sensitivities(sigma):
    for acs in (complex_noise((6, 20, 30)), torch.zeros(6, 20, 30, dtype=torch.complex64)):
        silent = espirit(acs, shape=(32, 40), sigma=sigma)
        assert not silent.maps.any()
        assert not silent.eigenvalues.any()


def test_strong_noise_does_not_pass_for_signal(kspace, mask):
    """A bound that is a part of the largest singular value would take all of this for signal, and crop nothing."""
    noisy = (kspace + 0.3 * complex_noise(kspace.shape, 1))[:, MATRIX // 2 - 12 : MATRIX // 2 + 12]
    eigenvalues = espirit(noisy, shape=SHAPE).eigenvalues
    assert eigenvalues[mask].mean() > 0.9
    assert eigenvalues[~mask].median() < 0.7


def test_too_small_an_acs_is_named(acs):
    with pytest.raises(NoCalibration, match=r"ACS has 5 lines of 72 samples; a kernel of 6 by 6"):
        espirit(acs[:, :5], shape=SHAPE)
