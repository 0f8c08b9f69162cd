"""One archive to a prepared scan in a process of its own: `python -m benchmarks.throughput_probe ARCHIVE FOLDER`.

Prints seconds and the process's peak memory as JSON. Both steps run in this one process, so that all memory counts.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.memory import peak_bytes
from raki.archive import unpack
from raki.formats import formats
from raki.prepare import prepare_here


def main(archive: Path, folder: Path) -> None:
    """Unpacks and prepares."""
    started = time.perf_counter()
    with archive.open("rb") as stream:
        files = unpack(stream, folder, formats=formats())
    unpacked = time.perf_counter()
    prepare_here(files, folder / "prepared")
    prepared = time.perf_counter()
    seconds = {"unpack_seconds": unpacked - started, "prepare_seconds": prepared - unpacked}
    print(json.dumps(seconds | {"peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
