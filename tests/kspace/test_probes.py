"""Points put into a slice tell what survives: all of them in a perfect filling, half where half is lost."""

import pytest
import torch

from raki.kspace.grappa import calibrated_grappa
from raki.kspace.image_prior import coil_model
from raki.kspace.probes import LEAST_DISTANCE_PIXELS, put_probes
from raki.kspace.self_calibration import self_calibrated
from raki.scan.fourier import to_image
from tests.kspace.slices import complex_noise, head, undersampled

SIGMA = 0.003
ACCELERATION = 3


@pytest.fixture(scope="module")
def probed():
    full = head() + SIGMA * complex_noise(head().shape)
    measured = undersampled(full, acceleration=ACCELERATION, n_acs_lines=20, sigma=SIGMA)
    linear = self_calibrated(measured, calibrated_grappa(measured.acs, ACCELERATION), seed=0)
    filled = linear.filled(measured)
    model = coil_model(measured, filled, linear, 0)
    return measured, linear, filled, put_probes(filled, model, measured.sampling, seed=0)


def test_all_of_a_point_is_kept_where_every_line_was_acquired(probed):
    _, _, filled, probes = probed
    assert len(probes.response) > 10
    kept = probes.kept(filled + probes.kspace, filled)
    torch.testing.assert_close(kept, torch.ones_like(kept))


def test_half_of_a_point_is_lost_where_half_of_every_missing_line_is(probed):
    measured, _, filled, probes = probed
    weight = torch.where(measured.known, 1.0, 0.5)[:, None]
    share = float(weight.mean())
    kept = probes.kept(filled + weight * probes.kspace, filled)
    assert float(kept.mean()) == pytest.approx(share, abs=0.05)


def test_only_acquired_lines_are_put_in(probed):
    measured, _, _, probes = probed
    changed = probes.put_into(measured).kspace - measured.kspace
    assert not changed[:, ~measured.known].any()
    torch.testing.assert_close(changed[:, measured.known], probes.kspace[:, measured.known], rtol=0, atol=1e-6)


def test_points_keep_their_distance_also_from_the_fold_over_of_each_other(probed):
    measured, _, _, probes = probed
    period = measured.sampling.n_pe / ACCELERATION
    for one in range(len(probes.places)):
        for other in range(one):
            apart_pe, apart_ro = (probes.places[one] - probes.places[other]).abs().tolist()
            apart_pe = min(apart_pe % period, period - apart_pe % period)
            assert max(apart_pe, apart_ro) >= LEAST_DISTANCE_PIXELS


def test_every_point_brightens_its_pixel(probed):
    _, _, _filled, probes = probed
    added = to_image(probes.kspace)[:, probes.places[:, 0], probes.places[:, 1]]
    assert (probes.response > 0.4 * added.norm(dim=0)).all()


def test_a_slice_without_signal_has_none():
    dark = torch.zeros(4, 32, 32, dtype=torch.complex64)
    measured = undersampled(dark, acceleration=2, n_acs_lines=12, sigma=1.0)
    linear = calibrated_grappa(measured.acs, 2)
    model = coil_model(measured, dark, linear, 0)
    probes = put_probes(dark, model, measured.sampling, seed=0)
    assert len(probes.places) == 0
    assert torch.equal(probes.map_of(probes.kept(dark, dark), (32, 32)), torch.ones(32, 32))


def test_the_map_is_the_mean_near_by(probed):
    _, _, _, probes = probed
    rows = probes.places[:, 0].float()
    flat = probes.map_of(torch.full_like(rows, 0.7), (64, 64))
    torch.testing.assert_close(flat, torch.full((64, 64), 0.7))
    upper = probes.map_of((rows < 32).float(), (64, 64))
    assert upper[12].mean() > 0.8
    assert upper[52].mean() < 0.2
