"""The files of a cohort, and the images in them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pyarrow as pa

from raki.scan.prepared import open_prepared

What = Literal["image", "prepared"]
IMAGE_FILE = "image.h5"
OF_ROW = ("scan_id", "result_id", "labels")
"""Of a cohort's columns, what every item has beside its image's number; others on request."""


@dataclass(frozen=True, kw_only=True)
class CohortFile:
    """One file, and the rows of the cohort whose images lie in it."""

    key: str
    version: str
    rows: tuple[Mapping[str, Any], ...]


def files_of(cohort: pa.Table, what: What, columns: tuple[str, ...]) -> list[CohortFile]:
    """Each once, with its images; raises ValueError where the cohort lacks a column, or says not where they lie."""
    place = "folder" if what == "image" else "prepared_key"
    needed = (*OF_ROW, "image", place, "image_sha256", *columns)
    lacking = [name for name in needed if name not in cohort.column_names]
    if lacking:
        raise ValueError(f"the cohort lacks {', '.join(lacking)}; raki needs one from Catalogue.cohort")
    by_key: dict[str, list[Mapping[str, Any]]] = {}
    versions: dict[str, str] = {}
    for row in cohort.select(list(dict.fromkeys(needed))).to_pylist():
        if row[place] is None:
            raise ValueError(f"the cohort has no {place} for image {row['image']} of scan {row['scan_id']}")
        key = f"{row[place]}/{IMAGE_FILE}".lstrip("/") if what == "image" else row[place]
        versions[key] = row["image_sha256"] or ""
        by_key.setdefault(key, []).append({"number": row["image"], **{name: row[name] for name in (*OF_ROW, *columns)}})
    return [CohortFile(key=key, version=versions[key], rows=tuple(rows)) for key, rows in by_key.items()]


def in_order_of_use(group: list[tuple[CohortFile, Mapping[str, Any]]]) -> list[CohortFile]:
    """The files of some images."""
    return list({file.key: file for file, _ in group}.values())


def check_of(file: CohortFile, what: What) -> Callable[[Path], None]:
    """Of an image file: that it is the one that the catalogue speaks of. A prepared scan has checksums of its own."""

    def check(path: Path) -> None:
        with path.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != file.version:
                raise ValueError("it is another file than the catalogue says: made again since, or damaged")

    return check if what == "image" and file.version else lambda _path: None


@contextmanager
def _images(path: Path) -> "Iterator[Callable[[int], np.ndarray]]":
    with h5py.File(path, "r") as file:
        data = file["dataset/image_0/data"]
        yield lambda number: np.ascontiguousarray(data[number, 0, 0], np.float32)


@contextmanager
def _prepared(path: Path) -> "Iterator[Callable[[int], np.ndarray]]":
    with open_prepared(path) as scan:
        yield lambda number: np.ascontiguousarray(scan.kspace[number])


READERS = {"image": _images, "prepared": _prepared}
