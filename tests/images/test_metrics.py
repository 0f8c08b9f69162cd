"""Metrics against what they are defined to be, and the mask of the object."""

import math

import pytest
import torch

from raki.images.metrics import _inside, high_frequency_error, nmse, object_mask, psnr, ssim


def ring(n: int = 64) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(n) - n // 2, torch.arange(n) - n // 2, indexing="ij")
    radius = (y**2 + x**2).sqrt()
    return ((radius < 24) & (radius > 10)).float()


def test_nmse_of_an_image_scaled_by_1_plus_d_is_d_squared():
    reference = ring() + 0.1
    assert nmse(1.1 * reference, reference) == pytest.approx(0.01, rel=1e-4)
    assert nmse(reference, reference) == 0


def test_errors_outside_the_mask_do_not_count():
    reference, image = ring(), ring()
    image[0, 0] = 9
    mask = reference > 0
    assert nmse(image, reference, mask) == 0
    assert nmse(image, reference) > 0
    assert psnr(image, reference, mask) == float("inf")


def test_psnr_of_a_tenth_of_the_peak_is_20_db():
    reference = ring()
    assert psnr(reference + 0.1, reference) == pytest.approx(20, abs=1e-3)


def noise(shape=(64, 64), number=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(number))


both = pytest.mark.parametrize("metric", [ssim, high_frequency_error])


@both
def test_equal_images_are_perfect_and_more_noise_is_worse(metric):
    reference = ring() + 0.1
    best = {ssim: 1, high_frequency_error: 0}[metric]
    assert metric(reference, reference) == pytest.approx(best, abs=1e-12)
    far = [abs(metric(reference + level * noise(), reference) - best) for level in (0.003, 0.03, 0.3)]
    assert 0 < far[0] < far[1] < far[2]


@both
def test_similarity_does_not_depend_on_the_units_of_the_images(metric):
    reference, image = ring() + 0.1, ring() + 0.1 + 0.05 * noise()
    assert metric(3e5 * image, 3e5 * reference) == pytest.approx(metric(image, reference), rel=1e-4)


@both
def test_only_windows_around_the_mask_count(metric):
    reference, image = ring() + 0.1, ring() + 0.1
    image[:24] += noise((24, 64))
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[40:50, 20:40] = True
    assert metric(image, reference, mask) == metric(reference, reference, mask)
    assert metric(image, reference) != metric(reference, reference)


@both
def test_slices_are_judged_each_for_itself(metric):
    """A volume of one slice twice is judged as the slice is; in the order of slices lies no edge."""
    reference, image = ring() + 0.1, ring() + 0.1 + 0.05 * noise()
    twice = metric(torch.stack([image, image]), torch.stack([reference, reference]))
    assert twice == pytest.approx(metric(image, reference), rel=1e-9)


def test_ssim_is_as_defined_where_there_is_but_one_window():
    image, reference = noise((11, 11)).abs(), noise((11, 11), 1).abs()
    profile = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2)).double()
    weight = torch.outer(profile, profile) / profile.sum() ** 2
    x, y = image.double(), reference.double()
    mean_x, mean_y = (weight * x).sum(), (weight * y).sum()
    covariance = torch.stack(
        [
            (weight * a * b).sum()
            for a, b in ((x - mean_x, x - mean_x), (y - mean_y, y - mean_y), (x - mean_x, y - mean_y))
        ]
    )
    c1, c2 = (0.01 * y.max()) ** 2, (0.03 * y.max()) ** 2
    expected = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    expected *= (2 * covariance[2] + c2) / (covariance[0] + covariance[1] + c2)
    assert ssim(image, reference) == pytest.approx(float(expected), rel=1e-6)


def test_ssim_doesnt_care_which_image_is_the_reference_if_their_maxima_are_equal():
    reference = ring() + 0.1
    image = (reference + 0.05 * noise()).clamp(max=float(reference.max()))
    assert ssim(image, reference) == pytest.approx(ssim(reference, image), rel=1e-9)


def test_high_frequency_error_is_quadratic_and_blind_to_an_even_error():
    reference, error = ring(), noise()
    once, twice = (high_frequency_error(reference + factor * error, reference) for factor in (0.1, 0.2))
    assert twice == pytest.approx(4 * once, rel=1e-4)
    assert high_frequency_error(2 * reference, reference) == pytest.approx(1)
    assert high_frequency_error(reference + 0.5, reference) == pytest.approx(0, abs=1e-10)


def test_high_frequency_error_of_a_wave_is_that_of_the_continuous_filter():
    """A Laplacian of Gaussian multiplies a wave of angular frequency k by -k² exp(-k² sigma² / 2)."""
    x = torch.arange(96.0)
    slow, fast = (torch.sin(2 * torch.pi * x / wavelength).expand(96, 96).contiguous() for wavelength in (24, 8))
    gain = [(2 * torch.pi / w) ** 2 * math.exp(-((2 * torch.pi / w) ** 2) * 1.5**2 / 2) for w in (24, 8)]
    mask = torch.zeros(96, 96, dtype=torch.bool)
    mask[12:84, 12:84] = True
    assert high_frequency_error(slow + fast, slow, mask) == pytest.approx((gain[1] / gain[0]) ** 2, rel=0.02)


def test_object_mask_fills_holes_and_drops_specks_and_background():
    image = 5 * ring() + 0.02
    image[2, 2] = 5
    mask = object_mask(image)
    assert mask[32, 32], "the hole of the ring belongs to the object"
    assert mask[32, 32 + 17]
    assert not mask[5, 40]
    assert not mask[60:, :4].any()
    disc_area = torch.pi * 24**2
    assert 0.95 * disc_area < mask.sum() < 1.3 * disc_area


def test_object_mask_does_not_depend_on_the_scale_and_leaves_an_empty_slice_empty():
    volume = torch.stack([ring(), torch.zeros(64, 64)])
    torch.testing.assert_close(object_mask(volume), object_mask(1e-6 * volume))
    assert not object_mask(volume)[1].any()


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match="zero everywhere"):
        nmse(ring(), torch.zeros(64, 64))
    with pytest.raises(ValueError, match="need the same"):
        _inside(ring(), ring(32), None)
    with pytest.raises(ValueError, match="mask is empty"):
        psnr(ring(), ring(), torch.zeros(64, 64, dtype=torch.bool))
    with pytest.raises(ValueError, match="maximum is 0"):
        ssim(ring(), torch.zeros(64, 64))
    with pytest.raises(ValueError, match="no edge inside the mask"):
        high_frequency_error(ring(), torch.full((64, 64), 0.7))
    with pytest.raises(ValueError, match=r"\(10, 64\) pixels is smaller than the window of 11"):
        ssim(ring()[:10], ring()[:10])
    border = torch.zeros(64, 64, dtype=torch.bool)
    border[0] = True
    with pytest.raises(ValueError, match="no pixel of the mask has a window of 15 pixels"):
        high_frequency_error(ring(), ring(), border)
