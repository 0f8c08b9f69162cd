"""Files that people open: a `Reconstruction` in; images, previews, the report and its provenance out.

`raki.results.dicom` writes DICOM and `raki.results.reidentification` puts a patient back into it;
`raki.results.comparison` scores methods on a full scan, `raki.results.notebook` shows images in a notebook,
`raki.results.reproduction` tells whether a result comes out again. `raki.results.image_files` makes images for
programs, `raki.results.weights` what fills them again and `raki.results.made_for` what that is for,
`raki.results.provenance` says what made them, `raki.results.sending` sends them to a picture archive. What
is named here is loaded when it is used: names are put back without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raki.results.filled import FilledKspace as FilledKspace
    from raki.results.filled import kept_kspace as kept_kspace
    from raki.results.folder import Source as Source
    from raki.results.folder import write_results as write_results
    from raki.results.report import method_label as method_label

_WHERE = {
    "FilledKspace": "raki.results.filled",
    "kept_kspace": "raki.results.filled",
    "Source": "raki.results.folder",
    "method_label": "raki.results.report",
    "write_results": "raki.results.folder",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'raki.results' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
