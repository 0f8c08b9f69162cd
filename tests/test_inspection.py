import json
import re
from collections import Counter
from io import StringIO
from xml.etree import ElementTree

import ismrmrd
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ismrmrd import xsd
from rich.console import Console

from raki.completion import METHODS, complete
from raki.errors import NotAScan, PermanentError
from raki.formats import open_raw, read_scan
from raki.formats.acquisitions import HEAD
from raki.inspection import inspect, inspect_acquisitions
from raki.inspection_text import describe
from raki.preprocess import preprocess
from raki.published import iraki, raki2019, rraki
from raki.published.descent import Schedule
from raki.sampling import find_sampling
from raki.simulation import sampled_lines, scan_header, simulate_scan
from raki.survey import survey_here
from raki.survey.lines import slice_order
from raki.survey.placement import orientation


class Recorded:
    """A raw file in memory, of noise alone."""

    def __init__(self, header_xml, heads):
        self.header_xml, self.heads = header_xml, heads
        self.n_read = Counter()

    def samples(self, wanted):
        random = np.random.default_rng(0)
        for index in wanted:
            head = self.heads[index]
            self.n_read[bool(head["flags"] & np.uint64(1 << 18))] += 1
            n_kept = int(head["number_of_samples"]) - int(head["discard_pre"]) - int(head["discard_post"])
            shape = (int(head["active_channels"]), max(n_kept, 0))
            yield (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(np.complex64)


def planned(acceleration=1, n_acs_lines=0, n_pe=64, n_coils=4, n_slices=1):
    """A scan as it was planned, without noise."""
    lines, flags = sampled_lines(n_pe, acceleration, n_acs_lines)
    heads = np.zeros((n_slices, len(lines)), HEAD)
    heads["active_channels"], heads["number_of_samples"] = n_coils, 2 * n_pe
    heads["center_sample"], heads["flags"] = n_pe, flags
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = np.eye(3)
    heads["idx"]["kspace_encode_step_1"] = lines
    heads["idx"]["slice"] = np.arange(n_slices)[:, None]
    heads["position"][..., 2] = 5.0 * np.arange(n_slices)[:, None]
    return Recorded(xsd.ToXML(scan_header(n_slices, n_coils, n_pe, acceleration)), heads.ravel())


@pytest.fixture(scope="module")
def recorded():
    """Two slices at R=2, and a noise scan before them."""
    image = planned(2, 8, n_pe=32, n_coils=3, n_slices=2)
    image.heads["sample_time_us"] = 5.0
    noise = np.repeat(image.heads[:1], 16)
    noise["flags"], noise["sample_time_us"] = 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1), 10.0
    heads = np.concatenate([noise, image.heads])
    return lambda: Recorded(image.header_xml, heads.copy())


def inspected(acquisitions, **more):
    return inspect_acquisitions("ISMRMRD HDF5", acquisitions, device="cpu", **more)


def terminal(inspection, width=80):
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(describe(inspection))
    return console.file.getvalue()


def changed(acquisitions, pattern, new):
    xml, n_changes = re.subn(pattern, new, acquisitions.header_xml, flags=re.DOTALL)
    assert n_changes
    acquisitions.header_xml = xml
    return acquisitions


def one_more(acquisitions, flag):
    extra = acquisitions.heads[-1:].copy()
    extra["flags"] = np.uint64(1 << (flag - 1))
    acquisitions.heads = np.concatenate([acquisitions.heads, extra])
    return acquisitions


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
    assert (lines.acs.first_line, lines.acs.n_lines, lines.acs.is_separate) == (12, 8, False)
    assert found.placement.matrix == (32, 32)
    assert found.placement.fov_mm == pytest.approx((220.0, 220.0))
    assert found.placement.slice_spacing_mm == pytest.approx(10.0)
    assert found.feasibility.reconstructable
    assert found.feasibility.refusal is None


def test_no_sample_of_an_image_is_read(recorded):
    acquisitions = recorded()
    inspected(acquisitions)
    assert acquisitions.n_read == {True: 16}


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
    assert told["phase_encoding"]["acs"] == {"first_line": 12, "n_lines": 8, "is_separate": False}
    assert told["feasibility"]["methods"][0] == {"method": "zero_filled", "usable": True, "reason": None}


