"""A spectrum is no image: it is refused by name, by inspection and by reading alike, and still described."""

import numpy as np
import pytest

from raki.errors import UnsupportedScan
from raki.formats.scan_reader import sorted_scan
from tests.inspection.recorded import changed, inspected, planned

ENCODED = r"(<encodedSpace>\s*<matrixSize>\s*)<x>\d+</x>\s*<y>\d+</y>"


def refused(acquisitions):
    with pytest.raises(UnsupportedScan, match="spectroscopy") as error:
        sorted_scan(acquisitions)
    found = inspected(acquisitions)
    assert not found.feasibility.reconstructable
    assert found.feasibility.sentence == error.value.sentence
    return found


def of_one_line(acquisitions, line):
    acquisitions.heads["idx"]["kspace_encode_step_1"] = line
    return acquisitions


@pytest.mark.parametrize(("n_ro", "n_pe"), [(4096, 1), (1, 64)])
def test_a_matrix_one_sample_wide_is_a_spectrum(n_ro, n_pe):
    spectrum = changed(of_one_line(planned(), 0), ENCODED, rf"\1<x>{n_ro}</x><y>{n_pe}</y>")
    found = refused(spectrum)
    assert f"matrix is {n_ro} x {n_pe} (readout x phase-encode)" in found.feasibility.sentence
    assert found.kind == "spectrum or projection, no image"


def test_one_line_recorded_again_and_again_is_a_spectrum_whatever_the_header_says():
    found = refused(of_one_line(planned(n_pe=64), 32))
    assert "no phase-encode line but line 32 (64 recorded)" in found.feasibility.sentence


def test_two_lines_are_not():
    """They make a poor image, but one."""
    scan = planned(n_pe=64)
    scan.heads["idx"]["kspace_encode_step_1"] = np.arange(64) % 2 + 31
    assert sorted_scan(scan).sampled.sum() == 2
