"""Siemens twix: what a scanner wrote comes back, in ISMRMRD's terms; anything else is one clear sentence."""

import struct
import time
import tracemalloc
from contextlib import contextmanager, suppress

import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan, NotAScan, PermanentError, UnsupportedScan
from raki.formats.acquisitions import HEAD, START_BYTES, Acquisitions
from raki.formats.ismrmrd.header import parse_header
from raki.formats.sorting import has_flag
from raki.formats.twix import blocks
from raki.formats.twix.encoding import find_axis, to_encoding
from raki.formats.twix.heads import directions
from raki.formats.twix.protocol import Protocol
from raki.formats.twix.reader import TWIX
from tests.twix_files import (
    ACQEND,
    DICOM,
    NOISE,
    PATREF,
    PATREF_AND_IMAGE,
    PHASCOR,
    PROTOCOL,
    REFLECT,
    RTFEEDBACK,
    Line,
    buffers,
    header_bytes,
    vb_file,
    vd_block,
    vd_file,
    vd_line,
    vd_measurement,
)

WRITERS = {"VD": lambda lines, **changes: vd_file(vd_measurement(lines, **changes)), "VB": vb_file}
REAL = [
    "pulseq_brain16_164128_XA61.dat",
    "pulseq_phantom32_MID00243.dat",
    "twixtools_gre_2ch.dat",
    "twixtools_epi_2ch_phasecor.dat",
]


def noise(shape, number=0):
    random = np.random.default_rng(number)
    return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(np.complex64)


