"""One archive to a prepared scan in a process of its own: `python -m benchmarks.throughput_probe ARCHIVE FOLDER`.

Prints seconds and peak memory as JSON: that of the readers, in which both steps run as in the decompression worker.
"""

import json
import sys
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.memory import peak_bytes
from raki.prepare import prepare, unpack_within
from raki.sandbox import Allowance, Readers


def main(archive: Path, folder: Path) -> None:
    """Unpacks and prepares."""
    with Readers(["raki.prepare", "raki.formats:formats"]) as readers:
        # The process that stands ready does so when the first file comes.
        readers.contained(peak_bytes, allowance=Allowance(seconds=60), reads=[Path("/proc")])
        started = time.perf_counter()
        with archive.open("rb") as stream:
            files = unpack_within(stream, archive.stat().st_size, folder, within=readers.contained)
        unpacked = time.perf_counter()
        prepare(files, folder / "prepared", within=readers.contained)
        prepared = time.perf_counter()
    seconds = {"unpack_seconds": unpacked - started, "prepare_seconds": prepared - unpacked}
    # Of the processes that have ended, the one that held most: in kibibytes (getrusage(2)).
    peak = 1024 * getrusage(RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps(seconds | {"peak_bytes": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
