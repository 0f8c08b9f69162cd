"""An ISMRMRD stream is read as the same scan in HDF5 is, or refused in one sentence."""

import io
import struct
import time
import tracemalloc
from contextlib import suppress

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from ismrmrd.serialization import ConfigFile, ConfigText, ProtocolDeserializer, ProtocolSerializer

from raki.archive import START_BYTES
from raki.errors import DamagedScan, NotAScan, PermanentError, UnsupportedScan
from raki.formats.acquisitions import HEAD, Acquisitions
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5
from raki.formats.ismrmrd.stream import ISMRMRD_STREAM
from raki.formats.ismrmrd.stream_writer import write_stream
from raki.formats.scan_reader import sorted_scan
from raki.scan.header import parse_header

ANY_BYTE = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def acquisitions(raw):
    """The acquisitions of the small phantom scan, as the library has them, and its header."""
    with ismrmrd.Dataset(raw, mode="r") as dataset:
        found = [dataset.read_acquisition(index) for index in range(dataset.number_of_acquisitions())]
        return dataset.read_xml_header(), found


@pytest.fixture(scope="module")
def converted(acquisitions):
    """The small phantom scan as a converter writes it: by the library."""
    xml, found = acquisitions
    return streamed(parse_header(xml.decode()), *found)


@pytest.fixture
def stored(tmp_path):
    def write(content):
        path = tmp_path / "Doe^Jane.mrd"
        path.write_bytes(content)
        return path

    return write


def streamed(*messages) -> bytes:
    stream = io.BytesIO()
    with ProtocolSerializer(stream) as serializer:
        for message in messages:
            serializer.serialize(message)
    return stream.getvalue()


def read(path):
    with ISMRMRD_STREAM.open(path) as stream:
        return stream.header_xml, stream.heads, list(stream.samples(np.arange(len(stream.heads))))


def kspace(format_, path):
    with format_.open(path) as acquisitions:
        return sorted_scan(acquisitions).in_memory().kspace


def refused(kind, sentence, path):
    with pytest.raises(kind, match=sentence) as raised, ISMRMRD_STREAM.open(path):
        pass
    assert "Doe" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_the_library_writes_is_read_the_same(acquisitions, converted, stored):
    _, expected = acquisitions
    _, heads, samples = read(stored(converted))
    assert len(heads) == len(samples) == len(expected)
    for head, found, one in zip(heads, samples, expected, strict=True):
        assert head.tobytes() == bytes(one.getHead())
        np.testing.assert_array_equal(found, one.data)


def test_a_stream_is_the_same_scan_as_hdf5(raw, converted, stored):
    np.testing.assert_array_equal(kspace(ISMRMRD_STREAM, stored(converted)), kspace(ISMRMRD_HDF5, raw))


def test_what_raki_writes_the_library_reads_the_same(raw, acquisitions, tmp_path):
    xml, expected = acquisitions
    path = tmp_path / "scan.mrd"
    with ISMRMRD_HDF5.open(raw) as file:
        write_stream(file.header_xml, file.heads, file.samples(np.arange(len(file.heads))), path)
    with path.open("rb") as stream:
        header, *found = ProtocolDeserializer(stream).deserialize()
        assert stream.read() == b""
    assert header.toXML() == parse_header(xml.decode()).toXML()
    for one, other in zip(found, expected, strict=True):
        assert bytes(one.getHead()) == bytes(other.getHead())
        np.testing.assert_array_equal(one.data, other.data)


