"""Labels in a folder of MONAI Label: `datastore_v2.json`, with images and their label volumes beside it.

Its local datastore names each image by its file's name and keeps labels by tag: `final` is what a person has submitted,
`original` what a model proposed, and others are versions of these. What is final is taken.

Diaz-Pinto et al. 2024, Med Image Anal 95:103207, doi:10.1016/j.media.2024.103207.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from raki.catalogue.catalogue import Catalogue
from raki.catalogue.errors import UnknownSlices
from raki.catalogue.grids import COLUMNS_NEEDED, Plane
from raki.catalogue.in_dicom import Known
from raki.catalogue.label_volumes import LabelVolume
from raki.catalogue.said import LabelFile, Region, Said
from raki.wording import plain

FINAL = "final"
LARGEST_IMAGE_BYTES = 1 << 34


class _File(BaseModel):
    """An image, or a label volume."""

    ext: str = ""
    info: dict[str, Any] = {}


class _Object(BaseModel):
    """An image with its label volumes, by tag."""

    image: _File
    labels: dict[str, _File] = {}


class _Datastore(BaseModel):
    images_dir: str = ""
    labels_dir: str = "labels"
    objects: dict[str, _Object]


def read_datastore(file: Path, catalogue: Catalogue) -> LabelFile:
    """The final labels of a MONAI Label datastore, of images that are called after their scan's id or are its NIfTI.

    Called as `label_info` names the classes; said by the client at the time that the datastore has.

    Raises:
        UnknownSlices: it is no such file.
    """
    try:
        store = _Datastore.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, ValidationError):
        raise UnknownSlices(
            f"the file {plain(file.name, 60)} is no datastore of MONAI Label; labels are taken from its "
            "datastore_v2.json, from CSV and from DICOM Segmentations"
        ) from None
    final = {name: each for name, each in sorted(store.objects.items()) if FINAL in each.labels}
    said: list[Said] = []
    wrong = []
    for name, each in final.items():
        try:
            said += _said(name, each, store, file.parent, catalogue)
        except ValueError as error:
            wrong.append(f"{plain(name, 60)}: {plain(str(error))}")
    n_left = sum(len(each.labels) for each in store.objects.values()) - len(final)
    return LabelFile(said=said, wrong=wrong, n_left=n_left)


def _said(name: str, each: _Object, store: _Datastore, folder: Path, catalogue: Catalogue) -> list[Said]:
    """Of one image; raises ValueError with what is wrong."""
    frames = _images(catalogue, name, _inside(folder, store.images_dir, f"{name}{each.image.ext}"))
    label = each.labels[FINAL]
    path = _inside(folder, store.labels_dir, FINAL, f"{name}{label.ext}")
    where = f"its label {plain(path.name, 60)}"
    _require_checksum(path, label.info.get("checksum"), where)
    n_images = sum(map(len, frames))
    try:
        volume = LabelVolume(path, n_voxels=n_images * frames[0][0].plane.shape[0] * frames[0][0].plane.shape[1])
        names = _classes(label.info)
        if unnamed := [str(value) for value in volume.classes if value not in names]:
            raise ValueError(f"has values that no label_info names: {', '.join(unnamed[:10])}")
        if not volume.classes:
            raise ValueError("is empty")
        made_by, made_utc = str(label.info.get("client_id") or ""), _said_at(label.info.get("ts"))
        return [
            Said(
                scan_id=known.scan_id,
                image=known.image,
                label=names[value],
                value="true",
                region=Region.of(mask),
                made_by=made_by,
                made_utc=made_utc,
            )
            for known, value, mask in volume.regions(frames)
        ]
    except ValueError as error:
        raise ValueError(f"{where} {error}") from None


def _images(catalogue: Catalogue, name: str, image: Path) -> Sequence[Sequence[Known]]:
    """The images of the scan that is meant, frame by frame."""
    of = "SELECT min(scan_id) AS scan_id, count(DISTINCT scan_id) AS n FROM slices WHERE "
    (found,) = catalogue.query(
        f"{of} scan_id = $name OR series_uid = $name OR single_series_uid = $name", {"name": name}
    ).to_pylist()
    if not found["n"] and image.is_file() and image.stat().st_size <= LARGEST_IMAGE_BYTES:
        with image.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        (found,) = catalogue.query(f"{of} list_contains(nifti_sha256, ?)", [digest]).to_pylist()
    if found["n"] != 1:
        which = "several scans are called so, or have" if found["n"] else "no scan is called so, or has"
        raise ValueError(f"{which} this image; call images after their scan's id, or leave them as raki wrote them")
    rows = catalogue.query(
        f"SELECT DISTINCT ON (image) {', '.join(COLUMNS_NEEDED)} FROM slices WHERE scan_id = ? ORDER BY image",
        [found["scan_id"]],
    ).to_pylist()
    frames: dict[int, list[Known]] = {}
    for row in rows:
        frames.setdefault(row["frame"], []).append(
            Known(scan_id=row["scan_id"], image=row["image"], plane=Plane.of(row))
        )
    return list(frames.values())


def _inside(folder: Path, *names: str) -> Path:
    """A path in the folder; raises ValueError where it leads out of it."""
    path = folder.joinpath(*names)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{plain(names[-1], 60)} lies elsewhere")
    return path


def _require_checksum(path: Path, told: Any, where: str) -> None:
    """That the file is the one that was submitted; earlier versions write `SHA256:` before the digest."""
    if not path.is_file():
        raise ValueError(f"{where} is not there")
    if not isinstance(told, str) or not told:
        return
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if told.rpartition(":")[2].lower() != digest:
        raise ValueError(f"{where} is another file than was submitted: it has another SHA-256")


def _classes(info: Mapping[str, Any]) -> dict[int, str]:
    """Value -> name, as a viewer tells them, or as a model's output does."""
    named = info.get("label_info")
    if isinstance(named, list):
        pairs = [(each.get("idx"), each.get("name")) for each in named if isinstance(each, dict)]
    else:
        params = info.get("params")
        names = info.get("label_names") or (params.get("label_names") if isinstance(params, dict) else None)
        pairs = [(value, name) for name, value in names.items()] if isinstance(names, dict) else []
    return {value: name for value, name in pairs if isinstance(value, int) and isinstance(name, str)}


def _said_at(seconds: Any) -> str | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        raise ValueError(f"has the time {plain(str(seconds), 40)}, which is none") from None
