"""Models that can be named: weights of a scan, kept in a store, checked, and used for later scans of the same place.

`make`, `set_weights` and `run` are the three steps (`raki.models.model`). `raki.models.store` keeps models,
`raki.models.document` says what `model.json` holds, `raki.models.matching` whether a scan is one that a model is for,
and `raki.models.promotion` makes a model of a result. `raki.models.choosing` gives a reconstruction the model that its
options name, `raki.models.monai` writes one as a bundle for MONAI. Nothing of a model is ever run: it is numbers and
facts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raki.models.matching import Check as Check
    from raki.models.matching import Mismatch as Mismatch
    from raki.models.model import Model as Model
    from raki.models.model import make as make
    from raki.models.promotion import promote as promote
    from raki.models.store import Store as Store

_WHERE = {
    "Check": "raki.models.matching",
    "Mismatch": "raki.models.matching",
    "Model": "raki.models.model",
    "Store": "raki.models.store",
    "make": "raki.models.model",
    "promote": "raki.models.promotion",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'raki.models' has no attribute {name!r}; it has {', '.join(_WHERE)}")
    return getattr(import_module(_WHERE[name]), name)
