"""What is said of reconstructing a scan is what happens, and a refusal still describes the scan."""

import numpy as np
import pytest
import torch

from raki.errors import NotAScan, PermanentError
from raki.inspection.survey.survey import survey_here
from raki.kspace import complete, methods
from raki.kspace.published import iraki, raki2019
from raki.kspace.published.descent import Schedule
from tests.inspection.recorded import changed, inspected, planned, terminal


@pytest.fixture(scope="module")
def untrained():
    """The published networks as they start: what they need they need before any step."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (raki2019, iraki):
            patch.setattr(module, "descend", lambda *_: ())
        patch.setattr(iraki, "published_rounds", lambda _: [Schedule(n_steps=1, learning_rate=1e-3)])
        yield


@pytest.mark.parametrize(
    ("acceleration", "n_acs_lines", "n_pe"),
    [(2, 0, 16), (2, 3, 16), (2, 5, 16), (3, 4, 24), (3, 7, 24), (2, 3, 10)],
)
def test_what_is_said_of_each_method_is_what_happens(untrained, acceleration, n_acs_lines, n_pe):
    """Those that are called usable fill the lines, the others refuse with the error named."""
    acquisitions = planned(acceleration, n_acs_lines, n_pe, n_coils=2)
    feasibility = inspected(acquisitions).feasibility
    assert tuple(one.method for one in feasibility.methods) == tuple(methods())
    sampled = torch.zeros(n_pe, dtype=torch.bool)
    sampled[acquisitions.heads["idx"]["kspace_encode_step_1"].astype(int)] = True
    kspace = torch.randn(2, n_pe, n_pe, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    outcomes = {}
    for one in feasibility.methods:
        try:
            complete(kspace, one.method, sampled=sampled, device="cpu")
            outcomes[one.method] = None
        except PermanentError as error:
            outcomes[one.method] = error
    assert {one.method: one.usable for one in feasibility.methods} == {
        method: error is None for method, error in outcomes.items()
    }
    expected = outcomes["raki"]
    found = feasibility.refusal
    assert (found and (found.failure_class, found.exit_code)) == (
        expected and (expected.failure_class, expected.exit_code)
    )
    assert feasibility.reconstructable == (outcomes["zero_filled"] is None)


def test_calibration_lines_beside_the_centre_are_remarked_on():
    acquisitions = planned(2, 16, 64)
    assert not any("centre of k-space" in remark for remark in inspected(acquisitions).feasibility.remarks)
    lines = np.union1d(np.arange(0, 64, 2), np.arange(40, 60))
    acquisitions.heads = acquisitions.heads[np.arange(len(lines)) % len(acquisitions.heads)]
    acquisitions.heads["idx"]["kspace_encode_step_1"] = lines
    acquisitions.heads["flags"] = 0
    (remark,) = (each for each in inspected(acquisitions).feasibility.remarks if "centre of k-space" in each)
    assert "line 32) is outside the ACS (lines 40 to 60)" in remark


def refused(acquisitions):
    found = inspected(acquisitions)
    assert not found.feasibility.reconstructable
    assert not any(one.usable for one in found.feasibility.methods)
    text = " ".join(terminal(found).split())
    assert text.count(found.feasibility.sentence) == 1
    assert f"exit code {found.feasibility.refusal.exit_code}" in text
    return found


def test_a_3d_scan_of_several_slabs_is_described_and_refused():
    acquisitions = changed(planned(2, 16), "<z>1</z>", "<z>8</z>")
    layers = [acquisitions.heads.copy() for _ in range(8)]
    for number, layer in enumerate(layers):
        layer["idx"]["kspace_encode_step_2"] = number
    acquisitions.heads = np.concatenate(layers)
    found = refused(acquisitions)
    assert found.feasibility.refusal.failure_class == "UnsupportedScan"
    assert (found.kind, found.counts.n_partitions, found.counts.n_averages) == ("Cartesian 3-D", 8, 1)
    assert (found.phase_encoding.acceleration, found.phase_encoding.acs.n_lines) == (2, 17)


def test_a_spiral_has_no_phase_encode_lines():
    found = refused(changed(planned(), ">cartesian<", ">spiral<"))
    assert found.kind == "non-Cartesian (spiral) 2-D"
    assert found.phase_encoding is None
    assert found.placement.matrix == (64, 64)
    assert "64 for the image" in terminal(found)


def test_lines_at_random_are_described_and_refused():
    acquisitions = planned()
    acquisitions.heads = acquisitions.heads[[0, 1, 5, 9, 12, 30, 31, 32, 33, 40, 47, 60]]
    found = refused(acquisitions)
    assert (found.phase_encoding.n_acquired, found.phase_encoding.acceleration) == (12, None)
    assert "no regular pattern" in terminal(found)


def test_a_scan_that_was_cut_short_is_described_and_so_is_what_is_left_out():
    acquisitions = planned(2, 16, n_slices=3)
    acquisitions.heads = acquisitions.heads[:-5]
    found = inspected(acquisitions)
    assert "1 of 3 images was left out (slice 2): slice 2 has 35 of 40 lines" in found.feasibility.remarks[0]
    assert found.counts.n_slices == 3
    assert (found.phase_encoding.n_acquired, found.phase_encoding.acceleration) == (40, 2)
    assert found.phase_encoding.acs.n_lines == 17


def test_a_line_that_was_lost_is_not_said_to_be_there():
    acquisitions = planned(1, 0, 64)
    assert "nothing to fill in" in inspected(acquisitions).feasibility.sentence
    acquisitions.heads = np.delete(acquisitions.heads, 12)
    assert "those that were lost, which can be filled in" in inspected(acquisitions).feasibility.sentence


def test_noise_alone_is_described_and_refused(recorded):
    acquisitions = recorded()
    acquisitions.heads = acquisitions.heads[:16]
    found = refused(acquisitions)
    assert found.feasibility.refusal.failure_class == "NoiseAlone"
    assert found.noise.n_acquisitions == 16
    assert found.counts.n_image_lines == 0


def test_a_header_that_is_none_is_described_by_the_lines_and_refused(recorded):
    acquisitions = recorded()
    acquisitions.header_xml = "<ismrmrdHeader>"
    found = refused(acquisitions)
    assert found.counts.n_coils == 3
    assert found.readout.n_samples == 64
    assert found.origin.vendor is None


def test_a_file_that_can_not_be_opened_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NotAScan):
        survey_here([tmp_path / "notes.txt"])


def remarks(acquisitions):
    return " ".join(inspected(acquisitions).feasibility.remarks)


def test_what_is_lacking_is_remarked_on(recorded):
    assert "No noise scan" not in remarks(recorded())
    assert "No noise scan" in remarks(planned(2, 24))
    assert "24 or more" in remarks(planned(2, 8))
    assert "24 or more" not in remarks(planned(2, 24))
    assert "more lines are missing" in remarks(planned(6, 24, n_coils=4))
    assert "more lines are missing" not in remarks(planned(4, 24, n_coils=4))
    assert "the lines say R=2" in remarks(
        changed(planned(2, 24), "<kspace_encoding_step_1>2<", "<kspace_encoding_step_1>3<")
    )
    assert "no TR" in remarks(changed(planned(2, 24), "<TR>.*</TR>", ""))
    flat = planned(2, 24)
    flat.heads["slice_dir"] = 0
    assert "no slice direction" in remarks(flat)
