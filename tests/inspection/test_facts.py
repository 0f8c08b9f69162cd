"""What a raw file tells of its scan, without a sample of its image, and without the person."""

import json

import ismrmrd
import numpy as np
import pytest
import torch

from raki.formats import open_raw, read_scan
from raki.formats.acquisitions import HEAD
from raki.inspection.inspection import inspect, inspect_acquisitions
from raki.inspection.survey.lines import slice_order
from raki.inspection.survey.placement import orientation
from raki.kspace.sampling import find_sampling
from raki.phantom.simulation import simulate_scan
from raki.prepare.preparation import preprocess
from tests.inspection.recorded import changed, inspected, one_more, planned, terminal


def test_the_files_tell_what_was_simulated(tmp_path):
    path = tmp_path / "scan.h5"
    simulate_scan(path, n_slices=3, n_coils=5, matrix=32, acceleration=2, n_acs_lines=8)
    found = inspect([path], device="cpu")
    assert [(one.name, one.n_bytes) for one in found.files] == [("scan.h5", path.stat().st_size)]
    assert (found.format, found.kind) == ("ISMRMRD HDF5", "Cartesian 2-D multi-slice")
    assert (found.origin.vendor, found.origin.model) == ("raki", "digital phantom")
    assert found.origin.field_strength_t == pytest.approx(2.89)
    assert found.origin.protocol == "phantom_t1_axial"
    assert found.timing.repetition_times_ms == (250.0,)
    assert found.timing.flip_angles_deg == (70.0,)
    assert (found.counts.n_coils, found.counts.n_slices, found.counts.slice_order) == (5, 3, "ascending")
    assert (found.readout.n_samples, found.readout.oversampling, found.readout.dwell_time_us) == (64, 2.0, 5.0)
    assert (found.noise.n_acquisitions, found.noise.n_samples, found.noise.dwell_time_us) == (16, 16 * 64, 10.0)
    lines = found.phase_encoding
    assert (lines.n_encoded, lines.acceleration, lines.announced_acceleration) == (32, 2, 2)
    assert (lines.acs.first_line, lines.acs.n_lines, lines.acs.is_separate) == (12, 9, False)
    assert found.placement.matrix == (32, 32)
    assert found.placement.fov_mm == pytest.approx((220.0, 220.0))
    assert found.placement.slice_spacing_mm == pytest.approx(10.0)
    assert found.feasibility.reconstructable
    assert found.feasibility.refusal is None


def test_each_sample_of_an_image_is_read_once_and_of_a_few_trains_to_see_their_directions(recorded):
    acquisitions = recorded()
    inspected(acquisitions)
    # Two slices of 20 lines, each with 16 in a row one step apart.
    assert acquisitions.n_read == {True: 16, False: 40 + 2 * 16}


def test_nothing_of_the_person_scanned_is_told(recorded):
    found = inspected(recorded())
    assert found.origin.has_subject_information
    told = found.to_json() + terminal(found, 200)
    assert "Phantom^Digital" not in told
    assert "PHANTOM-0001" not in told
    bare = changed(recorded(), "<subjectInformation>.*</subjectInformation>", "<subjectInformation/>")
    assert not inspected(bare).origin.has_subject_information


def test_json_has_every_fact(recorded):
    found = inspected(recorded())
    told = json.loads(found.to_json())
    assert told["phase_encoding"]["acs"] == {"first_line": 12, "n_lines": 9, "is_separate": False}
    assert told["feasibility"]["methods"][0] == {"method": "zero_filled", "usable": True, "reason": None}


def test_the_lines_are_those_of_the_sorted_scan(raw):
    with open_raw([raw]) as (_, acquisitions):
        found = inspected(acquisitions)
    scan = preprocess(read_scan(raw))
    sampling = find_sampling(torch.from_numpy(scan.sampled))
    lines = found.phase_encoding
    assert lines.n_acquired == scan.sampled.sum()
    assert lines.acceleration == sampling.acceleration
    assert lines.net_acceleration == sampling.net_acceleration
    assert (lines.acs.first_line, lines.acs.first_line + lines.acs.n_lines) == sampling.acs_lines
    assert found.placement.matrix == scan.geometry.matrix
    assert found.placement.slice_spacing_mm == pytest.approx(scan.geometry.slice_spacing_mm)


def test_partial_fourier_and_edges_that_were_never_acquired():
    whole = inspected(planned(2, 16)).phase_encoding
    assert (whole.partial_fourier, whole.n_never_acquired) == (1.0, (0, 0))
    acquisitions = planned(2, 16)
    acquisitions.heads = acquisitions.heads[acquisitions.heads["idx"]["kspace_encode_step_1"] >= 16]
    partial = inspected(acquisitions).phase_encoding
    assert partial.n_never_acquired == (16, 0)
    assert partial.partial_fourier == pytest.approx(0.75, abs=0.02)
    assert "partial Fourier 0.7" in terminal(inspected(acquisitions))
    step = acquisitions.heads["idx"]["kspace_encode_step_1"]
    acquisitions.heads = acquisitions.heads[step <= 48]
    padded = inspected(acquisitions).phase_encoding
    assert padded.partial_fourier == 1.0
    assert padded.n_never_acquired == (16, 15)


def test_asymmetric_echo():
    acquisitions = planned()
    assert inspected(acquisitions).readout.echo_fraction == 1.0
    acquisitions.heads["number_of_samples"], acquisitions.heads["center_sample"] = 96, 32
    assert inspected(acquisitions).readout.echo_fraction == 0.75
    acquisitions.heads["number_of_samples"], acquisitions.heads["center_sample"] = 106, 42
    acquisitions.heads["discard_pre"] = 10
    assert inspected(acquisitions).readout.echo_fraction == 0.75


