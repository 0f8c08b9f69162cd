"""What was drawn on raki's DICOM images comes back on the image and the pixels where it was drawn, or not at all."""

import json
import shutil
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

import raki.catalogue
from raki.catalogue import UnknownSlices, compact, import_labels
from raki.catalogue.index import FOLDER
from raki.catalogue.labels import read_mask
from tests.catalogue.drawn import SEVERAL, bright, deliver_marked, mark, of, write_segmentation

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """A scan of three slices, and one of two echoes at two times, of two files."""
    root = tmp_path_factory.mktemp("results")
    deliver_marked(root, "one", scan_id="scan-one")
    deliver_marked(root, "several", scan_id="scan-several", sha256="cd" * 32, frames=SEVERAL)
    return root


@pytest.fixture
def root(delivered):
    yield delivered
    shutil.rmtree(delivered / FOLDER, ignore_errors=True)


def add(root, path, **arguments):
    return import_labels(root, path, **{"made_by": "whoever", "now": NOW, **arguments})


def labels(root):
    with raki.catalogue.open(root) as opened:
        return opened.query("SELECT * FROM labels_now ORDER BY scan_id, image, label").to_pylist()


def require_marks(root, scan_id, images):
    """That each of these images, and no other, is labelled on the pixels that are marked, and on no others."""
    found = labels(root)
    assert [(row["scan_id"], row["image"]) for row in found] == [(scan_id, image) for image in images]
    for row in found:
        np.testing.assert_array_equal(read_mask(root, row["mask_sha256"]), mark(row["image"]))


def singles(folder):
    return [frame for file in sorted((folder / "dicom").glob("*.dcm")) for frame in bright(file)]


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("on", ["frames", "single images"])
def test_what_is_drawn_on_an_image_is_on_the_pixels_where_it_was_drawn(root, tmp_path, kind, on):
    frames = list(bright(root / "one/image.dcm")) if on == "frames" else singles(root / "one")
    assert frames[0][1].shape == (43, 29), "turned on the screen"
    assert not np.array_equal(frames[0][1], mark(0).T), "and mirrored"
    series = [pydicom.dcmread(root / "one/dicom/slice_0001.dcm").SeriesInstanceUID] if on == "single images" else []
    write_segmentation(tmp_path / "seg.dcm", frames[::-1], kind=kind, series=series)
    assert add(root, tmp_path / "seg.dcm").n_new == 3
    require_marks(root, "scan-one", [0, 1, 2])
    (row, *_) = labels(root)
    assert (row["label"], row["value"], row["made_by"]) == ("lesion", "Lesion (SCT 52988006)", "Reader^Anna")
    assert row["made_utc"] == "2026-11-29T23:30:00+00:00", "two hours before what the clock on the wall showed"
    assert row["source"].startswith("seg.dcm sha256:")
    again = add(root, tmp_path / "seg.dcm", now=datetime(2027, 1, 1, tzinfo=UTC))
    assert (again.n_new, again.n_known) == (0, 3)


def test_each_segment_is_a_label_of_its_own_and_what_is_empty_is_none(root, tmp_path):
    frames = list(bright(root / "one/image.dcm"))
    values = frames[1][1].astype(np.uint8)
    values[0, :2] = 2
    write_segmentation(
        tmp_path / "seg.dcm",
        [(frames[0][0], values * 0), (frames[1][0], values)],
        kind="LABELMAP",
        labels=("lesion", "edema"),
        ContentCreatorName="",
        ContentDate="",
        SegmentSequence=[of(SegmentNumber=2, SegmentLabel="edema"), of(SegmentNumber=1, SegmentLabel="lesion")],
    )
    assert add(root, tmp_path / "seg.dcm").n_new == 2
    found = [(row["image"], row["label"], row["value"], row["made_by"], row["mask_n_pixels"]) for row in labels(root)]
    assert found == [(1, "edema", "true", "whoever", 2), (1, "lesion", "true", "whoever", 13)]
    assert labels(root)[0]["made_utc"] == NOW.isoformat()


