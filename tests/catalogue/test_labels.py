"""What people say of scans, images and regions: added, never changed, and refused together where it can't be so."""

from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

import raki.catalogue
from raki.catalogue import UnknownSlices, compact, import_labels
from raki.catalogue.index import FOLDER
from raki.catalogue.labels import read_mask
from tests.catalogue.delivered import deliver

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def root(tmp_path):
    for number in range(2):
        deliver(tmp_path / "results", f"scan{number}", scan_id=f"scan-{number}")
    return tmp_path / "results"


def labels(root, table="labels_now"):
    with raki.catalogue.open(root) as opened:
        return opened.query(f"SELECT * FROM {table} ORDER BY scan_id, image NULLS FIRST, label, made_utc").to_pylist()


def add(root, tmp_path, text, **arguments):
    (tmp_path / "labels.csv").write_text(text)
    return import_labels(root, tmp_path / "labels.csv", **{"made_by": "ada", "now": NOW, **arguments})


def test_labels_of_scans_images_and_regions_are_found_again(root, tmp_path):
    mask = np.zeros((32, 40), bool)
    mask[3:7, 10:20] = True
    Image.fromarray(mask).save(tmp_path / "lesion.png")
    np.save(tmp_path / "other.npy", mask.T[:32, :32].repeat(2, 1)[:, :40].astype(np.uint8))
    text = "scan_id,image,label,value,mask\nscan-0,,motion,severe,\nscan-0,1,ghost,,\nscan-1,2,lesion,,lesion.png\n"
    assert add(root, tmp_path, text).n_new == 3
    motion, ghost, lesion = labels(root)
    assert (motion["image"], motion["value"], motion["made_by"]) == (None, "severe", "ada")
    assert motion["made_utc"] == "2026-11-29T12:00:00+00:00"
    assert motion["source"].startswith("labels.csv sha256:")
    assert (ghost["image"], ghost["value"]) == (1, "true")
    assert (lesion["mask_n_pixels"], lesion["mask_box"]) == (40, [3, 10, 7, 20])
    np.testing.assert_array_equal(read_mask(root, lesion["mask_sha256"]), mask)
    png = root / FOLDER / "masks" / f"{lesion['mask_sha256']}.png"
    assert png.stat().st_size < 200
    with raki.catalogue.open(root) as opened:
        assert opened.find(label="motion").num_rows == 3, "all images of the scan"
        assert opened.find(label="motion=mild").num_rows == 0
        assert opened.find(label="ghost").column("image").to_pylist() == [1]
        assert opened.cohort(label="ghost").column("labels").to_pylist() == [["motion=severe", "ghost=true"]]
    png.write_bytes(b"other")
    with pytest.raises(ValueError, match="another digest"):
        read_mask(root, lesion["mask_sha256"])


def test_the_last_word_holds_and_the_first_one_stays(root, tmp_path):
    head = "scan_id,image,label,value,made_utc\n"
    add(root, tmp_path, head + "scan-0,1,motion,mild,2026-10-01T00:00:00Z\n")
    add(root, tmp_path, head + "scan-0,1,motion,severe,2026-11-01T00:00:00Z\n")
    assert [row["value"] for row in labels(root)] == ["severe"]
    add(root, tmp_path, head + "scan-0,1,motion,absent,2026-12-01T00:00:00Z\n", made_by="bob")
    assert {row["value"] for row in labels(root)} == {"severe", "absent"}, "another person's word is another"
    add(root, tmp_path, head + "scan-0,1,motion,-,2027-01-01T00:00:00Z\n")
    assert [row["value"] for row in labels(root)] == ["absent"]
    history = [row["value"] for row in labels(root, "labels")]
    assert history == ["mild", "severe", "absent", None]
    compact(root)
    assert [row["value"] for row in labels(root, "labels")] == history


def test_the_same_file_again_adds_nothing(root, tmp_path):
    text = "scan_id,label\nscan-0,motion\nscan-1,motion\n"
    assert (add(root, tmp_path, text).n_new, add(root, tmp_path, text).n_known) == (2, 2)
    assert len(labels(root, "labels")) == 2


def test_labels_of_a_month_become_one_file_and_none_is_lost(root, tmp_path):
    for number in range(3):
        add(root, tmp_path, f"scan_id,image,label\nscan-0,{number},n{number}\n")
    assert len(list((root / FOLDER).glob("labels/month=2026-11/*.parquet"))) == 3
    before = labels(root, "labels")
    compact(root)
    assert len(list((root / FOLDER).glob("labels/month=2026-11/*.parquet"))) == 1
    assert labels(root, "labels") == before


def test_labels_of_what_is_unknown_are_refused_together_and_listed(root, tmp_path):
    Image.fromarray(np.ones((8, 8), bool)).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((32, 40), bool)).save(tmp_path / "empty.png")
    wrong = {
        "scan-9,,motion,,": "no scan scan-9", "scan-0,7,motion,,": "no image 7 of scan scan-0, which has 3",
        "scan-0,x,motion,,": "'x' is no number", "scan-0,1,,,": "a label has", "scan-0,1,lesion,,small.png": "32 x 40",
        "scan-0,1,lesion,,empty.png": "not empty", "scan-0,,lesion,,small.png": "none is named",
        "scan-0,1,lesion,,../../etc/passwd": "is not a PNG", "scan-0,1,lesion,,missing.png": "is not a PNG",
    }  # fmt: skip
    with pytest.raises(UnknownSlices, match=r"none of the labels in labels\.csv was taken, for 9 of them") as refused:
        add(root, tmp_path, "\n".join(["scan_id,image,label,value,mask", "scan-0,0,good,,", *wrong]) + "\n")
    listed = refused.value.__notes__[0].splitlines()
    for number, (line, why) in enumerate(zip(listed, wrong.values(), strict=True), 3):
        assert line.startswith(f"line {number}: ")
        assert why in line
    assert labels(root, "labels") == []
    assert not (root / FOLDER / "masks").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scan_id,image\n", "label is missing"),
        ("scan_id,label,colour\n", "none called colour"),
        ("\xff\xfe", "is missing"),
        ("scan_id,image,label,image\nscan-0,0,motion,1\n", "image is there twice"),
        ("scan_id,label\nscan-0,\u200b\n", "a label has 1 to 200 letters"),
        ("scan_id,label,made_utc\nscan-0,motion,0001-01-01T00:00:00+12:00\n", "is no time"),
        ("scan_id,label,made_utc\nscan-0,motion,9999-12-31T23:59:59-12:00\n", "is no time"),
        ("scan_id,label\nscan-0," + "x" * 200_000, "is no CSV file"),
    ],
)
def test_a_file_of_another_kind_is_refused(root, tmp_path, text, says):
    with pytest.raises(UnknownSlices, match=says):
        add(root, tmp_path, text)
