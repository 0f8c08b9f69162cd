"""Scan-specific MRI reconstruction (RAKI), as a library and as a cloud service.

Nothing heavy is loaded here: a Lambda that imports `raki.service` must not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raki.kspace.completion import complete_kspace as complete_kspace

_WHERE = {"complete_kspace": "raki.kspace.completion"}

__all__ = ["complete_kspace"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'raki' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
