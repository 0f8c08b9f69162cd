"""Points put into a slice: where they are, what a full scan shows of them, and what a filling leaves."""

from dataclasses import replace

import pytest
import torch

from raki.coils.combination import root_sum_of_squares
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.image_prior import coil_model
from raki.kspace.probes import AMPLITUDES, LEAST_DISTANCE_PIXELS, N_PROBES, VISIBLE, Probes, put_probes
from raki.kspace.raki import survives
from raki.scan.fourier import to_image, to_kspace
from tests.kspace.simulated_slices import full_slice, undersampled

ACCELERATION = 3


@pytest.fixture(scope="module")
def measured():
    return undersampled(full_slice(n_coils=8, snr=200), ACCELERATION)


@pytest.fixture(scope="module")
def grappa(measured):
    return calibrated_grappa(measured.acs, ACCELERATION)


@pytest.fixture(scope="module")
def filled(measured, grappa) -> torch.Tensor:
    return grappa.filled(measured)


@pytest.fixture(scope="module")
def model(measured, grappa, filled):
    return coil_model(measured, filled, grappa, seed=0)


@pytest.fixture(scope="module")
def probes(measured, filled, model) -> Probes:
    return put_probes(filled, model, measured.sampling, seed=0)


def test_a_perfect_filling_shows_all_of_each(filled, probes):
    assert 8 <= len(probes.places) <= N_PROBES
    kept = probes.kept(filled + probes.kspace, filled)
    torch.testing.assert_close(kept, torch.ones(len(kept)))


@pytest.mark.parametrize("part", [0.0, 0.5, 0.8])
def test_a_filling_that_shows_part_of_them_is_seen(filled, probes, part):
    kept = probes.kept(filled + part * probes.kspace, filled)
    assert float(kept.mean()) == pytest.approx(part, abs=0.03)


def test_a_filling_that_smooths_is_seen(filled, probes):
    """The mean of each pixel with its neighbour along the readout: a half of a point stays where it was."""

    def smoothed(kspace):
        images = to_image(kspace)
        return to_kspace((images + images.roll(1, -1)) / 2)

    kept = probes.kept(smoothed(filled + probes.kspace), smoothed(filled))
    assert float(kept.mean()) == pytest.approx(0.5, abs=0.1)


def test_the_slice_is_as_if_it_had_been_acquired_with_them(measured, probes):
    put = probes.put_into(measured)
    assert torch.equal(put.kspace[:, measured.known[:, 0]], (measured.kspace + probes.kspace)[:, measured.known[:, 0]])
    assert not put.kspace[:, ~measured.known[:, 0]].any()
    assert torch.equal(put.known, measured.known)
    assert put.acs is measured.acs, "what was calibrated is not calibrated anew"


def test_they_are_points_of_the_promised_size_in_phase_with_the_object(filled, model, probes):
    rows, columns = probes.places.T
    points = torch.linalg.vecdot(model.sensitivities, to_image(probes.kspace), dim=0)
    rest = points.clone()
    rest[rows, columns] = 0
    assert float(rest.abs().max()) < 1e-5 * float(points.abs().max())
    # In phase, a point adds to the root sum of squares what it has itself.
    torch.testing.assert_close(probes.response, points[rows, columns].abs(), rtol=0.25, atol=0)
    assert (probes.response > 0.5 * VISIBLE * model.noise[rows, columns] / 2**0.5).all()
    size = root_sum_of_squares(to_image(filled))
    relative = points[rows, columns].abs() / torch.nn.functional.avg_pool2d(size[None], 5, 1, 2)[0, rows, columns]
    for turn, amplitude in enumerate(AMPLITUDES):
        assert float(relative[turn :: len(AMPLITUDES)].median()) == pytest.approx(amplitude, rel=0.15)