def test_the_frame_that_is_named_decides_between_images_of_one_place(root, tmp_path):
    second_echo = list(bright(root / "several/image-2.dcm"))
    assert len(second_echo) == 6
    write_segmentation(tmp_path / "seg.dcm", [second_echo[4], second_echo[0]])
    add(root, tmp_path / "seg.dcm")
    require_marks(root, "scan-several", [6, 10])


def test_where_no_image_is_named_the_place_decides_if_it_can(root, tmp_path):
    for name, file in (("one", "image.dcm"), ("several", "image-2.dcm")):
        frames = list(bright(root / name / file))[:2]
        for groups, _ in frames:
            del groups.DerivationImageSequence
        write_segmentation(
            tmp_path / f"{name}.dcm", frames, series=[pydicom.dcmread(root / name / file).SeriesInstanceUID]
        )
    add(root, tmp_path / "one.dcm")
    require_marks(root, "scan-one", [0, 1])
    with pytest.raises(UnknownSlices, match="images 0, 3, 6, 9 do, and says not on which"):
        add(root, tmp_path / "several.dcm")


def without_uids(root):
    """As rows were before they had UIDs."""
    for rows in root.glob("*/catalogue.jsonl"):
        lines = [json.loads(line) for line in rows.read_text().splitlines()]
        for line in lines:
            for name in ("series_uid", "single_series_uid", "sop_instance_uid", "sop_frame", "nifti_sha256"):
                del line[name]
        rows.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("is_compacted", [False, True])
def test_rows_of_an_earlier_version_are_found_by_what_their_uids_are_made_of(tmp_path, is_compacted):
    deliver_marked(tmp_path / "results", "one", scan_id="scan-one")
    without_uids(tmp_path / "results")
    if is_compacted:
        compact(tmp_path / "results")
    write_segmentation(tmp_path / "seg.dcm", list(bright(tmp_path / "results/one/image.dcm")))
    assert add(tmp_path / "results", tmp_path / "seg.dcm").n_new == 3
    require_marks(tmp_path / "results", "scan-one", [0, 1, 2])


def moved(groups, by_mm):
    (position,) = groups.PlanePositionSequence
    elsewhere = of(**{each.keyword: each.value for each in groups})
    elsewhere.PlanePositionSequence = [
        of(ImagePositionPatient=[float(value) + by_mm for value in position.ImagePositionPatient])
    ]
    return elsewhere


def test_frames_of_no_image_are_listed_together_and_nothing_is_taken(root, tmp_path):
    frames = list(bright(root / "one/image.dcm"))
    other = deliver_marked(tmp_path / "elsewhere", "other", scan_id="scan-x", sha256="ef" * 32)
    stranger = next(bright(other / "image.dcm"))
    (first, mask), (second, _), (third, _) = frames
    swapped = of(**{each.keyword: each.value for each in first})
    swapped.PlanePositionSequence = third.PlanePositionSequence
    nowhere = of(**{each.keyword: each.value for each in first if each.keyword != "PlanePositionSequence"})
    unknown = of(**{each.keyword: each.value for each in second})
    unknown.SegmentIdentificationSequence = [of(ReferencedSegmentNumber=7)]
    wrong = {
        1: "", 2: "no image of the catalogue; it was drawn on 2.25.", 3: "it lies elsewhere than image 0 of scan-one",
        4: "it says not where it lies", 5: "there is no segment 7", 6: "segment 1 on image 0 of scan-one too",
    }  # fmt: skip
    groups = [first, stranger[0], swapped, nowhere, unknown, first]
    write_segmentation(tmp_path / "seg.dcm", [(each, mask) for each in groups])
    with pytest.raises(UnknownSlices, match=r"none of the labels in seg\.dcm was taken, for 5 of them") as refused:
        add(root, tmp_path / "seg.dcm")
    listed = refused.value.__notes__[0].splitlines()
    assert [line.partition(":")[0] for line in listed] == [f"frame {number}" for number in range(2, 7)]
    assert all(why in line for line, why in zip(listed, list(wrong.values())[1:], strict=True))
    assert labels(root) == []
    assert not (root / FOLDER / "masks").exists()

    write_segmentation(tmp_path / "other.dcm", list(bright(other / "image.dcm")))
    with pytest.raises(UnknownSlices, match="for 3 of them"):
        add(root, tmp_path / "other.dcm")
    for by_mm in (0.5, -0.5):
        write_segmentation(tmp_path / "moved.dcm", [(moved(third, by_mm), mask)])
        with pytest.raises(UnknownSlices, match="elsewhere than image 2"):
            add(root, tmp_path / "moved.dcm")


