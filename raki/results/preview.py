"""The picture that a stranger looks at first: methods side by side, slices and frames below, letters at the edges."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from raki.results.display import view_of
from raki.results.image_files import evenly_spaced, grey, require_finite, window_top
from raki.scan import ONE_FRAME, Frame, Geometry, frame_labels, slices_of_a_frame
from raki.scan.arrays import Volume

PREVIEW_BYTES = 400_000
"""A preview is small enough for a README or a mail."""

FRAMES_IN_PREVIEW = 6
"""Enough to see that frames differ, few enough to read their labels."""

SMALLEST_LETTER = 9
# In the middle of each edge: by the edge, where along width and height, and the anchor of the text.
_EDGES = {"left": (0.0, 0.5, "lm"), "right": (1.0, 0.5, "rm"), "top": (0.5, 0.0, "mt"), "bottom": (0.5, 1.0, "mb")}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image as it is shown, in pixels of the scan."""

    grey: Image.Image
    aspect: float
    """Width over height on the screen."""
    edges: Mapping[str, str]
    """The letter at each edge."""

    def within(self, width: int, height: int, resampling: Image.Resampling) -> Image.Image:
        """The picture as large as it fits, on black, with its letters."""
        drawn_width = min(width, max(round(height * self.aspect), 1))
        drawn_height = min(height, max(round(drawn_width / self.aspect), 1))
        canvas = Image.new("L", (width, height))
        left, upper = (width - drawn_width) // 2, (height - drawn_height) // 2
        canvas.paste(self.grey.resize((drawn_width, drawn_height), resampling), (left, upper))
        draw = ImageDraw.Draw(canvas)
        font = ImageFont.load_default(size=max(height // 16, SMALLEST_LETTER))
        for edge, letter in self.edges.items():
            across, down, anchor = _EDGES[edge]
            # Within the picture by what a letter's outline takes.
            at = (left + 2 + across * (drawn_width - 5), upper + 2 + down * (drawn_height - 5))
            draw.text(at, letter, fill=220, font=font, anchor=anchor, stroke_width=1, stroke_fill=0)
        return canvas


def write_preview(
    images: Mapping[str, Volume],
    path: Path,
    *,
    geometry: Geometry,
    frames: tuple[Frame, ...] = ONE_FRAME,
    caption: str,
) -> None:
    """What a stranger looks at first: the middle slice by each method side by side; below, all slices of the last.

    A single slice stands alone. All this is of the first frame; where there are several, the middle slice of a few of
    them follows. `images` has the label of each method; all are drawn in one window. Pixels are square whatever the
    matrix, and each slice lies as `raki.results.display` says.

    Raises:
        ValueError: a pixel is not finite, or the frames have not the same number of slices.
    """
    for volume in images.values():
        require_finite(volume)
        slices_of_a_frame(len(volume), frames)
    *_, result = images.values()
    n_slices, top = len(result) // len(frames), window_top(result)

    def picture(volume: Volume, index: int) -> Picture:
        view = view_of(geometry, index, n_slices)
        return Picture(grey=grey(view.turned(volume[index]), top), aspect=view.aspect(geometry), edges=view.edges)

    methods = {label: picture(volume, n_slices // 2) for label, volume in images.items()}
    slices = [picture(result, index) for index in (evenly_spaced(n_slices, 40) if n_slices > 1 else [])]
    shown = evenly_spaced(len(frames), FRAMES_IN_PREVIEW) if len(frames) > 1 else []
    labels = frame_labels(frames)
    by_frame = {labels[frame]: picture(result, frame * n_slices + n_slices // 2) for frame in shown}
    for panel_height in (420, 360, 300, 250, 200, 150):  # the noisier the image, the less it compresses
        buffer = io.BytesIO()
        _preview(methods, slices, by_frame, panel_height, caption).save(buffer, "PNG")
        if buffer.tell() <= PREVIEW_BYTES:
            break
    path.write_bytes(buffer.getvalue())


def _preview(
    methods: Mapping[str, Picture],
    slices: Sequence[Picture],
    by_frame: Mapping[str, Picture],
    panel_height: int,
    caption: str,
) -> Image.Image:
    aspect = next(iter(methods.values())).aspect
    gap, text = max(panel_height // 50, 4), max(panel_height // 18, 12)
    panel = (max(round(panel_height * aspect), 1), panel_height)
    width = len(methods) * (panel[0] + gap) + gap
    below = gap + 2 * text + panel_height + gap
    overview = [
        _mosaic(slices, width - 2 * gap, aspect, gap),
        _mosaic([*by_frame.values()], width - 2 * gap, aspect, gap, labels=[*by_frame]),
    ]
    canvas = Image.new("L", (width, below + sum(part.height for part in overview) + 2 * text + gap))
    draw = ImageDraw.Draw(canvas)
    for index, (label, picture) in enumerate(methods.items()):
        left = gap + index * (panel[0] + gap)
        draw.text((left, gap), label, fill=255, font=_fitting_font(label, text, panel[0]))
        canvas.paste(picture.within(*panel, Image.Resampling.BICUBIC), (left, gap + 2 * text))
    for part in overview:
        canvas.paste(part, (gap, below))
        below += part.height
    draw.text((gap, below + text // 2), caption, fill=170, font=_fitting_font(caption, text, width - 2 * gap))
    return canvas


def _mosaic(
    pictures: Sequence[Picture], width: int, aspect: float, gap: int, *, labels: Sequence[str] = ()
) -> Image.Image:
    """One row up to eight pictures, more rows beyond, none wider than a quarter; no pictures, no height."""
    n_columns = max(4, min(len(pictures), 8) if len(pictures) <= 8 else 10)
    tile_width = (width - (n_columns - 1) * gap) // n_columns
    tile = (tile_width, max(round(tile_width / aspect), 1))
    text = max(2 * gap, 12)
    above = 2 * text if labels else 0
    n_rows = math.ceil(len(pictures) / n_columns)
    canvas = Image.new("L", (width, max(n_rows * (above + tile[1] + gap) - gap, 0)))
    draw = ImageDraw.Draw(canvas)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, n_columns)
        left, upper = column * (tile[0] + gap), row * (above + tile[1] + gap)
        canvas.paste(picture.within(*tile, Image.Resampling.LANCZOS), (left, upper + above))
        if labels:
            font = _fitting_font(labels[index], text, tile_width)
            draw.text((left, upper + text // 2), labels[index], fill=255, font=font)
    return canvas


def _fitting_font(label: str, size: int, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of that size, or a smaller one in which the label is no wider than `width`."""
    needed = ImageFont.load_default(size=size).getlength(label)
    return ImageFont.load_default(size=size * min(1.0, width / needed) if needed else size)
