"""Siemens twix: lines come back as a scanner wrote them, in ISMRMRD's terms."""

import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.formats.acquisitions import HEAD
from raki.formats.sorting.marks import has_flag
from raki.formats.twix.heads import directions
from raki.formats.twix.reader import TWIX
from tests.formats.twix.conftest import matrix
from tests.formats.twix.twix_files import (
    ACQEND,
    DICOM,
    NOISE,
    PATREF,
    PATREF_AND_IMAGE,
    PHASCOR,
    PROTOCOL,
    REFLECT,
    RTFEEDBACK,
    WRITERS,
    Line,
    image_lines,
    noise,
    vd_block,
    vd_file,
    vd_line,
    vd_measurement,
)


@pytest.mark.parametrize("version", WRITERS)
def test_lines_come_back_as_they_were_recorded(opened, version):
    lines = [
        Line(
            samples=noise((3, 12), n),
            counters={"line": n, "average": 1, "slice": 2, "partition": 0, "echo": 3, "phase": 4}
            | {"repetition": 5, "set": 6, "segment": 7},
            centre_sample=5,
            centre_line=2,
            cut=(2, 1),
            position=(1.5, -2.5, 3.5),
        )
        for n in range(4)
    ]
    heads, _, samples = opened(WRITERS[version](lines))
    assert heads.dtype == HEAD
    for line, kept in zip(lines, samples, strict=True):
        np.testing.assert_array_equal(kept, line.samples[:, 2:11])
    assert heads["idx"]["kspace_encode_step_1"].tolist() == [0, 1, 2, 3]
    names = ("average", "slice", "kspace_encode_step_2", "contrast", "phase", "repetition", "set", "segment")
    assert [int(heads["idx"][name][0]) for name in names] == [1, 2, 0, 3, 4, 5, 6, 7]
    assert heads[["number_of_samples", "active_channels", "discard_pre", "discard_post", "center_sample"]][
        0
    ].tolist() == (
        12,
        3,
        2,
        1,
        5,
    )
    assert heads["scan_counter"].tolist() == [1, 2, 3, 4]
    assert heads["acquisition_time_stamp"][0] == 1001
    assert heads["physiology_time_stamp"][0].tolist() == [2001, 0, 0]
    assert heads["position"][0].tolist() == [1.5, -2.5, 3.5]
    assert heads["sample_time_us"][0] == np.float32(11.6)
    assert heads["measurement_uid"][0] == 7


def test_samples_are_given_in_the_order_asked_for(tmp_path):
    path, lines = tmp_path / "scan.dat", image_lines()
    path.write_bytes(WRITERS["VD"](lines))
    with TWIX.open(path) as file:
        for index, samples in zip([4, 0, 4, 2], file.samples(np.array([4, 0, 4, 2])), strict=True):
            np.testing.assert_array_equal(samples, lines[index].samples)


FLAGGED = {
    NOISE: {ismrmrd.ACQ_IS_NOISE_MEASUREMENT},
    PATREF: {ismrmrd.ACQ_IS_PARALLEL_CALIBRATION},
    PATREF | PATREF_AND_IMAGE: {ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING},
    REFLECT: {ismrmrd.ACQ_IS_REVERSE},
    PHASCOR | RTFEEDBACK: {
        ismrmrd.ACQ_IS_PHASECORR_DATA,
        ismrmrd.ACQ_IS_NAVIGATION_DATA,
        ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    },
    1 << 2: {ismrmrd.ACQ_IS_HPFEEDBACK_DATA},
    1 << 51: {ismrmrd.ACQ_IS_DUMMYSCAN_DATA},
    1 << 11: {ismrmrd.ACQ_LAST_IN_REPETITION, ismrmrd.ACQ_LAST_IN_MEASUREMENT},
    1 << 14: {ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE},
    1 << 15: {ismrmrd.ACQ_IS_PHASE_STABILIZATION},
    # RAWDATACORRECTION concerns each coil's scale: the lines are the image's.
    1 << 10: set(),
}


@pytest.mark.parametrize("version", WRITERS)
def test_marks_become_flags(opened, version):
    lines = image_lines() + [Line(samples=noise((3, 16)), mask=mask) for mask in FLAGGED]
    heads, _, _ = opened(WRITERS[version](lines))
    for bits, flags in zip(heads["flags"][6:], FLAGGED.values(), strict=True):
        assert {flag for flag in range(1, 65) if int(bits) >> (flag - 1) & 1} == flags


unit_quaternions = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


@settings(max_examples=40)
@given(quaternion=unit_quaternions, scale=st.floats(0.5, 2))
def test_directions_are_a_frame_in_which_phase_times_read_is_slice(quaternion, scale):
    phase, read, normal = (one[0] for one in directions(scale * np.array([quaternion], dtype=np.float32)))
    np.testing.assert_allclose(np.cross(phase, read), normal, atol=1e-5)
    np.testing.assert_allclose([phase @ phase, read @ read, phase @ read], [1, 1, 0], atol=1e-5)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 3e38, 1e-45, 0])