def deflated(path, seg):
    seg.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    seg.save_as(path, enforce_file_format=True)


def run_length_of_bits(path, seg):
    seg.file_meta.TransferSyntaxUID = RLELossless
    seg.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    seg.save_as(path, enforce_file_format=True)


def announced_only(path, seg):
    seg.Rows = seg.Columns = 65535
    seg.SegmentationType, seg.BitsAllocated, seg.BitsStored, seg.HighBit = "FRACTIONAL", 8, 8, 7
    run_length_of_bits(path, seg)


DAMAGE = {
    "announces 1610563585 bytes of pixels and has 100": {"Rows": 65535, "Columns": 65535, "PixelData": b"\0" * 100},
    "has 65535 x 65535 pixels, its images 29 x 43": announced_only,
    "announces 468 bytes of pixels and has 100": {"PixelData": b"\0" * 100},
    "announces 99 frames and describes 3": {"NumberOfFrames": 99, "PixelData": b"\0" * 20000},
    "has no frame in which anything is set": {"PixelData": b"\0" * 468},
    "pixels of 16 bits and the type BINARY": {"BitsAllocated": 16},
    "an object of the class MR Image Storage": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"},
    r"can't be read \(AttributeError\)": {"SegmentSequence": [of(SegmentLabel="x")]},
    "'20269999 013000.25 [+]0200', which is no time": {"ContentDate": "20269999"},
    "has a segment 1 without a label": {"SegmentSequence": [of(SegmentNumber=1, SegmentLabel="")]},
    "is deflated; write it uncompressed": deflated,
    "pixels of one bit with RLE": run_length_of_bits,
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of the values that are wrong, while they are written
@pytest.mark.parametrize("why", DAMAGE)
def test_a_segmentation_that_is_damaged_or_another_object_is_refused_in_a_sentence(root, tmp_path, why):
    damage = DAMAGE[why]
    changes = damage if isinstance(damage, dict) else {}
    seg = write_segmentation(tmp_path / "seg.dcm", list(bright(root / "one/image.dcm")), **changes)
    if callable(damage):
        damage(tmp_path / "seg.dcm", seg)
    with pytest.raises(UnknownSlices, match=why):
        add(root, tmp_path / "seg.dcm")
    assert labels(root) == []


def test_what_is_cut_short_anywhere_is_refused(root, tmp_path):
    write_segmentation(tmp_path / "seg.dcm", list(bright(root / "one/image.dcm")))
    whole = (tmp_path / "seg.dcm").read_bytes()
    for end in (*range(132, len(whole) - 200, 397), len(whole) - 1):
        (tmp_path / "cut.dcm").write_bytes(whole[:end])
        with pytest.raises(UnknownSlices):
            add(root, tmp_path / "cut.dcm")


def test_bytes_with_rle_are_read(root, tmp_path):
    seg = write_segmentation(tmp_path / "seg.dcm", list(bright(root / "one/image.dcm")), kind="FRACTIONAL")
    seg.compress(RLELossless, generate_instance_uid=False)
    seg.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    add(root, tmp_path / "seg.dcm")
    require_marks(root, "scan-one", [0, 1, 2])


def test_what_is_no_file_of_labels_is_refused(root, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    for name, why in ((".", "is a folder"), ("none", "can't be read"), ("empty", "first line")):
        with pytest.raises(UnknownSlices, match=why):
            add(root, tmp_path / name)
