"""Combination of coils."""

import numpy as np
import pytest
import torch

from raki.coils.combination import (
    adaptive_combination,
    adaptive_sensitivities,
    coil_covariance,
    combine_with,
    principal_components,
    root_sum_of_squares,
)
from raki.images.metrics import nmse, object_mask
from raki.phantom.coil_array import sensitivities as ring_sensitivities
from raki.phantom.phantom import FOV_MM, phantom_kspace
from raki.scan.fourier import to_image

GENERATOR = torch.Generator().manual_seed(0)
N_COILS, MATRIX = 6, 48
SIGMA = 0.02


def complex_noise(shape, number=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


def unitary(n, number=0):
    return torch.linalg.qr(complex_noise((n, n), number))[0]


@pytest.fixture(scope="module")
def images():
    kspace = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=N_COILS, matrix=MATRIX, seed=0))[0]
    return to_image(kspace + SIGMA * complex_noise(kspace.shape))


@pytest.fixture(scope="module")
def ring():
    grid_mm = (np.arange(MATRIX) - MATRIX // 2) * FOV_MM / MATRIX
    return torch.from_numpy(ring_sensitivities(grid_mm, grid_mm, 16.0, N_COILS))


@pytest.fixture(scope="module")
def mask(images):
    return object_mask(root_sum_of_squares(images))


def test_two_coils_combine_as_the_sides_of_a_right_triangle():
    images = torch.stack([torch.full((2, 2), 3j), torch.full((2, 2), -4 + 0j)])
    torch.testing.assert_close(root_sum_of_squares(images), torch.full((2, 2), 5.0))


@pytest.mark.parametrize("combine", [root_sum_of_squares, lambda images: adaptive_combination(images).abs()])
def test_any_unitary_mixing_of_coils_gives_the_same_image(combine):
    images = torch.randn(2, 5, 4, 6, dtype=torch.complex64, generator=GENERATOR)
    mixed = torch.einsum("ij,sjpr->sipr", unitary(5), images)
    combined = combine(mixed)
    assert combined.shape == (2, 4, 6)
    torch.testing.assert_close(combined, combine(images), rtol=1e-3, atol=1e-4)


def test_known_sensitivities_give_the_object_back():
    source, sensitivities = complex_noise((2, 7, 9)), complex_noise((2, 4, 7, 9), 1)
    sensitivities[..., 3] = 0
    combined = combine_with(sensitivities * source.unsqueeze(1), sensitivities)
    assert not combined[..., 3].any()
    inside = torch.arange(9) != 3
    torch.testing.assert_close(combined[..., inside], source[..., inside])


def test_no_other_weights_that_keep_the_object_let_in_less_noise():
    sensitivity = complex_noise((5, 1, 1), 1).expand(5, 100, 100)
    noise = complex_noise((5, 100, 100), 2)
    least = combine_with(noise, sensitivity).abs().square().mean()
    assert float(least) == pytest.approx(1 / float(sensitivity[:, 0, 0].abs().square().sum()), rel=0.05)
    for number in range(3, 6):
        weights = complex_noise((5, 1, 1), number)
        other = (weights.conj() * noise).sum(dim=0) / (weights.conj() * sensitivity).sum(dim=0)
        assert other.abs().square().mean() > least


def test_adaptive_combination_knows_the_ring_of_coils(images, ring, mask):
    by_ring = combine_with(images, ring / root_sum_of_squares(ring))
    assert nmse(adaptive_combination(images).abs(), by_ring.abs(), mask) < 1e-3
    alignment = (adaptive_sensitivities(images).conj() * ring).sum(dim=0).abs() / root_sum_of_squares(ring)
    assert alignment[mask].mean() > 0.995


def test_the_iteration_ends_at_the_eigenvector_of_the_local_covariance(images, mask):
    outer = torch.einsum("cpr,dpr->prcd", images, images.conj())
    covariance = torch.nn.functional.avg_pool2d(torch.view_as_real(outer).permute(2, 3, 4, 0, 1).flatten(0, 2), 7, 1, 3)
    covariance = covariance.reshape(N_COILS, N_COILS, 2, MATRIX, MATRIX).permute(3, 4, 0, 1, 2).contiguous()
    dominant = torch.linalg.eigh(torch.view_as_complex(covariance)).eigenvectors[..., -1].permute(2, 0, 1)
    overlap = (dominant.conj() * adaptive_sensitivities(images, n_smooth=7)).sum(dim=0).abs()
    assert overlap[mask].mean() > 0.9995


def test_the_objects_phase_is_in_the_image_and_not_in_the_maps(images):
    """However rough it is: it cancels in the covariance of each pixel."""
    phase = torch.sgn(complex_noise((MATRIX, MATRIX), 3))
    turned = adaptive_combination(phase * images)
    scale = root_sum_of_squares(images).max()
    torch.testing.assert_close(turned / scale, phase * adaptive_combination(images) / scale, rtol=0, atol=1e-4)


def test_the_first_principal_component_sees_the_maps_with_phase_zero(images):
    _, components = principal_components(coil_covariance(images))
    seen = torch.einsum("c,cpr->pr", components[0], adaptive_sensitivities(images))
    assert seen.real.min() > 0
    torch.testing.assert_close(seen.imag, torch.zeros(MATRIX, MATRIX), rtol=0, atol=1e-5)


def test_principal_components_are_uncorrelated_virtual_coils_in_order_of_energy(images):
    energies, components = principal_components(coil_covariance(torch.stack([images, 0.5 * images])))
    virtual = torch.einsum("vc,cpr->vpr", components, images)
    torch.testing.assert_close(1.25 * coil_covariance(virtual).real, energies.diag(), rtol=1e-3, atol=1e-3)
    assert energies.tolist() == sorted(energies.tolist(), reverse=True)
    sums = components.sum(dim=1)
    assert sums.real.min() > 0
    torch.testing.assert_close(sums.imag, torch.zeros(N_COILS), rtol=0, atol=1e-5)


def test_neighbouring_pixels_have_nearly_the_same_maps(images, mask):
    maps = adaptive_sensitivities(images)
    for dim in (-2, -1):
        inside = mask.narrow(dim, 1, MATRIX - 1) & mask.narrow(dim, 0, MATRIX - 1)
        step = root_sum_of_squares(maps.diff(dim=dim))
        assert step[inside].max() < 0.35
    torch.testing.assert_close(root_sum_of_squares(maps), torch.ones(MATRIX, MATRIX))


def test_coils_may_come_in_any_order_and_at_any_scale(images):
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    maps = adaptive_sensitivities(images)
    torch.testing.assert_close(adaptive_sensitivities(1e-15 * images[order]), maps[order], rtol=0, atol=1e-3)


def test_slices_are_combined_each_for_itself_with_one_reference_of_phase(images):
    volume = torch.stack([images, 0.5 * images, torch.zeros_like(images)])
    combined = adaptive_combination(volume)
    torch.testing.assert_close(combined[0], adaptive_combination(images), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(combined[1], 0.5 * combined[0])
    assert not combined[2].any()


def test_noise_in_the_background_is_weaker_than_in_the_root_sum_of_squares():
    noise = complex_noise((16, 64, 64))
    level = adaptive_combination(noise).abs().square().mean().sqrt()
    assert 1 < level < 0.5 * root_sum_of_squares(noise).square().mean().sqrt()


@pytest.mark.parametrize("wrong", [{"n_smooth": 4}, {"n_smooth": -1}, {"n_iterations": 0}])
def test_a_square_without_a_middle_is_refused(images, wrong):
    with pytest.raises(ValueError, match="odd number of pixels"):
        adaptive_sensitivities(images, **wrong)
