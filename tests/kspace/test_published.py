"""The published networks: that they are the published ones, and that they keep what every method promises."""

import math
from collections import Counter
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import leaky_relu
from torch.utils._python_dispatch import TorchDispatchMode

from raki.coils.combination import root_sum_of_squares
from raki.errors import NoCalibration
from raki.images.metrics import nmse
from raki.kspace.adam import Adam
from raki.kspace.method import FillSettings
from raki.kspace.patches import Kernel
from raki.kspace.published import iraki, raki2019
from raki.kspace.published.descent import Schedule, descend
from raki.kspace.published.hidden import HiddenLayers
from raki.kspace.published.iraki import ComplexNetwork, extended_acs, fill_by_iraki, published_rounds
from raki.kspace.published.lattice import convolve, fill_gaps, mix, windows
from raki.kspace.published.raki2019 import RakiNetworks, fill_by_raki2019
from raki.kspace.published.rraki import ResidualNetworks, fill_by_rraki
from raki.kspace.sampling import find_sampling
from raki.phantom.phantom import phantom_kspace
from raki.scan.fourier import to_image

N_PE, N_COILS = 32, 4
SIGMA = 0.01

FEW_STEPS = Schedule(n_steps=4, learning_rate=1e-3)
FILL = {
    "raki2019": partial(fill_by_raki2019, schedule=FEW_STEPS),
    "rraki": partial(fill_by_rraki, schedule=FEW_STEPS),
    "iraki": partial(fill_by_iraki, schedule=[FEW_STEPS, FEW_STEPS]),
}
methods = pytest.mark.parametrize("method", FILL)


@pytest.fixture(scope="module")
def full():
    kspace = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=N_COILS, matrix=N_PE, seed=0))[0]
    return kspace + SIGMA * complex_noise(kspace.shape)


