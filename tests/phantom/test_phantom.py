"""The phantom looks like a head, is the same for the same seed, and holds detail beyond what is sampled."""

import numpy as np
import pytest

from raki.phantom.anatomy import draw_head
from raki.phantom.coil_array import noise_correlation, sensitivities
from raki.phantom.phantom import FOV_MM, phantom_kspace, phantom_slices, slice_positions_mm
from raki.phantom.simulation import sampled_lines


def coil_images(kspace):
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def rss(kspace):
    return np.sqrt((np.abs(coil_images(kspace)) ** 2).sum(axis=-3))


@pytest.fixture(scope="module")
def kspace():
    return phantom_kspace(n_slices=3, n_coils=8, matrix=64, seed=3)


def test_same_seed_same_bits_and_another_seed_another_head(kspace):
    np.testing.assert_array_equal(phantom_kspace(3, 8, 64, 3), kspace)
    assert np.linalg.norm(phantom_kspace(3, 8, 64, 4) - kspace) > 0.1 * np.linalg.norm(kspace)


def test_slices_of_one_head_resemble_each_other_but_differ(kspace):
    first, second = rss(kspace)[:2]
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert 0.8 < correlation < 0.99


def test_head_lies_inside_the_field_of_view_with_air_around_it(kspace):
    image = rss(kspace)[0]
    border = np.concatenate([image[:2].ravel(), image[-2:].ravel(), image[:, :2].ravel(), image[:, -2:].ravel()])
    assert border.max() < 0.25 * np.median(image[24:40, 24:40])


def test_centre_of_kspace_is_at_half_the_matrix(kspace):
    energy = (np.abs(kspace) ** 2).sum(axis=1)
    for one in energy:
        assert np.unravel_index(one.argmax(), one.shape) == (32, 32)


def test_image_brightness_does_not_depend_on_matrix_or_oversampling():
    coarse, fine = rss(phantom_kspace(1, 8, 64))[0], rss(phantom_kspace(1, 8, 128))[0]
    wide = rss(phantom_kspace(1, 8, 64, readout_oversampling=2))[0]
    assert fine[48:80, 48:80].mean() == pytest.approx(coarse[24:40, 24:40].mean(), rel=0.02)
    np.testing.assert_allclose(wide[:, 32:96], coarse, atol=0.05 * coarse.max())


def test_kspace_has_detail_beyond_the_sampled_part():
    """Truncation, not an inverse crime: a larger matrix finds signal where the smaller one stopped."""
    wide = phantom_kspace(1, 4, 128)[0]
    narrow = phantom_kspace(1, 4, 64)[0]
    assert np.linalg.norm(wide[:, 32:96, 32:96] / 2 - narrow) < 0.02 * np.linalg.norm(narrow)
    outside = wide.copy()
    outside[:, 32:96, 32:96] = 0
    assert 0.05 < np.linalg.norm(outside) / np.linalg.norm(wide) < 0.3


def test_the_brain_is_what_one_sees_first():
    """Below the skin the coils see fat from near; still it is no brighter than the brain, as a window shows both."""
    image = rss(phantom_kspace(1, 12, 128))[0]
    y_mm, x_mm = np.meshgrid(*2 * [(np.arange(128) - 64) * FOV_MM / 128], indexing="ij")
    radius = np.hypot(x_mm / 77, y_mm / 97)
    scalp, brain = image[(radius > 0.9) & (radius < 1.1)], image[radius < 0.8]
    assert np.percentile(scalp, 99) < np.percentile(brain, 99)
    assert np.median(brain) > 0.4 * np.percentile(image, 99.7)


def test_phase_of_the_object_is_smooth():
    grid_mm = ((np.arange(256) - 128) * FOV_MM / 256).astype(np.float32)
    head = draw_head(grid_mm, 10.0)
    step = np.angle(head[:, 1:] * head[:, :-1].conj())[np.abs(head[:, 1:]) > 0.2]
    assert np.abs(step).max() < 0.2
    assert np.ptp(np.unwrap(np.angle(head[128, 60:196]))) > 0.5


def test_each_coil_sees_its_own_side_best():
    grid_mm = np.arange(-80.0, 81.0, 10.0)
    maps = np.abs(sensitivities(grid_mm, grid_mm, 0.0, 8))
    weight_x, weight_y = (maps * grid_mm).sum(axis=(1, 2)), (maps * grid_mm[:, None]).sum(axis=(1, 2))
    around = np.unwrap(np.arctan2(weight_y, weight_x))
    np.testing.assert_allclose(np.diff(around), 2 * np.pi / 8, atol=0.3)


def test_neighbouring_coils_share_noise():
    correlation = noise_correlation(12)
    np.testing.assert_allclose(correlation, correlation.conj().T, atol=1e-12)
    np.testing.assert_allclose(np.diag(correlation), 1)
    assert np.linalg.eigvalsh(correlation)[0] > 0.1
    magnitude = np.abs(correlation)
    assert 0.1 < magnitude[0, 2] < 0.7
    assert magnitude[0, 2] > magnitude[0, 5]


def test_slices_climb_and_a_single_one_shows_the_ventricles():
    assert (np.diff(slice_positions_mm(5)) > 0).all()
    assert slice_positions_mm(1).tolist() == [16.0]
    assert len(list(phantom_slices(2, 2, 32, 0))) == 2


@pytest.mark.parametrize(("acceleration", "n_acs_lines"), [(1, 0), (2, 16), (4, 24), (5, 20)])
def test_lattice_hits_the_centre_and_acs_is_whole(acceleration, n_acs_lines):
    lines, flags = sampled_lines(96, acceleration, n_acs_lines)
    acs = np.arange(48 - n_acs_lines // 2, 48 + n_acs_lines // 2)
    assert set(range(48 % acceleration, 96, acceleration)) | set(acs) == set(lines)
    assert set(lines[flags != 0]) == set(acs)
