"""Siemens twix: what is cut, changed or no scan at all is one clear sentence."""

import struct
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan, NotAScan, PermanentError
from raki.formats import read_scan
from raki.formats.twix.encoding import to_encoding
from raki.formats.twix.protocol import Protocol
from raki.formats.twix.reader import TWIX
from tests.formats.twix.conftest import refusal
from tests.formats.twix.twix_files import (
    ACQEND,
    DICOM,
    PROTOCOL,
    REFLECT,
    WRITERS,
    Line,
    buffers,
    image_lines,
    noise,
    vd_block,
    vd_file,
    vd_line,
    vd_measurement,
)


@pytest.mark.parametrize("version", WRITERS)
@seed(1)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_truncated_at_any_byte_is_one_clear_sentence(tmp_path, version, fraction):
    """Up to the head of the last block, the mark of the end; what follows is padding. A part of an image is none."""
    content = WRITERS[version](image_lines())
    end = (
        content.rindex(struct.pack("<Q", ACQEND)) - (40 if version == "VD" else 20) + (192 if version == "VD" else 128)
    )
    error = refusal(tmp_path, content[: int(fraction * end)], read=read_scan)
    assert error is not None or fraction * end > end - 192


@pytest.mark.parametrize("version", WRITERS)
def test_frames_before_the_one_in_which_a_file_ends_are_read(tmp_path, version):
    frames = [replace(line, counters=line.counters | {"repetition": n}) for n in (0, 1) for line in image_lines()]
    content = WRITERS[version](frames)
    path = tmp_path / "scan.dat"
    path.write_bytes(content)
    whole = read_scan(path).kspace
    path.write_bytes(content[: int(0.9 * len(content.rstrip(b"\0")))])
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.kspace, whole[:1])
    assert "without the scanner's mark of the end" in scan.remarks[0]
    assert "left out (repetition 1)" in " ".join(scan.remarks)


@pytest.mark.parametrize(("version", "n_bytes"), [("VD", 192), ("VB", 128)])
def test_what_follows_the_mark_of_the_end_may_be_missing(tmp_path, version, n_bytes):
    content = WRITERS[version](image_lines())
    end = content.rindex(struct.pack("<Q", ACQEND)) - {"VD": 40, "VB": 20}[version]
    path = tmp_path / "scan.dat"
    for n_cut, n_remarks in ((0, 0), (1, 1)):
        path.write_bytes(content[: end + n_bytes - n_cut])
        scan = read_scan(path)
        assert sum("mark of the end" in remark for remark in scan.remarks) == n_remarks
        assert scan.kspace.shape[2] == 6


def test_a_scan_that_was_stopped_in_its_only_image_is_said_to_be_cut_short(tmp_path):
    content = vd_file(vd_measurement(image_lines()[:5], end=False))
    error = refusal(tmp_path, content.rstrip(b"\0"), read=read_scan)
    assert isinstance(error, DamagedScan)
    assert "stopped or cut short: no image has more than 5 lines" in str(error)


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
