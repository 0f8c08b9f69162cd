"""A stream of MRD version 2, written by its own library, is read as the same scan in ISMRMRD is, or refused."""

from contextlib import suppress

import ismrmrd
import mrd
import numpy as np
import pytest
from ismrmrd import xsd

from raki.archive import START_BYTES
from raki.errors import DamagedScan, NotAScan, PermanentError, UnsupportedScan
from raki.formats import open_raw
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5
from raki.formats.ismrmrd.version2 import MRD2, looks_like_version2
from raki.formats.scan_reader import sorted_scan
from raki.inspection.inspection import inspect
from raki.scan.header import parse_header
from tests.formats.ismrmrd.version2_files import header_of, item_of, written


@pytest.fixture(scope="module")
def parts(raw):
    with ismrmrd.Dataset(raw, mode="r") as dataset:
        found = [dataset.read_acquisition(index) for index in range(dataset.number_of_acquisitions())]
        return header_of(parse_header(dataset.read_xml_header().decode())), [item_of(each) for each in found]


@pytest.fixture(scope="module")
def content(parts):
    return written(*parts)


@pytest.fixture
def stored(tmp_path):
    def write(content):
        path = tmp_path / "Doe^Jane.bin"
        path.write_bytes(content)
        return path

    return write


def test_the_scan_is_the_same_as_in_ismrmrd(raw, content, stored):
    with MRD2.open(stored(content)) as found, ISMRMRD_HDF5.open(raw) as expected:
        ours, theirs = sorted_scan(found).in_memory(), sorted_scan(expected).in_memory()
    np.testing.assert_array_equal(ours.kspace, theirs.kspace)
    np.testing.assert_array_equal(ours.noise, theirs.noise)
    np.testing.assert_array_equal(ours.sampled, theirs.sampled)
    assert ours.geometry == theirs.geometry
    assert ours.noise_dwell_ratio == theirs.noise_dwell_ratio


def test_it_is_found_by_its_content(content, stored):
    with open_raw([stored(content)]) as (found, _):
        assert found is MRD2
    assert looks_like_version2(content[:START_BYTES])
    assert not looks_like_version2(b"yardl" + bytes(100))


def test_the_header_has_the_same_values(content, stored):
    with MRD2.open(stored(content)) as found:
        header = parse_header(found.header_xml)
    assert header.sequenceParameters.TR == [250.0]
    assert header.measurementInformation.protocolName == "t1"
    assert header.acquisitionSystemInformation.systemFieldStrength_T == pytest.approx(3.0)
    assert header.encoding[0].trajectory is xsd.trajectoryType.CARTESIAN
    assert header.encoding[0].parallelImaging.calibrationMode is xsd.calibrationModeType.EMBEDDED


def test_it_is_read_within_the_walls_around_a_strangers_file(content, stored):
    assert inspect([stored(content)], device="cpu").kind.startswith("Cartesian 2-D")


def test_a_stream_that_breaks_off_gives_what_it_has_and_says_so(parts, content, stored):
    with MRD2.open(stored(content[: len(content) * 3 // 4])) as found:
        assert 0 < len(found.heads) < len(parts[1])
        assert "breaks off after" in found.remarks[0]
        assert found.cut_from == 1


@pytest.mark.parametrize("end", [0.0001, 0.01, 0.05])
def test_a_stream_without_an_acquisition_is_refused(content, stored, end):
    with pytest.raises(PermanentError), MRD2.open(stored(content[: int(len(content) * end)])):
        pass


def test_another_schema_is_refused_by_name(content, stored):
    with (
        pytest.raises(UnsupportedScan, match="another version of the schema"),
        MRD2.open(stored(content.replace(b"discardPre", b"discardPro"))),
    ):
        pass


def test_images_are_no_raw_data(parts, stored):
    image = mrd.StreamItem.ArrayComplexFloat(np.zeros((2, 2), np.complex64))
    with (
        pytest.raises(NotAScan, match="holds 1 items and no acquisitions"),
        MRD2.open(stored(written(parts[0], [image]))),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("discard_pre", 200_000, "has 200000 as its discard_pre"),
        ("discard_pre", 200, "discards more than its 64 samples"),
        ("encoding_space_ref", 70_000, "has 70000 as its encoding_space_ref"),
    ],
)
def test_numbers_that_dont_fit_are_named(parts, stored, name, value, said):
    header, items = parts
    last = items[-1].value
    before = getattr(last.head, name)
    setattr(last.head, name, value)
    try:
        broken = written(header, items)
    finally:
        setattr(last.head, name, before)
    with pytest.raises(DamagedScan, match=said), MRD2.open(stored(broken)):
        pass


def test_bytes_that_are_overwritten_are_an_error_of_ours_or_a_scan(content, stored):
    random = np.random.default_rng(0)
    start = content.index(b"t1")
    for _ in range(60):
        broken = bytearray(content)
        for at in random.integers(start, len(content), 3):
            broken[at] = int(random.integers(256))
        with suppress(PermanentError), MRD2.open(stored(bytes(broken))) as found:
            sorted_scan(found).in_memory()
