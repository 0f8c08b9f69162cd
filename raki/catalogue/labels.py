"""What people say of scans, images and regions: added to the catalogue, never changed; the last word holds.

A label of a region has a mask: a PNG of one bit a pixel, on the pixels of the image, kept once under its digest.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool
from PIL import Image

from raki.catalogue.catalogue import Catalogue
from raki.catalogue.compaction import write_labels
from raki.catalogue.errors import UnknownSlices
from raki.catalogue.index import FOLDER
from raki.catalogue.mirror import files_of, local_copy, put_back
from raki.catalogue.rows import LABELS
from raki.catalogue.schema import LABEL_COLUMNS
from raki.whole_file import whole_file
from raki.wording import plain

NEEDED = ("scan_id", "label")
KNOWN = (*NEEDED, "image", "value", "mask", "made_by", "made_utc")
N_LISTED = 10
"""Of what is refused, in the sentence; the exception has all."""
LONGEST = 200
"""Letters of a label or value."""

Mask = Bool[np.ndarray, "row column"]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of a file of labels."""

    n_new: int
    n_known: int
    """That the catalogue had already: nothing was added for them."""


def import_labels(root: str | Path, file: Path, *, made_by: str, now: datetime | None = None) -> Imported:
    """Adds the labels in a CSV file: all of them, or where anything is wrong with one, none.

    The first line names the columns: `scan_id` and `label` at least; `image` (a number; empty: the whole scan), `value`
    (empty: true), `mask` (a PNG or .npy file beside the CSV file, of which all that isn't zero is the region),
    `made_by` and `made_utc`. The value `-` takes the same person's label back. The same file again adds nothing.

    Raises:
        UnknownSlices: labels of scans or images that the catalogue doesn't have, or that can't be read.
        NoCatalogue: there is no such folder or bucket.
    """
    if str(root).startswith("s3://"):
        copy = local_copy(root)
        before = files_of(copy)
        done = import_labels(copy, file, made_by=made_by, now=now)
        put_back(root, copy, before)
        return done
    said_at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    content = _read(file)
    source = f"{plain(file.name, 100)} sha256:{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    entries = list(_entries(content))
    with Catalogue(Path(root)) as catalogue:
        known = _known_images(catalogue, sorted({entry["scan_id"] for entry in entries}))
        had = set(catalogue.query("SELECT label_id FROM labels").column("label_id").to_pylist())
    rows: list[dict[str, Any]] = []
    masks: dict[str, bytes] = {}
    wrong: list[str] = []
    for number, entry in enumerate(entries, 2):
        try:
            row, mask = _label(entry, known, file.parent, made_by=made_by, said_at=said_at, source=source)
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
            continue
        rows.append(row)
        masks |= mask
    if wrong:
        raise _refused(file, wrong)
    new = {row["label_id"]: row for row in rows if row["label_id"] not in had}
    _write(Path(root), list(new.values()), masks)
    return Imported(n_new=len(new), n_known=len(rows) - len(new))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        raise UnknownSlices(f"{file.name} can't be read as a CSV file of text (UTF-8)") from None


def _entries(content: str) -> Iterator[Mapping[str, str]]:
    reader = csv.DictReader(io.StringIO(content))
    names = reader.fieldnames or ()
    lacking = [name for name in NEEDED if name not in names]
    other = [plain(name, 40) for name in names if name not in KNOWN]
    if lacking or other:
        raise UnknownSlices(
            f"the first line of a file of labels names its columns: {', '.join(KNOWN)}; "
            + (f"{', '.join(lacking)} is missing" if lacking else f"there is none called {', '.join(other)}")
        )
    for row in reader:
        yield {name: (row.get(name) or "").strip() for name in KNOWN}


def _known_images(catalogue: Catalogue, scan_ids: list[str]) -> dict[str, dict[int, tuple[int, int]]]:
    """Of those of the scans that there are: scan id -> number of an image -> its rows and columns."""
    known: dict[str, dict[int, tuple[int, int]]] = {}
    found = catalogue.query(
        "SELECT scan_id, image, n_rows, n_columns FROM slices WHERE scan_id IN (SELECT unnest(CAST(? AS VARCHAR[])))",
        [scan_ids],
    )
    for scan_id, image, n_rows, n_columns in zip(*(column.to_pylist() for column in found.columns), strict=True):
        known.setdefault(scan_id, {})[image] = (n_rows, n_columns)
    return known


