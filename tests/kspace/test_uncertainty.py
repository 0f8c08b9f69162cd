"""Trust maps: noise is propagated as algebra says, and the band holds as many true errors as it promises."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from raki.coils.combination import root_sum_of_squares
from raki.images.metrics import object_mask
from raki.kspace.linear_fit import calibrate
from raki.kspace.patches import Kernel, acs_examples, interpolate, magnitude
from raki.kspace.sampling import find_sampling
from raki.kspace.uncertainty import SMOOTHING_PIXELS, assess
from raki.phantom.phantom import phantom_kspace
from raki.scan.fourier import to_image

KERNEL = Kernel(n_pe=2, n_ro=3)
SIGMA = 0.01


def complex_noise(shape, number=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


def lines(n_pe, acceleration, n_acs_lines=0, offset=0):
    sampled = torch.arange(n_pe) % acceleration == offset
    sampled[n_pe // 2 - n_acs_lines // 2 : n_pe // 2 + n_acs_lines // 2] = True
    return sampled


def smoothed(variance):
    window = SMOOTHING_PIXELS
    return avg_pool2d(variance[None], window, 1, window // 2, count_include_pad=False)[0]


class LinearSlice:
    """A slice of noise, its gaps filled by some linear prediction: fast, and all algebra holds."""

    def __init__(self, n_pe=9, n_coils=2, n_ro=6, acceleration=2):
        self.sampling = find_sampling(lines(n_pe, acceleration, n_acs_lines=2))
        n_features = n_coils * KERNEL.n_pe * KERNEL.n_ro
        self.weights = complex_noise((n_features, n_coils * (acceleration - 1)), 1) / n_features**0.5
        self.known = lines(n_pe, acceleration, n_acs_lines=2)
        self.filled = self.fill(complex_noise((n_coils, n_pe, n_ro), 2))

    def fill(self, kspace):
        known = torch.where(self.known[:, None], kspace, 0)
        return torch.where(self.known[:, None], known, interpolate(known, self.sampling, KERNEL, self.predict))

    def predict(self, sources):
        return sources @ self.weights

    def assess(self, *, scale=1.0, sigma=0.1, seed=0, n_replicas=8, predict=None):
        return assess(
            self.filled * scale,
            self.sampling,
            KERNEL,
            predict or self.predict,
            sigma=sigma * scale,
            seed=seed,
            n_replicas=n_replicas,
        )


@pytest.fixture(scope="module")
def linear():
    return LinearSlice()


def test_the_g_factor_of_a_linear_filling_is_its_propagated_noise(linear):
    images = to_image(linear.filled)
    direction = (images / root_sum_of_squares(images)).conj()
    acquired = [(coil, pe, ro) for coil in range(2) for pe in linear.known.nonzero().flatten() for ro in range(6)]
    variance = torch.zeros(images.shape[1:])
    for place in acquired:
        impulse = torch.zeros_like(linear.filled)
        impulse[place] = 1
        variance += (direction * to_image(linear.fill(impulse))).sum(dim=0).abs().square() / 2
    fully_sampled = 1 / 2
    net_acceleration = len(linear.known) / int(linear.known.sum())
    expected = (smoothed(variance) / fully_sampled / net_acceleration).sqrt()
    found = linear.assess(n_replicas=40).g_factor
    torch.testing.assert_close(found, expected, rtol=0.2, atol=0)


def test_gaps_that_stay_empty_pass_no_noise_on(linear):
    """Noise of the acquired part of the lines, by definition over the square root of the net acceleration."""
    acquired_part = float(linear.known.float().mean())
    found = assess(
        torch.where(linear.known[:, None], linear.filled, 0),
        linear.sampling,
        KERNEL,
        lambda sources: 0 * linear.predict(sources),
        sigma=0.1,
        seed=0,
        n_replicas=40,
    ).g_factor
    assert float(found.mean()) == pytest.approx(acquired_part, rel=0.1)


def test_gaps_filled_with_as_much_noise_as_was_acquired_have_a_g_factor_of_the_root_of_the_net_acceleration():
    """A copy of the line before keeps the noise of every line: as if nothing were won by averaging."""
    slice_ = LinearSlice(n_pe=65, n_ro=64)
    n_coils = len(slice_.filled)
    before = torch.zeros(n_coils, KERNEL.n_pe, KERNEL.n_ro, n_coils, dtype=torch.complex64)
    before[range(n_coils), 0, 1, range(n_coils)] = 1
    slice_.weights = before.flatten(0, 2)
    slice_.filled = slice_.fill(slice_.filled)
    variance = float(slice_.assess(n_replicas=20).g_factor.square().mean())
    assert variance == pytest.approx(float(slice_.known.float().mean()), rel=0.05)


@pytest.mark.parametrize("scale", [2.0**15, 2.0**-20])
def test_scaling_the_scan_scales_the_standard_error_and_leaves_the_g_factor(linear, scale):
    plain, scaled = linear.assess(), linear.assess(scale=scale)
    torch.testing.assert_close(scaled.standard_error / scale, plain.standard_error)
    torch.testing.assert_close(scaled.g_factor, plain.g_factor)


def test_a_scan_without_noise_still_has_a_g_factor(linear):
    torch.testing.assert_close(linear.assess(sigma=0.0).g_factor, linear.assess().g_factor, rtol=0.01, atol=0)


def test_same_seed_same_bits(linear):
    first, again, other = linear.assess(seed=3), linear.assess(seed=3), linear.assess(seed=4)
    assert torch.equal(first.g_factor, again.g_factor)
    assert torch.equal(first.standard_error, again.standard_error)
    assert not torch.equal(first.g_factor, other.g_factor)


def test_what_filled_nothing_cannot_be_assessed(linear):
    everything = find_sampling(torch.ones(9, dtype=torch.bool))
    with pytest.raises(ValueError, match="R is 1"):
        assess(linear.filled, everything, KERNEL, linear.predict, sigma=0.1, seed=0)


@pytest.fixture(scope="module")
def full():
    kspace = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=8, matrix=64, seed=0))[0]
    return kspace + SIGMA * complex_noise(kspace.shape)


def filled_by_grappa(full, sampled):
    """Filled slice, its sampling, and what filled it."""
    sampling = find_sampling(sampled)
    first, stop = sampling.acs_lines
    fit = calibrate(
        acs_examples(full[:, first:stop], KERNEL, sampling.acceleration),
        ridge=1e-3,
    )
    filled = interpolate(torch.where(sampled[:, None], full, 0), sampling, KERNEL, fit.predict)
    return torch.where(sampled[:, None], full, filled), sampling, fit.predict


def share_within_the_band(filled, full, trust):
    reference = root_sum_of_squares(to_image(full))
    inside = object_mask(reference)
    error = (root_sum_of_squares(to_image(filled)) - reference).abs()
    return float((error <= 1.96 * trust.standard_error)[inside].float().mean())


@pytest.mark.parametrize("acceleration", [2, 3])
def test_the_band_holds_most_true_errors(full, acceleration):
    filled, sampling, predict = filled_by_grappa(full, lines(64, acceleration, 20))
    trust = assess(filled, sampling, KERNEL, predict, sigma=SIGMA, seed=1)
    assert 0.90 <= share_within_the_band(filled, full, trust) <= 0.99


def test_the_band_holds_most_true_errors_of_a_prediction_that_is_not_linear(full):
    sampled = lines(64, 3, 20)
    _, sampling, predict = filled_by_grappa(full, sampled)

    def shrunk(sources):
        energy = magnitude(sources).square().unsqueeze(-1)
        return predict(sources) * energy / (energy + SIGMA**2)

    filled = torch.where(sampled[:, None], full, interpolate(full, sampling, KERNEL, shrunk))
    trust = assess(filled, sampling, KERNEL, shrunk, sigma=SIGMA, seed=1)
    assert 0.90 <= share_within_the_band(filled, full, trust) <= 0.99


def test_a_prediction_that_is_wrong_is_trusted_less(full):
    sampled = lines(64, 3, 20)
    filled, sampling, predict = filled_by_grappa(full, sampled)

    def halved(sources):
        return 0.5 * predict(sources)

    refilled = torch.where(sampled[:, None], filled, interpolate(filled, sampling, KERNEL, halved))
    right = assess(filled, sampling, KERNEL, predict, sigma=SIGMA, seed=1)
    wrong = assess(refilled, sampling, KERNEL, halved, sigma=SIGMA, seed=1)
    assert wrong.standard_error.mean() > 2 * right.standard_error.mean()
    assert wrong.g_factor.mean() < right.g_factor.mean()


def test_lines_predicted_from_one_side_only_are_trusted_less(full):
    """The same scan, with and without a gap at the border: no noise, so only the prediction's own mistakes count."""
    ending, beyond = (filled_by_grappa(full[:, :n_pe], lines(n_pe, 4, 20)) for n_pe in (61, 64))
    errors = [
        assess(filled, sampling, KERNEL, predict, sigma=0.0, seed=0).standard_error.square().sum()
        for filled, sampling, predict in (ending, beyond)
    ]
    assert errors[1] > 1.1 * errors[0]


