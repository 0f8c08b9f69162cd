"""Scans of which a part is missing: what is whole is reconstructed, and the rest is named."""

from functools import cache

import ismrmrd
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan, UnsupportedScan
from raki.export.ismrmrd_hdf5 import write_ismrmrd
from raki.formats import read_scan
from raki.formats.sorting.completeness import complete_images
from raki.images import reconstruct
from raki.phantom.simulation import scan_header
from raki.prepare.preparation import preprocess
from raki.results.comparison import compare
from raki.scan.header import parse_header
from raki.scan.prepared import read_prepared, write_prepared
from tests.formats.sorting.recordings import ALL, N, acquisitions, phantom, read, recorded

NOISE = 0.02
CENTRE = set(range(10, 22))


def lines(acceleration, offset=0, block=CENTRE):
    return sorted({*range(offset, N, acceleration)} | set(block))


def without(some, *lost):
    return [line for line in some if line not in lost]


def of_slice(number, some, **counters):
    """Lines of one slice of two."""
    heads, samples = recorded(phantom(2, noise=NOISE)[number : number + 1], some, **counters)
    heads["idx"]["slice"], heads["position"][:, 2] = number, 5.0 * number
    return heads, samples


@cache
def whole_images():
    return reconstruct(preprocess(read(recorded(phantom(2, noise=NOISE)))), method="zero_filled").result


def errors(scan):
    """Of each image, relative to the one that is made of all lines."""
    whole = whole_images()
    found = reconstruct(preprocess(scan), method="grappa").result
    return [float(np.linalg.norm(image - whole[n % 2]) / np.linalg.norm(whole[n % 2])) for n, image in enumerate(found)]


@pytest.mark.parametrize("counter", ["repetition", "contrast", "phase", "set"])
def test_a_scan_that_was_stopped_gives_the_frames_that_are_whole(counter):
    frames = [phantom(2, noise=NOISE, seed=n) for n in range(3)]
    first, second = (recorded(kspace, lines(2), **{counter: n}) for n, kspace in enumerate(frames[:2]))
    scan = read(first, second, recorded(frames[2], lines(2)[:9], **{counter: 2}))
    np.testing.assert_array_equal(scan.kspace, read(first, second).kspace)
    assert scan.sampled_by_image is None
    assert scan.remarks == (
        f"2 of 6 images were left out ({counter} 2): slice 0 of {counter} 2 has 9 of 22 lines, slice 1 of {counter} 2 "
        "has 9 of 22 lines. The scan was stopped, lines were lost, or fewer were meant for these images.",
    )


@seed(3)
@settings(max_examples=20, deadline=None)
@given(st.integers(0, N - 1), st.permutations(ALL), st.booleans())
def test_wherever_a_second_frame_is_stopped_the_first_is_whole(n_lines, order, undersampled):
    wanted = lines(2) if undersampled else list(ALL)
    order = [line for line in order if line in wanted]
    whole = recorded(phantom(2, noise=NOISE), order, repetition=0)
    stopped = [recorded(phantom(2, noise=NOISE, seed=1), order[:n_lines], repetition=1)] if n_lines else []
    scan = read(whole, *stopped)
    kept = scan.kspace[:2]
    np.testing.assert_array_equal(kept, read(whole).kspace)
    for image, acquired in enumerate(map(scan.lines_of, range(len(scan.kspace)))):
        n_missing = len(wanted) - int(acquired.sum())
        assert n_missing <= (1 if image >= 2 else 0) or set(np.flatnonzero(~acquired) & 1) == {1}


def test_slices_acquired_one_after_the_other_are_kept_as_far_as_they_go():
    scan = read(of_slice(0, lines(2)), of_slice(1, lines(2)[:14]))
    assert (scan.n_slices, len(scan.geometry.places)) == (1, 0)
    assert "1 of 2 images was left out (slice 1): slice 1 has 14 of 22 lines" in scan.remarks[0]
    alone = read(of_slice(0, ALL), header=scan_header(2, 4, N, 1))
    assert "announces 2 slices, and lines of 1 were found" in alone.remarks[0]


def test_slices_stopped_all_at_once_are_refused():
    with pytest.raises(DamagedScan, match="no image has more than 20 lines, 0 to 19 of 32"):
        read(of_slice(0, range(20)), of_slice(1, range(19)))


def interleaved(*parts):
    """The same recordings line by line: a line of each part, then the next of each."""
    n_lines = max(len(heads) for heads, _ in parts)
    turns = [(heads[n : n + 1], samples[n]) for n in range(n_lines) for heads, samples in parts if n < len(heads)]
    return np.concatenate([heads for heads, _ in turns]), [samples for _, samples in turns]


