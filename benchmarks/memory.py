"""The most memory that a process has held."""

from pathlib import Path


def peak_bytes() -> int | None:
    """Of this program; None where the system doesn't tell.

    Not getrusage's ru_maxrss: on Linux that starts from what the parent process held.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    (peak,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(peak.split()[1])
