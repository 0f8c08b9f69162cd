"""Whether the worker in this container gets on: by the age of a file that it touches. What ECS's health check runs."""

import contextlib
import sys
import time
from pathlib import Path
from tempfile import gettempdir

ALIVE = "raki-alive"
LONGEST_S = 300
"""Between two touches: a receive waits for 20 s, and a lease of two minutes is renewed three times."""


def note_alive() -> None:
    """Touches the file. A disk that is full, or gone, is no reason to stop."""
    with contextlib.suppress(OSError):
        (Path(gettempdir()) / ALIVE).touch()


def age_s() -> float | None:
    """How long ago the worker touched its file, in seconds; None before it did first."""
    try:
        return time.time() - (Path(gettempdir()) / ALIVE).stat().st_mtime
    except FileNotFoundError:
        return None


def main() -> int:
    """0 where it gets on."""
    age = age_s()
    return int(age is None or age > LONGEST_S)


if __name__ == "__main__":
    sys.exit(main())
