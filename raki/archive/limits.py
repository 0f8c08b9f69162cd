"""What an archive may ask of the machine that unpacks it, and what it has used of that so far."""

from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from raki.errors import UnsafeArchive, UnsupportedScan

# Small files may pack well: the ratio is judged once this much has been unpacked.
RATIO_JUDGED_FROM = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may ask of the machine that unpacks it."""

    n_bytes: int = 64 << 30
    """Unpacked size in all."""
    n_members: int = 10_000
    """Files and folders in the archive, and in the archives within it."""
    n_files: int = 16
    """Files of raw data."""
    n_levels: int = 2
    """Archives within each other. A compressed tar is one level."""
    n_name_bytes: int = 1024
    """Length of a name, folders included."""
    ratio: float = 100.0
    """Unpacked over packed size. Raw data is noise and hardly packs; zero-filled lines reach about ten."""
    free_bytes: int = 256 << 20
    """What is left free on the disk."""


DEFAULT_LIMITS = Limits()


class Spending:
    """Counts what one archive unpacks to, over all that is packed in it, and stops it at the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.n_members = 0
        self.n_files = 0
        # By level: a scan in two wrappings passes twice, and is limited once.
        self._n_bytes = [0] * (limits.n_levels + 1)

    def pass_bytes(self, level: int, n_bytes: int) -> None:
        """So much came out at a level; level 0 is the archive itself, as it is packed."""
        self._n_bytes[level] += n_bytes
        passed, packed = self._n_bytes[level], self._n_bytes[0]
        if passed > self.limits.n_bytes:
            raise UnsafeArchive(f"the archive unpacks to more than {self.limits.n_bytes} bytes; split the scan")
        if level and passed > RATIO_JUDGED_FROM and passed > self.limits.ratio * packed:
            raise UnsafeArchive(
                f"the archive unpacks to more than {self.limits.ratio:g} times its size, as no raw data does; "
                "send the scan unpacked"
            )

    def open_level(self, level: int) -> None:
        """An archive is about to be opened at a level; the outermost one is level 1."""
        if level > self.limits.n_levels:
            raise UnsafeArchive(
                f"archives are packed within each other more than {self.limits.n_levels} deep; pack the scan once"
            )

    def pass_member(self, name: str, n_bytes: int) -> None:
        """An archive holds a file or folder of this name, of this size as the archive says."""
        self.n_members += 1
        if self.n_members > self.limits.n_members:
            raise UnsafeArchive(f"the archive has more than {self.limits.n_members} entries; pack the scan alone")
        if n_bytes > self.limits.n_bytes:
            raise UnsafeArchive(
                f"an entry of the archive unpacks to more than {self.limits.n_bytes} bytes; split the scan"
            )
        if len(name.encode(errors="surrogateescape")) > self.limits.n_name_bytes:
            raise UnsafeArchive(
                f"a name in the archive is longer than {self.limits.n_name_bytes} bytes; shorten it and pack again"
            )
        posix, windows = PurePosixPath(name), PureWindowsPath(name)
        if posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
            raise UnsafeArchive(
                "a name in the archive leads outside of it; raki takes relative names only: pack it again"
            )

    def pass_file(self) -> None:
        """The archive holds one more file of raw data."""
        self.n_files += 1
        if self.n_files > self.limits.n_files:
            raise UnsupportedScan(
                f"the archive holds several scans: more than {self.limits.n_files} files of raw data; pack each scan "
                "alone"
            )
