"""Labels in a DICOM Segmentation: each segment on each image that it was drawn on is one.

Which image a frame is of say the images that it was derived from (by SOP instance and frame); where it names none, the
series does, and where the frame lies. In either case its pixels have to lie on those of the image.

DICOM PS3.3, sections A.51 (Segmentation IOD), C.8.20.2 (Segmentation Image) and C.7.6.16.2 (functional groups).
"""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, SegmentationStorage

from raki.catalogue.catalogue import Catalogue
from raki.catalogue.errors import UnknownSlices
from raki.catalogue.grids import Mask, OnImage, laid_onto
from raki.catalogue.in_dicom import ImagesInDicom, Known, images_of
from raki.catalogue.said import LONGEST, LabelFile, Region, Said
from raki.catalogue.segmented_frames import SegmentedFrame, frames_of
from raki.catalogue.segmented_pixels import SegmentedPixels, Unfit, require_readable
from raki.errors import RakiError
from raki.wording import plain

LABEL_MAP = UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage, of DICOM 2024d."""


class Misplaced(ValueError):
    """What is wrong with a frame."""


def read_segmentation(file: Path, catalogue: Catalogue) -> LabelFile:
    """The labels in a DICOM Segmentation of the images of a catalogue.

    Called as their segments are, with the coded type of what is segmented as value; said by the content's creator at
    its date and time, which count as UTC where no offset is told. Frames in which nothing is set say nothing.

    Raises:
        UnknownSlices: it is no such file, or can't be read.
    """
    with _damage_is_named(file):
        dataset = _read(file)
        pixels, segments = SegmentedPixels(dataset), _segments(dataset)
        frames = frames_of(dataset, pixels.shape)
        if pixels.n_frames != len(frames):
            raise Unfit(f"announces {pixels.n_frames} frames and describes {len(frames)}")
        made_by, made_utc = str(dataset.get("ContentCreatorName") or ""), _said_at(dataset)
        images = images_of(catalogue, _series(dataset), [uid for frame in frames for uid, _ in frame.sources])
        _require_shape(pixels.shape, images)
        drawn, wrong = _drawn(pixels, frames, images, segments)
        if not drawn and not wrong:
            raise Unfit("has no frame in which anything is set")
    said = [
        Said(
            scan_id=scan_id,
            image=image,
            label=segments[segment][0],
            value=segments[segment][1],
            made_by=made_by,
            made_utc=made_utc,
            region=region,
        )
        for (scan_id, image, segment), region in drawn.items()
    ]
    return LabelFile(said=said, wrong=wrong)


def _drawn(
    pixels: SegmentedPixels, frames: Sequence[SegmentedFrame], images: ImagesInDicom, segments: Collection[int]
) -> tuple[dict[tuple[str, int, int], Region], list[str]]:
    """Scan, image and segment -> the region; and what is wrong with frames, a line each."""
    if not images.all:
        return {}, [f"frame {number}: {_unknown(frame)}" for number, frame in enumerate(frames, 1)]
    drawn: dict[tuple[str, int, int], Region] = {}
    wrong = []
    for number, frame in enumerate(frames):
        try:
            for segment, mask in _masks(pixels, number, frame):
                image, laid = _placed(mask, frame, images)
                if segment not in segments:
                    raise Misplaced(f"there is no segment {segment}")
                if (image.scan_id, image.image, segment) in drawn:
                    raise Misplaced(f"another has segment {segment} on image {image.image} of {image.scan_id} too")
                drawn[image.scan_id, image.image, segment] = Region.of(laid)
        except Misplaced as error:
            wrong.append(f"frame {number + 1}: {error}")
    return drawn, wrong


@contextmanager
def _damage_is_named(file: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of values that aren't as they should be
            yield
    except RakiError:
        raise
    # Elements are converted when they are first looked at, and pydicom's errors have no class in common.
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # of the disk
            raise
        why = plain(str(error), 200) if isinstance(error, Unfit) else f"can't be read ({type(error).__name__})"
        raise UnknownSlices(f"none of the labels in {plain(file.name, 60)} was taken: the segmentation {why}") from None


def _read(file: Path) -> Dataset:
    require_readable(read_file_meta_info(file).TransferSyntaxUID)
    dataset = pydicom.dcmread(file)
    if dataset.SOPClassUID not in (SegmentationStorage, LABEL_MAP):
        raise Unfit(f"is none, but an object of the class {dataset.SOPClassUID.name}")
    return dataset


def _segments(dataset: Dataset) -> Mapping[int, tuple[str, str]]:
    """Number of a segment -> its label, and the type of what is segmented, with its code."""
    segments = {}
    for segment in dataset.SegmentSequence:
        label = plain(str(segment.get("SegmentLabel") or ""), LONGEST)
        if not label:
            raise Unfit(f"has a segment {int(segment.SegmentNumber)} without a label")
        segments[int(segment.SegmentNumber)] = label, plain(_type_of(segment), LONGEST)
    return segments


def _type_of(segment: Dataset) -> str:
    for coded in segment.get("SegmentedPropertyTypeCodeSequence") or ():
        code = coded.get("CodeValue") or coded.get("LongCodeValue") or coded.get("URNCodeValue") or ""
        return f"{coded.get('CodeMeaning', '')} ({coded.get('CodingSchemeDesignator', '')} {code})"
    return "true"


def _series(dataset: Dataset) -> list[str]:
    return [str(series.SeriesInstanceUID) for series in dataset.get("ReferencedSeriesSequence") or ()]


def _said_at(dataset: Dataset) -> str | None:
    """Date and time of the content, ISO 8601; None without a date."""
    date, time = (str(dataset.get(name) or "") for name in ("ContentDate", "ContentTime"))
    if not date:
        return None
    offset = str(dataset.get("TimezoneOffsetFromUTC") or "+0000").strip()
    try:
        told = datetime.strptime(f"{date} {time[:6].ljust(6, '0')} {offset}", "%Y%m%d %H%M%S %z")
    except ValueError:
        raise Unfit(f"was made at '{plain(f'{date} {time} {offset}', 40)}', which is no time") from None
    return told.astimezone(UTC).isoformat(timespec="seconds")


def _require_shape(shape: tuple[int, int], images: ImagesInDicom) -> None:
    """That some image has as many pixels, before any are unpacked: what is announced may be of any size."""
    shapes = {each.plane.shape for each in images.all}
    if shapes and shape not in shapes and shape[::-1] not in shapes:
        of = " or ".join(f"{rows} x {columns}" for rows, columns in sorted(shapes))
        raise Unfit(f"has {shape[0]} x {shape[1]} pixels, its images {of}")


def _unknown(frame: SegmentedFrame) -> str:
    return "no image of the catalogue" + (f"; it was drawn on {frame.sources[0][0]}" if frame.sources else "")


def _masks(pixels: SegmentedPixels, number: int, frame: SegmentedFrame) -> Iterator[tuple[int, Mask]]:
    """The segments in a frame of which any pixel is set."""
    values = pixels.frame(number)
    if pixels.kind == "LABELMAP":
        for segment in np.unique(values[values != 0]):
            yield int(segment), values == segment
    elif values.any():
        yield -1 if frame.segment is None else frame.segment, values


def _placed(mask: Mask, frame: SegmentedFrame, images: ImagesInDicom) -> tuple[Known, OnImage]:
    """The one image that a frame is of, and the mask on its pixels; raises Misplaced where there is none."""
    meant = [each for uid, numbers in frame.sources for each in images.named(uid, numbers)]
    if frame.sources and not meant:
        raise Misplaced(_unknown(frame))
    if frame.plane is None:
        raise Misplaced("it says not where it lies")
    near = {(each.scan_id, each.image): each for each in meant or images.all if frame.plane.is_near(each.plane)}
    laid = {key: laid_onto(mask, frame.plane, each.plane) for key, each in near.items()}
    found = [(near[key], on_image) for key, on_image in laid.items() if on_image is not None]
    if not found:
        named = f"image {meant[0].image} of {meant[0].scan_id}" if meant else f"any image of {images.all[0].scan_id}"
        raise Misplaced(f"it lies elsewhere than {named}")
    if len(found) > 1:
        among = ", ".join(str(each.image) for each, _ in found)
        raise Misplaced(f"it lies where images {among} do, and says not on which of them it was drawn")
    return found[0]
