"""Whitening and cropping change noise and size as the mathematics says, and no line that was never acquired."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan
from raki.formats import read_scan
from raki.phantom.phantom import phantom_kspace
from raki.phantom.simulation import simulate_scan
from raki.prepare import preprocess
from raki.prepare.oversampling import remove_readout_oversampling
from raki.prepare.whitening import prewhiten, whitening_matrix


def complex_noise(shape, seed):
    rng = np.random.default_rng(seed)
    return ((rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)).astype(np.complex64)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "scan.h5"
    simulate_scan(path, n_slices=1, n_coils=6, matrix=64, acceleration=2, n_acs_lines=16, seed=2)
    return read_scan(path)


@pytest.fixture(scope="module")
def truth():
    return phantom_kspace(1, 6, 64, 2, readout_oversampling=2)


@seed(1)
@settings(max_examples=30, deadline=None)
@given(n_coils=st.integers(1, 8), number=st.integers(0, 1000))
def test_whitened_noise_has_the_identity_as_covariance(n_coils, number):
    mixing = complex_noise((n_coils, n_coils), number) + 2 * np.eye(n_coils, dtype=np.complex64)
    noise = (1e-6 * mixing @ complex_noise((n_coils, 200), number + 1)).astype(np.complex64)
    whitened = whitening_matrix(noise) @ noise
    np.testing.assert_allclose(whitened @ whitened.conj().T / 200, np.eye(n_coils), atol=1e-4)


def test_noise_in_the_image_has_unit_variance_after_whitening(scan, truth):
    """Dwell times and the receiver's bandwidth differ between noise scan and image; the result must not."""
    whitened = prewhiten(scan)
    signal = scan.kspace - truth * scan.sampled[:, None]
    noise = prewhiten(replace(scan, kspace=signal)).kspace[0][:, scan.sampled].reshape(6, -1)
    np.testing.assert_allclose(noise @ noise.conj().T / noise.shape[1], np.eye(6), atol=0.06)
    assert whitened.prewhitened
    assert whitened.noise_dwell_ratio == 1.0
    np.testing.assert_allclose((np.abs(whitened.noise) ** 2).mean(axis=1), 1, rtol=1e-4)


def test_whitening_twice_is_whitening_once_and_changes_no_input(scan):
    before = scan.kspace.copy(), scan.noise.copy()
    once = prewhiten(scan)
    assert prewhiten(once) is once
    np.testing.assert_array_equal(scan.kspace, before[0])
    np.testing.assert_array_equal(scan.noise, before[1])


def test_scan_without_noise_stays_as_it_is(scan):
    without = replace(scan, noise=None)
    assert prewhiten(without) is without
    assert not preprocess(without).prewhitened


def test_lines_never_acquired_stay_exactly_zero(scan):
    done = preprocess(scan)
    assert not done.kspace[:, :, ~scan.sampled].any()
    assert done.kspace[:, :, scan.sampled].all()


def test_oversampling_removal_crops_the_image(scan, truth):
    def image(kspace):
        return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace, axes=-1), norm="ortho"), axes=-1)

    cropped = remove_readout_oversampling(scan)
    assert cropped.readout_oversampling == 1.0
    np.testing.assert_allclose(image(cropped.kspace), image(scan.kspace)[..., 32:96], atol=1e-5)
    np.testing.assert_array_equal(cropped.noise, scan.noise)
    assert remove_readout_oversampling(cropped).kspace is cropped.kspace


@pytest.mark.parametrize("n_ro", [64, 62, 66])
def test_dc_stays_at_the_centre_of_the_readout(scan, n_ro):
    """A constant image is a single sample at DC, before and after."""
    kspace = np.zeros((1, 6, 64, n_ro), np.complex64)
    kspace[..., n_ro // 2] = 1
    done = remove_readout_oversampling(replace(scan, kspace=kspace, sampled=np.ones(64, bool)))
    expected = np.zeros(n_ro // 2)
    expected[n_ro // 4] = 1 / np.sqrt(2)
    np.testing.assert_allclose(np.abs(done.kspace[0, 0, 0]), expected, atol=1e-6)


def test_both_steps_commute(scan):
    other = remove_readout_oversampling(prewhiten(scan))
    np.testing.assert_allclose(preprocess(scan).kspace, other.kspace, rtol=1e-4, atol=1e-4)


def test_noise_scans_that_cannot_whiten_are_named_and_not_used(scan):
    dead, twin = scan.noise.copy(), scan.noise.copy()
    dead[4], twin[5] = 0, 2j * twin[1]
    for noise, why in (
        (scan.noise[:, :5], "5 samples; 6 coils"),
        (dead, "coil 4 recorded no noise"),
        (twin, "coils 1 and 5 recorded the same"),
    ):
        with pytest.raises(DamagedScan, match=why):
            whitening_matrix(noise)
        plain = prewhiten(replace(scan, noise=noise))
        assert (plain.noise, plain.prewhitened) == (None, False)
        assert why in plain.remarks[-1]
        np.testing.assert_array_equal(plain.kspace, scan.kspace)


def test_real_noise_is_white_where_the_receiver_passes(real_scans):
    """Beside the two bottles the outer lines hold noise alone; the receiver's filter spares the middle of the band."""
    whitened = prewhiten(read_scan(real_scans / "vendor/SNR_R3_14ch_grappa3_noise.h5"))
    covariance = whitened.noise @ whitened.noise.conj().T / whitened.noise.shape[1]
    np.testing.assert_allclose(covariance, np.eye(14), atol=1e-4)
    lines = whitened.kspace[0][:, [18, 21, 120, 123]]
    profiles = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(lines, axes=-1), norm="ortho"), axes=-1)
    beside = np.concatenate([profiles[..., 60:90], profiles[..., 294:324]], axis=-1)
    assert (np.abs(beside) ** 2).mean() == pytest.approx(1.0, abs=0.15)
    # 240 samples, whitened by a covariance of 384: measured 0.086, sampling alone gives 0.082.
    covariance = beside.reshape(14, -1) @ beside.reshape(14, -1).conj().T / beside[0].size
    sampling = np.sqrt(1 / beside[0].size + 1 / whitened.noise.shape[1])
    assert np.sqrt(np.mean(np.abs(covariance[~np.eye(14, dtype=bool)]) ** 2)) < 1.5 * sampling


def test_noise_that_the_matrix_never_saw_is_white_to_within_its_sampling_error(real_scans):
    """A noise scan of 16 coils, every other line held out; before, coils are correlated by up to 0.64."""
    noise = np.load(real_scans / "kspace/phantom16_cloudmr_noise.npy")[0]
    seen, held_out = noise[:, ::2].reshape(16, -1), noise[:, 1::2].reshape(16, -1)
    whitened = whitening_matrix(seen) @ held_out
    deviation = np.abs(whitened @ whitened.conj().T / whitened.shape[1] - np.eye(16))
    sampling = np.sqrt(1 / seen.shape[1] + 1 / held_out.shape[1])
    assert np.sqrt(np.mean(deviation[~np.eye(16, dtype=bool)] ** 2)) == pytest.approx(sampling, rel=0.1)
    assert deviation.max() < 4 * sampling
