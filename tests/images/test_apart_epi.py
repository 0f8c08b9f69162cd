"""EPI of several slices at once becomes images of single slices without ghosts, frame after frame, and says how."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raki.formats import read_scan
from raki.images import apart as apart_module
from raki.images import nmse, object_mask, reconstruct
from raki.images.apart import taken_apart
from raki.phantom import simulate_multiband_epi, simulate_scan
from raki.prepare import preprocess
from raki.scan.prepared import read_prepared, write_prepared

SIZE = {"n_slices": 2, "n_coils": 8, "matrix": 32, "noise_level": 0.02}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("apart_epi")


@pytest.fixture(scope="module")
def scan(folder):
    simulate_multiband_epi(folder / "epi.h5", acceleration=2, n_frames=2, ghost_rad=0.6, drift_rad=0.3, **SIZE)
    return preprocess(read_scan(folder / "epi.h5"))


@pytest.fixture(scope="module")
def alone(folder):
    simulate_scan(folder / "alone.h5", acceleration=1, **SIZE)
    return reconstruct(preprocess(read_scan(folder / "alone.h5")), method="zero_filled", device="cpu").result


def errors(found, alone):
    found, wanted = torch.from_numpy(found), torch.from_numpy(np.concatenate([alone] * (len(found) // len(alone))))
    masks = object_mask(wanted)
    return [nmse(*each) for each in zip(found, wanted, masks, strict=True)]


def test_the_images_of_all_frames_are_those_of_slices_excited_alone(scan, alone):
    result = reconstruct(scan, method="grappa", device="cpu")
    assert len(result.result) == 4
    dual = errors(result.result, alone)
    knows_none = replace(scan, groups=replace(scan.groups, ghosts=None))
    plain = errors(reconstruct(knows_none, method="grappa", device="cpu").result, alone)
    assert max(dual) < 0.02
    assert min(ours / theirs for ours, theirs in zip(plain, dual, strict=True)) > 1.3


def test_frames_share_one_calibration(scan, monkeypatch):
    calibrations = []
    calibrate = apart_module.calibrate_separation

    def counted(*arguments, **named):
        calibrations.append(1)
        return calibrate(*arguments, **named)

    monkeypatch.setattr(apart_module, "calibrate_separation", counted)
    separated, _ = taken_apart(scan, seed=0, device="cpu")
    separated.in_memory()
    assert len(scan.frames) == 2
    # Of one group; once more for the phase that turns the other way, which a half turn over R = 2 could.
    assert len(calibrations) == 2


def test_a_prepared_scan_keeps_its_ghosts(folder, scan):
    write_prepared(scan, folder / "prepared.h5")
    assert read_prepared(folder / "prepared.h5").groups == scan.groups


def test_navigators_in_which_slices_cancel_are_not_believed_and_that_is_said(folder, alone):
    path = folder / "cancel.h5"
    simulate_multiband_epi(path, ghost_rad=0.6, pulse_phase_rad=3.1, **SIZE)
    result = reconstruct(preprocess(read_scan(path)), method="grappa", device="cpu")
    assert result.apart.n_common_ghosts == 1
    assert any("navigators of the sums show another phase" in note for note in result.notes)
    assert max(errors(result.result, alone)) < 0.02
