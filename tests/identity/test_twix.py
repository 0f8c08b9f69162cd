"""A cleaned Siemens file keeps its samples, places and protocol, and nobody's identity."""

import hashlib
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.errors import DamagedScan
from raki.formats.twix.blocks import find_measurements, read_buffers, read_line, read_lines
from raki.formats.twix.protocol import Protocol
from raki.formats.twix.reader import open_twix
from raki.identity.header import Policy
from raki.identity.person import Identity
from raki.identity.twix import identity_in_twix, scrub_twix
from raki.identity.twix_text import TextScrubber
from raki.identity.words import IdentityLeft
from tests.identity import twix_with_identity as made
from tests.identity.twix_with_identity import twix

TOKEN = "raki-0123456789abcdef"
ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")
# What the XA61 scan tells, found by reading its header.
REAL_WORDS = (
    *("ISMRM, DS-Test", "DS-Test", "19920206", "2024.02.06-16:49:04", "20240206", "2024-02-06", "Kopf Standard"),
    *("Universitaetsklinikum", "Freiburg", "Breisacher", "79106", "213010", "1.3.12.2.1107.5.2", "pulseq"),
    *("a1780fc1150d4da0aea41e1e4b8699b7", "e8a97cacdad645c79a8e8e3241fb35ca", "5a8452eae1b9463182aa51c6829eed90"),
    *("17f432fdcd83e63a", "localhost", "192.168"),
)


def scrubbed(source, tmp_path, **policy):
    scrub_twix(source, tmp_path / "scrubbed.dat", token=TOKEN, policy=Policy(**policy))
    return tmp_path / "scrubbed.dat"


def found(words, content):
    return [word for word in words for encoding in ENCODINGS if word.encode(encoding, "ignore") in content]


def contents(path):
    """All measurements of a file: texts by name, heads, and the samples' bytes."""
    with path.open("rb") as file:
        for measurement in find_measurements(file.fileno()):
            texts, first_line = read_buffers(file.fileno(), measurement)
            lines = read_lines(file.fileno(), measurement, first_line)
            n_bytes = lines.layout.n_channel_bytes
            samples = [read_line(file.fileno(), lines, n)[:, n_bytes:].copy() for n in range(len(lines.headers))]
            yield texts, lines, samples


