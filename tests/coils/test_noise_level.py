"""The noise level of a scan without a noise scan: found beside any signal, or said to be uncertain."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.coils import NoiseLevel, estimate_noise, estimate_sigma
from raki.phantom import phantom_kspace

TRUE_WITHIN = 1.25


def complex_noise(shape, seed=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def head(n_coils=8, matrix=128):
    """Fully sampled k-space without noise; its peak is 1."""
    kspace = torch.from_numpy(phantom_kspace(1, n_coils, matrix)[0])
    return kspace / kspace.abs().max()


def line_pairs(n_coils=8, matrix=96):
    """Bars of two pixels across half of the field of view, seen by coils of different sensitivity."""
    position = torch.linspace(-1, 1, matrix)
    bars = ((torch.arange(matrix) // 2 % 2 == 0) & (position.abs() < 0.5)).float()
    image = bars[:, None] * (position.abs() < 0.5).float()
    turn = 2 * torch.pi * torch.arange(n_coils)[:, None, None] / n_coils
    coils = torch.exp(-((position[:, None] - turn.cos()) ** 2) - (position - turn.sin()) ** 2 + 1j * turn)
    kspace = torch.fft.fftshift(torch.fft.fft2(coils * image), dim=(-2, -1)).to(torch.complex64)
    return kspace / kspace.abs().max()


def acquired(n_pe, acceleration, n_acs_lines):
    lines = torch.arange(n_pe) % acceleration == n_pe // 2 % acceleration
    lines[n_pe // 2 - n_acs_lines // 2 : n_pe // 2 + n_acs_lines // 2] = True
    return lines


def level_of(kspace, acceleration=4, n_acs_lines=24, lines=None):
    n_pe = kspace.shape[-2]
    lines = acquired(n_pe, acceleration, n_acs_lines) if lines is None else lines
    middle = slice(n_pe // 2 - n_acs_lines // 2, n_pe // 2 + n_acs_lines // 2)
    return estimate_noise(torch.where(lines[:, None], kspace, torch.nan), kspace[:, middle], lines[:, None])


def about(sigma, within=TRUE_WITHIN):
    """Within a factor, either way."""
    low, high = sigma / within, sigma * within
    return pytest.approx((low + high) / 2, rel=(high - low) / (high + low), abs=0)


@pytest.mark.parametrize("sigma", [1e-4, 1e-3, 1e-2, 0.1])
@pytest.mark.parametrize(
    ("n_coils", "matrix", "acceleration", "n_acs_lines"),
    [(2, 128, 2, 24), (4, 128, 4, 16), (8, 256, 4, 24), (16, 64, 2, 12), (32, 64, 4, 32)],
)
def test_the_noise_of_a_simulated_head_is_found(sigma, n_coils, matrix, acceleration, n_acs_lines):
    full = head(n_coils, matrix)
    found = level_of(full + sigma * complex_noise(full.shape), acceleration, n_acs_lines)
    assert found.sigma == about(sigma)


@pytest.mark.parametrize("sigma", [1e-4, 1e-3, 1e-2])
def test_the_noise_of_line_pairs_is_found_although_their_signal_is_in_outer_kspace(sigma):
    full = line_pairs()
    assert level_of(full + sigma * complex_noise(full.shape)).sigma == about(sigma)


def test_noise_alone_is_its_own_level():
    found = level_of(complex_noise((4, 64, 64)))
    assert found.agreed
    assert found.sigma == about(1.0, 1.05)


@pytest.mark.parametrize("n_coils", [2, 4, 8, 32])
def test_patches_find_noise_beside_signal_however_few_the_coils(n_coils):
    full = head(n_coils)[:, 52:76]
    assert estimate_sigma(full + 1e-3 * complex_noise(full.shape)) == about(1e-3, 1.1)


def test_unequal_noise_in_the_coils_counts_as_its_root_mean_square():
    full, levels = head(), torch.logspace(-1, 0.5, 8)[:, None, None]
    found = level_of(full + 1e-3 * levels * complex_noise(full.shape))
    assert found.sigma == about(1e-3 * float(levels.square().mean().sqrt()))
    assert found.agreed


@pytest.mark.parametrize("left", [0.0, 1e-4])
def test_samples_that_were_padded_or_filtered_away_lower_nothing(left):
    full = head()
    noisy = full + 1e-3 * complex_noise(full.shape)
    noisy[..., :36] *= left
    noisy[..., -28:] *= left
    assert level_of(noisy).sigma == about(1e-3)


def test_a_smooth_filter_along_the_readout_leaves_its_mean():
    full, window = head(), torch.hann_window(128, periodic=False)
    found = level_of((full + 1e-3 * complex_noise(full.shape)) * window)
    assert found.sigma == about(1e-3 * float(window.square().mean().sqrt()))


def test_the_receivers_rolloff_at_the_edges_is_not_taken_for_the_level():
    """A readout that isn't oversampled shows it: noise falls to a third at either edge of the field of view."""
    full = head()
    gain = torch.ones(128)
    gain[:24] = torch.linspace(0.35, 1, 24)
    gain[-24:] = gain[:24].flip(0)
    noise = torch.fft.ifft(torch.fft.ifftshift(gain) * torch.fft.fft(complex_noise(full.shape)))
    found = level_of(full + 1e-2 * noise)
    assert found.by_outer_kspace == about(1e-2 * float(gain.square().mean().sqrt()))