@given(st.data())
@settings(max_examples=20)
def test_writing_and_reading_gives_back_what_was_kept(tmp_path_factory, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    heads, samples = np.zeros(data.draw(st.integers(1, 6)), HEAD), []
    for head in heads:
        n_coils, n_kept, before, after = (data.draw(st.integers(least, 5)) for least in (0, 0, 0, 0))
        head["active_channels"], head["number_of_samples"] = n_coils, before + n_kept + after
        head["discard_pre"], head["discard_post"], head["center_sample"] = before, after, before + n_kept // 2
        head["trajectory_dimensions"] = 2
        samples.append(rng.standard_normal((n_coils, 2 * n_kept), np.float32).view(np.complex64))
    path = tmp_path_factory.getbasetemp() / "kept.mrd"
    write_stream("<ismrmrdHeader/>", heads, samples, path)
    xml, found_heads, found = read(path)
    assert xml == "<ismrmrdHeader/>"
    for head, kept, one in zip(found_heads, found, samples, strict=True):
        np.testing.assert_array_equal(kept, one)
        assert head["number_of_samples"] == one.shape[1]
        assert head["center_sample"] == one.shape[1] // 2


def test_nothing_stands_under_the_name_until_all_is_written(acquisitions, tmp_path):
    heads = np.zeros(2, HEAD)
    heads["active_channels"], heads["number_of_samples"] = 1, 4
    path = tmp_path / "scan.mrd"

    def samples():
        yield np.zeros((1, 4), np.complex64)
        assert not path.exists()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        write_stream("<ismrmrdHeader/>", heads, samples(), path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shapes", [[(1, 4)], [(1, 4), (1, 3)], [(1, 4), (2, 4)], [(1, 4)] * 3])
def test_samples_that_dont_fit_their_heads_are_not_written(tmp_path, shapes):
    heads = np.zeros(2, HEAD)
    heads["active_channels"], heads["number_of_samples"] = 1, 4
    with pytest.raises(ValueError, match=r"shape|zip"):
        write_stream("<ismrmrdHeader/>", heads, [np.zeros(one, np.complex64) for one in shapes], tmp_path / "s.mrd")
    assert list(tmp_path.iterdir()) == []


def test_an_open_stream_is_acquisitions(converted, stored):
    with ISMRMRD_STREAM.open(stored(converted)) as stream:
        assert isinstance(stream, Acquisitions)
        assert stream.heads.dtype == HEAD


@settings(max_examples=20, suppress_health_check=ANY_BYTE)
@given(wanted=st.lists(st.integers(0, 47), max_size=20))
def test_any_acquisitions_in_any_order(acquisitions, converted, stored, wanted):
    with ISMRMRD_STREAM.open(stored(converted)) as stream:
        found = list(stream.samples(np.array(wanted, int)))
    assert len(found) == len(wanted)
    for index, one in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(one, acquisitions[1][index].data)


def test_discarded_samples_are_left_out_and_trajectories_skipped(acquisitions, stored):
    xml, _ = acquisitions
    one = ismrmrd.Acquisition.from_array(np.arange(12, dtype=np.complex64).reshape(2, 6), np.ones((6, 3), np.float32))
    one.discard_pre, one.discard_post = 1, 2
    _, heads, (samples,) = read(stored(streamed(parse_header(xml.decode()), one)))
    assert heads["trajectory_dimensions"] == [3]
    np.testing.assert_array_equal(samples, [[1, 2, 3], [7, 8, 9]])


def test_other_messages_are_passed_over(acquisitions, stored):
    xml, found = acquisitions
    content = streamed(
        ConfigFile("default.xml"),
        ConfigText("<configuration/>"),
        "a text",
        parse_header(xml.decode()),
        np.ones((2, 3), np.complex64),
        ismrmrd.Waveform.from_array(np.ones((2, 5), np.uint32)),
        found[0],
        ismrmrd.Image.from_array(np.ones((4, 3), np.float32)),
        np.ones((0, 3), np.uint16),
        found[1],
    )
    assert ISMRMRD_STREAM.recognises(content[:START_BYTES])
    _, _, samples = read(stored(content))
    np.testing.assert_array_equal(samples, [found[0].data, found[1].data])


@pytest.mark.parametrize(
    "first", [(), (ConfigFile("default.xml"),), (ConfigText("<a/>\n\t" * 2000),), ("ä text", ConfigFile("x"))]
)
def test_a_stream_is_recognised_by_its_messages_up_to_the_header(acquisitions, first):
    content = streamed(*first, parse_header(acquisitions[0].decode()))
    assert ISMRMRD_STREAM.recognises(content[:START_BYTES])


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\x03\x00",
        b"\0" * 4096,
        b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
        b"<ismrmrdHeader>",
        b"\x03\x00\x20\x00\x00\x00<html>" + b" " * 40,
        struct.pack("<HI", 2, 100) + bytes(range(100)),
        struct.pack("<II", 0, 2) + bytes(1000),  # Siemens twix
        struct.pack("<H", 1) + bytes(1024) + b"\x07\x00" * 10,
    ],
)
def test_other_files_are_not_recognised(start):
    assert not ISMRMRD_STREAM.recognises(start)


def test_hdf5_is_not_taken_for_a_stream(raw):
    with raw.open("rb") as file:
        assert not ISMRMRD_STREAM.recognises(file.read(START_BYTES))


@seed(1)
@settings(max_examples=60, suppress_health_check=ANY_BYTE)
@given(fraction=st.floats(0, 1, exclude_max=True))
def test_truncated_at_any_byte_it_gives_whole_slices_with_a_remark_or_one_sentence(converted, stored, fraction):
    whole = kspace(ISMRMRD_STREAM, stored(converted))
    with suppress(PermanentError), ISMRMRD_STREAM.open(stored(converted[: int(fraction * len(converted))])) as stream:
        scan = sorted_scan(stream).in_memory()
        np.testing.assert_array_equal(scan.kspace, whole[: len(scan.kspace)])
        assert "without its closing message" in scan.remarks[0]