def _label(
    entry: Mapping[str, str],
    known: Mapping[str, Mapping[int, tuple[int, int]]],
    folder: Path,
    *,
    made_by: str,
    said_at: str,
    source: str,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A row, and the mask that goes with it by its digest; raises ValueError with what is wrong."""
    scan_id, image = entry["scan_id"], _image_number(entry["image"])
    if scan_id not in known:
        raise ValueError(f"no scan {plain(scan_id, 60)}")
    if image is not None and image not in known[scan_id]:
        raise ValueError(f"no image {image} of scan {scan_id}, which has {len(known[scan_id])}")
    if not entry["label"] or len(entry["label"]) > LONGEST or len(entry["value"]) > LONGEST:
        raise ValueError(f"a label has 1 to {LONGEST} letters, and a value no more")
    row: dict[str, Any] = dict.fromkeys(column.name for column in LABEL_COLUMNS)
    row |= {
        "scan_id": scan_id,
        "image": image,
        "label": plain(entry["label"], LONGEST),
        "value": None if entry["value"] == "-" else plain(entry["value"], LONGEST) or "true",
        "made_by": plain(entry["made_by"] or made_by, LONGEST),
    }
    png = None
    if entry["mask"]:
        if image is None:
            raise ValueError("a mask is of an image, and none is named")
        mask = _read_mask(folder, entry["mask"], known[scan_id][image])
        png = _as_png(mask)
        row |= {
            "mask_sha256": hashlib.sha256(png).hexdigest(),
            "mask_n_pixels": int(mask.sum()),
            "mask_box": _box(mask),
        }
    said = _said_at(entry["made_utc"])
    # Said at a time that the file tells, it is another label at another time; else the same words are the same label.
    told = [row[name] for name in row if name not in ("label_id", "made_utc", "source")]
    row["label_id"] = hashlib.sha256(json.dumps([told, said, source if said is None else ""]).encode()).hexdigest()[:24]
    row |= {"made_utc": said or said_at, "source": source}
    return row, {} if png is None else {row["mask_sha256"]: png}


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
    except ValueError:
        raise ValueError(f"'{plain(text, 40)}' is no time; write 2026-11-29T12:00:00+00:00") from None
    return (said if said.tzinfo else said.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def _read_mask(folder: Path, name: str, shape: tuple[int, int]) -> Mask:
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


def _as_png(mask: Mask) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _box(mask: Mask) -> list[float]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return [float(edge) for edge in (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)]


def read_mask(root: Path, mask_sha256: str) -> Mask:
    """The region of a label, on the pixels of its image.

    Raises:
        OSError: it isn't there.
        ValueError: it isn't what its name says.
    """
    png = (root / FOLDER / "masks" / f"{mask_sha256}.png").read_bytes()
    if hashlib.sha256(png).hexdigest() != mask_sha256:
        raise ValueError(f"the mask {mask_sha256} is damaged: its content has another digest")
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return np.asarray(picture, bool)


def _refused(file: Path, wrong: list[str]) -> UnknownSlices:
    more = f" and {len(wrong) - N_LISTED} more" if len(wrong) > N_LISTED else ""
    error = UnknownSlices(
        f"none of the labels in {plain(file.name, 60)} was taken, for {len(wrong)} of them are wrong: "
        f"{'; '.join(wrong[:N_LISTED])}{more}"
    )
    error.add_note("\n".join(wrong))
    return error


def _write(root: Path, rows: list[dict[str, Any]], masks: Mapping[str, bytes]) -> None:
    """Masks before the labels that name them."""
    folder = root / FOLDER / "masks"
    for digest, png in masks.items():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / f"{digest}.png").exists():
            with whole_file(folder / f"{digest}.png") as part:
                part.write_bytes(png)
    for month in sorted({row["made_utc"][:7] for row in rows}):
        of_month = [row for row in rows if row["made_utc"].startswith(month)]
        write_labels(pa.Table.from_pylist(of_month, schema=LABELS), root / FOLDER / "labels" / f"month={month}")
