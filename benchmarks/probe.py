"""One measurement in a process of its own: `python -m benchmarks.probe METHOD KSPACE.npy` prints JSON.

Peak memory is that of a process, and once reached never falls: what ran before would count too.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.memory import peak_bytes
from benchmarks.undersampling import Undersampling
from raki.kspace import complete_kspace


def measure(method: str, path: Path) -> dict[str, float | None]:
    """Seconds of one call on a zero-filled k-space, and how far memory grew beyond what goes in and comes out.

    The call before it, on a small scan, has loaded what is loaded once.
    """
    kspace = np.load(path)
    lines = Undersampling(n_pe=32, acceleration=2, n_acs_lines=12)
    small = lines.applied_to(
        torch.randn(1, 2, 32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    )
    complete_kspace(small, method)
    before = peak_bytes()
    start = time.perf_counter()
    complete_kspace(kspace, method)
    seconds = time.perf_counter() - start
    after = peak_bytes()
    growth = None if before is None or after is None else max(0, after - before - kspace.nbytes)
    return {"seconds": seconds, "growth_bytes": growth}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