def test_a_broken_quaternion_gives_a_frame_or_none(broken):
    frame = np.array(directions(np.array([[broken, 0, 0, 1e38 if broken else 0]], dtype=np.float32)))
    lengths = np.linalg.norm(frame, axis=-1)
    assert np.isnan(lengths).any() or np.allclose(lengths, 1)


def test_an_axial_slice_of_a_scanner_is_read_from_left_to_right_and_encoded_to_the_back(opened):
    """Siemens' axial slices are turned by 90 degrees about the slice direction; LPS grows to the left and the back."""
    turned = (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
    heads, _, _ = opened(WRITERS["VD"](image_lines(quaternion=turned)))
    np.testing.assert_allclose(heads["read_dir"][0], [-1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(heads["phase_dir"][0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(heads["slice_dir"][0], [0, 0, 1], atol=1e-6)


def test_each_echo_has_its_own_dwell_time_and_noise_the_scanners(opened):
    protocol = PROTOCOL | {"sRXSPEC.alDwellTime[0]": "5000", "sRXSPEC.alDwellTime[1]": "2500"}
    lines = [
        Line(samples=noise((2, 256)), mask=NOISE),
        *(Line(samples=noise((2, 16)), counters={"echo": echo}) for echo in (0, 1, 2)),
    ]
    expected = {("VD", "gre"): 30.0, ("VD", "AdjCoilSens"): 5.0, ("VB", "gre"): 1e6 / 130 / 256}
    for (version, name), noise_us in expected.items():
        heads, _, _ = opened(WRITERS[version](lines, protocol=protocol | {"tProtocolName": f'"{name}"'}))
        assert heads["sample_time_us"] == pytest.approx([noise_us, 5.0, 2.5, 5.0])
    heads, _, _ = opened(WRITERS["VD"](lines, derived=DICOM | {"SoftwareVersions": '"syngo MR XA61"'}))
    assert heads["sample_time_us"][0] == 5.0


COILS = {
    f"sCoilSelectMeas.aRxCoilSelectData[0].asList[{n}].{name}": value
    for n in range(3)
    for name, value in {
        "sCoilElementID.tCoilID": '"Head"',
        "sCoilElementID.tElement": f'"H{n}"',
        "lADCChannelConnected": str(n + 1),
    }.items()
}


def test_noise_of_an_adjustment_with_the_same_coils_comes_first(opened):
    noise_lines = [Line(samples=noise((3, 32), 90 + n), mask=NOISE, channels=(4, 5, 6)) for n in range(2)]
    other_channels = Line(samples=noise((3, 32)), mask=NOISE, channels=(4, 5, 7))
    fewer_coils = Line(samples=noise((2, 32)), mask=NOISE, channels=(4, 5))
    image_of_adjustment = Line(samples=noise((3, 32)), channels=(4, 5, 6))
    adjustment = PROTOCOL | COILS | {"tProtocolName": '"AdjCoilSens"'}
    first = vd_measurement([*noise_lines, other_channels, fewer_coils, image_of_adjustment], adjustment)
    elsewhere = COILS | {"sCoilSelectMeas.aRxCoilSelectData[0].asList[1].sCoilElementID.tElement": '"S9"'}
    second = vd_measurement(noise_lines, PROTOCOL | elsewhere)
    third = vd_measurement(image_lines(channels=(4, 5, 6)), PROTOCOL | COILS)
    heads, header, samples = opened(vd_file(first, second, third))
    assert has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT).tolist() == [True] * 2 + [False] * 6
    np.testing.assert_array_equal(samples[1], noise_lines[1].samples)
    np.testing.assert_array_equal(samples[2], noise((3, 16), 0))
    assert heads["sample_time_us"][:2].tolist() == [5, 5]
    assert matrix(header.encoding[0].encodedSpace) == (16, 6, 1)
    assert header.acquisitionSystemInformation.receiverChannels == 3
    assert [label.coilName for label in header.acquisitionSystemInformation.coilLabel] == [
        "Head:H0",
        "Head:H1",
        "Head:H2",
    ]


def test_a_measurement_of_noise_alone_opens(opened):
    heads, _, _ = opened(WRITERS["VD"]([Line(samples=noise((3, 32)), mask=NOISE)]))
    assert has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT).all()


def test_lines_packed_into_one_block_are_found_by_their_samples(opened):
    """The block's length then counts for all of them, or for what is left."""
    lines = image_lines()
    packed = b"".join(vd_line(line, n, n_dma=(1 << 25) | (5000 if n == 1 else 200)) for n, line in enumerate(lines, 1))
    start = vd_measurement([], end=False)
    _, _, samples = opened(vd_file(start + packed + vd_block(ACQEND, 352)))
    np.testing.assert_array_equal(samples[5], lines[5].samples)