def image_lines(n_lines=6, n_coils=3, n_samples=16, **changes):
    return [
        Line(samples=noise((n_coils, n_samples), n), counters={"line": n}, centre_line=n_lines // 2, **changes)
        for n in range(n_lines)
    ]


@pytest.fixture
def opened(tmp_path):
    """Opens a file of these bytes; heads, header and all samples."""

    def read(content):
        path = tmp_path / "Doe^Jane.dat"
        path.write_bytes(content)
        assert TWIX.recognises(content[:START_BYTES])
        with TWIX.open(path) as file:
            assert isinstance(file, Acquisitions)
            return file.heads, parse_header(file.header_xml), list(file.samples(np.arange(len(file.heads))))

    return read


def refusal(tmp_path, content):
    """The sentence about a file that can't be read, or None."""
    path = tmp_path / "Doe^Jane.dat"
    path.write_bytes(content)
    error = None
    try:
        with TWIX.open(path) as file:
            assert all(np.isfinite(one).all() for one in file.samples(np.arange(len(file.heads))))
            assert parse_header(file.header_xml).encoding
    except PermanentError as raised:
        error = raised
    sentence = str(error)
    assert "\n" not in sentence
    assert "Doe" not in sentence
    assert str(tmp_path) not in sentence
    return error


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


def test_the_protocol_becomes_the_header(opened):
    _, header, _ = opened(WRITERS["VD"](image_lines()))
    assert header.subjectInformation.patientName == "Doe^Jané"
    assert header.subjectInformation.patientGender == "F"
    assert str(header.subjectInformation.patientBirthdate) == "1970-01-31"
    assert header.measurementInformation.protocolName == "gre"
    assert header.measurementInformation.patientPosition.value == "HFS"
    system = header.acquisitionSystemInformation
    assert (system.systemVendor, system.institutionName, system.deviceSerialNumber) == ("SIEMENS", "Anywhere", "45385")
    assert system.systemFieldStrength_T == pytest.approx(2.89362)
    assert (system.relativeReceiverNoiseBandwidth, system.receiverChannels) == (0.793, 3)
    assert header.experimentalConditions.H1resonanceFrequency_Hz == 123263034
    sequence = header.sequenceParameters
    assert (sequence.TR, sequence.TE, sequence.flipAngle_deg, sequence.sequence_type) == ([10], [3], [15], "Flash")
    (encoding,) = header.encoding
    assert encoding.trajectory.value == "cartesian"
    assert encoding.trajectoryDescription is None
    assert matrix(encoding.encodedSpace) == (16, 6, 1)
    assert matrix(encoding.reconSpace) == (8, 6, 1)
    assert lengths(encoding.encodedSpace) == (400, 150, 4)
    assert lengths(encoding.reconSpace) == (200, 150, 4)


def matrix(space):
    return space.matrixSize.x, space.matrixSize.y, space.matrixSize.z


def lengths(space):
    return space.fieldOfView_mm.x, space.fieldOfView_mm.y, space.fieldOfView_mm.z


def test_phase_oversampling_and_partial_fourier_keep_the_centre(opened):
    """8 lines encode 1.25 times the field of view, the first 2 are left out: the centre is the third."""
    protocol = PROTOCOL | {"sKSpace.lPhaseEncodingLines": "8", "sKSpace.dPhaseOversamplingForDialog": "0.25"}
    lines = [Line(samples=noise((2, 16)), counters={"line": n}, centre_line=2) for n in range(6)]
    _, header, _ = opened(WRITERS["VD"](lines, protocol=protocol))
    limits = header.encoding[0].encodingLimits.kspace_encoding_step_1
    assert (limits.minimum, limits.maximum, limits.center) == (0, 5, 2)
    assert matrix(header.encoding[0].encodedSpace) == (16, 8, 1)
    assert matrix(header.encoding[0].reconSpace) == (8, 6, 1)
    assert lengths(header.encoding[0].encodedSpace)[1] == 150 * 1.25


def test_an_asymmetric_echo_fills_part_of_the_matrix(opened):
    lines = [Line(samples=noise((2, 14)), counters={"line": n}, centre_line=3, centre_sample=6) for n in range(6)]
    _, header, _ = opened(WRITERS["VD"](lines))
    assert matrix(header.encoding[0].encodedSpace) == (16, 6, 1)


@pytest.mark.parametrize(("base", "n_announced"), [(4, 4), (64, 64), (8, 3), (5, 256)])
def test_a_protocol_that_the_lines_refute_cuts_nothing_off(opened, base, n_announced):
    """Pulseq leaves the protocol that it was started from, and no centre line."""
    protocol = PROTOCOL | {"sKSpace.lBaseResolution": str(base), "sKSpace.lPhaseEncodingLines": str(n_announced)}
    lines = [Line(samples=noise((2, 16)), counters={"line": n}) for n in range(6)]
    changes = {"derived": DICOM | {"flReadoutOSFactor": "1.0"}}
    _, header, _ = opened(WRITERS["VD"](lines, protocol=protocol | {"sSliceArray.lSize": "9"}, **changes))
    (encoding,) = header.encoding
    assert matrix(encoding.encodedSpace) == matrix(encoding.reconSpace) == (16, 6, 1)
    assert lengths(encoding.encodedSpace) == lengths(encoding.reconSpace)
    assert encoding.encodingLimits.kspace_encoding_step_1.center == 3
    assert encoding.encodingLimits.slice.maximum == 0


@given(
    first=st.integers(0, 40),
    n_before=st.integers(1, 200),
    n_after=st.integers(0, 200),
    centre_known=st.booleans(),
    n_announced=st.integers(0, 1000),
)
def test_all_lines_fit_around_the_centre(first, n_before, n_after, centre_known, n_announced):
    steps = np.arange(first, first + n_before + n_after + 1)
    axis = find_axis(steps, first + n_before if centre_known else 0, n_announced)
    places = steps - axis.centre + axis.n // 2
    assert places.min() >= 0
    assert places.max() < axis.n
    assert axis.centre == first + n_before or not centre_known
    assert not axis.as_protocol or axis.n == n_announced


@given(n_lines=st.integers(8, 128), acceleration=st.integers(1, 4))
def test_a_lattice_without_a_centre_has_the_announced_lines(n_lines, acceleration):
    assert find_axis(np.arange(0, n_lines, acceleration), 0, n_lines).n == n_lines


def test_slices_that_the_protocol_announces_are_in_the_limits(opened):
    lines = [line for n in range(2) for line in image_lines()]
    for n, line in enumerate(lines):
        line.counters["slice"] = n // 6
    _, header, _ = opened(WRITERS["VD"](lines, protocol=PROTOCOL | {"sSliceArray.lSize": "5"}))
    assert header.encoding[0].encodingLimits.slice.maximum == 4


@pytest.mark.parametrize(
    ("mode", "calibration", "over"),
    [
        (1, "other", None),
        (2, "embedded", None),
        (4, "separate", None),
        (8, "separate", None),
        (16, "interleaved", "average"),
    ],
)
def test_parallel_imaging_is_announced(opened, mode, calibration, over):
    protocol = PROTOCOL | {"sPat.lAccelFactPE": "3", "sPat.ucRefScanMode": hex(mode)}
    _, header, _ = opened(WRITERS["VD"](image_lines(), protocol=protocol))
    parallel = header.encoding[0].parallelImaging
    assert parallel.accelerationFactor.kspace_encoding_step_1 == 3
    assert parallel.calibrationMode.value == calibration
    assert getattr(parallel.interleavingDimension, "value", None) == over
    assert parallel.multiband is None


def test_several_slices_at_once_are_announced(opened):
    protocol = PROTOCOL | {"sSliceAcceleration.lMultiBandFactor": "2"}
    _, header, _ = opened(WRITERS["VD"](image_lines(), protocol=protocol))
    assert header.encoding[0].parallelImaging.multiband.multiband_factor == 2


def test_lines_in_both_directions_are_an_epi_and_its_timing_is_told(opened):
    timing = {"alRegridMode": "2 1", "alRegridRampupTime": "160 0", "alRegridRampdownTime": "150 0"}
    timing |= {"alRegridFlattopTime": "240 0", "alRegridDelaySamplesTime": "32 0", "alRegridDestSamples": "16 0"}
    timing |= {"aflRegridADCDuration": "<Precision> 16 496.0 0.0", "lEchoSpacing": "560"}
    lines = [Line(samples=noise((2, 16)), mask=PHASCOR | RTFEEDBACK | (REFLECT if n == 1 else 0)) for n in range(3)]
    train = image_lines(n_coils=2)
    for n, line in enumerate(train):
        line.mask = REFLECT if n % 2 else 8
    _, header, _ = opened(WRITERS["VD"](lines + train, derived=DICOM | timing))
    (encoding,) = header.encoding
    assert encoding.trajectory.value == "epi"
    assert encoding.trajectoryDescription.identifier == "ConventionalEPI"
    assert {one.name: one.value for one in encoding.trajectoryDescription.userParameterLong} == {
        "etl": 6,
        "numberOfNavigators": 3,
        "numSamples": 16,
        "echoSpacing": 560,
        "rampUpTime": 160,
        "rampDownTime": 150,
        "flatTopTime": 240,
        "acqDelayTime": 32,
    }
    (dwell,) = encoding.trajectoryDescription.userParameterDouble
    assert (dwell.name, dwell.value) == ("dwellTime", 31.0)


def test_echoes_that_alternate_as_a_whole_are_no_epi(opened):
    lines = image_lines() + image_lines(mask=REFLECT)
    for line in lines[6:]:
        line.counters["echo"] = 1
    _, header, _ = opened(WRITERS["VD"](lines))
    assert header.encoding[0].trajectory.value == "cartesian"


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


@pytest.mark.parametrize("version", WRITERS)
@seed(1)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_truncated_at_any_byte_is_one_clear_sentence(tmp_path, version, fraction):
    """Up to the head of the last block, the mark of the end; what follows is padding."""
    content = WRITERS[version](image_lines())
    end = (
        content.rindex(struct.pack("<Q", ACQEND)) - (40 if version == "VD" else 20) + (192 if version == "VD" else 128)
    )
    assert refusal(tmp_path, content[: int(fraction * end)]) is not None


@pytest.mark.parametrize(("version", "n_bytes"), [("VD", 192), ("VB", 128)])
def test_what_follows_the_mark_of_the_end_may_be_missing(tmp_path, version, n_bytes):
    content = WRITERS[version](image_lines())
    end = content.rindex(struct.pack("<Q", ACQEND)) - {"VD": 40, "VB": 20}[version]
    assert refusal(tmp_path, content[: end + n_bytes]) is None
    assert refusal(tmp_path, content[: end + n_bytes - 1]) is not None


def test_a_scan_that_was_stopped_is_said_to_be_cut_short(tmp_path):
    content = vd_file(vd_measurement(image_lines(), end=False))
    error = refusal(tmp_path, content.rstrip(b"\0"))
    assert isinstance(error, DamagedScan)
    assert "cut short: its end is missing after 6 lines" in str(error)


@pytest.mark.parametrize("version", WRITERS)
@seed(2)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_give_a_result_or_a_clear_sentence(tmp_path, version, data):
    content = bytearray(WRITERS[version](image_lines(n_coils=2, mask=REFLECT if data.draw(st.booleans()) else 8)))
    for _ in range(data.draw(st.integers(1, 3))):
        region = data.draw(st.sampled_from(["anywhere", "lines", "start"]))
        lowest = {"anywhere": 0, "lines": len(content) - 3000, "start": 0}[region]
        highest = 40 if region == "start" else len(content) - 1
        at = data.draw(st.integers(lowest, highest))
        new = data.draw(st.binary(min_size=1, max_size=8))
        content[at : at + len(new)] = new
    refusal(tmp_path, bytes(content))


@contextmanager
def memory_below(n_bytes):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < n_bytes
    finally:
        tracemalloc.stop()


def test_announced_sizes_take_no_memory(tmp_path):
    content = vd_file(vd_measurement(image_lines()))
    first_line = 10_240 + struct.unpack_from("<I", content, 10_240)[0] + 256
    places = {10_240: "I", 10_244: "I", first_line + 48: "HH", 20: "I", 10_240 + 15: "I"}
    with memory_below(2e6):
        for at, kind in places.items():
            changed = bytearray(content)
            struct.pack_into(f"<{kind}", changed, at, *[256 ** struct.calcsize(kind[:1]) - 1] * len(kind))
            assert isinstance(refusal(tmp_path, bytes(changed)), DamagedScan | NotAScan)


@pytest.mark.parametrize("value", ["nan", "1e400", "-5", "0x", "9" * 5000, '"', "1e300", "0xffffffff"])
def test_numbers_that_are_none_give_a_result_or_a_clear_sentence(tmp_path, opened, value):
    lines = [Line(samples=noise((1, 16)), mask=mask, counters={"line": n}) for n, mask in enumerate([8, REFLECT])]
    heads, _, _ = opened(WRITERS["VD"](lines))
    regridded = {"alRegridMode": "2", "alRegridDestSamples": value, "aflRegridADCDuration": value}
    for name in PROTOCOL:
        text = {part: stored.decode() for part, stored in buffers(PROTOCOL | {name: value}, regridded).items()}
        with suppress(PermanentError):
            assert to_encoding(Protocol(text), heads).encodedSpace.matrixSize.x >= 1
    without_lengths = {name: value for name in PROTOCOL if "FOV" not in name and "Thickness" not in name}
    derived = DICOM | regridded | dict.fromkeys(DICOM, value)
    refusal(tmp_path, WRITERS["VD"](lines, protocol=PROTOCOL | without_lengths, derived=derived))


@pytest.mark.parametrize(
    "text", ["y" * 200_000, "<ParamLong." * 30_000, '<ParamLong."a">' + " " * 200_000, "= " * 100_000, '<a> "' * 50_000]
)
def test_a_protocol_of_any_text_is_read_in_time(text):
    start = time.process_time()
    buffers = {"MeasYaps": f"### ASCCONV BEGIN\na\n{text}", "Meas": text, "Dicom": '<ParamLong."x"> {' + text + "}"}
    assert Protocol(buffers).number("sKSpace.lBaseResolution") is None
    assert time.process_time() - start < 1


def test_a_large_index_takes_no_memory(opened):
    heads, _, _ = opened(WRITERS["VD"](image_lines(), protocol=PROTOCOL | {"alTR[4000000000]": "1"}))
    assert len(heads) == 6


def test_infinite_samples_are_refused(tmp_path):
    lines = image_lines()
    lines[3].samples[1, 4] = np.inf
    assert "acquisition 3 holds infinite" in str(refusal(tmp_path, WRITERS["VD"](lines)))


def test_a_line_that_cuts_everything_off_is_refused(tmp_path):
    error = refusal(tmp_path, WRITERS["VD"](image_lines(cut=(10, 6))))
    assert "line 0 has 16 samples and cuts off all" in str(error)


def test_a_protocol_without_field_of_view_is_refused(tmp_path):
    protocol = {name: value for name, value in PROTOCOL.items() if "dReadoutFOV" not in name}
    assert "dReadoutFOV" in str(refusal(tmp_path, WRITERS["VD"](image_lines(), protocol=protocol)))


def test_a_line_of_another_measurement_is_refused(tmp_path):
    lines = vd_line(image_lines()[0], 1), vd_line(image_lines()[1], 2, measurement=8)
    content = vd_file(vd_measurement([], end=False) + b"".join(lines) + vd_block(ACQEND, 352))
    assert "no line of this measurement" in str(refusal(tmp_path, content))


def test_measurements_without_lines_are_no_scan(tmp_path):
    assert isinstance(refusal(tmp_path, vd_file(vd_measurement([]))), NotAScan)


def test_measurements_that_overlap_are_refused(tmp_path):
    content = bytearray(vd_file(vd_measurement(image_lines()), vd_measurement(image_lines())))
    struct.pack_into("<Q", content, 8 + 152 + 8, 10_240)
    assert "points beyond its" in str(refusal(tmp_path, bytes(content)))


def test_more_lines_than_fit_in_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "MOST_LINES", 5)
    error = refusal(tmp_path, WRITERS["VD"](image_lines()))
    assert isinstance(error, UnsupportedScan)
    assert "more than 5 lines" in str(error)


