"""Siemens twix: the protocol becomes the header, as far as the lines bear it out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.formats.twix.encoding import find_axis
from tests.formats.twix.conftest import lengths, matrix
from tests.formats.twix.twix_files import (
    DICOM,
    PHASCOR,
    PROTOCOL,
    REFLECT,
    RTFEEDBACK,
    WRITERS,
    Line,
    image_lines,
    noise,
)


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
