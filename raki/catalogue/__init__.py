"""Collect what is known of each image into tables that answer: rows beside results in; rows, cohorts and images out.

`open` gives a `Catalogue` of a folder of results or of a bucket's (`s3://bucket/prefix`): read-only SQL, conditions by
name, cohorts. `compact` makes Parquet of the rows that lie beside results, `import_labels` adds what people say of
scans, images and regions, `stream` hands the images of a cohort to a training, staged on the local disk.
`raki.catalogue.finding` makes a question of conditions, `raki.catalogue.errors` is what can be wrong with one.
`raki.catalogue.schema` says what each column means and `raki.catalogue.embedding` how a picture becomes numbers;
neither needs what `pip install 'raki-mri[catalogue]'` brings (DuckDB and Arrow), most else does. Nothing heavy is
loaded until it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raki.catalogue.catalogue import Catalogue as Catalogue
    from raki.catalogue.catalogue import open_catalogue
    from raki.catalogue.compaction import Compacted as Compacted
    from raki.catalogue.compaction import compact as compact
    from raki.catalogue.errors import NoCatalogue as NoCatalogue
    from raki.catalogue.errors import QueryRefused as QueryRefused
    from raki.catalogue.errors import UnknownSlices as UnknownSlices
    from raki.catalogue.labels import import_labels as import_labels
    from raki.catalogue.staging import Staging as Staging
    from raki.catalogue.streaming import CohortStream as CohortStream

    open = open_catalogue  # noqa: A001
    stream = CohortStream

_WHERE = {
    "Catalogue": ("catalogue", "Catalogue"),
    "CohortStream": ("streaming", "CohortStream"),
    "Compacted": ("compaction", "Compacted"),
    "NoCatalogue": ("errors", "NoCatalogue"),
    "QueryRefused": ("errors", "QueryRefused"),
    "Staging": ("staging", "Staging"),
    "UnknownSlices": ("errors", "UnknownSlices"),
    "compact": ("compaction", "compact"),
    "import_labels": ("labels", "import_labels"),
    "open": ("catalogue", "open_catalogue"),
    "stream": ("streaming", "CohortStream"),
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'raki.catalogue' has no attribute {name!r}; it has {', '.join(_WHERE)}")
    module, own_name = _WHERE[name]
    return getattr(import_module(f"raki.catalogue.{module}"), own_name)