def test_twenty_thousand_lines_open_in_little_time_and_memory(tmp_path):
    path, n_lines = tmp_path / "long.dat", 20_000
    one = vd_line(Line(samples=noise((5, 64)), counters={"line": 2}, centre_line=1), 1)
    with path.open("wb") as file:
        file.write(vd_file(vd_measurement([]))[:10_240])
        file.write(header_bytes({"MeasYaps": "".join(f"{a} = {b}\n" for a, b in PROTOCOL.items()).encode()}))
        for _ in range(n_lines // 1000):
            file.write(one * 1000)
        file.write(vd_block(ACQEND, 352))
    assert path.stat().st_size > 50e6
    start = time.process_time()
    with memory_below(40e6), TWIX.open(path) as file:  # about 1 kB a line while heads are made
        assert len(file.heads) == n_lines
        next(file.samples(np.array([n_lines - 1])))
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\0" * 4096,
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"\x1f\x8b\x08" + bytes(100),
        bytes(128) + b"DICM",
        struct.pack("<f", 26.002) + bytes(4000),
        struct.pack("<II", 5, 1) + bytes(4000),
        struct.pack("<II", 5, 65) + bytes(4000),
        struct.pack("<II", 20_000, 6) + bytes(4000),
        struct.pack("<II", 348, 0) + bytes(4000),
        b"subject,age\nDoe^Jane,41\n" * 20,
    ],
)
def test_other_files_are_not_claimed(tmp_path, start):
    assert not TWIX.recognises(start)
    assert isinstance(refusal(tmp_path, start), NotAScan)


