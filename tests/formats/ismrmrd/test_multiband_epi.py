"""Slices excited at once and read back and forth: the ghost of each is told from the navigators; or refused."""

import re
import shutil

import h5py
import ismrmrd
import numpy as np
import pytest

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats import read_scan
from raki.formats.acquisitions import flag_bits
from raki.phantom import phantom_kspace, simulate_multiband_epi
from raki.scan import to_lines, to_profiles

N_SLICES, MATRIX, GHOST_RAD = 4, 32, 0.5
REVERSE, NAVIGATOR = flag_bits(ismrmrd.ACQ_IS_REVERSE), flag_bits(ismrmrd.ACQ_IS_PHASECORR_DATA)
SIZE = {"multiband": 2, "caipi_shift": 2, "n_slices": N_SLICES, "n_coils": 4, "matrix": MATRIX}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("multiband_epi") / "scan.h5"
    simulate_multiband_epi(
        path, acceleration=2, n_frames=2, ghost_rad=GHOST_RAD, drift_rad=0.7, noise_level=0.01, **SIZE
    )
    return path


@pytest.fixture
def changed(recorded, tmp_path):
    def change(lines):
        path = shutil.copy(recorded, tmp_path / "changed.h5")
        with h5py.File(path, "r+") as file:
            acquisitions = lines(file["dataset/data"][:])
            del file["dataset/data"]
            file["dataset/data"] = acquisitions
        return path

    return change


def marked(acquisitions, flag, space):
    heads = acquisitions["head"]
    return ((heads["flags"] & flag) != 0) & (heads["encoding_space_ref"] == space)


def test_the_ghosts_are_those_of_the_slices(recorded):
    ghosts = read_scan(recorded).groups.ghosts
    for first, second in ghosts.phases:
        assert second.offset_rad - first.offset_rad == pytest.approx(GHOST_RAD, abs=0.02)
        slopes = first.slope_rad_per_pixel - second.slope_rad_per_pixel
        assert slopes * MATRIX / 2 == pytest.approx(GHOST_RAD, abs=0.05)
    for phase in ghosts.common:
        assert phase.offset_rad == pytest.approx(0, abs=0.01)


def test_every_second_acquired_line_is_a_reversed_one(recorded):
    scan = read_scan(recorded)
    turned = np.array(scan.groups.ghosts.reversed_lines)
    assert scan.sampled.sum() == MATRIX // 2
    assert turned[scan.sampled].tolist() == [False, True] * (MATRIX // 4)
    assert not turned[~scan.sampled].any()


def test_what_grows_in_all_slices_alike_leaves_with_the_navigators_of_each_frame(recorded):
    scan = read_scan(recorded).in_memory()
    assert len(scan.frames) == 2
    first, second = scan.kspace[:2], scan.kspace[2:]
    assert np.linalg.norm(first - second) < 0.05 * np.linalg.norm(first)


def test_sums_and_reference_hold_the_slices_with_and_without_their_ghosts(recorded):
    scan, truth = read_scan(recorded).in_memory(), phantom_kspace(N_SLICES, 4, MATRIX, readout_oversampling=2)
    block = truth[:, :, MATRIX // 2 - 16 : MATRIX // 2 + 16]
    assert np.linalg.norm(scan.acs - block) < 0.05 * np.linalg.norm(block)
    signs = np.where(scan.groups.ghosts.reversed_lines, -0.5, 0.5)[:, None]
    for number, (slices, turns, phases) in enumerate(
        zip(scan.groups.slices, scan.groups.turns, scan.groups.ghosts.phases, strict=True)
    ):
        wanted = sum(
            to_lines(to_profiles(truth[slice_]) * np.exp(1j * signs * phase.along_readout(2 * MATRIX)))
            * np.exp(2j * np.pi * turn * (np.arange(MATRIX) - MATRIX // 2))[:, None]
            for slice_, turn, phase in zip(slices, turns, phases, strict=True)
        )[:, scan.sampled]
        off = scan.kspace[number][:, scan.sampled] - wanted
        assert np.linalg.norm(off) < 0.05 * np.linalg.norm(wanted)


def test_navigators_of_one_space_belong_to_the_lines_that_follow_them(recorded, changed):
    def into_one_space(acquisitions):
        acquisitions["head"]["encoding_space_ref"] = 0
        return acquisitions

    found, wanted = (read_scan(path).groups.ghosts for path in (changed(into_one_space), recorded))
    assert found == wanted


def without_navigators(space):
    return lambda acquisitions: acquisitions[~marked(acquisitions, NAVIGATOR, space)]


def without_marks(acquisitions):
    acquisitions["head"]["flags"] &= ~(REVERSE)
    return acquisitions


def with_reference_read_forward(acquisitions):
    acquisitions["head"]["flags"][acquisitions["head"]["encoding_space_ref"] == 1] &= ~(REVERSE)
    return acquisitions


def in_two_shots(acquisitions):
    heads = acquisitions["head"]
    heads["flags"][heads["idx"]["kspace_encode_step_1"] >= MATRIX // 2] ^= REVERSE
    return acquisitions


def with_one_navigator_less(acquisitions):
    last = np.flatnonzero(marked(acquisitions, NAVIGATOR, 1) & (acquisitions["head"]["idx"]["slice"] == 2))
    return np.delete(acquisitions, [last[2], last[-1]])


@pytest.mark.parametrize(
    ("lines", "error", "named"),
    [
        (
            without_navigators(0),
            UnsupportedScan,
            "slices excited at once were read in both directions (EPI), and 2 of 2",
        ),
        (without_navigators(1), UnsupportedScan, "references of slices excited at once were read in both directions"),
        (without_marks, UnsupportedScan, "the file doesn't mark which were read backward"),
        (with_reference_read_forward, UnsupportedScan, "were read back and forth, their single-band reference forward"),
        (in_two_shots, UnsupportedScan, "reads 16 lines back and forth (EPI), which don't alternate"),
        (with_one_navigator_less, DamagedScan, "differ in number or direction in their single-band reference"),
    ],
)
def test_what_the_ghosts_are_not_told_by_is_refused_in_a_sentence_that_names_it(changed, lines, error, named):
    with pytest.raises(error, match=re.escape(named)) as refused:
        read_scan(changed(lines))
    assert "\n" not in str(refused.value)
