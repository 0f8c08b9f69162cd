"""Scan-specific MRI reconstruction (RAKI), as a library and as a cloud service.

What is named here is the public interface; everything else may change. Nothing heavy is loaded until it is used: a
Lambda that imports `raki.service` must not load torch.

Arrays have the axes slice, coil, pe, ro, the centre of k-space at index n // 2. From arrays: `complete_kspace`. From a
raw file: `read_scan`, `preprocess`, `reconstruct`, `write_results`.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from raki import models as models
    from raki.coils import espirit as espirit
    from raki.coils import geometric_compression as geometric_compression
    from raki.coils import root_sum_of_squares as root_sum_of_squares
    from raki.coils import svd_compression as svd_compression
    from raki.formats import read_scan as read_scan
    from raki.images import Reconstruction as Reconstruction
    from raki.images import reconstruct as reconstruct
    from raki.inspection.inspection import inspect as inspect
    from raki.kspace import complete_kspace as complete_kspace
    from raki.phantom import phantom_kspace as phantom_kspace
    from raki.phantom import simulate_scan as simulate_scan
    from raki.planning import methods as methods
    from raki.prepare import preprocess as preprocess
    from raki.results import write_results as write_results
    from raki.results.notebook import show as show
    from raki.scan import Scan as Scan

_WHERE = {
    "Reconstruction": "raki.images",
    "Scan": "raki.scan",
    "complete_kspace": "raki.kspace",
    "espirit": "raki.coils",
    "geometric_compression": "raki.coils",
    "inspect": "raki.inspection.inspection",
    "methods": "raki.planning",
    "phantom_kspace": "raki.phantom",
    "preprocess": "raki.prepare",
    "read_scan": "raki.formats",
    "reconstruct": "raki.images",
    "root_sum_of_squares": "raki.coils",
    "show": "raki.results.notebook",
    "simulate_scan": "raki.phantom",
    "svd_compression": "raki.coils",
    "write_results": "raki.results",
}

__all__ = list(_WHERE)  # the table is the one place


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("raki-mri")
    if name == "models":  # a folder of its own, as `raki.models.make`
        return import_module("raki.models")
    if name not in _WHERE:
        raise AttributeError(f"module 'raki' has no attribute {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", *(name for name in globals() if name.startswith("__"))})
