"""Real twix files: recognised, equal to their published k-space, described."""

import ismrmrd
import numpy as np
import pytest

from raki.archive import START_BYTES
from raki.formats.sorting.marks import has_flag
from raki.formats.twix.reader import TWIX
from raki.scan.header import parse_header
from tests.formats.twix.conftest import matrix

REAL = [
    "pulseq_brain16_164128_XA61.dat",
    "pulseq_phantom32_MID00243.dat",
    "twixtools_gre_2ch.dat",
    "twixtools_epi_2ch_phasecor.dat",
]


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
