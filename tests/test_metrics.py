"""Metrics against what they are defined to be, and the mask of the object."""

import pytest
import torch

from raki.metrics import _inside, nmse, object_mask, psnr


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
