"""Image files: ISMRMRD and NIfTI for programs, PNG for people.

A volume is `slice row column`; rows run along phase-encode, columns along readout. Since DC of k-space is at
`n // 2`, pixel (n_rows // 2, n_columns // 2) of slice s lies at position + s · spacing · slice direction. Where there
are several frames, a volume has the slices of the first, then those of the next.
"""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import ismrmrd
import nibabel
import numpy as np
from jaxtyping import Float32, Float64
from PIL import Image, ImageDraw, ImageFont

from raki.scan import ONE_FRAME, Frame, Geometry, frame_labels, slices_of_a_frame
from raki.scan.arrays import Volume

PREVIEW_BYTES = 400_000
"""A preview is small enough for a README or a mail."""

FRAMES_IN_PREVIEW = 6
"""Enough to see that frames differ, few enough to read their labels."""

Slice = Float32[np.ndarray, "row column"]


def write_ismrmrd_image(
    volume: Volume,
    path: Path,
    *,
    geometry: Geometry,
    frames: tuple[Frame, ...] = ONE_FRAME,
    header_xml: str,
    comment: str,
) -> None:
    """One magnitude image for each slice of each frame, as `image_0` of the group `dataset`, replacing the file.

    `comment` says what made the images and in which unit they are.

    Raises:
        ValueError: a pixel is not finite, or the frames have not the same number of slices.

    Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089.
    """
    _require_finite(volume)
    n_slices = slices_of_a_frame(len(volume), frames)
    attributes = ismrmrd.Meta({"DataRole": "Image", "ImageComments": comment}).serialize()
    with ismrmrd.Dataset(path, mode="w") as dataset:
        dataset.write_xml_header(header_xml.encode())
        for index, pixels in enumerate(volume):
            frame, slice_index = frames[index // n_slices], index % n_slices
            image = ismrmrd.Image.from_array(
                pixels,
                field_of_view=geometry.fov_mm,
                position=_slice_position_mm(geometry, slice_index),
                read_dir=geometry.read_direction,
                phase_dir=geometry.phase_direction,
                slice_dir=geometry.slice_direction,
                slice=slice_index,
                **asdict(frame),
                image_index=index + 1,
                image_type=ismrmrd.IMTYPE_MAGNITUDE,
            )
            image.attribute_string = attributes
            dataset.append_image("image_0", image)


def write_nifti(
    volume: Volume, path: Path, *, geometry: Geometry, frames: tuple[Frame, ...] = ONE_FRAME, description: str
) -> None:
    """NIfTI-1 with axes readout, phase-encode, slice; mm, scanner coordinates. `description`: at most 79 characters.

    Where there are several frames, they are the fourth axis, of no unit: they need not be of different times.

    Raises:
        ValueError: a pixel is not finite, the frames have not the same number of slices, or the description is too long
            for its field.

    https://nifti.nimh.nih.gov/nifti-1
    """
    _require_finite(volume)
    if len(description.encode()) > 79:
        raise ValueError(f"a NIfTI description has at most 79 bytes, this one {len(description.encode())}")
    affine = affine_ras_mm(geometry)
    by_frame = volume.reshape(len(frames), slices_of_a_frame(len(volume), frames), *volume.shape[1:])
    pixels = (by_frame if len(frames) > 1 else by_frame[0]).T
    image = nibabel.Nifti1Image(np.ascontiguousarray(pixels), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode()
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    nibabel.save(image, path)


def affine_ras_mm(geometry: Geometry) -> Float64[np.ndarray, "4 4"]:
    """From (column, row, slice) to mm. Geometry is LPS, NIfTI is RAS: the first two coordinates change sign."""
    n_rows, n_columns = geometry.matrix
    fov_read_mm, fov_phase_mm, _ = geometry.fov_mm
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(geometry.read_direction, fov_read_mm / n_columns)
    affine[:3, 1] = np.multiply(geometry.phase_direction, fov_phase_mm / n_rows)
    affine[:3, 2] = np.multiply(geometry.slice_direction, geometry.slice_spacing_mm)
    affine[:3, 3] = geometry.position_mm - affine[:3, :2] @ (n_columns // 2, n_rows // 2)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def window_top(volume: Volume) -> float:
    """The magnitude shown as white: few pixels are brighter, so that one hot vessel doesn't darken the picture."""
    return float(np.percentile(volume, 99.7)) or float(volume.max()) or 1.0


def png(pixels: Slice, *, top: float, longest: int = 384) -> bytes:
    """An 8-bit greyscale PNG, black at 0 and white from `top` on, reduced to at most `longest` pixels a side."""
    picture = _grey(pixels, top)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def evenly_spaced(n: int, at_most: int) -> list[int]:
    """Indices to show of n slices or frames: all of them, or `at_most`, the first and the last among them."""
    if n <= at_most:
        return list(range(n))
    return [round(index * (n - 1) / (at_most - 1)) for index in range(at_most)]


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
    matrix.

    Raises:
        ValueError: a pixel is not finite, or the frames have not the same number of slices.
    """
    for volume in images.values():
        _require_finite(volume)
        slices_of_a_frame(len(volume), frames)
    aspect, top = geometry.fov_mm[0] / geometry.fov_mm[1], window_top([*images.values()][-1])
    for panel_height in (420, 360, 300, 250, 200, 150):  # the noisier the image, the less it compresses
        buffer = io.BytesIO()
        _preview(images, frames, panel_height, aspect, top, caption).save(buffer, "PNG")
        if buffer.tell() <= PREVIEW_BYTES:
            break
    path.write_bytes(buffer.getvalue())


def _preview(
    images: Mapping[str, Volume], frames: tuple[Frame, ...], panel_height: int, aspect: float, top: float, caption: str
) -> Image.Image:
    """`aspect` is width over height of a panel, `top` the magnitude shown as white."""
    *_, result = images.values()
    middle = len(result) // len(frames) // 2
    gap, text = max(panel_height // 50, 4), max(panel_height // 18, 12)
    panel = (max(round(panel_height * aspect), 1), panel_height)
    width = len(images) * (panel[0] + gap) + gap
    panels = [_grey(volume[middle], top).resize(panel, Image.Resampling.BICUBIC) for volume in images.values()]
    below = gap + 2 * text + panel_height + gap
    overview = _overview(result, frames, width - 2 * gap, aspect, top, gap)
    canvas = Image.new("L", (width, below + overview.height + 2 * text + gap))
    draw = ImageDraw.Draw(canvas)
    for index, (label, picture) in enumerate(zip(images, panels, strict=True)):
        left = gap + index * (panel[0] + gap)
        draw.text((left, gap), label, fill=255, font=ImageFont.load_default(size=text))
        canvas.paste(picture, (left, gap + 2 * text))
    canvas.paste(overview, (gap, below))
    draw.text((gap, below + overview.height + text // 2), caption, fill=170, font=ImageFont.load_default(size=text))
    return canvas


def _overview(
    volume: Volume, frames: tuple[Frame, ...], width: int, aspect: float, top: float, gap: int
) -> Image.Image:
    """All slices of the first frame, then the middle slice of a few frames; what there is only one of is left out."""
    n_slices = len(volume) // len(frames)
    slices = evenly_spaced(n_slices, 40) if n_slices > 1 else []
    mosaic = _mosaic([_grey(volume[s], top) for s in slices], width, aspect, gap)
    if len(frames) == 1:
        return mosaic
    shown, labels = evenly_spaced(len(frames), FRAMES_IN_PREVIEW), frame_labels(frames)
    pictures = [_grey(volume[frame * n_slices + n_slices // 2], top) for frame in shown]
    row = _mosaic(pictures, width, aspect, gap, labels=[labels[frame] for frame in shown])
    both = Image.new("L", (width, mosaic.height + row.height))
    both.paste(mosaic)
    both.paste(row, (0, mosaic.height))
    return both


def _mosaic(
    pictures: Sequence[Image.Image], width: int, aspect: float, gap: int, *, labels: Sequence[str] = ()
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
        canvas.paste(picture.resize(tile, Image.Resampling.LANCZOS), (left, upper + above))
        if labels:
            font = _fitting_font(labels[index], text, tile_width)
            draw.text((left, upper + text // 2), labels[index], fill=255, font=font)
    return canvas


def _fitting_font(label: str, size: int, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of that size, or a smaller one in which the label is no wider than `width`."""
    needed = ImageFont.load_default(size=size).getlength(label)
    return ImageFont.load_default(size=size * min(1.0, width / needed))


def _grey(pixels: Slice, top: float) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(pixels / np.float32(top), 0, 1) * 255).astype(np.uint8))


def _slice_position_mm(geometry: Geometry, index: int) -> tuple[float, ...]:
    offset_mm = np.multiply(geometry.slice_direction, index * geometry.slice_spacing_mm)
    return tuple(float(coordinate) for coordinate in geometry.position_mm + offset_mm)


def _require_finite(volume: Volume) -> None:
    n_bad = int(np.count_nonzero(~np.isfinite(volume)))
    if n_bad:
        raise ValueError(f"{n_bad} pixels are not finite; no image file is written of them")
