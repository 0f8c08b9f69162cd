"""What MONAI Label keeps as final comes back on the image and the pixels where it was drawn, or not at all."""

import gzip
import hashlib
import json
import shutil
import tracemalloc
from datetime import UTC, datetime

import nibabel
import numpy as np
import pytest

import raki.catalogue
from raki.catalogue import UnknownSlices, import_labels
from raki.catalogue.index import FOLDER
from raki.catalogue.labels import read_mask
from tests.catalogue.drawn import SEVERAL, deliver_marked, mark

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
NAMES = [{"name": "lesion", "idx": 1}, {"name": "edema", "idx": 4}]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    deliver_marked(root, "one", scan_id="scan-one")
    deliver_marked(root, "several", scan_id="scan-several", sha256="cd" * 32, frames=SEVERAL)
    return root


@pytest.fixture
def root(delivered):
    yield delivered
    shutil.rmtree(delivered / FOLDER, ignore_errors=True)


def marked(file):
    """A label volume of what is bright in a NIfTI image, as a program that leaves the axes alone writes it."""
    image = nibabel.load(file)
    return nibabel.Nifti1Image((np.asarray(image.dataobj) > 500).astype(np.uint8), image.affine)


def store(folder, volumes, *, image=None, **info):
    """The folder of a local datastore: id -> label volume, or the bytes of its file."""
    objects = {}
    (folder / "labels/final").mkdir(parents=True)
    (folder / "labels/original").mkdir()
    for name, volume in volumes.items():
        path = folder / "labels/final" / f"{name}.nii.gz"
        if isinstance(volume, bytes):
            path.write_bytes(volume)
        else:
            nibabel.save(volume, path)
        if image:
            shutil.copyfile(image, folder / f"{name}.nii.gz")
        told = {"ts": 1796083200, "checksum": hashlib.sha256(path.read_bytes()).hexdigest(), "name": path.name}
        told |= {"label_info": NAMES, "client_id": "reader-1", **info}
        objects[name] = {
            "image": {"ext": ".nii.gz", "info": {"ts": 1796083100, "name": f"{name}.nii.gz"}},
            "labels": {"final": {"ext": ".nii.gz", "info": told}, "original": {"ext": ".nii.gz", "info": {}}},
        }
    content = {"name": "new-dataset", "description": "", "images_dir": "", "labels_dir": "labels", "objects": objects}
    (folder / "datastore_v2.json").write_text(json.dumps(content, indent=2))
    return folder / "datastore_v2.json"


def add(root, file):
    return import_labels(root, file, made_by="whoever", now=NOW)


def labels(root):
    with raki.catalogue.open(root) as opened:
        return opened.query("SELECT * FROM labels_now ORDER BY scan_id, image, label").to_pylist()


def require_marks(root, scan_id, images):
    found = labels(root)
    assert [(row["scan_id"], row["image"]) for row in found] == [(scan_id, image) for image in images]
    for row in found:
        np.testing.assert_array_equal(read_mask(root, row["mask_sha256"]), mark(row["image"]))


@pytest.mark.parametrize("axes", ["as written", "RAS", "LPS", "IRP", "SAL"])
def test_what_is_drawn_on_an_image_is_on_the_pixels_where_it_was_drawn(root, tmp_path, axes):
    volume = marked(root / "one/image.nii.gz")
    if axes != "as written":
        to = nibabel.orientations.axcodes2ornt(axes)
        turned = volume.as_reoriented(
            nibabel.orientations.ornt_transform(nibabel.orientations.io_orientation(volume.affine), to)
        )
        assert not np.allclose(turned.affine, volume.affine)
        volume = turned
    done = add(root, store(tmp_path / "store", {"scan-one": volume}))
    assert (done.n_new, done.n_left) == (3, 1), "what a model proposed is left"
    require_marks(root, "scan-one", [0, 1, 2])
    (row, *_) = labels(root)
    assert (row["label"], row["value"], row["made_by"]) == ("lesion", "true", "reader-1")
    assert row["made_utc"] == datetime.fromtimestamp(1796083200, UTC).isoformat()
    assert add(root, tmp_path / "store/datastore_v2.json").n_known == 3


def test_each_class_on_each_image_is_a_region_and_frames_are_kept_apart(root, tmp_path):
    volume = marked(root / "several/image.nii.gz")
    values = np.asarray(volume.dataobj).copy()
    assert values.shape == (43, 29, 3, 4)
    values[..., :1, :] = values[..., 2, :] = values[..., [0, 1, 3]] = 0
    values[40:42, 5, 1, 2] = 4
    add(root, store(tmp_path / "store", {"scan-several": nibabel.Nifti1Image(values, volume.affine)}))
    lesion, edema = sorted(labels(root), key=lambda row: -row["mask_n_pixels"])
    assert (lesion["image"], lesion["label"], edema["image"], edema["label"]) == (7, "lesion", 7, "edema")
    np.testing.assert_array_equal(read_mask(root, lesion["mask_sha256"]), mark(7))
    assert edema["mask_box"] == [5, 40, 6, 42]


