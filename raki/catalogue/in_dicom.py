"""Images of a catalogue by the UIDs under which DICOM knows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raki.catalogue.catalogue import Catalogue
from raki.catalogue.grids import COLUMNS_NEEDED, Plane
from raki.identity.uids import framed_series_uid, image_uid, single_series_uid, volume_uid

NEEDED = ", ".join((*COLUMNS_NEEDED, "result_id", "series_uid", "single_series_uid", "sop_instance_uid", "sop_frame"))
_LISTED = "(SELECT unnest(CAST($uids AS VARCHAR[])))"


@dataclass(frozen=True, kw_only=True)
class Known:
    """An image of the catalogue, and where it lies."""

    scan_id: str
    image: int
    plane: Plane


@dataclass(frozen=True)
class ImagesInDicom:
    """Some images, by UID."""

    all: Sequence[Known]
    _by_uid: Mapping[str, Sequence[tuple[int | None, Known]]]

    def named(self, uid: str, frames: Sequence[int]) -> list[Known]:
        """Those that a SOP instance and numbers of its frames name; all of its frames where there is no number.

        Of an image whose frame isn't known, as of rows of an earlier version, any may be meant.
        """
        return [known for frame, known in self._by_uid.get(uid, ()) if not frames or frame is None or frame in frames]


def images_of(catalogue: Catalogue, series: Sequence[str], instances: Sequence[str]) -> ImagesInDicom:
    """The images of the scans of which some are in these series, or in files with these SOP instance UIDs."""
    named = {"uids": sorted({*series, *instances})}
    rows = catalogue.query(
        f"SELECT {NEEDED} FROM slices WHERE result_id IN (SELECT result_id FROM slices WHERE series_uid IN {_LISTED} "
        f"OR single_series_uid IN {_LISTED} OR sop_instance_uid IN {_LISTED})",
        named,
    ).to_pylist()
    rows = rows or _of_earlier_rows(catalogue, named["uids"])
    by_uid: dict[str, list[tuple[int | None, Known]]] = {}
    everything = []
    for row in rows:
        known = Known(scan_id=row["scan_id"], image=row["image"], plane=Plane.of(row))
        everything.append(known)
        by_uid.setdefault(image_uid(row["single_series_uid"], row["image"]), []).append((None, known))
        for uid in _files_of(row):
            by_uid.setdefault(uid, []).append((row["sop_frame"], known))
    return ImagesInDicom(everything, by_uid)


def _files_of(row: Mapping[str, Any]) -> list[str]:
    """The file with many frames that has an image, or those that may."""
    if row["sop_instance_uid"]:
        return [row["sop_instance_uid"]]
    return [volume_uid(row["series_uid"], file) for file in range(1, 2 * row["n_frames"] + 1)]


def _of_earlier_rows(catalogue: Catalogue, uids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows from before they had UIDs: those of a series depend on nothing but what is in other columns."""
    scans = catalogue.query(
        "SELECT result_id, raw_sha256, method, combination, n_virtual_coils, seed FROM scans WHERE series_uid IS NULL"
    ).to_pylist()
    rows = []
    for scan in scans:
        single = single_series_uid(*(scan[name] for name in list(scan)[1:]))
        series = framed_series_uid(single)
        if not {single, series, volume_uid(series, 1)}.isdisjoint(uids):
            found = catalogue.query(f"SELECT {NEEDED} FROM slices WHERE result_id = ?", [scan["result_id"]])
            told = {"series_uid": series, "single_series_uid": single}
            rows += [row | told for row in found.to_pylist()]
    return rows