@pytest.mark.parametrize("counter", ["contrast", "phase"])
def test_frames_stopped_all_at_once_are_refused(counter):
    parts = [recorded(phantom(noise=NOISE), range(n_lines), **{counter: n}) for n, n_lines in enumerate((20, 20, 19))]
    heads, samples = interleaved(*parts)
    with pytest.raises(DamagedScan, match="no image has more than 20 lines, 0 to 19 of 32"):
        read((heads, samples))
    heads["acquisition_time_stamp"] = np.arange(len(heads))
    by_frame = np.argsort(heads["idx"][counter], kind="stable")
    with pytest.raises(DamagedScan, match="no image has more than 20 lines"):
        read((heads[by_frame], [samples[n] for n in by_frame]))


def test_a_scan_stopped_before_the_centre_of_k_space_is_refused():
    with pytest.raises(DamagedScan, match="lines 0 to 11 were found, and the centre of k-space is line 16"):
        read(recorded(phantom(2), range(12)))


def test_lines_that_end_before_those_announced_are_named():
    said = "The header announces lines 0 to 31, and lines 0 to 19 were found: partial Fourier or zero-filling, or the"
    assert said in read(recorded(phantom(), range(20))).remarks[0]
    assert said.replace("0 to 19", "0 to 18") in read(recorded(phantom(2), lines(2, block=range(0))[:10])).remarks[0]
    assert not read(recorded(phantom(2), lines(2))).remarks


def test_slices_stopped_between_two_trains_are_refused():
    trains = [of_slice(number, range(first, first + 8)) for first in (0, 8, 16) for number in (0, 1)]
    with pytest.raises(DamagedScan, match="no image has more than 24 lines, 0 to 23 of 32"):
        read(*trains[:5])


def test_nothing_whole_is_named_image_by_image():
    parts = of_slice(0, ALL, repetition=0), of_slice(1, ALL[:9], repetition=0)
    again = of_slice(0, ALL[:7], repetition=1), of_slice(1, ALL, repetition=1)
    with pytest.raises(DamagedScan, match="slice 1 of repetition 0 has 9 of 32 lines, slice 0 of repetition 1 has 7"):
        read(*parts, *again)


@pytest.mark.parametrize(
    ("wanted", "lost", "most"),
    [(ALL, 9, 0.02), (ALL, 13, 0.06), (ALL, 29, 0.02), (lines(2), 6, 0.06), (lines(2), 28, 0.06)],
)
def test_a_lost_line_is_filled_in_and_named(wanted, lost, most):
    scan = read(of_slice(0, wanted), of_slice(1, without(wanted, lost)))
    assert f"Line {lost} of slice 1 was lost among acquired ones" in scan.remarks[0]
    np.testing.assert_array_equal(scan.sampled_by_image[1], scan.sampled & (np.arange(N) != lost))
    spoilt, sound = errors(scan), errors(read(of_slice(0, wanted), of_slice(1, wanted)))
    assert spoilt[1] < sound[1] + most
    assert spoilt[0] == pytest.approx(sound[0])


