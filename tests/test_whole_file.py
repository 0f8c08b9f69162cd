"""A file is there whole or not at all, whatever fails while it is written."""

import pytest

from raki.names import is_scratch
from raki.whole_file import whole_file


def test_a_file_and_its_companions_appear_at_the_end_and_replace_what_was_there(tmp_path):
    (tmp_path / "scan.hdr").write_text("old")
    with whole_file(tmp_path / "scan.hdr", ".cfl", ".txt") as part:
        part.with_suffix(".cfl").write_text("samples")
        part.write_text("new")
        part.with_name("scratch").touch()
        assert not (tmp_path / "scan.cfl").exists()
        assert (tmp_path / "scan.hdr").read_text() == "old"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"scan.hdr": "new", "scan.cfl": "samples"}


def write_half(path):
    with whole_file(path) as part:
        part.write_text("half")
        raise OSError("the disk is full")


def test_after_an_error_all_is_as_before(tmp_path):
    (tmp_path / "scan.h5").write_text("old")
    with pytest.raises(OSError, match="disk"):
        write_half(tmp_path / "scan.h5")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"scan.h5": "old"}


def test_nobody_else_sees_what_is_not_ready_nor_takes_it_for_a_scan(tmp_path):
    with whole_file(tmp_path / "scan.h5") as part:
        assert part.parent.stat().st_mode & 0o077 == 0
        assert is_scratch(part.relative_to(tmp_path).as_posix())
        part.touch()
