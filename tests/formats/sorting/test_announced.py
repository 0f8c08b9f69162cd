"""What the header announces against what was found: decided by the data and said, or refused."""

import ismrmrd
import numpy as np
import pytest

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.scan_reader import sorted_scan
from raki.phantom.simulation import scan_header
from tests.formats.sorting.recordings import ALL, InMemory, N, acquisitions, phantom, read, recorded

EVERY_SECOND = range(0, N, 2)

SHORT = "partial Fourier or zero-filling, or the scan was stopped. What is missing wasn't measured."


def changed(n_slices=1, acceleration=1, **changes):
    """The phantom's header with parts of its encoding set, by their paths."""
    header = scan_header(n_slices, 4, N, acceleration)
    for path, value in changes.items():
        *parts, last = path.split("__")
        place = header.encoding[0]
        for part in parts:
            place = getattr(place, part)
        setattr(place, last, value)
    return header


def limits(minimum, maximum, centre):
    return {
        f"encodingLimits__kspace_encoding_step_1__{name}": value
        for name, value in {"minimum": minimum, "maximum": maximum, "center": centre}.items()
    }


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (changed(**limits(0, 0, 0)), "gives no limits of the lines: line 16 of 32"),
        (changed(**limits(0, N - 1, 0)), "gives line 0 as the centre, which the lines don't fit"),
        (changed(encodedSpace__matrixSize__y=16), "matrix has 16 lines, its limits and the lines found have 32"),
        (changed(encodedSpace__fieldOfView_mm__x=220.0), "doesn't say that the readout is oversampled"),
    ],
)
def test_what_the_data_decide_is_decided_and_said(header, said):
    scan, right = read(recorded(phantom()), header=header), read(recorded(phantom()))
    np.testing.assert_array_equal(scan.kspace, right.kspace)
    assert (scan.geometry, scan.readout_oversampling) == (right.geometry, 2.0)
    assert said in scan.remarks[0]


@pytest.mark.parametrize("slab_mm", [5.0, 15.0])
def test_slices_counted_as_partitions_are_slices(slab_mm):
    sizes = {f"{space}__fieldOfView_mm__z": slab_mm for space in ("encodedSpace", "reconSpace")}
    scan = read(recorded(phantom(3)), header=changed(3, encodedSpace__matrixSize__z=3, **sizes))
    np.testing.assert_array_equal(scan.kspace, phantom(3))
    assert (scan.geometry.fov_mm[2], scan.geometry.slice_spacing_mm) == (5.0, 5.0)
    assert "counts 3 slices along z" in scan.remarks[0]
    with pytest.raises(UnsupportedScan, match="2 slabs"):
        read(recorded(phantom(2)), header=changed(2, encodedSpace__matrixSize__z=3))


@pytest.mark.parametrize(("n_slices", "spacing_mm", "said"), [(1, 1.0, "has 1 mm"), (2, 5.0, "distance of 5 mm")])
def test_an_unknown_thickness_is_said_and_none_is_invented(n_slices, spacing_mm, said):
    sizes = {f"{space}__fieldOfView_mm__z": 0.0 for space in ("encodedSpace", "reconSpace")}
    scan = read(recorded(phantom(n_slices)), header=changed(n_slices, **sizes))
    np.testing.assert_array_equal(scan.kspace, phantom(n_slices))
    assert (scan.geometry.fov_mm[2], scan.geometry.slice_spacing_mm) == (0.0, spacing_mm)
    (remark,) = scan.remarks
    assert "slice thickness of 0" in remark
    assert said in remark
    known = read(recorded(phantom(n_slices)), header=changed(n_slices, reconSpace__fieldOfView_mm__z=0.0))
    assert known.geometry.fov_mm[2] == 4.0
    assert known.remarks == ()


@pytest.mark.parametrize("length", [-0.001, -5.0, float("nan"), float("inf")])
def test_a_thickness_that_is_no_length_is_refused(length):
    with pytest.raises(DamagedScan, match=r"field of view of \S+ mm along z"):
        read(recorded(phantom()), header=changed(reconSpace__fieldOfView_mm__z=length))


@pytest.mark.parametrize("number", ["32.0", "32.", "32.000000"])
def test_a_whole_number_may_be_a_decimal(number):
    known = acquisitions(recorded(phantom()))
    known.header_xml = known.header_xml.replace("<y>32</y>", f"<y>{number}</y>")
    assert sorted_scan(known).kspace.shape[2] == N
    known.header_xml = known.header_xml.replace(f"<y>{number}</y>", "<y>32.5</y>")
    with pytest.raises(DamagedScan, match=r"32\.5"):
        sorted_scan(known)


@pytest.mark.parametrize("flags", [(), (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)])
def test_lines_numbered_in_the_order_of_time_are_refused(flags):
    lines = sorted({*EVERY_SECOND, *range(12, 20)})
    heads, samples = recorded(phantom(), lines)
    heads["idx"]["kspace_encode_step_1"] = np.arange(len(lines))
    with pytest.raises(DamagedScan, match=r"lines 0 to 19 of 32 were found without a gap, the header announces R=2"):
        read((heads, samples), header=changed(acceleration=2))
    # Where the centre agrees by chance, lines for calibration alone tell.
    if flags:
        heads["idx"]["kspace_encode_step_1"] += 16 - lines.index(16)
        heads["flags"][7:9] = 1 << (flags[0] - 1)
        with pytest.raises(DamagedScan, match="without a gap"):
            read((heads, samples), header=changed(acceleration=2))


def test_a_header_that_is_wrong_about_r_is_no_fault_of_the_lines():
    scan = read(recorded(phantom(), range(6, N)), header=changed(acceleration=2))
    assert scan.sampled.sum() == N - 6
    assert scan.remarks == (f"The header announces lines 0 to {N - 1}, and lines 6 to {N - 1} were found: {SHORT}",)


def test_a_brightest_line_elsewhere_is_said():
    heads, samples = recorded(phantom(), ALL[:24])
    heads["idx"]["kspace_encode_step_1"] += 8
    scan = sorted_scan(InMemory(acquisitions((heads, samples)).header_xml, heads, samples)).in_memory()
    assert scan.remarks == (
        "The header gives line 16 as the centre of k-space, line 24 is the brightest: raki goes by the header.",
        f"The header announces lines 0 to 31, and lines 8 to 31 were found: {SHORT}",
    )
