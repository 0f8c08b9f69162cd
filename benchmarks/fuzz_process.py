"""One parser under atheris, until its time is up: `python -m benchmarks.fuzz_process TARGET FOLDER SECONDS SEED`.

Faults that Python can name are written down, and it goes on; crashes and hangs end the process, and leave their input.
"""

import hashlib
import json
import sys
import time
import warnings
from pathlib import Path

import atheris

# What is instrumented has to be imported within.
with atheris.instrument_imports(include=["raki", "pydicom", "tarfile", "zipfile", "tomllib"]):
    from benchmarks.fuzz_targets import target_of

    READ = target_of(sys.argv[1]).read

import numpy as np

from benchmarks.broken_bytes import MUTATIONS
from benchmarks.fuzz_ends import CPU_SECONDS, fault_of, limit_memory

HANG_S = 6 * CPU_SECONDS


def main(folder: Path, seconds: int, seed: int) -> None:
    warnings.simplefilter("ignore")  # as they are in production
    corpus, found = folder / "corpus", folder / "found"
    n_longest = 2 * max(file.stat().st_size for file in corpus.iterdir())
    limit_memory(n_longest)
    n_executions = 0
    started = written = time.monotonic()
    smallest: dict[str, int] = {}

    def one(content: bytes) -> None:
        nonlocal n_executions, written
        n_executions += 1
        fault = fault_of(READ, content)
        if fault and len(content) < smallest.get(fault, n_longest + 1):
            smallest[fault] = len(content)
            name = hashlib.sha256(fault.encode()).hexdigest()[:12]
            (found / name).write_bytes(content)
            (found / f"{name}.txt").write_text(fault)
        if n_executions == 1 or time.monotonic() > written + 1:
            written = time.monotonic()
            counts = {"executions": n_executions, "seconds": written - started}
            (folder / "counts.json").write_text(json.dumps(counts))

    random = np.random.default_rng(seed)

    def mutated(content: bytes, most: int, _: int) -> bytes:
        """As libFuzzer does it, or as broken copies and converters do."""
        if random.random() < 0.6 or not content:
            return atheris.Mutate(content, most)
        mutation = list(MUTATIONS.values())[int(random.integers(len(MUTATIONS)))]
        return bytes(mutation(bytearray(content), random)[:most])

    options = {
        "max_total_time": seconds,
        "seed": seed + 1,  # zero would be drawn from the clock
        "max_len": n_longest,
        "timeout": HANG_S,
        "rss_limit_mb": 4096,
        "artifact_prefix": f"{found}/",
        "verbosity": 0,
    }
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)]
    atheris.Setup(arguments, one, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
