"""Siemens twix: lines that are sums of slices are refused by how many, and never taken for slices."""

import pytest

from raki.errors import UnsupportedScan
from raki.formats import read_scan
from raki.formats.twix.multiband import slices_at_once
from raki.formats.twix.protocol import Protocol
from tests.formats.twix.twix_files import DICOM, PROTOCOL, REFLECT, WRITERS, buffers, image_lines

CMRR = {"tSequenceFileName": '"%CustomerSeq%\\cmrr_mbep2d_bold"', "sSliceAcceleration.lMultiBandFactor": "1"}
PARAMETERS = " ".join(["0"] * 11 + ["8", "0", "0", "3"])


def sums(version, protocol=None, derived=None):
    """An EPI whose every line would make an image."""
    lines = image_lines(n_lines=8)
    for line in lines[1::2]:
        line.mask |= REFLECT
    return WRITERS[version](lines, protocol=PROTOCOL | (protocol or {}), derived=DICOM | (derived or {}))


@pytest.mark.parametrize("version", WRITERS)
@pytest.mark.parametrize(
    ("protocol", "derived", "told"),
    [
        ({"sSliceAcceleration.lMultiBandFactor": "4"}, {}, "4 slices at once (multiband; sSliceAcceleration.lMulti"),
        (CMRR | {"sWipMemBlock.alFree[13]": "6"}, {}, "6 slices at once (multiband; sWipMemBlock.alFree[13]"),
        (CMRR | {"sWiPMemBlock.alFree[13]": "2"}, {}, "2 slices at once (multiband; sWiPMemBlock.alFree[13]"),
        (CMRR, {"alICEProgramPara": PARAMETERS}, "8 slices at once (multiband; alICEProgramPara[11]"),
    ],
)
def test_sums_of_slices_are_refused_with_their_number_and_a_way_out(tmp_path, version, protocol, derived, told):
    (tmp_path / "scan.dat").write_bytes(sums(version, protocol, derived))
    with pytest.raises(UnsupportedScan) as refused:
        read_scan(tmp_path / "scan.dat")
    assert told in str(refused.value)
    assert "convert it with siemens_to_ismrmrd" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"sSliceAcceleration.lMultiBandFactor": "1"},
        # What other sequences keep in that place is no number of slices.
        {"sWipMemBlock.alFree[13]": "6"},
        CMRR,
        CMRR | {"sWipMemBlock.alFree[13]": "1"},
        CMRR | {"sWipMemBlock.alFree[13]": "5120"},
    ],
)
def test_slices_that_are_excited_alone_are_read(changed):
    text = {name: value.decode() for name, value in buffers(PROTOCOL | changed, DICOM).items()}
    assert slices_at_once(Protocol(text))[0] == 1


def test_such_a_scan_is_still_described(tmp_path, opened):
    _, header, _ = opened(sums("VD", CMRR | {"sWipMemBlock.alFree[13]": "6"}))
    assert header.encoding[0].parallelImaging.multiband.multiband_factor == 6