@pytest.fixture(scope="module")
def untrained():
    """The published networks as they start: what they need they need before any step."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (raki2019, rraki, iraki):
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
    assert tuple(one.method for one in feasibility.methods) == METHODS
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


def test_the_lines_are_those_of_the_sorted_scan(raw):
    with open_raw([raw]) as (_, acquisitions):
        found = inspected(acquisitions)
    scan = preprocess(read_scan(raw))
    sampling = find_sampling(torch.from_numpy(scan.sampled))
    lines = found.phase_encoding
    assert lines.n_acquired == scan.sampled.sum()
    assert lines.acceleration == sampling.acceleration
    assert lines.net_acceleration == sampling.net_acceleration
    assert (lines.acs.first_line, lines.acs.first_line + lines.acs.n_lines) == scan.acs_lines
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


def refused(acquisitions):
    found = inspected(acquisitions)
    assert not found.feasibility.reconstructable
    assert not any(one.usable for one in found.feasibility.methods)
    text = " ".join(terminal(found).split())
    assert text.count(found.feasibility.sentence) == 1
    assert f"exit code {found.feasibility.refusal.exit_code}" in text
    return found


def test_a_3d_scan_is_described_and_refused():
    acquisitions = changed(planned(2, 16), "<z>1</z>", "<z>8</z>")
    layers = [acquisitions.heads.copy() for _ in range(8)]
    for number, layer in enumerate(layers):
        layer["idx"]["kspace_encode_step_2"] = number
    acquisitions.heads = np.concatenate(layers)
    found = refused(acquisitions)
    assert found.feasibility.refusal.failure_class == "UnsupportedScan"
    assert (found.kind, found.counts.n_partitions, found.counts.n_averages) == ("Cartesian 3-D", 8, 1)
    assert (found.phase_encoding.acceleration, found.phase_encoding.acs.n_lines) == (2, 16)


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


def test_a_scan_that_was_cut_short_is_described_and_refused():
    acquisitions = planned(2, 16, n_slices=3)
    acquisitions.heads = acquisitions.heads[:-5]
    found = refused(acquisitions)
    assert found.feasibility.refusal.failure_class == "DamagedScan"
    assert found.counts.n_slices == 3
    assert (found.phase_encoding.n_acquired, found.phase_encoding.acceleration) == (40, 2)
    assert found.phase_encoding.acs.n_lines == 16


def test_noise_alone_is_described_and_refused(recorded):
    acquisitions = recorded()
    acquisitions.heads = acquisitions.heads[:16]
    found = refused(acquisitions)
    assert found.feasibility.refusal.failure_class == "NotAScan"
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


def test_names_are_shown_as_plain_text():
    """Neither rich's markup nor a terminal's escapes act."""
    acquisitions = changed(planned(), "phantom_t1_axial", "[bold]t1[/nothing] &#x9b;2J&#x202e;oops")
    text = terminal(inspected(acquisitions))
    assert "[bold]t1[/nothing] 2J oops" in text
    assert not any(not letter.isprintable() for letter in text.replace("\n", ""))


ODD = st.sampled_from(["", "-1", "0", "nan", "inf", "1e400", "99999999999999999999", "abc", "1.5", "\u0085 [x] é"])


@settings(max_examples=15)
@given(data=st.data())
def test_any_header_is_described(recorded, data):
    """Elements left out or with odd content: every inspection is told, as JSON and in 60 columns."""
    acquisitions = recorded()
    acquisitions.heads = acquisitions.heads[:30]
    root = ElementTree.fromstring(acquisitions.header_xml)
    for _ in range(data.draw(st.integers(1, 6))):
        parents = [element for element in root.iter() if len(element)]
        parent = data.draw(st.sampled_from(parents))
        child = parent[data.draw(st.integers(0, len(parent) - 1))]
        if data.draw(st.booleans()) or len(child):
            parent.remove(child)
        else:
            child.text = data.draw(ODD)
        if not len(root):
            break
    acquisitions.header_xml = ElementTree.tostring(root, encoding="unicode")
    found = inspected(acquisitions)
    json.loads(found.to_json())
    assert max(map(len, terminal(found, 60).splitlines())) <= 60


@settings(max_examples=12)
@given(seed=st.integers(0, 1 << 20), n_changes=st.integers(1, 5))
def test_any_heads_are_described(recorded, seed, n_changes):
    acquisitions = recorded()
    random = np.random.default_rng(seed)
    heads = acquisitions.heads[random.permutation(len(acquisitions.heads))[:40]].copy()
    for _ in range(n_changes):
        name = random.choice(["flags", "number_of_samples", "center_sample", "discard_pre", "position", "slice_dir"])
        field = (
            heads[name] if random.random() < 0.6 else heads["idx"][random.choice(["slice", "repetition", "segment"])]
        )
        rows = random.integers(0, len(heads), 1 + random.integers(0, len(heads)))
        odd = [0, 1, 7, 300, 65535] if field.dtype.kind == "u" else [0, np.nan, np.inf, -1e30]
        field[rows] = random.choice(odd)
    acquisitions.heads = heads
    found = inspected(acquisitions)
    json.loads(found.to_json())
    assert terminal(found)


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
    assert (lines.acs.first_line, lines.acs.n_lines) == (48, 48)
    assert (found.counts.n_coils, found.noise.n_acquisitions) == (14, 1)
    assert (found.readout.dwell_time_us, found.noise.dwell_time_us) == pytest.approx((2.4, 20.0))
    assert found.placement.fov_mm == pytest.approx((210, 280))
    assert not found.origin.has_subject_information