def test_an_image_under_another_name_is_known_by_its_content(root, tmp_path):
    volume = marked(root / "one/image.nii.gz")
    add(root, store(tmp_path / "store", {"brain_007": volume}, image=root / "one/image.nii.gz"))
    require_marks(root, "scan-one", [0, 1, 2])
    with pytest.raises(UnknownSlices, match="brain_007: no scan is called so"):
        add(root, store(tmp_path / "none", {"brain_007": volume}))


def test_names_are_taken_where_a_model_writes_them(root, tmp_path):
    volume = marked(root / "one/image.nii.gz")
    for number, info in enumerate(({"label_names": {"tumor": 1}}, {"params": {"label_names": {"tumor": 1}}})):
        file = store(tmp_path / f"{number}", {"scan-one": volume}, label_info=None, ts=None, client_id=None, **info)
        add(root, file)
        assert {(row["label"], row["made_by"], row["made_utc"]) for row in labels(root)} == {
            ("tumor", "whoever", NOW.isoformat())
        }


def bomb():
    return gzip.compress(b"\0" * (1 << 26))


def changed(volume, values=None, by=None, dtype=np.uint8):
    affine = volume.affine.copy()
    if by is not None:
        affine = affine @ by
    kept = np.asarray(volume.dataobj) if values is None else values
    return nibabel.Nifti1Image(kept.astype(dtype), affine)


def huge(volume):
    """A head that announces 32767 voxels along each axis, before the pixels of a few."""
    content = bytearray(changed(volume).to_bytes())
    content[42:48] = np.array([32767] * 3, "<i2").tobytes()
    return gzip.compress(bytes(content))


SHEAR, SHIFT, COARSE = np.eye(4), np.eye(4), np.diag([2.0, 2.0, 1.0, 1.0])
SHEAR[0, 1], SHIFT[2, 3] = 0.1, 0.3

DAMAGE = {
    "lies elsewhere than the images of scan scan-one": lambda volume: changed(volume, by=SHIFT),
    r"that is so of 3 slices \(0, 1, 2\)": lambda volume: changed(volume, by=SHEAR),
    "or has other pixels": lambda volume: changed(volume, by=COARSE),
    "lies elsewhere": lambda volume: changed(volume, np.asarray(volume.dataobj)[:-1]),
    "voxels, more than its image": lambda volume: changed(volume, np.zeros((44, 30, 3))),
    "32767 x 32767 x 32767 voxels, more": huge,
    "unpacks to more than 1078504 bytes": lambda volume: bomb(),
    "no label_info names: 9": lambda volume: changed(volume, 9 * np.asarray(volume.dataobj)),
    "no classes: whole numbers are": lambda volume: changed(volume, 0.5 * np.asarray(volume.dataobj), dtype=np.float32),
    "is empty": lambda volume: changed(volume, 0 * np.asarray(volume.dataobj)),
    "is no NIfTI image, or cut short": lambda volume: volume.to_bytes()[:3000],
    "nii.gz is no NIfTI image": lambda volume: b"",
    "has 2 frames, the scan 1": lambda volume: changed(volume, np.ones((20, 20, 3, 2))),
    "has values of the type complex64": lambda volume: changed(volume, dtype=np.complex64),
}


@pytest.mark.parametrize("why", DAMAGE)
def test_a_volume_that_is_damaged_or_lies_elsewhere_is_refused_in_a_sentence(root, tmp_path, why):
    volume = marked(root / "one/image.nii.gz")
    file = store(tmp_path / "store", {"scan-one": DAMAGE[why](volume), "scan-several": b"x", "scan-x": volume})
    tracemalloc.start()
    with pytest.raises(UnknownSlices, match=why) as refused:
        add(root, file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 << 20, "whatever it announces or unpacks to"
    assert [line.partition(":")[0] for line in refused.value.__notes__[0].splitlines()] == [
        "scan-one", "scan-several", "scan-x",
    ]  # fmt: skip
    assert labels(root) == []


def test_a_file_that_is_missing_another_or_elsewhere_is_refused(root, tmp_path):
    volume = marked(root / "one/image.nii.gz")
    path = tmp_path / "store/labels/final/scan-one.nii.gz"
    file = store(tmp_path / "store", {"scan-one": volume})
    nibabel.save(changed(volume, by=SHIFT), path)
    with pytest.raises(UnknownSlices, match="another file than was submitted"):
        add(root, file)
    path.unlink()
    with pytest.raises(UnknownSlices, match="is not there"):
        add(root, file)
    text = file.read_text()
    for name in ('"../.."', '"/etc"'):
        file.write_text(text.replace('"labels_dir": "labels"', f'"labels_dir": {name}'))
        with pytest.raises(UnknownSlices, match=r"nii\.gz lies elsewhere"):
            add(root, file)
    for content in ('{"objects": 3}', '{"files": []}', "{", '{"objects": {"a": {}}}', "{" * 100_000):
        file.write_text(content)
        with pytest.raises(UnknownSlices, match="no datastore of MONAI Label"):
            add(root, file)
