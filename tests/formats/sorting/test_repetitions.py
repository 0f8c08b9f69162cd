"""Recordings that fall on one place of k-space: averages, frames, slices, or calibration."""

import ismrmrd
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan
from raki.formats.sorting.agreement import difference
from raki.formats.sorting.phase import aligned
from raki.phantom.simulation import scan_header
from tests.formats.sorting.recordings import ALL, N, phantom, read, recorded, times_image

CALIBRATION = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
ROWS = np.linspace(-1, 1, N)[:, None]
OTHER_CONTRAST = 0.4 + 0.5 * ROWS**2
BREATHING = np.exp(1j * (3 * ROWS + 1))


@seed(1)
@settings(max_examples=12)
@given(st.sampled_from([2, 5, 64]), st.integers(2, 6), st.floats(0, 8), st.integers(0, 9))
def test_averages_are_never_taken_for_anything_else(n_coils, n_recorded, noise, seed):
    recordings = [phantom(1, n_coils, noise, seed + n)[0] for n in range(n_recorded)]
    assert not difference(list(np.stack(recordings).transpose(2, 0, 1, 3)), ALL).is_remarkable


@pytest.mark.parametrize("factor", [OTHER_CONTRAST, BREATHING, -1.0 + 0 * ROWS, 0.75 + 0 * ROWS])
@pytest.mark.parametrize("n_coils", [2, 32])
def test_what_differs_where_there_is_signal_is_no_average(factor, n_coils):
    first, second = phantom(1, n_coils, 0.02, 1)[0], times_image(phantom(1, n_coils, 0.02, 2), factor)[0]
    assert difference(list(np.stack([first, second]).transpose(2, 0, 1, 3)), ALL).is_signal