@pytest.mark.parametrize("counter", ["contrast", "phase", "repetition", "set", "average", "segment"])
def test_frames_averages_and_segments_are_counted(counter):
    acquisitions = planned(2, 16, n_slices=2)
    again = acquisitions.heads.copy()
    again["idx"][counter] = 5
    acquisitions.heads = np.concatenate([acquisitions.heads, again])
    counts = inspected(acquisitions).counts
    expected = {"contrast": 1, "phase": 1, "repetition": 1, "set": 1, "average": 1, "segment": 1, counter: 2}
    found = {name: getattr(counts, f"n_{name}s") for name in expected if name != "average"}
    assert found == {name: n for name, n in expected.items() if name != "average"}
    # A line that comes again under the same counters is one more recording of it.
    assert counts.n_averages == (2 if counter in ("average", "segment") else 1)


@pytest.mark.parametrize(
    ("places", "order"),
    [
        ([0, 1, 2, 3], "ascending"),
        ([3, 2, 1, 0], "descending"),
        ([0, 2, 4, 1, 3], "interleaved"),
        ([1, 3, 0, 2, 4], "interleaved"),
        ([4, 2, 0, 3, 1], "interleaved"),
        ([0, 3, 6, 1, 4, 7, 2, 5], "interleaved"),
        ([0, 2, 1, 3, 4], "irregular"),
        ([0], None),
    ],
)
@pytest.mark.parametrize("direction", [1, -1])
def test_order_of_slices_in_time(places, order, direction):
    """It doesn't depend on the sign of the slice direction, nor on how slices are numbered."""
    heads = np.zeros(3 * len(places), HEAD)
    heads["slice_dir"] = [0, 0.1, direction]
    heads["idx"]["slice"] = np.repeat(np.random.default_rng(len(places)).permutation(len(places)), 3)
    heads["position"][:, 2] = 7.5 * np.repeat(places, 3) - 20
    assert slice_order(heads) == order


def test_orientation_is_that_of_the_nearest_plane():
    assert orientation(np.array([0, 0, -1.0])) == ("axial", 0.0)
    assert orientation(np.array([0, 2.0, 0])) == ("coronal", 0.0)
    plane, tilt_deg = orientation(np.array([np.cos(0.3), 0, np.sin(0.3)]))
    assert (plane, tilt_deg) == ("sagittal", pytest.approx(np.degrees(0.3)))
    assert orientation(np.zeros(3)) == (None, None)


def test_other_lines_are_counted_by_their_marks(recorded):
    acquisitions = recorded()
    for flag in (ismrmrd.ACQ_IS_DUMMYSCAN_DATA, ismrmrd.ACQ_IS_PHASECORR_DATA, ismrmrd.ACQ_IS_PHASECORR_DATA):
        one_more(acquisitions, flag)
    found = inspected(acquisitions)
    assert found.counts.other_lines == {"noise": 16, "phase correction": 2, "dummy": 1}
    assert found.counts.n_image_lines == inspected(recorded()).counts.n_image_lines
    assert "2 phase correction, 1 dummy; not part of the image" in terminal(found, 120)


def test_separate_calibration_is_told(recorded):
    acquisitions = changed(recorded(), ">embedded<", ">separate<")
    heads = acquisitions.heads
    both, alone = np.uint64(1 << 20), np.uint64(1 << 19)
    lattice = heads[(heads["flags"] & alone) == 0].copy()
    lattice["flags"] &= ~both
    apart = heads[(heads["flags"] & (both | alone)) != 0].copy()
    apart["flags"] = alone
    acquisitions.heads = np.concatenate([apart, lattice])
    found = inspected(acquisitions)
    assert (found.phase_encoding.acs.first_line, found.phase_encoding.acs.n_lines) == (12, 8)
    assert found.phase_encoding.acs.is_separate
    assert found.phase_encoding.n_acquired == 16
    assert found.feasibility.reconstructable
    assert "acquired apart" in terminal(found)


def test_real_scans_are_described(real_scans):
    for path in sorted((real_scans / "vendor").iterdir()):
        with open_raw([path]) as (format_, acquisitions):
            found = inspect_acquisitions(format_.name, acquisitions, files=[path])
        assert found.feasibility.reconstructable
        assert max(map(len, terminal(found).splitlines())) <= 80
        assert path.name in terminal(found)


def test_the_real_undersampled_scan_is_as_documented(real_scans):
    path = real_scans / "vendor/SNR_R3_14ch_grappa3_noise.h5"
    with open_raw([path]) as (format_, acquisitions):
        found = inspect_acquisitions(format_.name, acquisitions, files=[path])
    lines = found.phase_encoding
    assert (lines.acceleration, lines.n_encoded, lines.n_never_acquired) == (3, 144, (18, 20))
    assert (lines.acs.first_line, lines.acs.n_lines) == (48, 49)
    assert (found.counts.n_coils, found.noise.n_acquisitions) == (14, 1)
    assert (found.readout.dwell_time_us, found.noise.dwell_time_us) == pytest.approx((2.4, 20.0))
    assert found.placement.fov_mm == pytest.approx((210, 280))
    assert not found.origin.has_subject_information


def test_an_unknown_thickness_is_not_told_as_a_length(recorded):
    found = inspected(changed(recorded(), r"<z>[0-9.]+</z>(\s*</fieldOfView_mm>)", r"<z>0</z>\1"))
    assert found.placement.slice_thickness_mm is None
    assert found.placement.slice_spacing_mm == pytest.approx(5.0)
    assert " of 0 mm" not in terminal(found, 200)
    assert " of None" not in terminal(found, 200)
    assert any("slice thickness of 0" in remark for remark in found.feasibility.remarks)
