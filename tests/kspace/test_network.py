"""The network is homogeneous, starts at the linear fit, and is kept only where it helps."""

import pytest
import torch

from raki.kspace.adam import Adam
from raki.kspace.linear_fit import calibrate
from raki.kspace.network import RakiNetwork, complex_relu
from raki.kspace.patches import Examples, Kernel
from raki.kspace.sampling import find_sampling
from raki.kspace.training import N_STEPS, STEPS_PER_POINT, NormalisedExamples, noise_levels, trained_network, try_branch

LEVELS = torch.full((8,), 0.01)


def complex_noise(shape, number=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


def examples(nonlinear, n_lines=16, n_ro=60):
    """Targets that follow from the sources, linearly or with a bend in it, and a little noise."""
    sources = complex_noise((n_lines, n_ro, 12))
    mixing = complex_noise((12, 6), 1)
    targets = sources @ mixing
    if nonlinear:
        targets = targets + 2 * complex_relu(sources @ complex_noise((12, 6), 2))
    return Examples(sources=sources, targets=targets + 0.01 * complex_noise(targets.shape, 3))


def some_network():
    fit = calibrate(examples(nonlinear=False), ridge=1e-3, shrinkage=1.0, sigma=0.1)
    network = RakiNetwork(fit, n_components=8, n_hidden=5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.branch.output.copy_(complex_noise((5, 6), 4))
    return network


def test_without_training_the_network_is_the_linear_fit():
    network = some_network()
    with torch.no_grad():
        network.branch.output.zero_()
    sources = complex_noise((3, 4, 12), 5)
    # The fit shares weights among rows of about the same noise.
    linear = network.fit.predict(sources)
    assert (network.predict(sources) - linear).norm() < 0.01 * linear.norm()


def test_a_scan_twice_as_bright_with_twice_the_noise_is_predicted_twice_as_bright():
    network = some_network()
    sources = complex_noise((3, 4, 12), 5)
    once = network.predict(sources)
    network.fit = calibrate(examples(nonlinear=False), ridge=1e-3, shrinkage=1.0, sigma=0.2)
    torch.testing.assert_close(network.predict(2 * sources), 2 * once)


def trial(nonlinear):
    """A branch tried on half of the examples, held out the other half; and the fit it started from."""
    every = examples(nonlinear)
    first = torch.arange(len(every.sources)) < len(every.sources) // 2
    seen, unseen = every.at_lines(first), every.at_lines(~first)
    fit = calibrate(seen, ridge=1e-3, shrinkage=1.0, sigma=0.01)

    def error(predict):
        return float((predict(unseen.sources) - unseen.targets).norm() ** 2 / unseen.targets.norm() ** 2)

    return fit, error, try_branch(fit, seen, LEVELS, 0, error)


def test_the_branch_is_kept_where_it_helps():
    fit, error, (n_steps, curve) = trial(nonlinear=True)
    assert n_steps > 0
    at_kept = next(point for point in curve if point.step == n_steps)
    assert at_kept.validation_loss == min(point.validation_loss for point in curve)
    assert at_kept.validation_loss < 0.8 * error(fit.predict)
    network = trained_network(fit, examples(nonlinear=True), LEVELS, 0, n_steps)
    fresh = complex_noise((200, 12), 7)
    truth = fresh @ complex_noise((12, 6), 1) + 2 * complex_relu(fresh @ complex_noise((12, 6), 2))
    assert (network.predict(fresh) - truth).norm() < 0.95 * (fit.predict(fresh) - truth).norm()


def test_the_branch_is_left_out_where_the_truth_is_linear():
    _, _, (n_steps, _) = trial(nonlinear=False)
    assert n_steps == 0


def test_the_curve_counts_steps_from_zero_and_starts_at_the_linear_fit():
    fit, error, (_, curve) = trial(nonlinear=True)
    assert [point.step for point in curve] == list(range(0, N_STEPS + 1, STEPS_PER_POINT))
    assert curve[-1].training_loss < curve[0].training_loss
    # The fit shares weights among rows of about the same noise; the network has gains for each.
    assert curve[0].validation_loss == pytest.approx(error(fit.predict), rel=1e-2)


def test_no_steps_are_the_linear_fit_and_the_same_seed_is_the_same_network():
    fit = calibrate(examples(nonlinear=True), ridge=1e-3)
    sources = complex_noise((9, 12), 6)
    untrained, once, again = (trained_network(fit, examples(nonlinear=True), LEVELS, 3, n) for n in (0, 5, 5))
    torch.testing.assert_close(untrained.predict(sources), fit.predict(sources))
    assert torch.equal(once.predict(sources), again.predict(sources))
    assert not torch.allclose(once.predict(sources), fit.predict(sources))


def test_a_brighter_scan_gives_the_same_examples():
    dim = examples(nonlinear=True)
    bright = Examples(sources=8 * dim.sources, targets=8 * dim.targets)
    fit = calibrate(dim, ridge=1e-3)
    one, other = NormalisedExamples.of(dim, fit), NormalisedExamples.of(bright, fit)
    torch.testing.assert_close(one.components, other.components)
    torch.testing.assert_close(one.targets, other.targets)
    torch.testing.assert_close(one.weights, other.weights)


def test_noise_levels_are_those_of_the_gaps_outside_the_acs():
    sampled = torch.arange(40) % 2 == 0
    sampled[14:26] = True
    sampling, kernel = find_sampling(sampled), Kernel(n_pe=2, n_ro=3)
    kspace = torch.where(sampled[:, None], complex_noise((2, 40, 30)), 0)
    brighter = kspace.clone()
    brighter[:, 15:26] *= 1e3
    levels = noise_levels(kspace, sampling, kernel, 0.1)
    # The line at either end of the ACS serves the gap beside it too.
    assert levels.shape == LEVELS.shape
    assert (levels.diff() <= 0).all(), "brighter rows have less noise, relative to them"
    assert levels.median() == pytest.approx(0.1, rel=0.2)
    interior = brighter.clone()
    interior[:, 14] = kspace[:, 14]
    interior[:, 26] = kspace[:, 26]
    torch.testing.assert_close(noise_levels(interior, sampling, kernel, 0.1), levels)
    torch.testing.assert_close(noise_levels(4 * kspace, sampling, kernel, 0.4), levels)


def test_adam_takes_its_known_first_step_and_finds_a_minimum():
    wanted = torch.tensor([0.02 + 0.01j])
    found = torch.zeros(1, dtype=torch.complex64, requires_grad=True)
    adam = Adam([found])
    adam.step(torch.autograd.grad((found - wanted).abs().square().sum(), [found]), 3e-3)
    # Whatever the gradient, the first step is the learning rate, in real and imaginary part.
    torch.testing.assert_close(found.detach(), torch.tensor([0.003 + 0.003j]), rtol=1e-4, atol=0)
    for _ in range(300):
        adam.step(torch.autograd.grad((found - wanted).abs().square().sum(), [found]), 3e-3)
    assert (found - wanted).abs() < 1e-3
