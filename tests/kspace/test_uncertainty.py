"""Trust maps: noise is propagated as algebra says, and the band holds as many true errors as it promises."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn.functional import avg_pool2d

from benchmarks.features import insert_features
from raki.coils.combination import root_sum_of_squares
from raki.images.metrics import object_mask
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.linear_fit import LinearFilling, LinearFit
from raki.kspace.measured import MeasuredSlice
from raki.kspace.mistakes import noise_to_explain_mistakes
from raki.kspace.patches import Kernel
from raki.kspace.probes import Probes
from raki.kspace.raki import Rung, climbed
from raki.kspace.sampling import find_sampling
from raki.kspace.uncertainty import SMOOTHING_PIXELS, Survival, UncertaintyMaps, assess, survival_of
from raki.scan.fourier import to_image
from tests.kspace.simulated_slices import acquired, complex_noise, full_slice, undersampled

KERNEL = Kernel(n_pe=2, n_ro=3)
SIGMA = 0.002  # an SNR of about 75


def smoothed(variance):
    window = SMOOTHING_PIXELS
    return avg_pool2d(variance[None], window, 1, window // 2, count_include_pad=False)[0]


def all_survives(shape, part=1.0):
    """Nothing of a small structure fades, or `part` of each is left."""
    return Survival(kept=torch.full(shape, part), lost=torch.full(shape, 1 - part))


def linear_filling(coefficients):
    """A kernel with just these weights."""
    n_features = len(coefficients)
    fit = LinearFit(
        basis=torch.eye(n_features, dtype=torch.complex64),
        energies=torch.ones(n_features),
        weights=coefficients,
        ridge=0.0,
    )
    return LinearFilling(kernel=KERNEL, fit=fit)


@dataclass(frozen=True, kw_only=True)
class LinearSlice:
    """A slice of noise, its gaps filled by some kernel: fast, and all algebra holds."""

    measured: MeasuredSlice
    filling: LinearFilling

    def assess(self, *, scale=1.0, sigma=0.1, seed=0, n_replicas=8, filling=None):
        filling = filling or self.filling
        measured = replace(self.measured, kspace=scale * self.measured.kspace, sigma=sigma * scale)
        return assess(
            filling.filled(measured),
            measured,
            filling,
            filling,
            all_survives(measured.kspace.shape[1:]),
            sigma=sigma * scale,
            seed=seed,
            n_replicas=n_replicas,
        )


def linear_slice(n_pe=9, n_coils=2, n_ro=6, acceleration=2, coefficients=None):
    n_features = n_coils * KERNEL.n_pe * KERNEL.n_ro
    if coefficients is None:
        coefficients = complex_noise((n_features, n_coils * (acceleration - 1)), 1) / n_features**0.5
    measured = undersampled(complex_noise((n_coils, n_pe, n_ro), 2), acceleration, 2, sigma=0.1)
    return LinearSlice(measured=measured, filling=linear_filling(coefficients))


@pytest.fixture(scope="module")
def linear():
    return linear_slice()


def test_the_g_factor_of_a_linear_filling_is_its_propagated_noise(linear):
    measured, filling = linear.measured, linear.filling
    images = to_image(filling.filled(measured))
    direction = (images / root_sum_of_squares(images)).conj()
    places = [(coil, pe, ro) for coil in range(2) for pe in measured.known[:, 0].nonzero().flatten() for ro in range(6)]
    variance = torch.zeros(images.shape[1:])
    for place in places:
        impulse = torch.zeros_like(measured.kspace)
        impulse[place] = 1
        change = to_image(filling.filled(replace(measured, kspace=impulse)))
        variance += (direction * change).sum(dim=0).abs().square() / 2
    fully_sampled = 1 / 2
    net_acceleration = len(measured.known) / int(measured.known.sum())
    expected = (smoothed(variance) / fully_sampled / net_acceleration).sqrt()
    torch.testing.assert_close(linear.assess(n_replicas=40).g_factor, expected, rtol=0.2, atol=0)


def test_gaps_that_stay_empty_pass_no_noise_on(linear):
    """Noise of the acquired part of the lines, by definition over the square root of the net acceleration."""
    acquired_part = float(linear.measured.known.float().mean())
    empty = linear_filling(0 * linear.filling.fit.weights)
    assert float(linear.assess(n_replicas=40, filling=empty).g_factor.mean()) == pytest.approx(acquired_part, rel=0.1)


def test_gaps_filled_with_as_much_noise_as_was_acquired_have_a_g_factor_of_the_root_of_the_net_acceleration():
    """A copy of the line before keeps the noise of every line: as if nothing were won by averaging."""
    before = torch.zeros(2, KERNEL.n_pe, KERNEL.n_ro, 2, dtype=torch.complex64)
    before[range(2), 0, 1, range(2)] = 1
    slice_ = linear_slice(n_pe=65, n_ro=64, coefficients=before.flatten(0, 2))
    variance = float(slice_.assess(n_replicas=20).g_factor.square().mean())
    assert variance == pytest.approx(float(slice_.measured.known.float().mean()), rel=0.05)


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
    everything = replace(linear.measured, sampling=find_sampling(torch.ones(9, dtype=torch.bool)))
    filled, filling = linear.measured.kspace, linear.filling
    with pytest.raises(ValueError, match="R is 1"):
        assess(filled, everything, filling, filling, all_survives((9, 6)), sigma=0.1, seed=0)


def test_an_empty_slice_has_maps_of_numbers(linear):
    dark = replace(linear.measured, kspace=torch.zeros_like(linear.measured.kspace))
    maps = replace(linear, measured=dark).assess(sigma=0.0)
    assert not maps.standard_error.any()
    assert torch.isfinite(maps.g_factor).all()


def test_noise_that_was_told_counts_in_the_lines_that_were_not_acquired(linear):
    """What explains the mistakes of a kernel may be less than the scan's noise, which the missing lines have whole."""
    loud = replace(linear, measured=replace(linear.measured, sigma=5.0))
    measured = loud.measured
    filled = loud.filling.filled(measured)
    quiet, louder = (
        assess(filled, each, loud.filling, loud.filling, all_survives((9, 6)), sigma=0.1, seed=0).standard_error
        for each in (linear.measured, measured)
    )
    assert (louder > quiet).all()


