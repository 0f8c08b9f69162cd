"""What is chosen for GRAPPA is what predicts lines best that it has not seen."""

import pytest
import torch

from raki.errors import NoCalibration
from raki.kspace.grappa import READOUT_SAMPLES, RIDGES, ROW_FLOORS, USUAL_RIDGE, calibrated_grappa
from raki.kspace.linear_fit import calibrate
from raki.kspace.patches import acs_examples, interpolate
from raki.kspace.sampling import find_sampling
from raki.phantom.phantom import phantom_kspace
from tests.kspace.simulated_slices import complex_noise, few_waves

ACCELERATION = 2


def test_exact_data_want_hardly_a_ridge_and_noise_wants_more():
    clean = few_waves(4, 24, 40)
    clean = clean / clean.abs().max()
    exact = calibrated_grappa(clean, ACCELERATION).fit.ridge
    noisy = calibrated_grappa(clean[:, :9] + complex_noise((4, 9, 40)), ACCELERATION).fit.ridge
    assert exact == RIDGES[0]
    assert noisy == RIDGES[-1]


@pytest.mark.parametrize("sigma", [0.001, 0.03])
def test_no_other_candidate_fills_the_acs_itself_much_better(sigma):
    """Against the noise-free truth, which the choice was made without."""
    full = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=6, matrix=48, seed=0))[0]
    full = full / full.abs().max()
    noisy = full + sigma * complex_noise(full.shape)
    acs = noisy[:, 14:35]
    sampling = find_sampling(torch.arange(48) % ACCELERATION == 0)
    lattice = torch.where((torch.arange(48) % ACCELERATION == 0)[:, None], noisy, 0)

    filling = calibrated_grappa(acs, ACCELERATION)
    examples = acs_examples(acs, filling.kernel, ACCELERATION)

    def error(fit):
        return float((interpolate(lattice, sampling, filling.kernel, fit.predict) - full)[:, 14:35].norm())

    others = [
        error(calibrate(examples, ridge=ridge, row_floor=row_floor)) for ridge in RIDGES for row_floor in ROW_FLOORS
    ]
    assert error(filling.fit) < 1.3 * min(others)


def test_an_acs_too_short_to_hold_lines_out_gets_the_usual():
    acs = complex_noise((2, ACCELERATION + 2, 40))
    filling = calibrated_grappa(acs, ACCELERATION)
    assert filling.kernel.n_ro == READOUT_SAMPLES[0]
    assert filling.fit.ridge == USUAL_RIDGE


def test_a_short_readout_narrows_the_kernel():
    assert calibrated_grappa(complex_noise((2, 12, 6)), ACCELERATION).kernel.n_ro == 3


def test_an_acs_without_room_for_any_kernel_is_refused():
    with pytest.raises(NoCalibration, match="at least 3 lines"):
        calibrated_grappa(complex_noise((2, 2, 40)), ACCELERATION)


def test_a_brighter_scan_of_any_phase_is_the_same_choice():
    acs = few_waves(3, 16, 30) + 0.1 * complex_noise((3, 16, 30))
    plain, turned = (calibrated_grappa(phase * acs, ACCELERATION) for phase in (1, 1j))
    assert (plain.kernel, plain.fit.ridge) == (turned.kernel, turned.fit.ridge)