def test_more_noise_means_more_uncertainty(full):
    sampled = lines(64, 3, 20)
    errors = []
    for level in (1, 3):
        kspace = full + (level - 1) * SIGMA * complex_noise(full.shape, 5)
        filled, sampling, predict = filled_by_grappa(kspace, sampled)
        errors.append(assess(filled, sampling, KERNEL, predict, sigma=level * SIGMA, seed=0).standard_error.mean())
    assert errors[1] > 1.5 * errors[0]


def test_a_sigma_that_is_too_low_hardly_matters(full):
    filled, sampling, predict = filled_by_grappa(full, lines(64, 3, 20))
    right, low = (assess(filled, sampling, KERNEL, predict, sigma=sigma, seed=1) for sigma in (SIGMA, SIGMA / 3))
    assert float(low.standard_error.mean()) == pytest.approx(float(right.standard_error.mean()), rel=0.05)
    torch.testing.assert_close(low.g_factor, right.g_factor, rtol=0.01, atol=0)


def test_lines_that_were_never_meant_to_be_acquired_count_in_neither_map(full):
    sampled = lines(64, 3, 20)
    sampled[:15] = False
    sampling = find_sampling(sampled)
    first, stop = sampling.filled_lines()
    zero_filled = torch.where(sampled[:, None], full, 0)
    trust = assess(
        zero_filled, sampling, KERNEL, lambda sources: 0 * sources[..., :16], sigma=SIGMA, seed=1, n_replicas=20
    )
    assert first > 12
    assert float(trust.g_factor.mean()) == pytest.approx(int(sampled.sum()) / (stop - first), rel=0.05)
    assert torch.isfinite(trust.standard_error).all()
