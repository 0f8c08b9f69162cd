"""Stored weights fill their own scan bit for bit, another of the same place nearly as well, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raki.errors import NoCalibration
from raki.kspace import complete
from raki.kspace.grappa import fill_by_grappa
from raki.kspace.measured import measured_slice
from raki.kspace.method import FillSettings, StoredUse
from raki.kspace.mistakes import lattice_error, lattice_noise, white_noise
from raki.kspace.stored import LEAST_ERROR, MOST_GROWTH, fill_by_stored, holds
from raki.phantom.phantom import phantom_kspace
from raki.planning import find_point_sampling

METHODS = ("grappa", "raki_linear", "raki")


def lines(n_acs, n_pe=48, step=3):
    acquired = np.zeros(n_pe, bool)
    acquired[::step] = True
    acquired[n_pe // 2 - n_acs // 2 : n_pe // 2 + n_acs - n_acs // 2] = True
    return torch.from_numpy(acquired)


@pytest.fixture(scope="module")
def full():
    """Two slices, 10 mm and more apart, of 6 coils, with noise."""
    kspace = torch.from_numpy(phantom_kspace(n_slices=2, n_coils=6, matrix=48))
    noise = torch.randn(kspace.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    return kspace + 0.02 * noise


@pytest.fixture(scope="module")
def again(full):
    """The same place once more: other noise, and another contrast."""
    noise = torch.randn(full.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(4))
    return 0.7 * full + 0.02 * noise


@pytest.fixture(scope="module")
def calibrated(full):
    """By method: the slices filled by their own calibration, and the weights."""
    found = {}
    for method in METHODS:
        filled, report = complete(full * lines(20)[:, None], method, device="cpu", with_weights=True)
        found[method] = filled, report.weights
    return found


def error(filled, full):
    return float((filled - full).abs().square().sum() / full.abs().square().sum())


@pytest.mark.parametrize("method", METHODS)
def test_they_fill_their_own_scan_bit_for_bit(full, calibrated, method):
    filled, weights = calibrated[method]
    again, report = complete(
        full * lines(20)[:, None], method, device="cpu", stored=lambda index: weights[index], is_judged=False
    )
    assert all(use.is_used for use in report.stored)
    assert torch.equal(again, filled)


def test_a_plane_of_two_phase_encode_directions_too(full):
    mask = np.zeros((48, 48), bool)
    mask[::2, ::2] = mask[16:32, 16:32] = True
    sampling, settings = find_point_sampling(mask), FillSettings(device=torch.device("cpu"), with_weights=True)
    plane = full[0] * torch.from_numpy(mask)
    acs = plane[:, *sampling.acs_block()]
    filled, report = fill_by_grappa(plane, acs, sampling, settings)
    assert report.weights.lattice_error is not None
    again, _ = fill_by_stored(report.weights, plane, acs, sampling, settings, None)
    assert torch.equal(again, torch.where(torch.from_numpy(mask), plane, filled))


@pytest.mark.parametrize("method", METHODS)
def test_a_scan_without_calibration_lines_is_filled_nearly_as_well(again, calibrated, method):
    _, weights = calibrated[method]
    without = again * lines(0)[:, None]
    with pytest.raises(NoCalibration):
        complete(without, method, device="cpu")
    filled, report = complete(without, method, device="cpu", stored=lambda index: weights[index], with_maps=True)
    own, _ = complete(again * lines(20)[:, None], method, device="cpu")
    assert error(filled, again) < 2.5 * error(own, again)
    assert torch.equal(filled[..., ::3, :], again[..., ::3, :])
    assert any(note.startswith("2 of 2 images were filled by stored weights.") for note in report.notes)
    assert len(report.maps) == 2
    assert not any("ACS has only" in note or "GRAPPA predicts" in note for note in report.notes)


def test_weights_of_another_slice_are_refused_with_their_numbers(full, calibrated):
    _, weights = calibrated["raki_linear"]
    with pytest.raises(NoCalibration, match=r"don't hold here: their error .* is 0\.\d+ .* was 0\.\d+"):
        complete(full * lines(0)[:, None], "raki_linear", device="cpu", stored=lambda index: weights[1 - index])


@pytest.mark.parametrize("is_judged", [True, False])
def test_where_there_is_a_calibration_weights_of_another_slice_change_nothing(full, calibrated, is_judged):
    filled, weights = calibrated["raki_linear"]
    found, report = complete(
        full * lines(20)[:, None], "raki_linear", device="cpu",
        stored=lambda index: weights[1 - index], is_judged=is_judged,
    )  # fmt: skip
    assert torch.equal(found, filled)
    assert not any(use.is_used for use in report.stored)
    assert any("2 of 2 images, for which there are stored weights, were calibrated" in note for note in report.notes)
    assert report.weights == ()


def test_weights_that_hold_and_predict_worse_than_its_own_do_not_fill_an_image(full, calibrated):
    filled, weights = calibrated["grappa"]
    worse = [replace(each, coefficients=0.97 * each.coefficients, lattice_error=1.0) for each in weights]
    found, report = complete(full * lines(20)[:, None], "grappa", device="cpu", stored=lambda index: worse[index])
    assert all(holds(use) and use.judged > use.own_judged and not use.is_used for use in report.stored)
    assert torch.equal(found, filled)


def test_the_better_kernel_is_taken_where_the_scan_has_few_lines(again, calibrated):
    _, weights = calibrated["grappa"]
    few = again * lines(5)[:, None]
    own, _ = complete(few, "grappa", device="cpu")
    filled, report = complete(few, "grappa", device="cpu", stored=lambda index: weights[index])
    assert all(use.is_used and use.judged < use.own_judged for use in report.stored)
    assert error(filled, again) < error(own, again)


def test_an_image_without_weights_is_calibrated_and_that_is_said(full, calibrated):
    filled, weights = calibrated["grappa"]
    found, report = complete(
        full * lines(20)[:, None], "grappa", device="cpu", stored=lambda index: weights[0] if index == 0 else None
    )
    assert torch.equal(found, filled)
    assert report.stored[1] is None
    assert any("For 1 of 2 images there are no stored weights" in note for note in report.notes)


def test_weights_of_another_lattice_fill_nothing(full, calibrated):
    _, weights = calibrated["grappa"]
    by_two = full * lines(20, step=2)[:, None]
    own, _ = complete(by_two, "grappa", device="cpu")
    found, _ = complete(by_two, "grappa", device="cpu", stored=lambda index: weights[index])
    assert torch.equal(found, own)
    with pytest.raises(NoCalibration, match="lattice of 3 and the scan has one of 2"):
        complete(full * lines(0, step=2)[:, None], "grappa", device="cpu", stored=lambda index: weights[index])


def test_what_holds_is_told_by_the_growth_of_the_error():
    use = StoredUse(is_used=True, error=0.1, error_then=0.1 / MOST_GROWTH)
    assert holds(use)
    assert not holds(replace(use, error=0.101))
    assert holds(replace(use, error=0.101, noise=0.002)), "noise is no fault of the weights"
    assert holds(replace(use, error=LEAST_ERROR, error_then=0.0))
    assert not holds(replace(use, error=None))
    assert not holds(replace(use, error_then=None))


def test_no_draw_of_the_noise_makes_more_than_is_let_pass_for_it(full):
    """Of a 3-D scan hundreds of positions are judged, few lines each: none may be refused for its noise by chance."""
    mask = np.zeros((48, 48), bool)
    mask[::2, ::2] = mask[16:32, 16:32] = True
    device, sampling = torch.device("cpu"), find_point_sampling(mask)
    plane = full[0] * torch.from_numpy(mask)
    settings = FillSettings(device=device, with_weights=True)
    linear = fill_by_grappa(plane, plane[:, *sampling.acs_block()], sampling, settings)[1].weights.filling(device)
    few = np.zeros((24, 12), bool)
    few[::2, ::2] = True
    plane = full[0, :, 12:36, 18:30] * torch.from_numpy(few)
    measured = measured_slice(plane, plane[:, :0, :0], find_point_sampling(few), sigma=0.02, device=device)
    at_most = lattice_noise(measured, linear, 0)
    generator = torch.Generator().manual_seed(1)
    draws = []
    for _ in range(200):
        noise = white_noise(measured, 0.02, generator)
        bare = replace(measured, kspace=noise)
        energy = noise.abs().square().sum() / plane.abs().square().sum()
        draws.append(lattice_error(bare, linear) * float(energy))
    assert max(draws) < at_most < 2 * np.mean(draws)
    assert max(draws) > 1.1 * np.mean(draws), "or there is nothing to allow for"