@pytest.mark.parametrize("offset", range(ACCELERATION))
def test_neither_they_nor_what_folds_of_them_come_close_to_each_other(filled, model, measured, offset):
    places = put_probes(filled, model, measured.sampling, seed=offset).places
    assert len(places) > 8
    for index, (row, column) in enumerate(places.tolist()):
        others = places[index + 1 :]
        for shift in range(ACCELERATION):
            folded = (row + shift * 48 / ACCELERATION) % 48
            apart = (others[:, 0] - folded).abs()
            apart = torch.minimum(apart, 48 - apart)
            far = (apart >= LEAST_DISTANCE_PIXELS) | ((others[:, 1] - column).abs() >= LEAST_DISTANCE_PIXELS)
            assert far.all()


def test_they_are_where_the_object_is(filled, probes):
    size = root_sum_of_squares(to_image(filled))
    rows, columns = probes.places.T
    assert float(size[rows, columns].min()) > 0.05 * float(size.max())


def test_what_is_very_noisy_gets_stronger_ones(filled, model, measured):
    noisy = replace(model, noise=model.noise + 10 * float(to_image(filled).abs().max()))
    probes = put_probes(filled, noisy, measured.sampling, seed=0)
    rows, columns = probes.places.T
    assert (probes.response > VISIBLE * noisy.noise[rows, columns] / 2**0.5 / 2).all()


def test_the_seed_chooses_the_places(filled, model, measured, probes):
    again, other = (put_probes(filled, model, measured.sampling, seed=seed) for seed in (0, 1))
    assert torch.equal(again.places, probes.places)
    assert torch.equal(again.kspace, probes.kspace)
    assert not torch.equal(other.places, probes.places)


def test_lines_never_meant_to_be_acquired_hold_none(filled, model, measured):
    sampling = replace(measured.sampling, acquired_range=(9, 40))
    first, stop = sampling.filled_lines()
    assert (first, stop) == (9, 40)
    kspace = put_probes(filled, model, sampling, seed=0).kspace
    assert not kspace[:, :first].any()
    assert not kspace[:, stop:].any()
    assert kspace[:, first:stop].any()


def test_a_dark_slice_holds_none_and_no_filling_of_it_is_approved_of(filled, model, measured):
    probes = put_probes(torch.zeros_like(filled), model, measured.sampling, seed=0)
    assert probes.places.shape == (0, 2)
    kept = probes.kept(filled, filled)
    assert not survives(kept, kept)
    assert torch.equal(probes.map_of(kept, (48, 48)), torch.ones(48, 48))


def test_the_map_is_the_mean_over_probes_near_by(probes):
    n = len(probes.places)
    torch.testing.assert_close(probes.map_of(torch.full((n,), 0.7), (48, 48)), torch.full((48, 48), 0.7))
    values = torch.where(probes.places[:, 0] < 24, 1.0, 0.0)
    found = probes.map_of(values, (48, 48))
    assert (found >= 0).all()
    assert (found <= 1 + 1e-6).all()
    assert float(found[:8].mean()) > 0.8 > 0.2 > float(found[-8:].mean())


def test_the_map_far_from_all_is_their_mean(probes):
    values = torch.arange(len(probes.places)).float()
    assert float(probes.map_of(values, (600, 600))[599, 599]) == pytest.approx(float(values.mean()))


@pytest.mark.parametrize(
    ("kept", "by_grappa", "approved"),
    [
        ([1.0] * 10, [1.0] * 10, True),
        ([0.96] * 10, [1.0] * 10, True),
        ([0.94] * 10, [1.0] * 10, False),
        ([0.7] * 10, [0.7] * 10, True),
        ([1.0] * 8 + [0.5] * 2, [1.0] * 10, False),  # two of ten fade
        ([1.0] * 19 + [0.5], [1.0] * 20, True),
        # What GRAPPA adds of its own noise, or loses, is no measure; nor does too much of one make up for another.
        ([1.0] * 10, [1.3] * 10, True),
        ([0.3] * 10, [0.1] * 10, True),
        ([0.2] * 10, [0.1] * 10, False),
        ([1.5] * 5 + [0.8] * 5, [1.0] * 10, False),
        ([], [], False),
    ],
)
def test_small_structures_survive_if_they_are_as_visible_as_in_grappa(kept, by_grappa, approved):
    assert survives(torch.tensor(kept), torch.tensor(by_grappa)) == approved