@pytest.fixture(scope="module")
def full():
    kspace = full_slice(n_coils=8, matrix=64, snr=1e4)
    return kspace + SIGMA * complex_noise(kspace.shape)


def grappa_of(measured):
    return calibrated_grappa(measured.acs, measured.sampling.gap)


def assessed(measured, filling, *, sigma=SIGMA, part=1.0, seed=1, n_replicas=4) -> UncertaintyMaps:
    """Of a linear filling, of which `part` of a small structure survives."""
    survival = all_survives(measured.kspace.shape[1:], part)
    filled = filling.filled(measured)
    return assess(filled, measured, filling, filling, survival, sigma=sigma, seed=seed, n_replicas=n_replicas)


def assessed_rung(rung: Rung, measured: MeasuredSlice) -> UncertaintyMaps:
    n_pe, n_ro = measured.kspace.shape[1:]
    survival = survival_of(rung.probes, rung.kept, (n_pe, n_ro))
    return assess(rung.filled, measured, rung.filling, rung.linear, survival, sigma=rung.sigma, seed=1)


def share_within_the_band(filled, full, maps, where=None):
    reference = root_sum_of_squares(to_image(full))
    inside = object_mask(reference) if where is None else where
    error = (root_sum_of_squares(to_image(filled)) - reference).abs()
    return float((error <= 1.96 * maps.standard_error)[inside].float().mean())


@pytest.mark.parametrize("acceleration", [2, 3])
def test_the_band_holds_most_true_errors_of_a_linear_filling(full, acceleration):
    """With the noise that explains its mistakes: what the kernel can't is in it."""
    measured = undersampled(full, acceleration, 20)
    grappa = grappa_of(measured)
    filled = grappa.filled(measured)
    maps = assessed(measured, grappa, sigma=noise_to_explain_mistakes(measured, filled, grappa, seed=0))
    assert 0.90 <= share_within_the_band(filled, full, maps) <= 0.99


@pytest.mark.parametrize(
    ("name", "n_coils", "acceleration", "snr"),
    [("head", 8, 3, 30), ("head", 4, 2, 60), ("disks", 8, 3, 60), ("line_pairs", 4, 2, 60), ("vessels", 8, 4, 30)],
)
def test_the_band_holds_most_true_errors_of_the_ladders_filling(name, n_coils, acceleration, snr):
    """Drawn objects are all edges and no texture, and every edge may have faded: there the band is wide."""
    full = full_slice(name, n_coils=n_coils, matrix=64, snr=snr)
    measured = undersampled(full, acceleration, 20)
    rung, _ = climbed(measured, seed=0)
    maps = assessed_rung(rung, measured)
    assert share_within_the_band(rung.filled, full, maps) >= 0.90
    reference = root_sum_of_squares(to_image(full))
    inside = object_mask(reference)
    error = (root_sum_of_squares(to_image(rung.filled)) - reference)[inside].square().mean().sqrt()
    assert float(error) > 0.3 * float(maps.standard_error[inside].square().mean().sqrt()), "and not too wide"


@pytest.mark.parametrize(
    ("name", "n_coils", "acceleration", "snr"), [("head", 8, 3, 60), ("disks", 4, 2, 60), ("line_pairs", 8, 3, 60)]
)
def test_the_band_holds_the_pixels_of_structures_that_were_put_in(name, n_coils, acceleration, snr):
    clean = full_slice(name, n_coils=n_coils, matrix=64, snr=snr)
    places = ("centre", "half way", "edge")
    wanted = 3 * [(kind, place) for kind in ("point", "line_oblique", "line_along_readout") for place in places]
    full, features = insert_features(clean, 0, acceleration=acceleration, wanted=wanted)
    measured = undersampled(full, acceleration, 20)
    rung, _ = climbed(measured, seed=0)
    where = torch.stack([one.support for one in features]).any(dim=0)
    assert len(features) >= 8
    assert share_within_the_band(rung.filled, full, assessed_rung(rung, measured), where) >= 0.85


