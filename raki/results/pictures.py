"""The pictures of a report: which slices of which frames are shown, and in which window."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from raki.images import ScanSummary
from raki.results.image_files import Slice, evenly_spaced, png, window_top
from raki.scan import frame_labels
from raki.scan.arrays import Volume

IMAGES_SHOWN = 24
"""More would make a file that a mail server refuses; the image files have them all."""

FRAMES_SHOWN = 6
"""So many frames are shown where there are many, be there ever so many slices."""

MAP_PIXELS = 192
"""The longer side of a map's picture: it is smooth, and the report stays small."""

_MAP_LABELS = {"g_factor": "g-factor", "standard_error": "Standard error", "structure_kept": "Small structure kept"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A slice of a frame that is shown."""

    frame: int
    slice: int
    index: int
    """Among the slices of all frames."""
    name: str
    """"slice 1", or "contrast 2, slice 1"."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of one slice. `alt` is read to those who can't see it."""

    label: str
    uri: str
    alt: str
    black: str = ""
    """Value of a black pixel, where it is told; and of a white one."""
    white: str = ""


def images_shown(scan: ScanSummary) -> list[Shown]:
    """All slices of all frames, or frames and slices spread over the scan: IMAGES_SHOWN at most, each slice of each."""
    n_frames = min(len(scan.frames), max(FRAMES_SHOWN, IMAGES_SHOWN // scan.n_slices))
    frames = evenly_spaced(len(scan.frames), n_frames)
    slices = evenly_spaced(scan.n_slices, IMAGES_SHOWN // n_frames)
    labels = [f"{label}, " if label else "" for label in frame_labels(scan.frames)]
    return [
        Shown(
            frame=frame,
            slice=slice_index,
            index=frame * scan.n_slices + slice_index,
            name=f"{labels[frame]}slice {slice_index + 1}",
        )
        for frame, slice_index in product(frames, slices)
    ]


def pictures(images: Mapping[str, Volume], shown: Sequence[Shown]) -> Iterator[list[Picture]]:
    """For each image shown: every method, then what the last changes against the one before it; one window for all.

    `images` has the label of each method.
    """
    *_, (before, reference), (method, result) = images.items()
    top = window_top(result)
    factor = difference_factor(result, reference, top)
    change = f"|{method} − {before}| ×\N{NO-BREAK SPACE}{factor}"  # noqa: RUF001 -- typeset
    for place in shown:
        by_method = [_picture(label, volume[place.index], top, place) for label, volume in images.items()]
        yield [*by_method, _picture(change, np.abs(result[place.index] - reference[place.index]), top / factor, place)]


def map_pictures(maps: Mapping[str, Volume], shown: Sequence[Shown]) -> Iterator[list[Picture]]:
    """For each image shown: every map, in one window for all."""
    windows = {name: (float(np.percentile(volume, 0.3)), window_top(volume)) for name, volume in maps.items()}
    for place in shown:
        yield [
            _map_picture(_MAP_LABELS[name], volume[place.index], windows[name], place) for name, volume in maps.items()
        ]


def difference_factor(result: Volume, reference: Volume, top: float) -> int:
    """The largest round factor at which the difference of two volumes still fits the window from 0 to `top`."""
    largest = float(np.percentile(np.abs(result - reference), 99.7))
    return next((factor for factor in (50, 20, 10, 5, 2) if largest * factor <= top), 1)


def _picture(label: str, pixels: Slice, top: float, shown: Shown) -> Picture:
    return Picture(label=label, uri=_data_uri(png(pixels, top=top)), alt=f"{shown.name.capitalize()}, {label}")


def _map_picture(label: str, pixels: Slice, window: tuple[float, float], shown: Shown) -> Picture:
    black, white = window
    uri = _data_uri(png((pixels - black).astype(np.float32), top=white - black or 1.0, longest=MAP_PIXELS))
    low, high = f"{black:.3g}", f"{white:.3g}"
    alt = f"{shown.name.capitalize()}, {label}, {low} to {high}"
    return Picture(label=label, uri=uri, alt=alt, black=low, white=high)


def _data_uri(picture: bytes) -> str:
    return "data:image/png;base64," + b64encode(picture).decode("ascii")