def test_lines_on_one_side_only_will_do():
    """Partial Fourier: the farthest lines are those of the longer side."""
    full = head()
    lines = acquired(128, 2, 24)
    lines[:44] = False
    assert level_of(full + 1e-3 * complex_noise(full.shape), lines=lines).sigma == about(1e-3)


def test_outer_kspace_that_is_signal_is_only_an_upper_bound():
    """At low resolution the corner of k-space is a hundred times the noise; patches know better, and that is said."""
    full = head(16, 48)
    found = level_of(full + 1e-5 * complex_noise(full.shape), acceleration=2, n_acs_lines=20)
    assert found.by_outer_kspace > 10e-5
    assert not found.agreed
    assert found.sigma == found.by_patches == about(1e-5)


def test_coils_that_tell_too_little_leave_no_silent_zero():
    full = head(1, 48)
    found = level_of(full, acceleration=2, n_acs_lines=8)
    assert found.sigma > 0
    assert not found.agreed


def test_nothing_acquired_is_nothing_uncertain():
    found = level_of(torch.zeros(2, 32, 32, dtype=torch.complex64))
    assert found == NoiseLevel(sigma=0.0, by_patches=0.0, by_outer_kspace=0.0)
    assert found.agreed


@given(exponent=st.integers(-20, 20), acceleration=st.integers(1, 4), n_ro=st.integers(9, 40), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_the_level_has_the_units_of_the_data(exponent, acceleration, n_ro, seed):
    """To the bit for powers of two, which is how the arrays are scaled."""
    kspace = torch.cumsum(complex_noise((3, 32, n_ro), seed), dim=-1)
    found = level_of(kspace, acceleration, n_acs_lines=12)
    assert level_of(2.0**exponent * kspace, acceleration, n_acs_lines=12) == found.scaled(2.0**exponent)


@given(order=st.permutations(range(4)), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_the_order_of_the_coils_is_nothing_to_it(order, seed):
    kspace = torch.cumsum(complex_noise((4, 32, 24), seed), dim=-1)
    reordered = level_of(kspace[list(order)], n_acs_lines=12)
    assert reordered.sigma == pytest.approx(level_of(kspace, n_acs_lines=12).sigma, rel=1e-6)


@pytest.fixture(scope="module")
def cloudmr(real_scans):
    """A sphere and its noise, which has twice the readout's bandwidth: the middle half of its spectrum is the image's.

    The image's samples are sums over half as many, hence the square root of two.
    """
    kspace = np.load(real_scans / "kspace/phantom16_cloudmr.npy")[0]
    noise = np.load(real_scans / "kspace/phantom16_cloudmr_noise.npy")[0]
    spectrum = np.fft.fftshift(np.fft.fft(noise, norm="ortho"), axes=-1)[..., 48:144]
    return torch.from_numpy(kspace), float(np.sqrt((np.abs(spectrum) ** 2).mean() / 2))


@pytest.mark.parametrize("acceleration", [1, 2, 4])
def test_a_measured_sphere_has_the_noise_of_its_noise_scan(cloudmr, acceleration):
    kspace, sigma = cloudmr
    assert level_of(kspace, acceleration).sigma == about(sigma)


@pytest.mark.parametrize(
    "name", ["brain16_pulseq", "brain2_pulseq_bodycoil", "phantom8_ge_7slices", "cardiac30_epi_corrected"]
)
@pytest.mark.parametrize("acceleration", [2, 4])
def test_a_measured_scan_has_about_the_noise_of_its_quietest_corner(real_scans, name, acceleration):
    """A corner holds some signal too, but what patches alone said was as low as none at all."""
    kspace = torch.from_numpy(np.load(real_scans / "kspace" / f"{name}.npy")[0])
    corners = [kspace[:, pe, ro] for pe in (slice(8), slice(-8, None)) for ro in (slice(8), slice(-8, None))]
    sigma = min(float(corner.abs().square().mean().sqrt()) for corner in corners)
    assert level_of(kspace, acceleration).sigma == about(sigma, 1.5)