def complex_noise(shape, number=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


def generator():
    return torch.Generator().manual_seed(0)


def lines(acceleration, offset=0, first_acs=8, stop_acs=24):
    sampled = torch.zeros(N_PE, dtype=torch.bool)
    sampled[offset::acceleration] = True
    sampled[first_acs:stop_acs] = True
    return sampled


def settings(seed=0):
    return FillSettings(device=torch.device("cpu"), seed=seed)


def fill(method, full, sampled, acs=slice(8, 24), seed=0):
    return FILL[method](torch.where(sampled[:, None], full, 0), full[:, acs], find_sampling(sampled), settings(seed))


@pytest.fixture(scope="module")
def plain(full):
    """What each method makes of the scan at R=3, as it is."""
    return {method: fill(method, full, lines(3, 1)) for method in FILL}


def image_nmse(kspace, full):
    return nmse(root_sum_of_squares(to_image(kspace)), root_sum_of_squares(to_image(full)))


def n_real_parameters(network):
    return sum(torch.view_as_real(p).numel() if p.is_complex() else p.numel() for p in network.parameters())


def test_networks_have_as_many_parameters_as_published():
    assert n_real_parameters(RakiNetworks(16, 4, generator())) == 32 * 10_640
    assert n_real_parameters(RakiNetworks(32, 5, generator())) == 64 * 20_928
    assert n_real_parameters(ResidualNetworks(16, 4, generator())) == 32 * (10_640 + 3 * 320)
    assert n_real_parameters(ComplexNetwork(16, 4, generator())) == 2 * (16 * 28 * 256 + 256 * 128 + 128 * 5 * 48)


def test_the_start_is_the_published_one():
    networks = ResidualNetworks(4, 3, generator())
    for weights in networks.parameters():
        assert weights.abs().max() <= 0.2
        assert weights.std().item() == pytest.approx(0.088, abs=0.005)  # 0.1 before the tails were cut off
    first = ComplexNetwork(4, 3, generator()).first
    parts = torch.view_as_real(first) * first.shape[1] ** 0.5
    assert parts.abs().max() <= 1
    assert parts.std().item() == pytest.approx(3**-0.5, abs=0.01)


def test_iraki_has_as_many_rounds_as_published():
    assert {r: len(published_rounds(r)) for r in (2, 3, 4, 5, 6, 8)} == {2: 16, 3: 16, 4: 16, 5: 12, 6: 8, 8: 8}
    rounds = published_rounds(4)
    assert sum(one.n_steps for one in rounds) == 4250
    assert [one.learning_rate for one in rounds[:2]] == [5e-4, pytest.approx(4.7e-4)]
    assert rounds[-1].learning_rate == pytest.approx(5e-5)


def one_published_network(networks, channel, n_coils, acceleration):
    """The network of one real channel, written as the paper draws it."""
    skip = (acceleration, 1)
    layers = nn.Sequential(
        nn.Conv2d(2 * n_coils, 32, (2, 5), dilation=skip, bias=False),
        nn.ReLU(),
        nn.Conv2d(32, 8, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(8, acceleration - 1, (2, 3), dilation=skip, bias=False),
    )
    for layer, weights in zip(layers[::2], (networks.first, networks.middle, networks.last), strict=True):
        layer.weight.data = weights[channel].detach().clone().view_as(layer.weight)
    return layers


def train_alone(network, channels, channel, acceleration):
    targets = torch.stack([channels[channel, m : m + 16 - 2 * acceleration, 3:-3] for m in range(1, acceleration)])
    adam = Adam(list(network.parameters()))

    def objective():
        error = network(channels[None])[0] - targets
        return error.norm(), error

    descend(adam, objective, targets, FEW_STEPS)


def test_networks_trained_side_by_side_are_those_trained_alone(full):
    acceleration, offset, n_coils = 3, 1, 2
    sampled = lines(acceleration, offset)
    together, _ = fill("raki2019", full[:n_coils], sampled)
    scale = 0.015 / full[:n_coils].abs().max()
    channels = raki2019.as_channels(full[:n_coils] * scale)
    zero_filled = torch.zeros_like(channels)
    zero_filled[:, offset::acceleration] = channels[:, offset::acceleration]
    networks = RakiNetworks(n_coils, acceleration, generator())
    predicted = []
    for channel in range(2 * n_coils):
        network = one_published_network(networks, channel, n_coils, acceleration)
        train_alone(network, channels[:, 8:24], channel, acceleration)
        # As published: over the whole zero-filled k-space, and every R-th line of what comes out.
        predicted.append(network(zero_filled[None])[0, :, offset::acceleration].detach() / scale)
    alone = raki2019.as_coils(torch.stack(predicted))
    first_lines = torch.tensor(find_sampling(sampled).lattice_lines()[: alone.shape[2]])
    for missing in range(acceleration - 1):
        at = first_lines + 1 + missing
        filled = ~sampled[at]
        torch.testing.assert_close(
            together[:, at[filled], 3:-3], alone[:, missing, filled], rtol=1e-3, atol=1e-5 * full.abs().max().item()
        )


class Operations(TorchDispatchMode):
    """Counts what torch dispatches."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count[str(operation)] += 1
        return operation(*args, **(kwargs or {}))


NETWORKS = {"raki2019": RakiNetworks, "rraki": ResidualNetworks, "iraki": ComplexNetwork}


def operations_of_training(method, n_coils, n_steps):
    acs = complex_noise((n_coils, 14, 16))
    networks = NETWORKS[method](n_coils, 3, generator())
    schedule = Schedule(n_steps=n_steps, learning_rate=1e-3)
    with Operations() as operations:
        if method == "iraki":
            iraki.train(networks, Adam(list(networks.parameters())), acs, 3, schedule)
        else:
            raki2019.train(networks, acs, 3, schedule)
    return operations.count


@methods
def test_more_coils_are_larger_operations_and_not_more_of_them(method):
    assert operations_of_training(method, 9, 3) == operations_of_training(method, 2, 3)


@methods
def test_no_number_is_fetched_from_the_device_while_it_trains(method):
    operations = operations_of_training(method, 2, 20)
    assert operations["aten._fused_adam_.default"] == 20
    assert not operations["aten._local_scalar_dense.default"]


@pytest.mark.parametrize(("dtype", "networks", "slope"), [(torch.float32, (3,), 0.0), (torch.complex64, (), 0.5)])
def test_hidden_layers_in_kept_memory_have_the_gradients_of_autograd(dtype, networks, slope):
    def random(*shape):
        return torch.randn(shape, dtype=dtype, generator=generator().manual_seed(len(shape)))

    def activated(values):
        if not dtype.is_complex:
            return leaky_relu(values, slope)
        return torch.complex(leaky_relu(values.real, slope), leaky_relu(values.imag, slope))

    first = nn.Parameter(random(*networks, 7, 5))
    second = nn.Parameter(random(*networks, 4, 7))
    layers = HiddenLayers(slope)
    for n_lines in (6, 6, 3):  # the memory is used again, and another where the shape is another
        sources, weights = random(5, n_lines, 8), random(*networks, 4, n_lines, 8)
        plain = activated(second @ activated(first @ sources.flatten(1))).unflatten(-1, (n_lines, 8))
        kept = layers(first, second, sources)
        torch.testing.assert_close(kept, plain)
        torch.testing.assert_close(
            *(torch.autograd.grad((out * weights).abs().square().sum(), [first, second]) for out in (kept, plain))
        )


@pytest.mark.parametrize(("dtype", "networks"), [(torch.float32, (3,)), (torch.complex64, ())])
@pytest.mark.parametrize("step", [1, 3])
def test_a_convolution_is_the_same_map_at_every_window(dtype, networks, step):
    kernel = Kernel(n_pe=2, n_ro=3)
    maps = torch.randn(*networks, 4, 9, 10, dtype=dtype, generator=generator())
    weights = torch.randn(*networks, 2, 4 * 6, dtype=dtype, generator=generator())
    torch.testing.assert_close(convolve(weights, maps, kernel, step), mix(weights, windows(maps, kernel, step)))


@pytest.mark.parametrize(
    ("networks", "field", "reach", "taps"),
    [
        (RakiNetworks(2, 3, generator()), raki2019.FIELD, 3, (0, 3, 6)),
        (ResidualNetworks(2, 3, generator()), raki2019.FIELD, 3, (0, 3, 6)),
        (ComplexNetwork(2, 3, generator()), iraki.FIELD, 5, (-3, 0, 3, 6)),
    ],
)
def test_a_sample_depends_on_the_published_neighbours_and_on_no_other(networks, field, reach, taps):
    kspace = complex_noise((2, N_PE, 24))
    sampling = find_sampling(torch.arange(N_PE) % 3 == 0)
    line, sample = 12, 11
    near = [line + tap for tap in taps], slice(sample - reach, sample + reach + 1)

    def gap(kspace):
        return fill_gaps(kspace, sampling, field, networks.predict)[:, line + 1 : line + 3, sample]

    poisoned = torch.full_like(kspace, complex(math.nan, math.nan))
    for at in near[0]:
        poisoned[:, at, near[1]] = kspace[:, at, near[1]]
    torch.testing.assert_close(gap(poisoned), gap(kspace))
    for at in near[0]:
        for end in (sample - reach, sample + reach):
            changed = kspace.clone()
            changed[:, at, end] += 1
            assert (gap(changed) != gap(kspace)).all()


def test_without_its_nonlinear_branch_rraki_is_linear():
    networks = ResidualNetworks(2, 3, generator())
    one, other = complex_noise((2, 6, 20), 1), complex_noise((2, 6, 20), 2)

    def departure_from_linear():
        together = networks.predict(one + 2 * other)
        return (together - networks.predict(one) - 2 * networks.predict(other)).norm() / together.norm()

    assert departure_from_linear() > 0.01
    networks.nonlinear.last.data.zero_()
    assert departure_from_linear() < 1e-6


def test_both_norms_of_rraki_are_lowered(full):
    acs = full[:, 8:24] / full.abs().max()
    networks = ResidualNetworks(N_COILS, 2, generator())
    raki2019.train(networks, acs, 2, Schedule(n_steps=150, learning_rate=3e-3))
    targets = raki2019.as_channels(raki2019.gap_targets(acs, raki2019.FIELD, 2))
    linear, correction = networks(raki2019.windows(raki2019.as_channels(acs), raki2019.FIRST_KERNEL, 2), 2)
    assert (targets - linear).norm() < 0.5 * targets.norm()
    assert (targets - linear - correction).norm() < 0.5 * targets.norm()


@methods
def test_acquired_lines_come_back_as_they_were_and_all_gaps_are_filled(full, plain, method):
    filled, report = plain[method]
    sampled = lines(3, 1)
    assert torch.equal(filled[:, sampled], full[:, sampled])
    assert (filled[:, 1:] != 0).all(), "readout ends and outermost gaps too"
    assert not filled[:, 0].any()
    assert torch.isfinite(filled).all()
    assert report.curve[-1].step == (8 if method == "iraki" else 4)
    assert all(point.training_loss > 0 and math.isnan(point.validation_loss) for point in report.curve)


@methods
def test_same_seed_same_bits(full, plain, method):
    filled, report = fill(method, full, lines(3, 1))
    assert torch.equal(filled, plain[method][0])
    assert [point.training_loss for point in report.curve] == [point.training_loss for point in plain[method][1].curve]
    assert not torch.equal(fill(method, full, lines(3, 1), seed=1)[0], filled)


@methods
@pytest.mark.parametrize("scale", [2.0**20, 3e-7])
def test_scaling_the_scan_scales_the_result(full, plain, method, scale):
    scaled, _ = fill(method, full * scale, lines(3, 1))
    expected = plain[method][0]
    torch.testing.assert_close(scaled / scale, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@methods
def test_the_lattice_may_begin_anywhere(full, method):
    """Zero lines around a scan only move it; but iRAKI counts its 65 lines from the centre, here all of them."""
    sampled = lines(3, 1)
    around = torch.zeros(N_COILS, 2, full.shape[-1], dtype=full.dtype)
    moved_mask = torch.cat([torch.zeros(2, dtype=torch.bool), sampled])
    moved, _ = fill(method, torch.cat([around, full], dim=1), moved_mask, acs=slice(10, 26))
    assert torch.equal(moved[:, 2:], fill(method, full, sampled)[0])
    assert not moved[:, :2].any()


@methods
def test_a_calibration_scan_apart_may_have_a_shorter_readout_and_enters_no_line(full, method):
    sampled = torch.arange(N_PE) % 2 == 0
    filled, _ = fill(method, full, sampled, acs=slice(8, 24))
    assert not torch.isclose(filled[:, 9:24:2], full[:, 9:24:2], rtol=1e-4, atol=0).all()
    lattice = torch.where(sampled[:, None], full, 0)
    short, _ = FILL[method](lattice, full[:, 8:24, 8:24], find_sampling(sampled), settings())
    assert short.shape == full.shape
    assert torch.equal(short[:, sampled], full[:, sampled])
    assert short[:, 1:30:2].abs().min() > 0


@methods
def test_an_empty_slice_stays_empty(full, method):
    filled, report = fill(method, torch.zeros_like(full), lines(3, 1))
    assert not filled.any()
    assert [point.training_loss for point in report.curve] == [0.0] * len(report.curve)


# Measured on this phantom plus a third: NMSE of the whole image, over that of the zero-filled one.
SOME_STEPS = {
    "raki2019": (Schedule(n_steps=150, learning_rate=3e-3), 0.29),
    "rraki": (Schedule(n_steps=300, learning_rate=1e-3), 0.16),
    "iraki": ([Schedule(n_steps=40, learning_rate=5e-4), Schedule(n_steps=20, learning_rate=4e-4)], 0.17),
}


@methods
def test_the_phantom_is_nearer_than_without_filling(full, method):
    sampled = lines(2, 1)
    schedule, mark = SOME_STEPS[method]
    zero_filled = torch.where(sampled[:, None], full, 0)
    filled, report = FILL[method](zero_filled, full[:, 8:24], find_sampling(sampled), settings(), schedule=schedule)
    assert image_nmse(filled, full) < mark * image_nmse(zero_filled, full)
    assert report.curve[-1].training_loss < 0.1 * report.curve[0].training_loss


def test_irakis_extended_acs_is_its_result_with_the_measured_lines_in_it(full, monkeypatch):
    seen = []
    train = iraki.train

    def spy(network, adam, acs, *rest):
        seen.append(acs)
        return train(network, adam, acs, *rest)

    monkeypatch.setattr(iraki, "train", spy)
    sampled = lines(3, 1)
    filled, _ = fill("iraki", full, sampled)
    scale = iraki.scale_to_smallest(torch.where(sampled[:, None], full, 0))
    started, went_on = (acs / scale for acs in seen)
    assert started.shape == went_on.shape == full[:, 1:32].shape
    for acs in (started, went_on):
        torch.testing.assert_close(acs[:, sampled[1:]], full[:, sampled])
    changed = ~sampled[1:]
    assert not torch.isclose(started[:, changed], went_on[:, changed], rtol=1e-4).all()
    assert not torch.isclose(filled[:, 1:][:, changed], went_on[:, changed], rtol=1e-4).all()


def test_irakis_extended_acs_is_the_65_central_lines_or_all_that_are_filled():
    def extended(n_pe, first, stop):
        sampled = torch.zeros(n_pe, dtype=torch.bool)
        sampled[first:stop:2] = True
        found = extended_acs(torch.arange(n_pe)[None, :, None] + 0j * torch.ones(1), find_sampling(sampled))
        return [int(found[0, end, 0].real) for end in (0, -1)]

    assert extended(101, 0, 101) == [18, 82]
    assert extended(101, 40, 101) == [40, 82]
    assert extended(33, 0, 33) == [0, 32]


def test_without_a_round_iraki_is_grappa_which_finds_what_is_linear():
    places, strength = torch.rand(4, generator=generator()), complex_noise((6, 4))
    waves = torch.exp(2j * torch.pi * torch.outer(places, torch.arange(N_PE)))
    full = torch.einsum("cw,wp,wr->cpr", strength, waves, waves.roll(1, dims=0))
    filled, report = FILL["iraki"](
        torch.where(lines(3)[:, None], full, 0), full[:, 8:24], find_sampling(lines(3)), settings(), schedule=()
    )
    inner = slice(2, -2)  # at the ends of the readout a neighbour is missing
    torch.testing.assert_close(filled[:, :31, inner], full[:, :31, inner], rtol=1e-2, atol=1e-2)
    assert report.curve == ()


@pytest.mark.parametrize("peak", [1.0, 1e30])
def test_irakis_scale_goes_by_the_smallest_magnitude_as_far_as_float32_holds(peak):
    assert iraki.scale_to_smallest(torch.tensor([[[0, 2e-3, -peak]]]) + 0j) == pytest.approx(
        10**0.5 / 2e-3 if peak == 1 else 1e8 / 1e30
    )


def test_a_complex_parameter_is_trained_as_its_two_parts():
    start, aim = complex_noise((5,), 1), complex_noise((5,), 2)
    whole = nn.Parameter(start.clone())
    parts = nn.Parameter(torch.view_as_real(start).clone())
    schedule = Schedule(n_steps=30, learning_rate=0.1)
    of_parts = torch.view_as_real(aim)
    descend(Adam([whole]), lambda: ((whole - aim).abs().square().sum(), whole - aim), aim, schedule)
    descend(Adam([parts]), lambda: ((parts - of_parts).square().sum(), parts - of_parts), of_parts, schedule)
    torch.testing.assert_close(torch.view_as_real(whole.data), parts.data)


def test_adam_moves_by_the_learning_rate_first_and_arrives():
    values = nn.Parameter(torch.tensor([3.0, -500.0]))
    aim = torch.tensor([1.0, -501.0])
    objective = lambda: ((values - aim).square().sum(), values - aim)  # noqa: E731
    adam = Adam([values])
    descend(adam, objective, aim, Schedule(n_steps=1, learning_rate=0.01))
    torch.testing.assert_close(values.data, torch.tensor([2.99, -500.01]))
    curve = descend(adam, objective, aim, Schedule(n_steps=999, learning_rate=0.01))
    torch.testing.assert_close(values.data, aim, atol=1e-2, rtol=0)
    assert [curve[0].step, curve[-1].step] == [11, 1000]


@methods
def test_too_short_an_acs_names_the_lines_needed(full, method):
    needed = {"raki2019": 7, "rraki": 7, "iraki": 4}[method]
    with pytest.raises(NoCalibration, match=rf"{needed - 1} (lines )?of 32 samples.* at least {needed} lines"):
        fill(method, full, lines(3, 1), acs=slice(8, 8 + needed - 1))
