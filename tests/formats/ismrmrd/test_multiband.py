"""Slices excited at once: sums and single-band reference are found in the file, told apart and placed; or refused."""

import re
import shutil

import h5py
import ismrmrd
import numpy as np
import pytest

from raki.errors import DamagedScan, NoCalibration, UnsupportedScan
from raki.formats import read_scan
from raki.formats.acquisitions import flag_bits
from raki.phantom import simulate_multiband, simulate_scan
from raki.phantom.phantom import slice_positions_mm

N_SLICES, MATRIX = 4, 32


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("multiband") / "scan.h5"
    simulate_multiband(
        path, multiband=2, caipi_shift=3, n_slices=N_SLICES, n_coils=4, matrix=MATRIX, acceleration=2, n_acs_lines=16
    )
    return path


@pytest.fixture
def changed(recorded, tmp_path):
    def change(*, xml=lambda text: text, lines=lambda acquisitions: acquisitions):
        path = shutil.copy(recorded, tmp_path / "changed.h5")
        with h5py.File(path, "r+") as file:
            file["dataset/xml"][0] = xml(file["dataset/xml"][0].decode()).encode()
            acquisitions = lines(file["dataset/data"][:])
            del file["dataset/data"]
            file["dataset/data"] = acquisitions
        return path

    return change


def of_space(acquisitions, space):
    is_noise = (acquisitions["head"]["flags"] & flag_bits(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)) != 0
    return (acquisitions["head"]["encoding_space_ref"] == space) & ~is_noise


def test_groups_turns_and_places_are_as_acquired(recorded):
    scan = read_scan(recorded)
    assert scan.n_slices == N_SLICES
    assert scan.groups.slices == ((0, 2), (1, 3))
    assert scan.kspace.shape[:3] == (2, 4, MATRIX)
    assert scan.acs.shape == (N_SLICES, 4, 16, 2 * MATRIX)
    # A third of a turn from one acquired line to the next, which is two lines of k-space.
    for turns in scan.groups.turns:
        assert turns == pytest.approx((0, 1 / 6), abs=1e-6)
    places = [scan.geometry.place_of(number, N_SLICES).position_mm[2] for number in range(N_SLICES)]
    assert places == pytest.approx(slice_positions_mm(N_SLICES))


def test_the_sums_are_those_of_the_slices_that_the_header_names(tmp_path):
    simulate_multiband(
        tmp_path / "sums.h5", multiband=2, caipi_shift=3, n_slices=N_SLICES, n_coils=4, matrix=MATRIX, noise_level=0.0
    )
    simulate_scan(tmp_path / "full.h5", n_slices=N_SLICES, n_coils=4, matrix=MATRIX, acceleration=1, noise_level=0.0)
    sums, full = read_scan(tmp_path / "sums.h5"), read_scan(tmp_path / "full.h5")
    lines = np.arange(MATRIX) - MATRIX // 2
    for number, (slices, turns) in enumerate(zip(sums.groups.slices, sums.groups.turns, strict=True)):
        wanted = sum(
            full.kspace[slice_] * np.exp(2j * np.pi * turn * lines)[:, None]
            for slice_, turn in zip(slices, turns, strict=True)
        )
        np.testing.assert_allclose(sums.kspace[number], wanted, atol=1e-4)
    np.testing.assert_allclose(sums.acs[1], full.kspace[1][:, MATRIX // 2 - 12 : MATRIX // 2 + 12], atol=1e-6)


def test_a_reference_in_the_space_of_the_sums_is_known_by_its_marks(changed):
    def into_one_space(acquisitions):
        acquisitions["head"]["encoding_space_ref"] = 0
        return acquisitions

    scan = read_scan(changed(lines=into_one_space))
    assert scan.groups.slices == ((0, 2), (1, 3))
    assert scan.acs.shape[2] == 16


def test_slices_are_found_by_their_places_however_they_are_counted(changed):
    def counted_backwards(acquisitions):
        slices = acquisitions["head"]["idx"]["slice"]
        for space, n in ((0, 2), (1, N_SLICES)):
            here = of_space(acquisitions, space)
            slices[here] = n - 1 - slices[here]
        return acquisitions

    assert read_scan(changed(lines=counted_backwards)).groups.slices == ((0, 2), (1, 3))


def without_reference(acquisitions):
    return acquisitions[~of_space(acquisitions, 1)]


def one_slice_less(acquisitions):
    return acquisitions[~(of_space(acquisitions, 1) & (acquisitions["head"]["idx"]["slice"] == 3))]


def read_backwards(acquisitions):
    acquisitions["head"]["flags"][of_space(acquisitions, 0)] |= flag_bits(ismrmrd.ACQ_IS_REVERSE)
    return acquisitions


def with_a_line_between(acquisitions):
    here = np.flatnonzero(of_space(acquisitions, 0))
    acquisitions["head"]["idx"]["kspace_encode_step_1"][here[::16]] += 1
    return acquisitions


def beside(acquisitions):
    acquisitions["head"]["position"][of_space(acquisitions, 1), 0] += 40
    return acquisitions


def turned(acquisitions):
    here = of_space(acquisitions, 1)
    acquisitions["head"]["phase_dir"][here] *= -1
    return acquisitions


@pytest.mark.parametrize(
    ("lines", "error", "named"),
    [
        (beside, DamagedScan, "lies 40 mm beside them"),
        (turned, DamagedScan, "is turned against the slices excited at once"),
        (without_reference, NoCalibration, "2 slices at once, and the file holds no single-band reference"),
        (one_slice_less, DamagedScan, "2 sums of 2 slices each were found, and a single-band reference of 3 slices"),
        (read_backwards, UnsupportedScan, "lines in both directions (EPI)"),
        (with_a_line_between, UnsupportedScan, "not at equal distances"),
    ],
)
def test_lines_that_lack_something_are_refused_in_a_sentence_that_names_it(changed, lines, error, named):
    with pytest.raises(error, match=re.escape(named)):
        read_scan(changed(lines=lines))


@pytest.mark.parametrize(
    ("pattern", "new", "error", "named"),
    [
        ("<dZ>0.0</dZ>", "", UnsupportedScan, "gives the places of 1 (dZ, in mm)"),
        ("<deltaKz>[^<]*</deltaKz>", "<deltaKz>NaN</deltaKz>", DamagedScan, "gives nan as the step along kz"),
        ("<multiband_factor>2", "<multiband_factor>3", UnsupportedScan, "3 slices at once, and the header's multiband"),
        ("<multiband_factor>2", "<multiband_factor>0", DamagedScan, "a multiband factor of 0"),
        ("<dZ>20", "<dZ>27", DamagedScan, "don't lie where the header's multiband spacing puts them"),
    ],
)
def test_numbers_that_are_missing_or_wrong_are_named(changed, pattern, new, error, named):
    with pytest.raises(error, match=re.escape(named)):
        read_scan(changed(xml=lambda text: re.sub(pattern, new, text)))
