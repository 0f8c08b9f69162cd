"""Pictures of many images in little room: layers of 8-bit tiles on JPEG sheets, as finely as a number of bytes allows.

Everything is drawn a sheet at a time; no volume is copied.
"""

import io
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image

from raki.results.image_files import Slice, evenly_spaced
from raki.results.pictures import Shown

SHEET_WIDTH = 1280
"""About as many pixels as a printed page shows."""
COLUMNS = (5, 20)
"""Of a sheet, at least and at most."""
PAGE = 1.3
"""Height over width that a sheet has at most, so that it fits a printed page."""
BLOCK = 8
"""JPEG compresses squares of so many pixels: a tile begins with one, or neighbours would show through."""
COMPARED_AT_LEAST = 24
"""Of so many images all methods and maps are there, be there ever so many images."""
IMAGES_AT_MOST = 4000
"""So many can still be told apart in the bytes of a report; of more, frames are left out."""
SAMPLES = 6
"""Images that tell how well the others compress."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What can be looked at of each image: a method's picture, the difference of two, or a map."""

    key: str
    label: str
    pixels: Callable[[int], Slice]
    """Of an image, by its index among the slices of all frames, as it was acquired."""
    low: float
    """The value of a stored 0; that of a stored 255 is `high`."""
    high: float
    is_overlay: bool = False
    is_part: bool = False
    """Whether it is a part of the brightness of the result, which may be negative; an overlay too."""
    longest: int = 512
    """The longer side of a tile; smooth maps need fewer pixels than images."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How finely layers are drawn."""

    n_compared: int
    """Of so many images at most there is more than the first layer."""
    longest: int
    quality: int
    """Of JPEG, 1 to 95."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Tiles of one shape, left to right and top to bottom."""

    images: Sequence[int]
    """Which they are of those shown."""
    n_columns: int
    tile: tuple[int, int]
    """Width and height."""
    cell: tuple[int, int]
    """Of a tile with what is between it and the next."""
    aspect: float
    """Width over height of the sheet on the screen."""
    jpeg: str
    """In base64."""


def plans(n_images: int) -> Iterator[Plan]:
    """From the finest to the coarsest: first the comparison is thinned out, then all pictures become coarser."""
    for quality in (95, 85):
        yield Plan(n_compared=n_images, longest=512, quality=quality)
    n_compared = n_images
    while n_compared > COMPARED_AT_LEAST:
        yield Plan(n_compared=n_compared, longest=512, quality=75)
        n_compared = max(n_compared // 2, COMPARED_AT_LEAST)
    for longest, quality in ((512, 75), (512, 60), (384, 60), (256, 60), (192, 60), (128, 60), (96, 50), (64, 50)):
        yield Plan(n_compared=n_compared, longest=longest, quality=quality)
    yield Plan(n_compared=n_compared, longest=48, quality=40)


def drawn(
    layers: Sequence[Layer],
    shown: Sequence[Shown],
    compared: Callable[[int], Sequence[int]],
    *,
    n_bytes: int,
) -> tuple[Plan, dict[str, list[Sheet]]]:
    """The sheets of each layer, and by which plan: the finest whose sheets have at most `n_bytes`, else the coarsest.

    `compared` says which of the images shown have all layers if only so many may; the first layer has all images.
    """
    *finer, coarsest = plans(len(shown))
    for plan in finer:
        if _estimate(layers, shown, len(compared(plan.n_compared)), plan) <= n_bytes:
            sheets = _sheets_by_layer(layers, shown, compared, plan)
            if sum(len(sheet.jpeg) for of_layer in sheets.values() for sheet in of_layer) <= n_bytes:
                return plan, sheets
    return coarsest, _sheets_by_layer(layers, shown, compared, coarsest)


def _sheets_by_layer(
    layers: Sequence[Layer], shown: Sequence[Shown], compared: Callable[[int], Sequence[int]], plan: Plan
) -> dict[str, list[Sheet]]:
    first, *others = layers
    some = compared(plan.n_compared)
    return {
        first.key: list(sheets(first, shown, range(len(shown)), plan)),
        **{layer.key: list(sheets(layer, shown, some, plan)) for layer in others},
    }


def _estimate(layers: Sequence[Layer], shown: Sequence[Shown], n_compared: int, plan: Plan) -> float:
    """Bytes that the sheets will have, judged by a few images."""
    samples = evenly_spaced(len(shown), SAMPLES)
    per_image = [sum(len(sheet.jpeg) for sheet in sheets(layer, shown, samples, plan)) for layer in layers]
    first, *others = (n_bytes / len(samples) for n_bytes in per_image)
    return first * len(shown) + sum(others) * n_compared


def sheets(layer: Layer, shown: Sequence[Shown], images: Sequence[int], plan: Plan) -> Iterator[Sheet]:
    """Those of one layer, with these of the images shown; images of each shape have sheets of their own."""
    for is_transposed in (False, True):
        alike = [image for image in images if shown[image].view.is_transposed == is_transposed]
        if not alike:
            continue
        one = shown[alike[0]]
        n_rows, n_columns = one.view.turned(layer.pixels(one.index)).shape
        scale = min(1.0, min(plan.longest, layer.longest) / max(n_rows, n_columns))
        tile = max(round(scale * n_columns), 1), max(round(scale * n_rows), 1)
        across = min(max(SHEET_WIDTH // tile[0], COLUMNS[0]), COLUMNS[1], len(alike))
        n_tiles = across * max(int(PAGE * across * one.aspect), 1)
        for begin in range(0, len(alike), n_tiles):
            yield _sheet(layer, shown, alike[begin : begin + n_tiles], tile, across, plan.quality)


def _sheet(
    layer: Layer, shown: Sequence[Shown], images: Sequence[int], tile: tuple[int, int], n_columns: int, quality: int
) -> Sheet:
    width, height = (BLOCK * ceil(length / BLOCK) for length in tile)
    n_rows = ceil(len(images) / n_columns)
    canvas = Image.new("L", (n_columns * width, n_rows * height))
    for number, image in enumerate(images):
        row, column = divmod(number, n_columns)
        picture = _stored(layer, shown[image]).resize(tile, Image.Resampling.LANCZOS, reducing_gap=2.0)
        # Continued to the edge of its cell: in a block that is black beyond the tile, losses reach into the tile.
        cell = np.pad(np.asarray(picture), ((0, height - tile[1]), (0, width - tile[0])), mode="edge")
        canvas.paste(Image.fromarray(cell), (column * width, row * height))
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=quality)
    pixel_aspect = shown[images[0]].aspect * tile[1] / tile[0]
    return Sheet(
        images=images,
        n_columns=n_columns,
        tile=tile,
        cell=(width, height),
        aspect=pixel_aspect * canvas.width / canvas.height,
        jpeg=b64encode(buffer.getvalue()).decode("ascii"),
    )


def _stored(layer: Layer, shown: Shown) -> Image.Image:
    # In double precision, which no difference of two single ones leaves.
    pixels = shown.view.turned(layer.pixels(shown.index)).astype(np.float64)
    part = (pixels - layer.low) / (layer.high - layer.low)
    return Image.fromarray(np.rint(np.clip(part, 0, 1) * 255).astype(np.uint8))
