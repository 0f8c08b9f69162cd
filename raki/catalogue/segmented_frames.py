"""What a DICOM Segmentation says of each of its frames: which segment, drawn on what, and where it lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from raki.catalogue.grids import Plane


@dataclass(frozen=True, kw_only=True)
class SegmentedFrame:
    """What is said of one frame."""

    segment: int | None
    """None of a label map, whose pixels tell."""
    sources: Sequence[tuple[str, Sequence[int]]]
    """SOP instances that it was derived from, with numbers of their frames."""
    plane: Plane | None
    """None where it isn't told."""


def frames_of(dataset: Dataset, shape: tuple[int, int]) -> list[SegmentedFrame]:
    """Of all frames, in the order of their pixels.

    DICOM PS3.3, section C.7.6.16 (functional groups: of a frame, or shared by all).
    """
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or ())
    return [_frame([groups, *shared], shape) for groups in dataset.PerFrameFunctionalGroupsSequence]


def _frame(groups: Sequence[Dataset], shape: tuple[int, int]) -> SegmentedFrame:
    """Of the functional groups of a frame, and behind them those that all frames share."""

    def first(name: str) -> Dataset:
        return next(iter(chain.from_iterable(group.get(name) or () for group in groups)), Dataset())

    segment = first("SegmentIdentificationSequence").get("ReferencedSegmentNumber")
    derived = chain.from_iterable(group.get("DerivationImageSequence") or () for group in groups)
    sources = chain.from_iterable(each.get("SourceImageSequence") or () for each in derived)
    return SegmentedFrame(
        segment=None if segment is None else int(segment),
        sources=[(str(source.ReferencedSOPInstanceUID), _numbers(source)) for source in sources],
        plane=_plane(
            first("PlanePositionSequence").get("ImagePositionPatient"),
            first("PlaneOrientationSequence").get("ImageOrientationPatient"),
            first("PixelMeasuresSequence").get("PixelSpacing"),
            shape,
        ),
    )


def _numbers(source: Dataset) -> list[int]:
    told = source.get("ReferencedFrameNumber")
    if told is None:
        return []
    return [int(number) for number in told] if isinstance(told, MultiValue | list) else [int(told)]


def _plane(
    position: Sequence[float] | None,
    orientation: Sequence[float] | None,
    spacing: Sequence[float] | None,
    shape: tuple[int, int],
) -> Plane | None:
    """DICOM PS3.3, section C.7.6.2.1.1: columns follow each other along the row's direction, told first."""
    if not position or not orientation or not spacing:
        return None
    corner, directions, (between_rows, between_columns) = np.array(position), np.array(orientation), spacing
    return Plane(
        corner_mm=corner.astype(float).reshape(3),
        right_mm=directions.astype(float).reshape(2, 3)[0] * float(between_columns),
        down_mm=directions.astype(float).reshape(2, 3)[1] * float(between_rows),
        shape=shape,
    )
