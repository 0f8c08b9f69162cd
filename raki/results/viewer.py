"""What the viewer of a report is given: all images by every method, differences and maps, as JSON.

`templates/report.js` draws it. Keys, of which nothing but labels is a text of the scan's:

    frames, slices   what each frame and slice is called; images are counted slice by slice, frame by frame
    views            plane, edges (letters), width_mm and height_mm; view_of has one of them for each image
    window           the values that are black and white at first
    start            the image that is shown at first
    unit             of the methods' values
    layers           key, label, is_overlay, is_part, low and high (values of a stored 0 and 255), sheets; the first
                     layer has all images
    sheets           images (by number), n_columns, tile, cell, aspect, jpeg; see `raki.results.tiles.Sheet`
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from raki.images import Reconstruction
from raki.results.display import View
from raki.results.image_files import Slice
from raki.results.pictures import MAP_LABELS, PART_LABELS, Shown, Windows, images_shown, spread, windows_of
from raki.results.tiles import IMAGES_AT_MOST, Layer, Plan, Sheet, drawn
from raki.scan import Geometry, frame_labels
from raki.scan.arrays import Volume

VIEWER_BYTES = 5_500_000
"""Of all sheets: with what else is in it, a report stays below 6 MB, which a mail server takes."""

HEADROOM = 1.5
"""How far above white values are still told apart, times white."""
ZERO_OF_PART = 128
"""How a part of nothing is stored, of 0 to 255; `report.js` has it too."""

DIFFERENCE_PIXELS, MAP_PIXELS = 256, 128
"""The longer side of an overlay's tile, at most."""


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """All that there is to look at."""

    shown: Sequence[Shown]
    layers: Sequence[Layer]
    sheets: Mapping[str, Sequence[Sheet]]
    plan: Plan
    n_compared: int
    """Of so many images there is more than the result."""
    middle: Shown
    windows: Windows
    json: Mapping[str, Any]


def viewer(reconstruction: Reconstruction, images: Mapping[str, Volume], unit: str) -> Viewer:
    """The viewer of a reconstruction. `images` has those that are shown, by their labels, the result last."""
    scan = reconstruction.scan
    shown = images_shown(scan, IMAGES_AT_MOST)
    frames, slices = ([*dict.fromkeys(getattr(one, axis) for one in shown)] for axis in ("frame", "slice"))

    def compared(at_most: int) -> list[int]:
        of_frames, of_slices = spread(len(frames), len(slices), at_most)
        return [frame * len(slices) + slice_index for frame, slice_index in product(of_frames, of_slices)]

    windows = windows_of(images, reconstruction.maps)
    layers = [
        *_method_layers(images, windows),
        *_difference_layers(images, windows),
        *_map_layers(reconstruction.maps, windows),
        *_part_layers(reconstruction.explanation, windows),
    ]
    plan, sheets = drawn(layers, shown, compared, n_bytes=VIEWER_BYTES)
    middle = min(range(len(slices)), key=lambda number: abs(slices[number] - scan.n_slices // 2))
    labels = frame_labels(scan.frames)
    views = [*dict.fromkeys(one.view for one in shown)]
    numbers = {view: number for number, view in enumerate(views)}
    return Viewer(
        shown=shown,
        layers=layers,
        sheets=sheets,
        plan=plan,
        n_compared=len(compared(plan.n_compared)),
        middle=shown[middle],
        windows=windows,
        json={
            "frames": [labels[frame] for frame in frames],
            "slices": [str(index + 1) for index in slices],
            "views": [_view(view, scan.geometry) for view in views],
            "view_of": [numbers[one.view] for one in shown],
            "window": [0, float(f"{windows.top:.4g}")],
            "start": middle,
            "unit": unit,
            "layers": [_layer(layer, sheets[layer.key], is_first=layer is layers[0]) for layer in layers],
        },
    )


def _method_layers(images: Mapping[str, Volume], windows: Windows) -> list[Layer]:
    """The result first."""
    result = [*images.values()][-1]
    high = min(float(result.max()), HEADROOM * windows.top) or 1.0
    found = [
        Layer(key=f"method-{number}", label=label, pixels=volume.__getitem__, low=0.0, high=high)
        for number, (label, volume) in enumerate(images.items())
    ]
    return [found[-1], *found[:-1]]


def _difference_layers(images: Mapping[str, Volume], windows: Windows) -> list[Layer]:
    """What the result changes against the method before it, where there is one."""
    if len(images) == 1:
        return []
    (before, reference), (method, result) = [*images.items()][-2:]
    return [
        Layer(
            key="difference",
            label=f"|{method} \N{MINUS SIGN} {before}|",
            pixels=partial(_difference, result, reference),
            low=0.0,
            high=windows.change or 1.0,
            is_overlay=True,
            longest=DIFFERENCE_PIXELS,
        )
    ]


def _difference(result: Volume, reference: Volume, index: int) -> Slice:
    return np.abs(result[index] - reference[index])


def _map_layers(maps: Mapping[str, Volume], windows: Windows) -> list[Layer]:
    return [
        Layer(
            key=name,
            label=MAP_LABELS[name],
            pixels=volume.__getitem__,
            low=low,
            high=high,
            is_overlay=True,
            longest=MAP_PIXELS,
        )
        for name, volume in maps.items()
        for low, high in [windows.maps[name]]
    ]


def _part_layers(explanation: Mapping[str, Volume], windows: Windows) -> list[Layer]:
    """Of one scale for all slices, about zero: that is a stored value itself, or each pixel without a part had some.

    What is brighter than an image is drawn to is no more of a part: one hot pixel would leave no steps for the others.
    """
    most = HEADROOM * windows.top
    largest = {name: min(float(np.abs(volume).max()), most) or 1.0 for name, volume in explanation.items()}
    return [
        Layer(
            key=name,
            label=PART_LABELS[name],
            pixels=volume.__getitem__,
            low=-largest[name] * ZERO_OF_PART / (255 - ZERO_OF_PART),
            high=largest[name],
            is_overlay=True,
            is_part=True,
            longest=MAP_PIXELS,
        )
        for name, volume in explanation.items()
    ]


def _view(view: View, geometry: Geometry) -> dict[str, Any]:
    read_mm, phase_mm, _ = geometry.fov_mm
    width_mm, height_mm = (phase_mm, read_mm) if view.is_transposed else (read_mm, phase_mm)
    return {"plane": view.plane, "edges": view.edges, "width_mm": width_mm, "height_mm": height_mm}


def _layer(layer: Layer, sheets: Sequence[Sheet], *, is_first: bool) -> dict[str, Any]:
    """The pictures of the first layer are on the page, for paper."""
    return {
        "key": layer.key,
        "label": layer.label,
        "is_overlay": layer.is_overlay,
        "is_part": layer.is_part,
        "low": layer.low,
        "high": layer.high,
        "sheets": [{**asdict(sheet), "jpeg": None} if is_first else asdict(sheet) for sheet in sheets],
    }
