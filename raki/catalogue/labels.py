"""What people say of scans, images and regions: added to the catalogue, never changed; the last word holds.

A label of a region has a mask: a PNG of one bit a pixel, on the pixels of the image, kept once under its digest.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from raki.catalogue.catalogue import Catalogue
from raki.catalogue.errors import UnknownSlices
from raki.catalogue.folder_compaction import write_labels
from raki.catalogue.grids import Mask
from raki.catalogue.index import FOLDER
from raki.catalogue.label_tables import read_table
from raki.catalogue.mirror import copied
from raki.catalogue.monai_label import read_datastore
from raki.catalogue.rows import LABELS
from raki.catalogue.said import LONGEST, LabelFile, Said, refusal
from raki.catalogue.schema import LABEL_COLUMNS
from raki.catalogue.segmentations import read_segmentation
from raki.whole_file import whole_file
from raki.wording import plain

LARGEST_BYTES = 1 << 30
"""Of a file of labels."""
PREAMBLE_BYTES = 132


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of a file of labels."""

    n_new: int
    n_known: int
    """That the catalogue had already: nothing was added for them."""
    n_left: int = 0
    """That nobody has called final: of MONAI Label alone."""


def import_labels(root: str | Path, file: Path, *, made_by: str, now: datetime | None = None) -> Imported:
    """Adds the labels in a file: all of them, or where anything is wrong with one, none. The same again adds nothing.

    Args:
        file: a CSV file; a DICOM Segmentation or Label Map Segmentation that was drawn on `image.dcm` or on the images
            of `--dicom`; or `datastore_v2.json` of MONAI Label, whose images and labels lie beside it.
            Of a CSV file the first line names the columns: `scan_id` and `label` at least; `image` (a number; empty:
            the whole scan), `value` (empty: true), `mask` (a PNG or .npy file beside the CSV file, of which all that
            isn't zero is the region), `made_by` and `made_utc`. The value `-` takes the same person's label back.
        made_by: where the file doesn't tell.

    Raises:
        UnknownSlices: labels of scans or images that the catalogue doesn't have, or that can't be read.
        NoCatalogue: there is no such folder or bucket.
    """
    if str(root).startswith("s3://"):
        from raki.service import mirrored

        with copied(root) as copy:
            done, written = _import(copy.root, file, made_by=made_by, now=now)
            mirrored.put(copy.bucket, copy.prefix, copy.root, written)
        return done
    return _import(Path(root), file, made_by=made_by, now=now)[0]


def _import(root: Path, file: Path, *, made_by: str, now: datetime | None) -> tuple[Imported, list[str]]:
    """What came of it, and which files were written for it, in their order."""
    read = _reader_of(file)
    said_at = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    with file.open("rb") as content:
        source = f"{plain(file.name, 100)} sha256:{hashlib.file_digest(content, 'sha256').hexdigest()[:16]}"
    with Catalogue(root) as catalogue:
        found = read(file, catalogue)
        had = set(catalogue.query("SELECT label_id FROM labels").column("label_id").to_pylist())
    if found.wrong:
        raise refusal(file, found.wrong)
    rows = [_row(each, made_by=made_by, said_at=said_at, source=source) for each in found.said]
    new = {row["label_id"]: row for row in rows if row["label_id"] not in had}
    masks = {each.region.sha256: each.region.png for each in found.said if each.region}
    written = [file.relative_to(root).as_posix() for file in _write(root, list(new.values()), masks)]
    return Imported(n_new=len(new), n_known=len(rows) - len(new), n_left=found.n_left), written


def _reader_of(file: Path) -> Callable[[Path, Catalogue], LabelFile]:
    """What reads the file, by how it begins."""
    if file.is_dir():
        raise UnknownSlices(f"what is named, {plain(file.name, 60)}, is a folder; name the file of labels in it")
    try:
        with file.open("rb") as content:
            begin = content.read(PREAMBLE_BYTES)
        n_bytes = file.stat().st_size
    except OSError as error:
        raise UnknownSlices(f"the file {plain(file.name, 60)} can't be read ({error.strerror})") from None
    if n_bytes > LARGEST_BYTES:
        raise UnknownSlices(
            f"the file {plain(file.name, 60)} has {n_bytes} bytes; a file of labels has at most {LARGEST_BYTES}"
        )
    if begin[128:] == b"DICM":
        return read_segmentation
    return read_datastore if begin.lstrip().startswith(b"{") else read_table


def _row(said: Said, *, made_by: str, said_at: str, source: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(column.name for column in LABEL_COLUMNS)
    row |= {
        "scan_id": said.scan_id,
        "image": said.image,
        "label": plain(said.label, LONGEST),
        "value": None if said.value is None else plain(said.value, LONGEST) or "true",
        "made_by": plain(said.made_by or made_by, LONGEST),
    }
    if said.region:
        row |= {
            "mask_sha256": said.region.sha256,
            "mask_n_pixels": said.region.n_pixels,
            "mask_box": list(said.region.box),
        }
    # Said at a time that the file tells, it is another label at another time; else the same words are the same label.
    told = [row[name] for name in row if name not in ("label_id", "made_utc", "source")]
    apart = [told, said.made_utc, source if said.made_utc is None else ""]
    row["label_id"] = hashlib.sha256(json.dumps(apart).encode()).hexdigest()[:24]
    return row | {"made_utc": said.made_utc or said_at, "source": source}


def _write(root: Path, rows: list[dict[str, Any]], masks: Mapping[str, bytes]) -> Iterator[Path]:
    """Masks before the labels that name them; those that are there already are left."""
    folder = root / FOLDER / "masks"
    for digest, png in masks.items():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / f"{digest}.png").exists():
            with whole_file(folder / f"{digest}.png") as part:
                part.write_bytes(png)
            yield folder / f"{digest}.png"
    for month in sorted({row["made_utc"][:7] for row in rows}):
        of_month = [row for row in rows if row["made_utc"].startswith(month)]
        yield write_labels(pa.Table.from_pylist(of_month, schema=LABELS), root / FOLDER / "labels" / f"month={month}")


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