def test_a_stream_that_ends_before_its_first_line_is_cut_short(converted, stored):
    refused(DamagedScan, "was cut short", stored(converted[:400]))


def test_a_stream_without_its_closing_message_is_read_with_a_remark(converted, stored):
    with ISMRMRD_STREAM.open(stored(converted[:-2])) as stream:
        scan = sorted_scan(stream).in_memory()
    np.testing.assert_array_equal(scan.kspace, kspace(ISMRMRD_STREAM, stored(converted)))
    assert "the scan was stopped, or the copy is not whole" in scan.remarks[0]


@seed(2)
@settings(max_examples=60, suppress_health_check=ANY_BYTE)
@given(fraction=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), n_bytes=st.sampled_from([1, 8, 500]))
def test_changed_bytes_give_a_scan_or_one_sentence(converted, stored, fraction, value, n_bytes):
    content = bytearray(converted)
    at = int(fraction * len(content))
    content[at : at + n_bytes] = bytes([value]) * len(content[at : at + n_bytes])
    with suppress(PermanentError):
        assert np.isfinite(kspace(ISMRMRD_STREAM, stored(content))).all()


def test_undefined_samples_are_damage(acquisitions, stored):
    xml, _ = acquisitions
    one = ismrmrd.Acquisition.from_array(np.full((2, 6), np.nan, np.complex64))
    with pytest.raises(DamagedScan, match="acquisition 0 holds infinite or undefined"):
        read(stored(streamed(parse_header(xml.decode()), one)))


def test_streams_that_are_no_single_scan_are_refused_by_what_they_are(acquisitions, converted, stored):
    header, (one, *_) = parse_header(acquisitions[0].decode()), acquisitions[1]
    refused(
        NotAScan, "no acquisitions", stored(streamed(header, ismrmrd.Image.from_array(np.ones((4, 3), np.float32))))
    )
    refused(DamagedScan, "no header", stored(streamed(one)))
    refused(UnsupportedScan, "2 measurements", stored(streamed(header, one, header, one)))
    refused(DamagedScan, f"{len(converted)} bytes follow", stored(converted * 2))
    refused(DamagedScan, "no message at byte 0 but the number 77", stored(struct.pack("<H", 77)))
    refused(DamagedScan, "header of 4294967295 bytes", stored(struct.pack("<HI", 3, 2**32 - 1)))
    refused(DamagedScan, "unknown type 99", stored(struct.pack("<4H", 1030, 99, 0, 0)))
    refused(DamagedScan, "array of 65535 axes", stored(struct.pack("<4H", 1030, 8, 0, 65535)))


def test_lengths_beyond_any_file_are_refused_before_memory_is_taken(stored):
    for content in (
        struct.pack("<HI", 2, 2**32 - 1),
        struct.pack("<4H7Q", 1030, 8, 0, 7, *[2**63] * 7),
        struct.pack("<H198sQ", 1022, bytes([0, 0, 8]) + bytes(195), 2**64 - 1),
    ):
        refused(DamagedScan, "cut short", stored(content))


def test_many_lines_are_opened_fast_in_the_memory_of_their_heads(tmp_path):
    heads = np.zeros(2000, HEAD)
    heads["active_channels"], heads["number_of_samples"] = 4, 64
    line = np.ones((4, 64), np.complex64)
    path = tmp_path / "many.mrd"
    write_stream("<ismrmrdHeader/>", heads, (line for _ in heads), path)
    began_s = time.process_time()
    with ISMRMRD_STREAM.open(path) as stream:
        assert len(stream.heads) == len(heads)
    assert time.process_time() - began_s < 0.5  # with the checks of types that tests switch on
    tracemalloc.start()
    with ISMRMRD_STREAM.open(path):
        assert tracemalloc.get_traced_memory()[1] < 1.5 * heads.nbytes
    tracemalloc.stop()


def test_a_real_scan_survives_the_way_through_a_stream(real_scans, tmp_path):
    source, path = real_scans / "vendor/SNR_R3_14ch_grappa3_noise.h5", tmp_path / "scan.mrd"
    with ISMRMRD_HDF5.open(source) as file:
        write_stream(file.header_xml, file.heads, file.samples(np.arange(len(file.heads))), path)
    with h5py.File(source) as file:
        n_acquisitions = len(file["dataset/data"])
    assert len(read(path)[1]) == n_acquisitions
    np.testing.assert_array_equal(kspace(ISMRMRD_STREAM, path), kspace(ISMRMRD_HDF5, source))