@pytest.mark.parametrize("name", REAL)
def test_real_scans_are_recognised_and_no_others(real_scans, name):
    for path in (real_scans / "vendor").iterdir():
        with path.open("rb") as file:
            assert TWIX.recognises(file.read(START_BYTES)) == (path.suffix == ".dat")


@pytest.mark.parametrize(("name", "kspace"), [(REAL[0], "brain16_pulseq.npy"), (REAL[1], "phantom32_pulseq.npy")])
def test_pulseq_scans_equal_their_published_kspace(real_scans, name, kspace):
    """Sample by sample: no scale, no flip, no oversampling. Their protocols say 64 x 64 and no centre."""
    with TWIX.open(real_scans / "vendor" / name) as file:
        encoding = parse_header(file.header_xml).encoding[0]
        n_ro, n_pe, _ = matrix(encoding.encodedSpace)
        assert matrix(encoding.reconSpace) == (n_ro, n_pe, 1)
        found = np.zeros((int(file.heads["active_channels"][0]), n_pe, n_ro), np.complex64)
        centre = encoding.encodingLimits.kspace_encoding_step_1.center
        lines = file.heads["idx"]["kspace_encode_step_1"] - centre + n_pe // 2
        for line, samples in zip(lines, file.samples(np.arange(len(lines))), strict=True):
            found[:, line] = samples
    np.testing.assert_array_equal(found, np.load(real_scans / "kspace" / kspace)[0])


