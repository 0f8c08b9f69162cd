"""What people drop by mistake is called what it is, with what helps; and what wraps a scan is opened or named."""

import bz2
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.archive.foreign import foreign
from raki.archive.streams import decompressor_for, is_lzma
from raki.errors import NotAScan, PermanentError
from tests.archive.test_unpacking import SCAN, taken, tar, zipped

LONG = SCAN + bytes(range(256)) * 50


@pytest.mark.parametrize(
    "packed",
    [
        bz2.compress(tar(("scan.h5", LONG))),
        bz2.compress(LONG[:3000]) + bz2.compress(LONG[3000:]),
        lzma.compress(tar(("scan.h5", LONG)), lzma.FORMAT_ALONE),
        lzma.compress(LONG, lzma.FORMAT_ALONE, preset=9),
        lzma.compress(LONG, lzma.FORMAT_ALONE, preset=0),
    ],
)
def test_bzip2_and_the_lzma_of_before_xz_are_opened(packed, tmp_path):
    (file,) = taken(packed, tmp_path)
    assert file.read_bytes() == LONG


@pytest.mark.parametrize("packed", [bz2.compress(LONG), lzma.compress(LONG, lzma.FORMAT_ALONE)])
@pytest.mark.parametrize("spoil", [lambda b: b[:-20], lambda b: b[:50] + b"\xff" * 20 + b[70:]])
def test_one_that_is_broken_is_damaged_and_not_the_disk(packed, spoil, tmp_path):
    with pytest.raises(PermanentError, match=r"truncated or damaged|begins like no raw data"):
        taken(spoil(packed), tmp_path)


@given(st.binary(max_size=64))
def test_only_what_begins_like_an_lzma_stream_is_taken_for_one(start):
    if is_lzma(start):
        assert start[:1] == b"\x5d"
    assert not is_lzma(SCAN)
    assert decompressor_for(b"BZh9 is how a note may begin") is None


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z archive.*zip, tar"),
        (b"Rar!\x1a\x07\x01\x00", "rar archive"),
        (b"Rar!\x1a\x07\x00", "rar archive"),
        (b"\x04\x22\x4d\x18" + bytes(9), "lz4"),
        (b"LZIP\x01", "lzip"),
        (b"\x1f\x9d\x90", "compress"),
        (b"MSCF\0\0", "cabinet"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "Git LFS.*never fetched"),
        (b"# === DATA DESCRIPTION FILE =====\n#\n# Scan name   : x\n", r"Philips's images .*\.list with \.data"),
        (b"##TITLE=Parameter List, ParaVision 6.0.1\n", r"Bruker's .*pack the folder"),
        (b"/annex/objects/SHA256E-s1--a.h5\n", "git-annex"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"%PDF-1.7", "PDF"),
        (b"\n" + zipped(("scan.h5", SCAN)), "zip archive with 1 bytes in front"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + zipped(("scan.h5", SCAN)), "zip archive with 19 bytes in front"),
        (bytes(4096), "begins with zeros.*Philips.*export"),
        (b" 01 00 00: dataset_name   : a\n 01 00 00: nr_locs :  3  3\n", r"\.sin.*export raw data as \.list"),
        (b"MATLAB 5.0 MAT-file, Platform", "MATLAB"),
    ],
)
def test_what_is_no_scan_is_called_what_it_is(start, words, tmp_path):
    with pytest.raises(NotAScan, match=words):
        taken(start, tmp_path)


@given(st.binary(max_size=600))
def test_a_sentence_is_short_and_none_of_the_files_own_words_is_in_it(start):
    sentence = foreign(start)
    assert sentence is None or len(sentence) < 300
