"""Which slices of which frames a report shows; its pictures for paper and for who has no scripts, and their window."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from raki.images import ScanSummary
from raki.results.display import View, view_of
from raki.results.image_files import Slice, evenly_spaced, png, window_top
from raki.scan import frame_labels
from raki.scan.arrays import Volume

FRAMES_SHOWN = 6
"""So many frames are shown where there are many, be there ever so many slices."""

IMAGES_JUDGED = 24
"""By so many images, spread over the scan, it is judged how large differences and maps are."""

MAP_PIXELS = 192
"""The longer side of a map's picture: it is smooth, and the report stays small."""

MAP_LABELS = {"g_factor": "g-factor", "standard_error": "Standard error", "structure_kept": "Small structure kept"}


PART_LABELS = {
    "leaned_16": "From lines of 16 px and coarser",
    "leaned_8": "From lines of 8 to 16 px",
    "leaned_4": "From lines of 4 to 8 px",
    "leaned_2": "From lines of 2 to 4 px",
    "change_coarse": "Change, coarse",
    "change_fine": "Change, fine",
}
"""Of what the brightness of an image is explained by; `raki.kspace.explanation`. A line is of details of so many pixels
a period."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A slice of a frame that is shown."""

    frame: int
    slice: int
    index: int
    """Among the slices of all frames."""
    name: str
    """"slice 1", or "contrast 2, slice 1"."""
    view: View
    aspect: float
    """Width over height on the screen."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of one slice. `alt` is read to those who can't see it."""

    label: str
    uri: str
    alt: str
    black: str = ""
    """Value of a black pixel, where it is told; and of a white one."""
    white: str = ""


def spread(n_frames: int, n_slices: int, at_most: int) -> tuple[list[int], list[int]]:
    """Frames and slices, spread over all of them: each of these slices of each of these frames, `at_most` in all.

    A few frames are always among them, if `at_most` lets them be.
    """
    frames = evenly_spaced(n_frames, min(n_frames, max(FRAMES_SHOWN, at_most // n_slices)))
    return frames, evenly_spaced(n_slices, at_most // len(frames))


def images_shown(scan: ScanSummary, at_most: int) -> list[Shown]:
    """All slices of all frames, or `at_most` of them, spread over the scan."""
    labels = [f"{label}, " if label else "" for label in frame_labels(scan.frames)]
    return [
        Shown(
            frame=frame,
            slice=slice_index,
            index=frame * scan.n_slices + slice_index,
            name=f"{labels[frame]}slice {slice_index + 1}",
            view=(view := view_of(scan.geometry, frame * scan.n_slices + slice_index, scan.n_slices)),
            aspect=view.aspect(scan.geometry),
        )
        for frame, slice_index in product(*spread(len(scan.frames), scan.n_slices, at_most))
    ]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The values that pictures of all images are drawn between."""

    top: float
    """White in an image; black is 0."""
    change: float
    """What few pixels of the result differ by more from the method before it; 0 where there is none."""
    maps: Mapping[str, tuple[float, float]]
    """By name: black and white, the first below the second."""


def windows_of(images: Mapping[str, Volume], maps: Mapping[str, Volume]) -> Windows:
    """Those of images, the result last, and of its maps. No volume of differences is held."""
    *others, result = images.values()
    before = others[-1] if others else result
    judged = evenly_spaced(len(result), IMAGES_JUDGED)
    return Windows(
        top=window_top(result),
        change=float(np.percentile(np.abs(result[judged] - before[judged]), 99.7)),
        maps={name: _map_window(volume[judged]) for name, volume in maps.items()},
    )


def _map_window(volume: Volume) -> tuple[float, float]:
    black, white = (float(value) for value in np.percentile(volume, (0.3, 99.7)))
    return black, white if white > black else black + 1.0


def pictures(images: Mapping[str, Volume], shown: Shown, windows: Windows) -> list[Picture]:
    """An image by every method, then what the last changes against the one before it; one window for all.

    `images` has the label of each method; of a single one there is nothing to change.
    """
    by_method = [_picture(label, volume[shown.index], windows.top, shown) for label, volume in images.items()]
    if len(images) == 1:
        return by_method
    (before, reference), (method, result) = [*images.items()][-2:]
    factor = difference_factor(windows.change, windows.top)
    change = f"|{method} − {before}| ×\N{NO-BREAK SPACE}{factor}"  # noqa: RUF001 -- typeset
    difference = np.abs(result[shown.index] - reference[shown.index])
    return [*by_method, _picture(change, difference, windows.top / factor, shown)]


def map_pictures(maps: Mapping[str, Volume], shown: Shown, windows: Windows) -> list[Picture]:
    """Every map of an image."""
    return [
        _map_picture(MAP_LABELS[name], volume[shown.index], windows.maps[name], shown) for name, volume in maps.items()
    ]


def difference_factor(largest: float, top: float) -> int:
    """The largest round factor at which a difference still fits the window from 0 to `top`."""
    return next((factor for factor in (50, 20, 10, 5, 2) if largest * factor <= top), 1)


def _picture(label: str, pixels: Slice, top: float, shown: Shown) -> Picture:
    uri = _data_uri(png(shown.view.turned(pixels), top=top))
    return Picture(label=label, uri=uri, alt=f"{_name(shown)}, {label}")


def _map_picture(label: str, pixels: Slice, window: tuple[float, float], shown: Shown) -> Picture:
    black, white = window
    turned = (shown.view.turned(pixels) - black).astype(np.float32)
    uri = _data_uri(png(turned, top=white - black, longest=MAP_PIXELS))
    low, high = f"{black:.3g}", f"{white:.3g}"
    alt = f"{_name(shown)}, {label}, {low} to {high}"
    return Picture(label=label, uri=uri, alt=alt, black=low, white=high)


def _name(shown: Shown) -> str:
    return ", ".join(filter(None, (shown.name.capitalize(), shown.view.plane)))


def _data_uri(picture: bytes) -> str:
    return "data:image/png;base64," + b64encode(picture).decode("ascii")
