"""Frames of 3-D scans: which are whole, and what is said of the others."""

import numpy as np
import pytest

from raki.errors import DamagedScan
from raki.formats.scan_reader import sorted_scan
from tests.formats.sorting.recordings import InMemory
from tests.formats.sorting.volumes import BOTH, CALIBRATION, PARTITIONS, SLABS, N, changed


def frames_of(scan, kept_of_each, **counters):
    """Several frames, each with some of the lines of one."""
    heads, lines = [], []
    for number, kept in enumerate(kept_of_each):
        here = np.flatnonzero(kept(scan.heads))
        of_frame = scan.heads[here].copy()
        of_frame["idx"][counters.get("counter", "repetition")] = number
        heads.append(of_frame)
        lines += [scan.lines[n] for n in here]
    return InMemory(scan.header_xml, np.concatenate(heads), lines)


def whole(heads):
    return np.ones(len(heads), bool)


def before_the_centre(heads):
    return heads["idx"]["kspace_encode_step_2"] < PARTITIONS // 2 - 1


def one_point(heads):
    return np.arange(len(heads)) == 0


def half_way(heads):
    return heads["idx"]["kspace_encode_step_2"] < PARTITIONS - 3


def without_calibration_lines(heads):
    return (heads["flags"] & CALIBRATION) == 0


@pytest.mark.parametrize("stopped", [before_the_centre, one_point])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_frame_that_does_not_reach_the_centre_is_left_out_wherever_it_is(simulated, stopped, at):
    each = [whole, whole, whole]
    each[at] = stopped
    scan = sorted_scan(frames_of(simulated(acceleration=(1, 1)), each))
    assert [frame.repetition for frame in scan.frames] == [n for n in range(3) if n != at]
    assert f"1 of 3 frames were left out (repetition {at + 1})" in " ".join(scan.remarks)
    assert scan.sampled_by_frame is None
    assert len(scan.kspace) == 2 * N


def test_the_frames_that_stay_are_their_own(simulated):
    """What follows a frame that was left out is not counted by its place."""
    one = simulated(acceleration=(1, 1))
    series = frames_of(one, [before_the_centre, whole, whole])
    n_first = int(before_the_centre(one.heads).sum())
    n_each = len(one.lines)
    series.lines[n_first + n_each :] = [3 * line for line in series.lines[n_first + n_each :]]
    scan, single = sorted_scan(series).in_memory(), sorted_scan(one).in_memory()
    np.testing.assert_allclose(scan.kspace[:N], single.kspace, atol=1e-4)
    np.testing.assert_allclose(scan.kspace[N:], 3 * single.kspace, atol=1e-4)


@pytest.mark.parametrize("counter", ["contrast", "set", "repetition"])
def test_a_frame_without_calibration_lines_of_its_own_was_not_stopped(simulated, counter):
    scan = sorted_scan(
        frames_of(simulated(acceleration=(2, 2), n_acs=8), [whole, without_calibration_lines], counter=counter)
    )
    assert len(scan.frames) == 2
    assert "sample points of their own" in " ".join(scan.remarks)
    assert "stopped" not in " ".join(scan.remarks)


def test_a_last_frame_that_lacks_an_edge_was_stopped(simulated):
    scan = sorted_scan(frames_of(simulated(acceleration=(2, 1), n_acs=8), [whole, whole, half_way]))
    assert len(scan.frames) == 2
    assert "The last of 3 frames was left out" in " ".join(scan.remarks)


@pytest.mark.parametrize("options", [{"acceleration": (2, 1), "n_acs": 8}, SLABS])
def test_recordings_that_contradict_each_other_are_refused_in_whichever_volume(simulated, options):
    """A body that moved between two recordings of the last frame, or slab."""
    one = simulated(**options)
    series = frames_of(one, [whole, whole])
    last = np.flatnonzero(
        (series.heads["idx"]["repetition"] == 1) & (series.heads["idx"]["slice"] == one.heads["idx"]["slice"].max())
    )
    again = series.heads[last].copy()
    again["idx"]["average"] = 1
    turns = np.exp(0.9j * np.arange(2 * N))
    moved = [(series.lines[n] * turns).astype(np.complex64) for n in last]
    with pytest.raises(DamagedScan, match="recorded several times"):
        sorted_scan(InMemory(series.header_xml, np.concatenate([series.heads, again]), [*series.lines, *moved]))


def as_of_two_dimensions(encoding):
    encoding.reconSpace.matrixSize.z = 1
    encoding.reconSpace.fieldOfView_mm.z = 2.0


def with_fewer_slices(encoding):
    encoding.reconSpace.matrixSize.z = 8
    encoding.reconSpace.fieldOfView_mm.z = 16.0


def test_all_slices_are_shown_where_the_header_has_the_thickness_of_one(simulated):
    scan = sorted_scan(changed(simulated(acceleration=(1, 1)), encoding=as_of_two_dimensions))
    assert scan.n_slices == PARTITIONS


def test_slices_that_are_cut_off_are_counted(simulated):
    scan = sorted_scan(changed(simulated(acceleration=(1, 1)), encoding=with_fewer_slices))
    assert scan.n_slices == 8
    assert f"Of {PARTITIONS} slices that the partitions encode the header asks for the inner 8" in " ".join(
        scan.remarks
    )


def test_a_slab_that_is_missing_is_said(simulated):
    scan = sorted_scan(changed(simulated(**SLABS), kept=lambda heads: heads["idx"]["slice"] == 0))
    assert "The header announces 2 slabs, and 1 was found" in " ".join(scan.remarks)


def in_one_place(heads):
    heads["position"] = 0


def test_slabs_whose_places_cannot_be_are_said_to_lie_nowhere(simulated):
    scan = sorted_scan(changed(simulated(**SLABS), heads=in_one_place))
    assert "nothing tells where they lie to each other" in " ".join(scan.remarks)


def test_slabs_without_a_slice_direction_lie_as_slices_do(simulated):
    def undirected(heads):
        heads["slice_dir"] = 0
        heads["idx"]["slice"] = 1 - heads["idx"]["slice"]

    scan, known = (
        sorted_scan(each).in_memory() for each in (changed(simulated(**SLABS), heads=undirected), simulated(**SLABS))
    )
    np.testing.assert_array_equal(scan.kspace, known.kspace)


def test_a_calibration_scan_before_the_first_frame_is_no_part_of_its_time(simulated):
    """It has the first frame's counters and was recorded seconds before."""
    one = simulated(acceleration=(2, 1), n_acs=8)
    series = frames_of(one, [without_calibration_lines] * 3)
    series.heads["acquisition_time_stamp"] = 800 * series.heads["idx"]["repetition"] + 2000
    series.heads["flags"] &= ~BOTH
    block = np.flatnonzero(one.heads["flags"] & (CALIBRATION | BOTH))
    apart = one.heads[block].copy()
    apart["flags"] = CALIBRATION
    header = one.header_xml.replace("<systemVendor>raki", "<systemVendor>SIEMENS")
    header = header.replace("<calibrationMode>embedded", "<calibrationMode>separate")
    lines = [*(one.lines[n] for n in block), *series.lines]
    scan = sorted_scan(InMemory(header, np.concatenate([apart, series.heads]), lines))
    assert scan.acs is not None
    assert scan.frame_step_s == pytest.approx(2.0)
