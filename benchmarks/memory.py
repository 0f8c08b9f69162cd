"""The most memory that a process has held."""

from pathlib import Path


def peak_bytes(pid: int | None = None) -> int | None:
    """Of this program or another one; None where the system doesn't tell, or that one is gone.

    Not getrusage's ru_maxrss: on Linux that starts from what the parent process held.
    """
    try:
        status = Path(f"/proc/{pid or 'self'}/status").read_text()
        (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, ValueError):
        return None
    return 1024 * int(peak.split()[1])
