"""One image seen by all coils: nothing acquired is touched, noise goes, and what the coils can't explain stays."""

from dataclasses import replace

import pytest
import torch

from raki.coils.combination import root_sum_of_squares
from raki.images.metrics import object_mask
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.image_prior import CoilModel, SparseFilling, coil_model
from raki.kspace.mistakes import white_noise
from raki.scan.fourier import to_image
from tests.kspace.simulated_slices import complex_noise, full_slice, image_error, undersampled


def linear_and_model(measured):
    """The slice as GRAPPA fills it, and what is known from that."""
    grappa = calibrated_grappa(measured.acs, measured.sampling.gap)
    filled = grappa.filled(measured)
    return filled, coil_model(measured, filled, grappa, seed=0)


@pytest.fixture(scope="module")
def full():
    return full_slice("vessels", n_coils=8)


@pytest.fixture(scope="module")
def measured(full):
    return undersampled(full, 3)


@pytest.fixture(scope="module")
def filled(measured) -> torch.Tensor:
    return linear_and_model(measured)[0]


@pytest.fixture(scope="module")
def model(measured) -> CoilModel:
    return linear_and_model(measured)[1]


@pytest.mark.parametrize("strength", [0.0, 0.5, 100.0])
def test_acquired_lines_come_back_bit_for_bit_and_the_others_are_filled(full, measured, model, strength):
    found = SparseFilling(model=model, strength=strength).filled(measured)
    assert torch.equal(found[:, measured.known[:, 0]], full[:, measured.known[:, 0]])
    assert (found[:, ~measured.known[:, 0]].abs().sum(dim=(0, 2)) > 0).all()


def test_lines_never_meant_to_be_acquired_stay_zero(full):
    cut = full.clone()
    cut[:, :9] = 0
    measured = undersampled(cut, 3)
    sampling = replace(measured.sampling, acquired_range=(9, measured.sampling.acquired_range[1]))
    known = measured.known & (torch.arange(48) >= 9)[:, None]
    measured = replace(measured, sampling=sampling, known=known)
    found = SparseFilling(model=linear_and_model(measured)[1], strength=0.5).filled(measured)
    assert not found[:, :9].any()
    assert (found[:, 9:].abs().sum(dim=(0, 2)) > 0).all()


def test_the_part_of_the_readout_that_a_partial_echo_lacks_stays_empty(full):
    """As far as no kernel reaches."""
    cut = full.clone()
    cut[..., :12] = 0
    measured = undersampled(cut, 3)
    filled, model = linear_and_model(measured)
    found = SparseFilling(model=model, strength=0.5).filled(measured)
    assert not found[..., :8].any()
    assert image_error(found, cut) < image_error(filled, cut)


def test_sensitivities_are_of_unit_norm(model):
    norm = root_sum_of_squares(model.sensitivities)
    torch.testing.assert_close(norm, torch.ones_like(norm), rtol=1e-3, atol=0)


def test_the_noise_is_that_of_the_linear_filling_in_the_combined_image(measured, model):
    """Against many draws; the map itself is of one, smoothed."""
    generator = torch.Generator().manual_seed(1)
    images = [
        to_image(model.linear.fill(white_noise(measured, model.sigma, generator), measured.sampling)) for _ in range(20)
    ]
    shown = torch.stack([torch.linalg.vecdot(model.sensitivities, image, dim=0) for image in images])
    assert float(model.noise.mean()) == pytest.approx(float(shown.abs().square().mean().sqrt()), rel=0.1)
    outside = torch.stack([image - model.sensitivities * one for image, one in zip(images, shown, strict=True)])
    assert float(model.noise_outside.mean()) == pytest.approx(float(outside.abs().square().sum(dim=1).mean()), rel=0.1)


@pytest.mark.parametrize("strength", [0.0, 0.15])
def test_what_is_right_already_stays(strength):
    """Without noise, a filling that is exact: what is left is the sensitivities' own error."""
    full = full_slice("disks", n_coils=8, snr=1e4)
    measured = undersampled(full, 2)
    found = SparseFilling(model=linear_and_model(measured)[1], strength=strength).refined(measured, full)
    assert float((found - full).norm() / full.norm()) < 3e-3


def test_noise_goes(full, measured, filled, model):
    error = image_error(SparseFilling(model=model, strength=0.5).filled(measured), full)
    assert error < 0.7 * image_error(filled, full)


def test_more_strength_leaves_less_detail(full, measured, model):
    """Of the gaps, in which the noise is removed: their energy falls with the threshold."""
    energies = [
        float(SparseFilling(model=model, strength=strength).filled(measured)[:, ~measured.known[:, 0]].norm())
        for strength in (0.0, 0.5, 2.0, 10.0)
    ]
    assert energies == sorted(energies, reverse=True)


def test_a_second_layer_is_kept():
    """Every second line of a wider scan: two places in one pixel, of which one set of sensitivities shows one."""
    full = full_slice("disks", n_coils=8, matrix=96, snr=60)[:, ::2]
    measured = undersampled(full, 2)
    filled, model = linear_and_model(measured)
    assert image_error(SparseFilling(model=model, strength=0.35).filled(measured), full) < image_error(filled, full)


@pytest.mark.parametrize(("n_coils", "snr"), [(16, 6), (8, 5)])
def test_the_noise_floor_of_a_root_sum_of_squares_stays_where_it_is_seen(n_coils, snr):
    """The full scan has it, and a dark image beside it were an error: no darker than GRAPPA's, but for two percent."""
    full = full_slice(n_coils=n_coils, snr=snr)
    measured = undersampled(full, 2)
    filled, model = linear_and_model(measured)
    inside = object_mask(root_sum_of_squares(to_image(full_slice(n_coils=n_coils, snr=1e4))))
    found, by_grappa = (
        float(root_sum_of_squares(to_image(each))[inside].mean())
        for each in (SparseFilling(model=model, strength=1.0).filled(measured), filled)
    )
    assert found == pytest.approx(by_grappa, rel=0.02)


def test_an_empty_slice_stays_empty(measured, full):
    dark = replace(measured, kspace=torch.zeros_like(full), acs=torch.zeros_like(measured.acs), sigma=0.0)
    model = linear_and_model(dark)[1]
    assert model.sigma == 0
    assert not SparseFilling(model=model, strength=1.0).filled(dark).any()


def test_noise_alone_is_filled_with_numbers():
    measured = undersampled(complex_noise((3, 40, 24)), 2)
    assert torch.isfinite(SparseFilling(model=linear_and_model(measured)[1], strength=1.0).filled(measured)).all()