def test_what_was_taken_besides_noise_is_in_the_standard_error():
    """Stein's estimate: a filling that halves what it filled is off by a half of the signal, and has less noise."""
    full = full_slice(n_coils=8, matrix=64, snr=200)
    measured = undersampled(full, 3, 20)
    grappa = grappa_of(measured)
    halved = replace(grappa, fit=replace(grappa.fit, weights=0.5 * grappa.fit.weights))
    right, wrong = (
        assess(
            filling.filled(measured), measured, filling, grappa, all_survives((64, 64)), sigma=measured.sigma, seed=1
        )
        for filling in (grappa, halved)
    )
    assert wrong.standard_error.mean() > 2 * right.standard_error.mean()
    assert wrong.g_factor.mean() < right.g_factor.mean()
    assert share_within_the_band(halved.filled(measured), full, wrong) >= 0.9


def test_noise_that_was_taken_away_is_no_error():
    """Stein's estimate again: of noise alone, half a filling is nearer to nothing than the whole of it."""
    measured = undersampled(complex_noise((4, 64, 64)), 3, 20, sigma=1.0)
    grappa = grappa_of(measured)
    halved = replace(grappa, fit=replace(grappa.fit, weights=0.5 * grappa.fit.weights))
    whole, half = (
        assess(filling.filled(measured), measured, filling, grappa, all_survives((64, 64)), sigma=1.0, seed=1)
        for filling in (grappa, halved)
    )
    assert float(half.standard_error.mean()) < float(whole.standard_error.mean())


def test_what_fades_is_in_the_standard_error_where_small_structures_are(full):
    measured = undersampled(full, 2, 20)
    grappa = grappa_of(measured)
    whole, half = (assessed(measured, grappa, part=part) for part in (1.0, 0.5))
    assert (half.standard_error >= whole.standard_error).all()
    magnitude = root_sum_of_squares(to_image(grappa.filled(measured)))
    fine = (magnitude - avg_pool2d(magnitude[None], 5, 1, 2, count_include_pad=False)[0]).abs()
    added = (half.standard_error.square() - whole.standard_error.square()).sqrt()
    # Half of each was lost, and half is seen: as much as is seen is missing.
    torch.testing.assert_close(added, fine, rtol=1e-2, atol=1e-3 * float(fine.max()))
    assert torch.equal(half.structure_kept, torch.full((64, 64), 0.5))


def test_survival_is_what_points_near_by_tell():
    probes = Probes(
        places=torch.tensor([[8, 8], [56, 56]]),
        kspace=torch.zeros(1, 64, 64, dtype=torch.complex64),
        response=torch.ones(2),
    )
    found = survival_of(probes, torch.tensor([1.2, 0.5]), (64, 64))
    assert float(found.kept[8, 8]) == pytest.approx(1.0, abs=0.01)
    assert float(found.kept[56, 56]) == pytest.approx(0.5, abs=0.01)
    assert float(found.lost[8, 8]) == pytest.approx(0.2, abs=0.01)
    assert float(found.lost[56, 56]) == pytest.approx(0.5, abs=0.01)
    assert (found.kept >= 0).all()
    assert (found.kept <= 1).all()


def test_lines_predicted_from_one_side_only_are_trusted_less(full):
    """The same scan, with and without a gap at the border: no noise, so only the prediction's own mistakes count."""
    errors = []
    for n_pe in (61, 64):
        measured = undersampled(full[:, :n_pe], 4, 20)
        errors.append(assessed(measured, grappa_of(measured), sigma=0.0).standard_error.square().sum())
    assert errors[1] > 1.1 * errors[0]


def test_more_noise_means_more_uncertainty(full):
    errors = []
    for level in (1, 3):
        measured = undersampled(full + (level - 1) * SIGMA * complex_noise(full.shape, 5), 3, 20)
        errors.append(assessed(measured, grappa_of(measured), sigma=level * SIGMA).standard_error.mean())
    assert errors[1] > 1.5 * errors[0]


def test_lines_that_were_never_meant_to_be_acquired_count_in_neither_map(full):
    sampled = acquired(64, 3, 20)
    sampled[:15] = False
    measured = undersampled(full, 3, 20)
    measured = replace(
        measured,
        kspace=torch.where(sampled[:, None], full, 0),
        known=sampled[:, None],
        sampling=find_sampling(sampled),
    )
    first, stop = measured.sampling.filled_lines()
    grappa = grappa_of(measured)
    empty = replace(grappa, fit=replace(grappa.fit, weights=0 * grappa.fit.weights))
    maps = assessed(measured, empty, n_replicas=20)
    assert first > 12
    assert float(maps.g_factor.mean()) == pytest.approx(int(sampled.sum()) / (stop - first), rel=0.05)
    assert torch.isfinite(maps.standard_error).all()
