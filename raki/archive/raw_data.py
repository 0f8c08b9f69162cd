"""What raw data looks like from outside: all that unpacking has to know of a format."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Protocol, TypeVar, runtime_checkable

from raki.archive.foreign import foreign
from raki.errors import NotAScan, PermanentError

START_BYTES = 4096
"""How much of a file's beginning a format is recognised by; shorter files give less."""

PACKED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
}


@runtime_checkable
class RawData(Protocol):
    """A format of raw data; `raki.formats.Format` is one."""

    @property
    def name(self) -> str:
        """As a user knows it."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What names of such files end with by custom."""

    @property
    def companions(self) -> tuple[str, ...]:
        """What stands beside such a file and is a part of it: suffixes under the same name, or whole names."""

    @property
    def file_name(self) -> str:
        """What such a file is always called; empty where its name is free."""

    def recognises(self, start: bytes, /) -> bool:
        """Whether a file may be of this format, from its first `START_BYTES` bytes."""


SomePath = TypeVar("SomePath", bound=PurePath)


def recognised(formats: Sequence[RawData], path: PurePath, start: bytes) -> list[RawData]:
    """The formats that a file of this path and beginning may be of."""
    return [
        known
        for known in formats
        if known.recognises(start)
        and (not known.file_name or path.name == known.file_name or path.suffix in known.suffixes)
    ]


def suffix_of(companion: str) -> str:
    """What ends the name that a companion has under a name of ours; its own ending, or the last part of its name."""
    return companion if companion.startswith(".") else "." + companion.rpartition(".")[2]


def companion_of(path: SomePath, companion: str) -> SomePath:
    """Where a companion stands: under the same name, or under its own where the scanner gives fixed names.

    Its ending is as loud as the file's.
    """
    if companion.startswith(".") or path.suffix:
        ending = suffix_of(companion)
        return path.with_suffix(ending.upper() if path.suffix.isupper() else ending)
    return path.with_name(companion)


def refusal(start: bytes, formats: Sequence[RawData]) -> PermanentError:
    """The error for a file that begins with these bytes and isn't a scan; it names what the file seems to be."""
    wanted = f"raki reads {', '.join(known.name for known in formats)}"
    if not start:
        return NotAScan(f"the file is empty; {wanted}: copy the scan again")
    for magic, name in PACKED.items():
        if start.startswith(magic):
            return NotAScan(f"this is a {name} archive; {wanted}: unpack it first (raki.archive.unpack)")
    if sentence := foreign(start):
        return NotAScan(sentence)
    if start[128:132] == b"DICM":
        return NotAScan(f"this is a DICOM file, which holds images; {wanted}: export the raw data")
    if b"\0" not in start:
        return NotAScan(f"the file holds text; {wanted}: export the raw data")
    return NotAScan(f"the file begins like no raw data that raki knows; {wanted}: convert it to ISMRMRD")
