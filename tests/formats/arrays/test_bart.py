"""BART's cfl: its dimensions are counters; what makes no scan is one sentence."""

import re

import numpy as np
import pytest

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.arrays.bart import BART_CFL
from tests.formats.arrays.array_files import kspace, opened, write


@pytest.mark.parametrize(
    ("header", "error", "named"),
    [
        (b"# Dimensions\n", DamagedScan, "isn't a list of dimensions"),
        (b"# Dimensions\n6 4 1 many\n", DamagedScan, "isn't a list of dimensions"),
        (b"# Dimensions\n6 -4 1 2\n", DamagedScan, "isn't a list of dimensions"),
        (b"# Dimensions\n6 0 1 2\n", DamagedScan, "announces 6 x 0 x 1 x 2"),
        (b"# Dimensions\n6 4 1 2" + b" 1" * 12 + b" 2\n", DamagedScan, "and 1 beyond"),
        (b"# Dimensions\n6 4 1 3\n", DamagedScan, "576 bytes; the .cfl beside it has 384"),
        (b"# Dimensions\n999999999999 999999999999 999999999999\n", DamagedScan, "beside it has 384"),
        (b"# Dimensions\n6 4 1 1 2\n", UnsupportedScan, "2 elements along MAPS"),
        (b"# Dimensions\n6 4" + b" 1" * 13 + b" 2\n", UnsupportedScan, "2 elements along BATCH"),
        (b"# Dimensions\n1 6 8\n", UnsupportedScan, "1 sample along READ and 6 x 8 along PHS1 and PHS2"),
        (b"# Dimensions\n48\n# SizesDimensions\n2 2\n", UnsupportedScan, "several arrays"),
    ],
)
def test_cfl_headers_that_make_no_scan_are_named(tmp_path, header, error, named):
    (tmp_path / "scan.hdr").write_bytes(header)
    (tmp_path / "scan.cfl").write_bytes(kspace(48).tobytes())
    with pytest.raises(error, match=re.escape(named)), BART_CFL.open(tmp_path / "scan.hdr"):
        pass


def test_dimensions_of_cfl_are_the_counters_of_the_same_meaning(tmp_path):
    dimensions = [6, 5, 1, 2, 1, 2, 1, 1, 1, 1, 3, 1, 1, 4, 1, 1]
    full = kspace(*dimensions)
    (tmp_path / "scan.hdr").write_text("# Dimensions\n" + " ".join(map(str, dimensions)) + "\n")
    (tmp_path / "scan.cfl").write_bytes(full.tobytes(order="F"))
    found, *_ = opened(tmp_path / "scan.hdr", "bart")
    assert len(found) == 5 * 2 * 3 * 4
    samples = found[3, 4, 0, 1, 0, 2, 0, 0]  # slice 3, line 4, contrast 1, repetition 2
    np.testing.assert_array_equal(samples, full[:, 4, 0, :, 0, 1, 0, 0, 0, 0, 2, 0, 0, 3, 0, 0].T)


def test_header_without_samples_is_named(tmp_path):
    path = write("bart", tmp_path / "scan", kspace(1, 2, 4, 6))
    path.with_suffix(".cfl").unlink()
    with pytest.raises(DamagedScan, match="none, it is missing"), BART_CFL.open(path):
        pass
