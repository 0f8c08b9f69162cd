"""Copies of arrays: their readers know no field that could tell of a person."""

import shutil
from pathlib import Path

from raki.formats import Format


def copy_arrays(source: Path, target: Path, format_: Format) -> None:
    """Copies the file and its parts. BART's header also tells of commands and files: its first two lines are copied.

    Raises:
        NotAScan, DamagedScan, UnsupportedScan: the file is none that raki reads; one with other fields is not copied.
    """
    with format_.open(source):
        pass
    for suffix in format_.companions:
        if source.with_suffix(suffix).exists():
            shutil.copyfile(source.with_suffix(suffix), target.with_suffix(suffix))
    if source.suffix == ".hdr":
        with source.open("rb") as file:
            target.write_bytes(file.readline() + file.readline())
    else:
        shutil.copyfile(source, target)
