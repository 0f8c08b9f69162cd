"""What a name on the share says, and what nobody wants an error's page for."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki import names
from raki.formats import formats
from raki.names import (
    companions_of,
    for_blind_eyes,
    image_of_noise,
    is_scan,
    is_scratch,
    lead_of,
    noise_beside,
)

SCRATCH = (
    *(".DS_Store", "._scan.h5", "~$notes.docx", "Thumbs.db", "ehthumbs.db", "desktop.ini", ".nfs0001", ".fuse_hidden1"),
    *("scan.h5.part", "scan.h5.partial", "scan.h5.PARTIAL", "scan.h5.crdownload", "scan.h5.filepart", "scan.h5.tmp"),
    *("scan.h5.download/scan.h5", "scan.h5.aria2", "scan.h5.!ut", "scan.h5.swp", "scan.h5~", "scan.h5.lock"),
    *("$RECYCLE.BIN/S-1-5/scan.h5", "System Volume Information/x", "@eaDir/scan.h5", "#recycle/scan.h5"),
    *("lost+found/1", "__MACOSX/scan.h5", ".snapshot/scan.h5"),
)
NOTES = (
    *("scan.h5.md5", "scan.sha256", "SHA256SUMS.sha256", "scan.h5.asc", "protocol.txt", "Protocol.TXT", "report.pdf"),
    *("list.xlsx", "setup.jpg", "scan.h5.bak", "settings.xml", "log.log", "scan.json", "array.cfl", "a.data"),
    *("5/method", "5/fid", "5/rawdata.job0", "5/visu_pars", "subject", "5/pdata/1/2dseq", "5/pdata/1/reco"),
    *("scan.h5:Zone.Identifier", "scan.h5@SynoEAStream", "SHA256SUMS", "README"),
)
SCANS = (
    *(
        "scan.h5",
        "SCAN.H5",
        "meas_MID1_FID2.dat",
        "P20480.7",
        "no_ending",
        "scan.tar.gz",
        "a.hdr",
        "a.npy",
        "a.npz",
        "a.list",
    ),
    *("txt", "scan.part2", "md5", "folder.txt/scan.h5", "download/scan.h5", "scan.dcm", "scan.mat", "trash/scan.h5"),
    *("5/acqp", "fid.h5", "method.dat", "raki.toml.txt", "Raki.toml", "pyproject.toml"),
)


@pytest.mark.parametrize("folder", ["", "site/", "Site A/2026/"])
def test_what_is_left_alone_and_what_is_not(folder):
    assert [name for name in SCRATCH if is_scan(folder + name) or not is_scratch(folder + name)] == []
    assert [name for name in NOTES if is_scan(folder + name) or is_scratch(folder + name)] == []
    assert [name for name in SCANS if not is_scan(folder + name)] == []
    assert not is_scan(folder)


def test_files_that_belong_together_are_those_of_the_formats():
    free = [known for known in formats() if not known.file_name]
    pairs = {(own, lead) for known in free for lead in known.suffixes for own in known.companions}
    assert pairs == set(names.LEADS.items())


def test_a_companion_knows_its_scan_and_a_scan_its_companions():
    assert lead_of("site/a.b.cfl") == "site/a.b.hdr"
    assert lead_of("site/A.CFL") == "site/A.HDR"
    assert lead_of("a.json") == "a.npy"
    assert companions_of("site/a.hdr") == ["site/a.cfl"]
    assert companions_of("A.NPY") == ["A.JSON"]
    for path in ("a.h5", "a.cfl/b", ".a.cfl", "cfl", "a.hdr"):
        assert lead_of(path) is None, path
    assert companions_of("a.h5") == []


def test_an_image_knows_where_its_noise_would_lie_and_noise_whose_it_is():
    assert noise_beside("site/a.h5") == ["site/a_noise.h5", "site/a-noise.h5", "site/noise.h5"]
    assert noise_beside("A.DAT") == ["A_NOISE.DAT", "A-NOISE.DAT", "NOISE.DAT"]
    for path in ("a.tar.gz", "a.hdr", "a_noise.h5", "site/noise.h5", "h5", "site/.h5"):
        assert noise_beside(path) == [], path
    assert image_of_noise("site/a_noise.h5") == "site/a.h5"
    assert image_of_noise("A-NOISE.DAT") == "A.DAT"
    for path in ("a.h5", "site/noise.h5", "site/_noise.h5", "a_noise.tar.gz", "anoise.h5", "a_noise/b.h5"):
        assert image_of_noise(path) is None, path


@given(st.text(max_size=12))
def test_blind_eyes_see_neither_case_nor_how_an_umlaut_is_written(text):
    for form in ("NFC", "NFD"):
        assert for_blind_eyes(unicodedata.normalize(form, text)) == for_blind_eyes(text)
    assert for_blind_eyes(for_blind_eyes(text)) == for_blind_eyes(text)
    assert for_blind_eyes("Müller/SCAN") == for_blind_eyes(unicodedata.normalize("NFD", "mÜLLER/scan"))
    assert for_blind_eyes("Scan") != for_blind_eyes("Scan2")
