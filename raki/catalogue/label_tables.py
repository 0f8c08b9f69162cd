"""Labels in a CSV file: a line each, with masks as files beside it."""

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from raki.catalogue.catalogue import Catalogue
from raki.catalogue.errors import UnknownSlices
from raki.catalogue.grids import Mask
from raki.catalogue.said import LabelFile, Region, Said
from raki.wording import plain

NEEDED = ("scan_id", "label")
KNOWN = (*NEEDED, "image", "value", "mask", "made_by", "made_utc")

Shapes = Mapping[str, Mapping[int, tuple[int, int]]]
"""Scan id -> number of an image -> its rows and columns."""


def read_table(file: Path, catalogue: Catalogue) -> LabelFile:
    """The labels in a file whose first line names the columns.

    Raises:
        UnknownSlices: it is no such file.
    """
    try:
        entries = list(_entries(_text(file)))
    except csv.Error as error:
        raise UnknownSlices(f"the file {plain(file.name, 60)} is no CSV file ({plain(str(error), 100)})") from None
    shapes = _shapes(catalogue, sorted({entry["scan_id"] for entry in entries}))
    said, wrong = [], []
    for number, entry in enumerate(entries, 2):
        try:
            said.append(_said(entry, shapes, file.parent))
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
    return LabelFile(said=said, wrong=wrong)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        raise UnknownSlices(f"the file {plain(file.name, 60)} can't be read as a CSV file of text (UTF-8)") from None


def _entries(content: str) -> Iterator[Mapping[str, str]]:
    reader = csv.DictReader(io.StringIO(content))
    names = reader.fieldnames or ()
    lacking = [name for name in NEEDED if name not in names]
    other = [plain(name, 40) for name in names if name not in KNOWN]
    twice = [name for name in KNOWN if list(names).count(name) > 1]
    if lacking or other or twice:
        wrong = f"{', '.join(lacking)} is missing" if lacking else f"{', '.join(twice)} is there twice"
        if other and not lacking:
            wrong = f"there is none called {', '.join(other)}"
        raise UnknownSlices(f"the first line of a file of labels names its columns: {', '.join(KNOWN)}; {wrong}")
    for row in reader:
        yield {name: (row.get(name) or "").strip() for name in KNOWN}


def _shapes(catalogue: Catalogue, scan_ids: list[str]) -> Shapes:
    """Of those of the scans that there are."""
    known: dict[str, dict[int, tuple[int, int]]] = {}
    found = catalogue.query(
        "SELECT scan_id, image, n_rows, n_columns FROM slices WHERE scan_id IN (SELECT unnest(CAST(? AS VARCHAR[])))",
        [scan_ids],
    )
    for scan_id, image, n_rows, n_columns in zip(*(column.to_pylist() for column in found.columns), strict=True):
        known.setdefault(scan_id, {})[image] = (n_rows, n_columns)
    return known


def _said(entry: Mapping[str, str], shapes: Shapes, folder: Path) -> Said:
    """Raises ValueError with what is wrong."""
    scan_id, image = entry["scan_id"], _image_number(entry["image"])
    if scan_id not in shapes:
        raise ValueError(f"no scan {plain(scan_id, 60)}")
    if image is not None and image not in shapes[scan_id]:
        raise ValueError(f"no image {image} of scan {scan_id}, which has {len(shapes[scan_id])}")
    region = None
    if entry["mask"]:
        if image is None:
            raise ValueError("a mask is of an image, and none is named")
        region = Region.of(_mask(folder, entry["mask"], shapes[scan_id][image]))
    return Said(
        scan_id=scan_id,
        image=image,
        label=entry["label"],
        value=None if entry["value"] == "-" else entry["value"],
        made_by=entry["made_by"],
        made_utc=_said_at(entry["made_utc"]),
        region=region,
    )


def _image_number(text: str) -> int | None:
    if text == "":
        return None
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"'{plain(text, 20)}' is no number of an image")
    return int(text)


def _said_at(text: str) -> str | None:
    if not text:
        return None
    try:
        said = datetime.fromisoformat(text)
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError):  # the latter of a time that in UTC is of another era
        raise ValueError(f"'{plain(text, 40)}' is no time; write 2026-11-29T12:00:00+00:00") from None


def _mask(folder: Path, name: str, shape: tuple[int, int]) -> Mask:
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError("it lies elsewhere")
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            with Image.open(path, formats=["PNG"]) as picture:
                if picture.size != shape[::-1]:
                    raise ValueError(f"it has {picture.size[1]} x {picture.size[0]} pixels")
                values = np.asarray(picture.convert("L"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        why = f"; {error}" if isinstance(error, ValueError) else ""
        wanted = f"a PNG or .npy file of {shape[0]} x {shape[1]} pixels"
        raise ValueError(f"the mask {plain(name, 60)} is not {wanted}{why}") from None
    if values.shape != shape or values.dtype.kind not in "biu" or not values.any():
        raise ValueError(
            f"the mask {plain(name, 60)} has shape {values.shape} and {np.count_nonzero(values)} pixels; it has to be "
            f"of whole numbers, {shape[0]} x {shape[1]}, and not empty"
        )
    return values != 0