@pytest.mark.parametrize("counter", ["average", "segment"])
def test_averages_are_averaged_and_nothing_is_said(counter):
    first, second = phantom(2, noise=0.5, seed=1), phantom(2, noise=0.5, seed=2)
    scan = read(recorded(first), recorded(second, **{counter: 1}))
    assert (len(scan.frames), scan.remarks) == (1, ())
    np.testing.assert_allclose(scan.kspace, (first + second) / np.sqrt(2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("counter", ["average", "segment"])
def test_another_contrast_without_a_counter_becomes_a_frame_and_is_named(counter):
    first, second = phantom(2, noise=0.01), times_image(phantom(2, noise=0.01, seed=1), OTHER_CONTRAST)
    scan = read(recorded(first), recorded(second, **{counter: 1}))
    assert [frame.set for frame in scan.frames] == [0, 1]
    np.testing.assert_array_equal(scan.kspace, np.concatenate([first, second]))
    assert "recorded 2 times, and the recordings differ by" in scan.remarks[0]


def test_echoes_of_one_line_after_the_other_become_frames_too():
    echoes = [times_image(phantom(), 0.5**n + 0 * ROWS) for n in range(3)]
    scan = read(*(recorded(echo, [line]) for line in ALL for echo in echoes))
    np.testing.assert_array_equal(scan.kspace, np.concatenate(echoes))


def test_averages_of_another_phase_are_turned_before_they_are_averaged():
    first, second = phantom(2, noise=0.02, seed=1), phantom(2, noise=0.02, seed=2)
    scan = read(recorded(first), recorded(times_image(second, BREATHING), average=1))
    assert "differ in phase" in scan.remarks[0]
    wanted = (first + second) / np.sqrt(2)
    assert np.linalg.norm(scan.kspace - wanted) < 0.05 * np.linalg.norm(wanted)


def test_where_lines_are_missing_one_angle_is_all_that_can_be_turned():
    even = np.arange(N) % 2 == 0
    series = np.stack([phantom()[0], 1j * phantom()[0]])[:, :, even]
    np.testing.assert_allclose(aligned(series, even)[1], series[0], rtol=1e-4, atol=1e-5)
    first = recorded(phantom(), range(0, N, 2))
    again = recorded(times_image(phantom(), BREATHING), range(0, N, 2), average=1)
    assert len(read(first, again).frames) == 2


def test_a_part_of_an_average_that_differs_is_left_out():
    scan = read(recorded(phantom()), recorded(1j * phantom(), range(20), average=1))
    np.testing.assert_array_equal(scan.kspace, phantom())
    assert scan.remarks == (
        "1 of 2 averages hold some of the lines only and differ from the others by more than noise explains: they were "
        "left out.",
    )


def test_a_line_recorded_often_beside_the_image_is_refused_by_its_counters():
    echoes = [recorded(phantom(2)[1:] * 0.7**n, [16], slice=1) for n in range(1, 6)]
    with pytest.raises(DamagedScan, match="line 16 of slice 1 was recorded several times, and the recordings differ"):
        read(recorded(phantom(2)), *echoes)


@pytest.mark.parametrize("mode", ["embedded", "other", None])
@pytest.mark.parametrize("n_samples", [2 * N, N])
def test_a_calibration_line_that_repeats_one_of_the_image_is_calibration(mode, n_samples):
    header = scan_header(2, 4, N, 2)
    parallel = header.encoding[0].parallelImaging
    parallel.calibrationMode = None if mode is None else type(parallel.calibrationMode)(mode)
    header.encoding[0].parallelImaging = parallel if mode else None
    other = times_image(phantom(2), OTHER_CONTRAST)[..., N - n_samples // 2 : N + n_samples // 2]
    calibration = recorded(other, range(10, 22), flags=CALIBRATION)
    scan = read(calibration, recorded(phantom(2), range(0, N, 2)), header=header)
    np.testing.assert_array_equal(np.flatnonzero(scan.sampled), range(0, N, 2))
    np.testing.assert_array_equal(scan.kspace[:, :, ::2], phantom(2)[:, :, ::2])
    assert (scan.acs.shape[2], scan.acs_lines) == (12, None)


def test_calibration_lines_between_those_of_the_image_stay_in_it():
    between = recorded(phantom(), range(11, 22, 2), flags=CALIBRATION)
    scan = read(recorded(phantom(), range(0, N, 2)), between, recorded(phantom(), range(0, N, 2), repetition=0))
    assert (scan.acs, scan.acs_lines) == (None, (10, 23))


@pytest.mark.parametrize("number", [0, 4, 7])
def test_free_counters_make_frames(number):
    first, second = phantom(2), times_image(phantom(2), OTHER_CONTRAST)
    parts = [
        recorded(kspace, repetition=repetition, user={number: 5 * value})
        for value, kspace in enumerate([first, second])
        for repetition in range(2)
    ]
    scan = read(*parts)
    assert [(frame.repetition, frame.set) for frame in scan.frames] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    np.testing.assert_array_equal(scan.kspace, np.concatenate([first, second, first, second]))
    assert f"free counter user_{number}" in scan.remarks[0]


def test_a_free_counter_that_goes_with_the_average_or_the_line_makes_none():
    first, second = phantom(noise=0.1, seed=1), phantom(noise=0.1, seed=2)
    scan = read(recorded(first, user={1: 0}), recorded(second, user={1: 1}, average=1))
    assert (len(scan.frames), scan.remarks) == (1, ())
    heads, lines = recorded(first)
    heads["idx"]["user"][:, 2] = np.arange(len(heads))
    assert len(read((heads, lines)).frames) == 1


@pytest.mark.parametrize("n_averages", [1, 2])
def test_positions_tell_slices_apart_whose_counter_is_lost(n_averages):
    parts = [recorded(phantom(3, noise=0.1, seed=n), average=n) for n in range(n_averages)]
    for heads, _ in parts:
        heads["idx"]["slice"] = 0
    scan = read(*parts)
    assert scan.kspace.shape[0] == 3
    assert scan.remarks == ("The slice counter tells 1 of 3 slices apart; the others were told by their positions.",)
    kept = read(*(recorded(phantom(3, noise=0.1, seed=n), average=n) for n in range(n_averages)))
    np.testing.assert_array_equal(scan.kspace, kept.kspace)


def test_a_position_that_is_corrected_from_average_to_average_makes_no_slice():
    first, second = recorded(phantom(noise=0.1, seed=1)), recorded(phantom(noise=0.1, seed=2), average=1)
    second[0]["position"] += 2.0
    assert read(first, second, header=scan_header(1, 4, N, 1)).kspace.shape[0] == 1