def test_a_real_epi_is_described(real_scans):
    with TWIX.open(real_scans / "vendor" / REAL[3]) as file:
        (encoding,) = parse_header(file.header_xml).encoding
        navigators = has_flag(file.heads, ismrmrd.ACQ_IS_PHASECORR_DATA)
        reversed_lines = has_flag(file.heads, ismrmrd.ACQ_IS_REVERSE)
        dwell_us = file.heads["sample_time_us"][0]
    assert np.flatnonzero(navigators).tolist() == [0, 1, 2]
    assert reversed_lines[:4].tolist() == [True, False, True, False]
    assert reversed_lines[3:].sum() == 40
    assert matrix(encoding.encodedSpace) == (160, 80, 1)
    assert encoding.trajectory.value == "epi"
    described = {one.name: one.value for one in encoding.trajectoryDescription.userParameterLong}
    assert described == {
        "etl": 80,
        "numberOfNavigators": 3,
        "numSamples": 160,
        "echoSpacing": 560,
        "rampUpTime": 160,
        "rampDownTime": 160,
        "flatTopTime": 240,
        "acqDelayTime": 32,
    }
    # The readout gradient lasts as long as the echoes are apart, and the samples as long as their dwell time says.
    assert described["rampUpTime"] + described["flatTopTime"] + described["rampDownTime"] == described["echoSpacing"]
    assert 160 * dwell_us == pytest.approx(560 - 2 * 32)