@pytest.mark.parametrize("is_vb", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_nothing_of_the_identity_is_left_in_any_byte(tmp_path, encoding, is_vb):
    source = twix(tmp_path / "scan.dat", encoding=encoding, is_vb=is_vb)
    before = source.read_bytes()
    assert set(found(made.WORDS, before)) == set(made.WORDS)
    after = scrubbed(source, tmp_path).read_bytes()
    assert len(after) == len(before)
    assert found(made.WORDS, after) == []
    assert source.read_bytes() == before


@pytest.mark.parametrize("is_vb", [False, True])
def test_a_scan_that_was_stopped_keeps_its_lines_and_loses_its_identity_too(tmp_path, is_vb):
    source = twix(tmp_path / "scan.dat", is_vb=is_vb)
    *_, (_, lines, _) = contents(source)
    end = int(lines.places[-1]) + lines.layout.line_bytes(*lines.headers[-1][["n_channels", "n_samples"]].tolist())
    source.write_bytes(source.read_bytes()[:end])
    *_, (_, copied, _) = contents(scrubbed(source, tmp_path))
    np.testing.assert_array_equal(copied.places, lines.places)
    assert copied.is_cut
    assert found(made.WORDS, (tmp_path / "scrubbed.dat").read_bytes()) == []


@pytest.mark.parametrize("is_vb", [False, True])
def test_samples_and_what_places_them_stay_as_they_are(tmp_path, is_vb):
    source = twix(tmp_path / "scan.dat", is_vb=is_vb)
    for one, other in zip(contents(source), contents(scrubbed(source, tmp_path)), strict=True):
        assert other[0].keys() == one[0].keys()
        np.testing.assert_array_equal(other[1].places, one[1].places)
        np.testing.assert_array_equal(other[2], one[2])
        for name in ("counter", "mask", "n_samples", "n_channels", "line", "position", "quaternion"):
            np.testing.assert_array_equal(other[1].headers[name], one[1].headers[name])


@pytest.mark.parametrize("is_vb", [False, True])
def test_clocks_start_at_zero_and_keep_their_pace(tmp_path, is_vb):
    source = twix(tmp_path / "scan.dat", is_vb=is_vb)
    path = scrubbed(source, tmp_path)
    for number, (_, lines, _) in enumerate(contents(path), 1):
        assert lines.headers["time"].tolist() == lines.headers["pmu_time"].tolist() == [10 * n for n in range(6)]
        assert set(lines.headers["measurement"]) == {number}
        assert not is_vb or number == 1
    assert struct.pack("<I", made.TICKS) not in path.read_bytes()
    assert struct.pack("<I", 0xBEEF) not in path.read_bytes()  # a checksum over what was changed


def test_the_protocol_keeps_its_numbers_and_its_structure(tmp_path):
    texts, *_ = list(contents(scrubbed(twix(tmp_path / "scan.dat"), tmp_path)))[-1]
    protocol = Protocol(texts)
    assert protocol.number("sKSpace.lBaseResolution") == 256
    assert protocol.number("ulFlags") == 16
    assert protocol.derived("flMagneticFieldStrength") == pytest.approx(2.89362)
    assert protocol.derived_word("tPatientPosition") == "HFS"
    assert protocol.derived_word("Manufacturer") == "SIEMENS"
    assert protocol.word("sCoilSelectMeas.asList[0].sCoilElementID.tElement") == "HE1"
    assert protocol.derived_word("tPatientName") == protocol.derived_word("PatientID") == TOKEN
    assert '<ParamBool."bIsBodyCoil">{ "true" }' in texts["Meas"]
    assert texts["Meas"].count("{") == texts["Meas"].count("}") == made.XPROTOCOL.count("{")
    # An array with a person in it says nothing of the others in it either.
    assert "{ 0 } { 0 }" in texts["Meas"]


def test_the_table_names_the_token_and_the_scanners_own_measurements(tmp_path):
    content = scrubbed(twix(tmp_path / "scan.dat"), tmp_path).read_bytes()
    entries = [struct.unpack_from("<II16s64s64s", content, 8 + 152 * n) for n in range(2)]
    assert [entry[:2] for entry in entries] == [(1, 1), (2, 2)]
    assert [entry[3].rstrip(b"\0") for entry in entries] == [TOKEN.encode()] * 2
    assert [entry[4].rstrip(b"\0") for entry in entries] == [b"AdjCoilSens", b""]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_identity_is_read_from_the_texts(tmp_path, encoding):
    assert identity_in_twix(twix(tmp_path / "scan.dat", encoding=encoding)) == Identity(
        patient_name=made.NAME,
        patient_id=made.ID,
        birth_date=made.BIRTH,
        sex="F",
        weight_kg="71.5",
        height_m="1.69",
        study_date="20240206",
        study_time="174148",
        institution=made.INSTITUTION,
        institution_address=f'{made.STREET},""{made.INSTITUTION}"",DE',
        device_serial_number=made.SERIAL,
    )


@pytest.mark.parametrize(("policy", "kept"), [({}, ""), ({"keep_weight": True}, "71.5"), ({"keep_gender": True}, "F")])
def test_weight_and_gender_stay_only_where_the_policy_says_so(tmp_path, policy, kept):
    identity = identity_in_twix(scrubbed(twix(tmp_path / "scan.dat"), tmp_path, **policy))
    assert identity.weight_kg + identity.sex == kept


def test_scrubbing_twice_changes_nothing_more(tmp_path):
    once = scrubbed(twix(tmp_path / "scan.dat"), tmp_path)
    scrub_twix(once, tmp_path / "twice.dat", token=TOKEN, policy=Policy())
    assert (tmp_path / "twice.dat").read_bytes() == once.read_bytes()


def test_a_name_in_a_place_that_nobody_knows_is_found(tmp_path):
    source = twix(tmp_path / "scan.dat")
    content = source.read_bytes().replace(b'<ParamLong."MeasUID">{ 179 }', b'<ParamMap."PID-4711-XY">{  }')
    source.write_bytes(content)
    with pytest.raises(IdentityLeft, match="repeats") as raised:
        scrubbed(source, tmp_path)
    assert "4711" not in str(raised.value)


@given(st.text(st.characters(max_codepoint=255), max_size=80))
def test_texts_keep_their_length_whatever_they_hold(text):
    try:
        assert len(TextScrubber(TOKEN, Policy()).scrub(text)) == len(text)
    except DamagedScan:
        assert "=" in text  # only there quotes are added


@pytest.mark.parametrize("n_bytes", [9, 200, 10240, 10260, 12000, -900])
def test_a_file_that_was_cut_is_one_sentence(tmp_path, n_bytes):
    source = twix(tmp_path / "scan.dat")
    source.write_bytes(source.read_bytes()[:n_bytes])
    with pytest.raises(DamagedScan, match="copy"):
        scrubbed(source, tmp_path)


def test_overwritten_bytes_never_hang_or_leak_an_exception(tmp_path):
    content = twix(tmp_path / "scan.dat").read_bytes()
    random = np.random.default_rng(3)
    for at in [*range(0, 180, 15), *random.integers(10240, len(content), 12)]:
        broken = bytearray(content)
        broken[at : at + 8] = random.bytes(8)
        (tmp_path / "broken.dat").write_bytes(broken)
        with suppress(DamagedScan, IdentityLeft):
            scrubbed(tmp_path / "broken.dat", tmp_path)


def test_real_scan_names_nobody_and_gives_the_same_samples(real_scans, tmp_path):
    source, words = real_scans / "vendor/pulseq_brain16_164128_XA61.dat", REAL_WORDS
    digest = hashlib.sha256(source.read_bytes()).digest()
    assert set(found(words, source.read_bytes())) == set(words)
    path = scrubbed(source, tmp_path)
    assert found(words, path.read_bytes()) == []
    assert hashlib.sha256(source.read_bytes()).digest() == digest
    with open_twix(source) as one, open_twix(path) as other:
        assert TOKEN in other.header_xml
        for field in ("idx", "flags", "position", "read_dir", "number_of_samples", "center_sample", "sample_time_us"):
            np.testing.assert_array_equal(other.heads[field], one.heads[field])
        every = np.arange(len(one.heads))
        for ours, theirs in zip(other.samples(every), one.samples(every), strict=True):
            assert ours.tobytes() == theirs.tobytes()
