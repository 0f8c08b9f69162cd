"""The simulated EPI of several slices at once is recorded as scanners do, and its truth is in it."""

import ismrmrd
import numpy as np
import pytest

from raki.formats import open_raw
from raki.formats.acquisitions import flag_bits
from raki.phantom import phantom_kspace, simulate_multiband_epi
from raki.phantom.multiband_epi import slice_ghost
from raki.scan import to_lines, to_profiles

SIZE = {"multiband": 2, "caipi_shift": 2, "n_slices": 2, "n_coils": 3, "matrix": 32, "noise_level": 0.0}


def recorded(path, **changed):
    simulate_multiband_epi(path, **SIZE, **changed)
    with open_raw([path]) as (_, acquisitions):
        return acquisitions.heads.copy(), np.stack(list(acquisitions.samples(np.arange(len(acquisitions.heads)))))


def test_trains_are_navigators_and_lines_read_in_turn_and_marked(tmp_path):
    heads, _ = recorded(tmp_path / "scan.h5", acceleration=2, n_frames=3)
    navigates = (heads["flags"] & flag_bits(ismrmrd.ACQ_IS_PHASECORR_DATA)) != 0
    backward = (heads["flags"] & flag_bits(ismrmrd.ACQ_IS_REVERSE)) != 0
    # Two slices in two shots, and one group in three frames: trains of 3 navigators and 16 lines.
    assert len(heads) == 7 * 19
    for train in np.split(np.arange(len(heads)), 7):
        assert navigates[train].tolist() == [True] * 3 + [False] * 16
        assert backward[train].tolist() == [False, True, False] + [False, True] * 8
        assert len(set(np.diff(heads["idx"]["kspace_encode_step_1"][train[3:]]).tolist())) == 1
    assert heads["encoding_space_ref"].tolist() == [1] * 4 * 19 + [0] * 3 * 19
    assert heads["idx"]["repetition"][4 * 19 :: 19].tolist() == [0, 1, 2]


@pytest.mark.parametrize("ghost_rad", [0.0, 0.5])
def test_a_sum_is_made_of_shifted_slices_each_with_its_ghost_and_reversed_lines_run_backward(tmp_path, ghost_rad):
    _, samples = recorded(tmp_path / "scan.h5", ghost_rad=ghost_rad)
    truth = phantom_kspace(2, 3, 32, readout_oversampling=2)
    sums = samples[-32:]
    for line in (5, 16, 20):
        sign = -0.5 if line % 2 else 0.5
        wanted = sum(
            to_lines(
                to_profiles(truth[band, :, line])
                * np.exp(1j * sign * slice_ghost(band, 2, 32, ghost_rad).along_readout(64))
            )
            * np.exp(1j * np.pi * band * (line - 16))
            for band in range(2)
        )
        np.testing.assert_allclose(sums[line][:, ::-1] if line % 2 else sums[line], wanted, atol=1e-4)
    phases = [slice_ghost(band, 2, 32, ghost_rad).offset_rad for band in range(2)]
    assert phases[1] - phases[0] == pytest.approx(ghost_rad)


def test_what_grows_grows_in_all_slices_alike_until_the_last_frame(tmp_path):
    _, samples = recorded(tmp_path / "scan.h5", n_frames=3, drift_rad=0.8)
    first, middle, last = (np.stack(samples[start : start + 32]) for start in (2 * 35 + 3, 3 * 35 + 3, 4 * 35 + 3))
    signs = np.where(np.arange(32) % 2, -1, 1)[:, None, None]
    np.testing.assert_allclose(middle, first * np.exp(0.2j * signs), atol=1e-4)
    np.testing.assert_allclose(last, first * np.exp(0.4j * signs), atol=1e-4)
