"""The scans that quality is measured on: measured, fully sampled, so that the answer is known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from raki.errors import PermanentError, UnsupportedScan
from raki.formats import read_scan
from raki.prepare import preprocess
from raki.scan import in_memory
from raki.scan.fourier import KSpace

REAL_SCANS = Path(__file__).parents[2] / "shared/data"
# What stands beside a scan, by the end of its name: noise without excitation, a calibration block,
# navigators, and lines before their correction (an EPI's ghost is no answer).
BESIDE_A_SCAN = ("_noise", "_acs", "_nav", "_raw")
LEAST_LINES = 32


@dataclass(frozen=True, kw_only=True)
class FullScan:
    """Some slices of a fully sampled scan."""

    name: str
    kspace: KSpace
    """Axes slice, coil, pe, ro."""
    slices: tuple[int, ...]
    """Where the slices stood in the scan."""


def find_scans(folder: Path) -> list[Path]:
    """Files in `folder` and below that hold a fully sampled scan; others are passed over.

    An array counts if its name doesn't end in one of BESIDE_A_SCAN, if it is complex64 with axes slice,
    coil, pe, ro, and if it has LEAST_LINES lines or more, none of them (and no column) zero throughout.
    """
    candidates = [path for path in sorted(folder.rglob("*")) if path.suffix in {".npy", ".h5"}]
    return [path for path in candidates if not path.stem.endswith(BESIDE_A_SCAN) and _is_full(path)]


def load_scan(path: Path, *, n_slices: int | None = None) -> FullScan:
    """Read a fully sampled scan: complex64 `slice coil pe ro` in .npy, or what `raki.formats` reads.

    Args:
        path: the file; its name without ending is the scan's name.
        n_slices: at most so many slices, evenly spaced; None for all.

    Raises:
        UnsupportedScan: the array is of another kind, or not fully sampled.
    """
    kspace = _read(path)
    reason = _why_not(kspace)
    if reason:
        raise UnsupportedScan(f"{path.name} is no reference: {reason}; a fully sampled scan is needed")
    slices = even_slices(len(kspace), n_slices)
    return FullScan(name=path.stem, kspace=torch.from_numpy(kspace[list(slices)]), slices=slices)


def even_slices(n_slices: int, n_wanted: int | None) -> tuple[int, ...]:
    """The middles of `n_wanted` equal parts of the slices; all slices where there are no more than that."""
    if n_wanted is None or n_wanted >= n_slices:
        return tuple(range(n_slices))
    return tuple(int((part + 0.5) * n_slices / n_wanted) for part in range(n_wanted))


def _is_full(path: Path) -> bool:
    try:
        return not _why_not(_read(path))
    except PermanentError:
        return False


def _read(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    return in_memory(preprocess(read_scan(path)).kspace)


def _why_not(kspace: np.ndarray) -> str:
    """What keeps the array from being a reference; nothing if it is one."""
    if kspace.dtype != np.complex64 or kspace.ndim != 4:
        return f"it has type {kspace.dtype} and shape {kspace.shape}, not complex64 and slice, coil, pe, ro"
    if kspace.shape[2] < LEAST_LINES:
        return f"it has {kspace.shape[2]} lines, fewer than {LEAST_LINES}"
    energy = np.square(np.abs(kspace)).sum(axis=1)
    for axis, what in ((2, "lines"), (1, "columns")):
        n_zero = int((energy.sum(axis=axis) == 0).sum())
        if n_zero:
            return f"{n_zero} of its {what} are zero throughout"
    return ""
