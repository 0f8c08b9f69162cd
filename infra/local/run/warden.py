"""Ends the programs of a local cloud whose own process is gone: run as a script, it outlives a kill -9 of its parent.

Standard input carries one line a program: "+PID" when its process group starts, "-PID" when it has ended. The end
of the input means that the parent is gone, however it went; whatever is still running is then killed.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Follows standard input to its end, then kills every process group that is still listed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        if line[0] == "+":
            running.add(pid)
        else:
            running.discard(pid)
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
