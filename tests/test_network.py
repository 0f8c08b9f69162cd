"""The network is homogeneous, starts at the linear fit, and is kept only where it helps."""

import pytest
import torch

from raki.grappa import Calibration, calibrate, magnitude
from raki.network import RakiNetwork, complex_relu
from raki.selection import Judge, split
from raki.training import N_STEPS, STEPS_PER_POINT, Adam, fit_network

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
    return Calibration(sources=sources, targets=targets + 0.01 * complex_noise(targets.shape, 3))


def trained_network():
    fit = calibrate(examples(nonlinear=False), ridge=1e-3, shrinkage=1.0, sigma=0.1)
    network = RakiNetwork(fit, n_components=8, n_hidden=5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.branch.output.copy_(complex_noise((5, 6), 4))
    return network


def test_without_training_the_network_is_the_linear_fit():
    network = trained_network()
    with torch.no_grad():
        network.branch.output.zero_()
    sources = complex_noise((3, 4, 12), 5)
    torch.testing.assert_close(network.predict(sources), network.fit.predict(sources))


def test_a_scan_twice_as_bright_with_twice_the_noise_is_predicted_twice_as_bright():
    network = trained_network()
    sources = complex_noise((3, 4, 12), 5)
    once = network.predict(sources)
    network.fit = calibrate(examples(nonlinear=False), ridge=1e-3, shrinkage=1.0, sigma=0.2)
    torch.testing.assert_close(network.predict(2 * sources), 2 * once)


def test_the_branch_is_kept_where_it_helps():
    fitted = fit_network(examples(nonlinear=True), LEVELS, 0.0, seed=0)
    assert fitted.kept_steps > 0
    start, best = fitted.curve[0], min(fitted.curve, key=lambda point: point.validation_loss)
    assert best.validation_loss < 0.9 * start.validation_loss
    fresh = complex_noise((200, 12), 7)
    truth = fresh @ complex_noise((12, 6), 1) + 2 * complex_relu(fresh @ complex_noise((12, 6), 2))
    assert (fitted.network.predict(fresh) - truth).norm() < 0.95 * (fitted.network.fit.predict(fresh) - truth).norm()


def test_the_branch_is_left_out_where_the_truth_is_linear():
    fitted = fit_network(examples(nonlinear=False), LEVELS, 0.0, seed=0)
    assert fitted.kept_steps == 0
    sources = complex_noise((9, 12), 6)
    torch.testing.assert_close(fitted.network.predict(sources), fitted.network.fit.predict(sources))


def test_the_curve_counts_steps_from_zero():
    curve = fit_network(examples(nonlinear=True), LEVELS, 0.0, seed=0).curve
    assert [point.step for point in curve] == list(range(0, N_STEPS + 1, STEPS_PER_POINT))
    assert curve[-1].training_loss < curve[0].training_loss


def test_expected_error_is_the_mean_error_over_drawn_noise():
    fitted, held_out = split(examples(nonlinear=True))
    fit = calibrate(fitted, ridge=1e-3, shrinkage=1.0, sigma=0.0)
    ratio = torch.tensor([0.5])
    sources, targets = held_out.sources.flatten(0, 1), held_out.targets.flatten(0, 1)
    size = magnitude(sources).unsqueeze(-1)
    weight = 1 / (size + size.mean())
    errors = []
    for number in range(40):
        noisy = sources + ratio * size * complex_noise(sources.shape, number)
        error = weight * (((noisy @ fit.basis) * fit.gains(ratio)) @ fit.weights - targets)
        errors.append(error.norm() ** 2 / (weight * targets).norm() ** 2)
    expected = Judge(fit, held_out, ratio).expected_error(1e-3, 1.0)
    assert expected == pytest.approx(float(torch.stack(errors).mean()), rel=0.02)


def test_adam_takes_its_known_first_step_and_finds_a_minimum():
    wanted = torch.tensor([0.02 + 0.01j])
    found = torch.zeros(1, dtype=torch.complex64, requires_grad=True)
    adam = Adam([found])
    adam.step(torch.autograd.grad((found - wanted).abs().square().sum(), [found]))
    # Whatever the gradient, the first step is the learning rate, in real and imaginary part.
    torch.testing.assert_close(found.detach(), torch.tensor([0.003 + 0.003j]), rtol=1e-4, atol=0)
    for _ in range(300):
        adam.step(torch.autograd.grad((found - wanted).abs().square().sum(), [found]))
    assert (found - wanted).abs() < 1e-3
