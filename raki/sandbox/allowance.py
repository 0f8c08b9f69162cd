"""What a file may cost before it is taken for broken, in proportion to its size."""

import os
from dataclasses import dataclass
from pathlib import Path

from raki.scan.budget import growth_allowed

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Linux kernel documentation, "Control Group v2", "Memory Interface Files"; and of version 1."""
MOST_OF_THE_MEMORY = 3 / 4
"""The rest is for whoever waits for the answer, and for what the kernel keeps of files."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a file may cost before it is taken for broken."""

    seconds: int
    """Of the processor."""
    wall_seconds: int = 3600
    """Without a byte of what is read coming in."""
    memory_bytes: int = 8 << 30
    """That it writes to; files that are mapped to be read don't count."""
    file_bytes: int = 1 << 40
    """The largest file that it may write."""

    @property
    def disk_bytes(self) -> int:
        """All that may lie in its folder at a time: what it writes, and once more what that is made from."""
        return 2 * self.file_bytes

    @classmethod
    def for_size(cls, n_bytes: int) -> "Allowance":
        """Enough for a sound file of this size on a slow machine."""
        seconds = 30 + n_bytes // 1_000_000
        return cls(
            seconds=seconds,
            wall_seconds=90 + seconds,
            # Libraries and one slice, of which there may be but one; that several times over.
            memory_bytes=min((3 << 29) + 64 * n_bytes, int(MOST_OF_THE_MEMORY * memory_limit())),
            file_bytes=growth_allowed(n_bytes),
        )

    @classmethod
    def for_packed(cls, n_bytes: int, most_bytes: int) -> "Allowance":
        """Enough to unpack so many bytes, to so many at most; the archive's own limits are closer than these."""
        seconds = 30 + n_bytes // 1_000_000
        # An xz stream and a zstd window take what `raki.archive.streams` lets them, whatever the size.
        memory_bytes = min(3 << 29, int(MOST_OF_THE_MEMORY * memory_limit()))
        return cls(seconds=seconds, wall_seconds=90 + seconds, memory_bytes=memory_bytes, file_bytes=most_bytes)


def memory_limit(limits: tuple[Path, ...] = CGROUP_LIMITS) -> int:
    """Bytes that this process may have: the container's limit, or all that the machine has."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in limits:
        try:
            return min(physical, int(path.read_text()))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return physical
