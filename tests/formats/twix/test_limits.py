"""Siemens twix: whatever a file claims, reading it takes little time and memory."""

import struct
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.twix import blocks
from raki.formats.twix.protocol import Protocol
from raki.formats.twix.reader import TWIX
from tests.formats.twix.conftest import refusal
from tests.formats.twix.twix_files import (
    ACQEND,
    PROTOCOL,
    WRITERS,
    Line,
    header_bytes,
    image_lines,
    noise,
    vd_block,
    vd_file,
    vd_line,
    vd_measurement,
)


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
