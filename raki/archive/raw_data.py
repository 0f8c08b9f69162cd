"""What raw data looks like from outside: all that unpacking has to know of a format."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

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
        """Suffixes of files that stand beside such a file under the same name and are a part of it."""

    def recognises(self, start: bytes, /) -> bool:
        """Whether a file may be of this format, from its first `START_BYTES` bytes."""


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
