"""What this machine computes with, told without torch."""

import ctypes
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def default_device() -> str:
    """Where a reconstruction is made if nobody says: "cuda" where torch would find such a device, else "cpu".

    Torch takes seconds to load. Whether there is a device is asked of the driver itself (cuInit and cuDeviceGetCount
    of the CUDA driver API, which heed CUDA_VISIBLE_DEVICES); whether torch is built for it is told by its files.
    """
    torch = find_spec("torch")
    if torch is None or torch.origin is None or not (Path(torch.origin).parent / "lib/libtorch_cuda.so").exists():
        return "cpu"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "cpu"
    n_devices = ctypes.c_int(0)
    has_answered = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(n_devices)) == 0
    return "cuda" if has_answered and n_devices.value else "cpu"


def n_cores() -> int:
    """Cores that this process may use, and so how many slices are under way at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