def test_an_image_without_the_centre_of_k_space_is_not_whole():
    scan = read(of_slice(0, ALL), of_slice(1, without(ALL, N // 2)))
    assert "left out (slice 1): slice 1 has 31 of 32 lines" in scan.remarks[0]
    with pytest.raises(DamagedScan, match="no image is whole: slice 0 has 31 of 32 lines"):
        read(of_slice(0, without(ALL, N // 2 + 2)))


def test_a_lost_line_stays_empty_where_nothing_is_to_be_filled():
    scan = preprocess(read(of_slice(0, ALL), of_slice(1, without(ALL, 9))))
    left = reconstruct(scan, method="zero_filled")
    assert (
        left.notes[0]
        == "Lines 0 to 31 of 32 were all acquired but for those that were lost: nothing was filled between them."
    )
    filled = reconstruct(scan, method="grappa")
    assert "filled by GRAPPA" in filled.notes[0]
    assert (left.result[0] == filled.result[0]).all()
    assert (left.result[1] != filled.result[1]).any()


def test_calibration_lines_of_the_first_frame_serve_all():
    first = recorded(phantom(2, noise=NOISE), lines(2))
    others = [recorded(phantom(2, noise=NOISE, seed=n), range(0, N, 2), repetition=n) for n in (1, 2)]
    scan = read(first, *others)
    assert "those of the first frame that has serve all" in scan.remarks[0]
    np.testing.assert_array_equal(scan.acs, phantom(2, noise=NOISE)[:, :, 10:23])
    assert max(errors(scan)) < 0.12


def test_a_first_frame_of_all_lines_calibrates_the_others_and_stays_as_it_is():
    scan = read(
        recorded(phantom(2, noise=NOISE)), recorded(phantom(2, noise=NOISE, seed=1), range(0, N, 2), repetition=1)
    )
    assert max(errors(scan)[:2]) < 1e-5
    assert max(errors(scan)[2:]) < 0.12
    assert scan.lines_of(0).all()


@pytest.mark.parametrize("acceleration", [2, 3])
def test_a_lattice_that_shifts_from_frame_to_frame_is_calibrated_on_the_mean(acceleration):
    frames = [phantom(2, noise=NOISE, seed=n) for n in range(2 * acceleration)]
    parts = [recorded(k, range(n % acceleration, N, acceleration), phase=n) for n, k in enumerate(frames)]
    scan = read(*parts)
    assert "TGRAPPA" in scan.remarks[0]
    assert scan.lines_of(2).sum() < N / 2 + 1
    assert max(errors(scan)) < 0.2


def test_a_lattice_that_shifts_from_contrast_to_contrast_is_calibrated_on_one_of_them():
    turned = [(phantom(2, noise=NOISE, seed=n) * (-1) ** n).astype(np.complex64) for n in range(2)]
    parts = [
        recorded(turned[contrast], range((contrast + n) % 2, N, 2), contrast=contrast, phase=n)
        for contrast in (0, 1)
        for n in (0, 1)
    ]
    scan = read(*parts)
    assert "over those of one contrast and set (TGRAPPA)" in scan.remarks[0]
    assert max(errors(scan)) < 0.2
    in_turn = read(*(recorded(turned[n], range(n, N, 2), contrast=n) for n in (0, 1)))
    assert in_turn.acs is None, "two contrasts make no calibration lines together"


@pytest.mark.parametrize("is_apart", [False, True])
def test_calibration_lines_of_averages_that_differ_in_phase_are_brought_to_one(is_apart):
    turned = [(phantom(2, noise=NOISE, seed=n) * (-1) ** n).astype(np.complex64) for n in (0, 1)]
    if is_apart:
        flags = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
        parts = [recorded(turned[n], CENTRE, average=n, flags=flags) for n in (0, 1)]
        parts += [recorded(turned[0], range(0, N, 2))]
    else:
        parts = [
            recorded(turned[n], lines(2) if frame == 0 else range(0, N, 2), average=n, repetition=frame)
            for frame in (0, 1)
            for n in (0, 1)
        ]
    acs = read(*parts).acs / np.sqrt(2)
    expected = turned[0][:, :, 10 : 10 + acs.shape[2]]
    assert np.linalg.norm(acs - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("counter", ["contrast", "set", "repetition"])
def test_of_calibration_scans_for_each_frame_the_first_serves_all(counter):
    flags = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
    turned = [(phantom(2, noise=NOISE, seed=n) * (-1) ** n).astype(np.complex64) for n in (0, 1)]
    apart = [recorded(turned[n], CENTRE, flags=flags, **{counter: n}) for n in (0, 1)]
    scan = read(*apart, *(recorded(turned[n], range(0, N, 2), **{counter: n}) for n in (0, 1)))
    np.testing.assert_array_equal(scan.acs, turned[0][:, :, 10:22])


def test_a_calibration_scan_whose_lines_are_counted_as_several_frames_is_one():
    flags = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
    apart = [recorded(phantom(2), range(10 + n, 22, 2), flags=flags, set=n) for n in (0, 1)]
    scan = read(*apart, recorded(phantom(2), range(0, N, 2)))
    np.testing.assert_array_equal(scan.acs, phantom(2)[:, :, 10:22])


def test_slices_that_are_sampled_in_turn_each_have_their_lattice():
    flags = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
    parts = []
    for number in (0, 1):
        lattice = set(range(number, N, 2))
        parts += [of_slice(number, sorted(lattice)), of_slice(number, sorted(CENTRE - lattice), flags=flags)]
    scan = read(*parts)
    assert scan.acs_lines == (10, 22)
    assert scan.lines_of(0)[:4].tolist() == [True, False] * 2 == (~scan.lines_of(1)[:4]).tolist()
    assert max(errors(scan)) < 0.12


def test_frames_of_one_acceleration_and_of_twice_it_are_filled_alike():
    scan = read(recorded(phantom(2, noise=NOISE), lines(2)), recorded(phantom(2, noise=NOISE), lines(4), contrast=1))
    found = errors(scan)
    assert found[0] < found[2] < 0.3


def test_a_frame_of_which_every_other_line_is_missing_is_left_out_where_the_others_are_whole():
    whole = [recorded(phantom(2, noise=NOISE, seed=n), repetition=n) for n in (0, 1)]
    scan = read(*whole, recorded(phantom(2), sorted({*range(0, N, 2), 1, 3, 5}), repetition=2))
    np.testing.assert_array_equal(scan.kspace, read(*whole).kspace)
    assert "left out (repetition 2): slice 0 of repetition 2 has 19 of 32 lines" in scan.remarks[0]


def test_frames_of_the_centre_alone_have_no_say_in_the_acceleration():
    keyhole = [recorded(phantom(2), sorted(CENTRE), repetition=n) for n in (1, 2, 3)]
    scan = read(recorded(phantom(2, noise=NOISE), lines(2), repetition=0), *keyhole)
    assert len(scan.kspace) == 2
    assert "left out (repetition 1, repetition 2, repetition 3)" in scan.remarks[0]
    assert "fewer were meant for these images" in scan.remarks[0]


def test_a_line_lost_among_few_is_not_filled_in():
    scan = read(of_slice(0, lines(4)), of_slice(1, without(lines(4), 4)))
    assert "left out (slice 1): slice 1 has 16 of 17 lines" in scan.remarks[0]
    beside = read(of_slice(0, lines(4)), of_slice(1, without(lines(4), 11)))
    assert "Line 11 of slice 1 was lost among acquired ones" in beside.remarks[0]


def test_frames_of_accelerations_that_do_not_fit_are_refused_by_number():
    with pytest.raises(UnsupportedScan, match="by R=2 and R=3; raki needs one acceleration"):
        read(recorded(phantom(2), lines(2)), recorded(phantom(2), lines(3), contrast=1))


def test_lines_of_each_image_survive_files(tmp_path):
    scan = read(*(recorded(phantom(2, noise=NOISE), range(n, N, 2), phase=n) for n in (0, 1)))
    write_prepared(scan, tmp_path / "prepared.h5")
    stored = read_prepared(tmp_path / "prepared.h5")
    np.testing.assert_array_equal(stored.sampled_by_image, scan.sampled_by_image)
    write_ismrmrd(scan, tmp_path / "scan.h5")
    copy = read_scan(tmp_path / "scan.h5")
    np.testing.assert_array_equal(copy.sampled_by_image, scan.sampled_by_image)
    np.testing.assert_array_equal(copy.kspace, scan.kspace)
    assert copy.remarks == (), "nothing is stored that was not acquired"


def test_averages_of_frames_that_sample_in_turn_hold_zeros_where_nothing_was_acquired():
    parts = [recorded(phantom(2), range(n, N, 2), phase=n, average=average) for n in (0, 1) for average in (0, 1)]
    scan = read(*parts)
    np.testing.assert_allclose(scan.kspace[0, :, ::2], np.sqrt(2) * phantom(2)[0, :, ::2], rtol=1e-6)
    assert not scan.kspace[0, :, 1::2].any()


def test_calibration_of_a_slice_that_was_left_out_goes_with_it():
    apart = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
    parts = [of_slice(number, CENTRE, flags=apart) for number in (0, 1)]
    lattice = range(0, N, 2)
    scan = read(*parts, of_slice(0, lattice), of_slice(1, lattice[:7]))
    np.testing.assert_array_equal(scan.acs, phantom(2, noise=NOISE)[:1, :, 10:22])


def test_a_comparison_needs_all_lines_of_each_image():
    scan = preprocess(read(*(recorded(phantom(2), range(n, N, 2), phase=n) for n in (0, 1))))
    with pytest.raises(UnsupportedScan, match="32 of 32 lines were not acquired"):
        compare(scan, acceleration=2, n_acs_lines=8)


def test_echoes_of_a_bipolar_readout_are_flipped_and_not_taken_for_epi():
    echo = phantom(2, noise=NOISE)
    backwards = recorded(echo[..., ::-1], contrast=1, flags=(ismrmrd.ACQ_IS_REVERSE,))
    backwards[0]["center_sample"] = echo.shape[-1] - 1 - backwards[0]["center_sample"]
    scan = read(recorded(echo), backwards)
    np.testing.assert_array_equal(scan.kspace[2:], echo)


def test_counters_that_are_none_take_no_memory():
    scan = acquisitions(recorded(phantom(2)))
    heads, (encoding,) = scan.heads, parse_header(scan.header_xml).encoding
    heads["idx"]["slice"], heads["idx"]["phase"] = np.arange(len(heads)) * 999, np.arange(len(heads)) * 7
    kept, remarks = complete_images(heads, np.ones(len(heads), bool), encoding)
    assert kept.all()
    assert remarks == ()
