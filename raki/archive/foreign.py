"""Files that are dropped by mistake or in a wrapping that raki doesn't open, by their beginnings, and what helps."""

import re

FOREIGN = {
    b"7z\xbc\xaf\x27\x1c": "7z archive",
    b"Rar!\x1a\x07": "rar archive",
    b"\x04\x22\x4d\x18": "file packed by lz4",
    b"\x02\x21\x4c\x18": "file packed by lz4",
    b"LZIP": "file packed by lzip",
    b"\x89LZO\x00\r\n\x1a\n": "file packed by lzop",
    b"\x1f\x9d": "file packed by compress (.Z)",
    b"MSCF": "cabinet (.cab)",
    b"xar!": "xar archive",
    b"!<arch>": "ar archive",
    b"\xff\x06\x00\x00sNaPpY": "file packed by snappy",
}
"""Containers that no part of raki unpacks. Their own specifications; the beginnings that `file` knows them by.

Of libraries for them, rarfile calls a program, inflate64 (for zip's Deflate64) unpacks all of its input at once, with
no limit, and zipfile-deflate64 has had no release since 2022. Those for lz4 and 7z are kept well; nobody has asked yet.
"""
OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, and the file that it stands for was never fetched: git lfs pull",
    b"/annex/objects/": "a pointer of git-annex, and the file that it stands for was never fetched: git annex get",
    b"<!DOCTYPE html": "a web page, as a download leaves that asked for a password: download the scan again",
    b"<html": "a web page, as a download leaves that asked for a password: download the scan again",
    b"%PDF-": "a PDF document: export the raw data",
    b"\x89PNG": "a picture (PNG): export the raw data",
    b"\xff\xd8\xff": "a picture (JPEG): export the raw data",
    b"SIMPLE  =": "a FITS image: export the raw data",
    b"MATLAB 5.0 MAT-file": "a MATLAB file, in which k-space may be called anything: save it as .npz or ISMRMRD",
    b"\x5c\x01\x00\x00": "a NIfTI image: export the raw data",
    b"# === DATA DESCRIPTION FILE": "the text that goes with Philips's images (.par with .rec): export raw data as "
    ".list with .data",
    b"##TITLE=": "a list of parameters (JCAMP-DX), as Bruker's acqp and method are: pack the folder of the experiment, "
    "with fid or rawdata.job0, as one zip or tar",
    b"SQLite format 3": "a database: export the raw data",
    b"\x7fELF": "a program: export the raw data",
}
"""What people drop by mistake, and what helps."""
SIN = re.compile(rb"^\s*\d\d \d\d \d\d: \w{2,60}\s*:", re.MULTILINE)
"""A line of Philips's `.sin`. No specification of it and of `.raw` and `.lab` is published, and public readers differ
in what they undo of them (packing, phases, amplifications); so raki leaves them alone."""
STRAY_BYTES = 512
"""In front of an archive, so many at the most."""
ARCHIVES = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}


def foreign(start: bytes) -> str | None:
    """A sentence on what a file is that begins so; None where that isn't known. Of scans there is no telling here."""
    for magic, name in FOREIGN.items():
        if start.startswith(magic):
            return f"this is a {name}, which raki doesn't unpack: pack the scan as zip, tar or tar.gz instead"
    for magic, what in OTHERS.items():
        if start.startswith(magic):
            return f"this is {what}"
    if SIN.search(start) and b"\0" not in start:
        return (
            "the text that goes with Philips's .raw and .lab (.sin), whose packing and corrections nobody has "
            "published: export raw data as .list with .data"
        )
    if found := [(at, name) for magic, name in ARCHIVES.items() if (at := start.find(magic, 1, STRAY_BYTES)) > 0]:
        at, name = min(found)
        return (
            f"a {name} archive with {at} bytes in front of it that don't belong there, as when it was downloaded or "
            "copied as text: copy it again, byte by byte"
        )
    if len(start) > STRAY_BYTES and not any(start[:STRAY_BYTES]):
        return (
            "the file begins with zeros, as a copy that was never filled does, and Philips's .raw and .lab: copy it "
            "again, or export raw data as .list with .data"
        )
    return None
