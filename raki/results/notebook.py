"""Images in a notebook, which shows a picture that a cell ends with by itself."""

import math
from typing import Any

import numpy as np
from PIL import Image

from raki.images import Reconstruction
from raki.results.display import view_of
from raki.results.image_files import evenly_spaced, grey, window_top
from raki.results.preview import Picture
from raki.scan.arrays import Volume

GAP = 4
"""Black pixels between two images."""


def show(images: Any, *, most: int = 12, size: int = 256) -> Image.Image:
    """A picture of images side by side, all in one window from zero to just above the brightest tissue.

    Args:
        images: a `Reconstruction`, whose images by its method are turned as radiologists look at them, with the letters
            of the patient's sides (A P L R H F) at their edges; or an array or tensor with axes (slice,) row, column,
            shown as it lies. Of complex images the magnitude.
        most: how many are shown, spread over all there are.
        size: pixels of the longer side of an image.

    Returns:
        A Pillow image: a notebook displays it, `.save("images.png")` keeps it.

    Raises:
        ValueError: an array of other than two or three axes, an empty one, or one without a finite value.

    >>> import numpy as np, raki
    >>> raki.show(np.eye(32), size=64).size
    (64, 64)
    """
    pictures = _of_reconstruction(images, most) if isinstance(images, Reconstruction) else _of_array(images, most)
    n_columns = math.ceil(math.sqrt(len(pictures)))
    n_rows = math.ceil(len(pictures) / n_columns)
    width = round(size * min(1.0, pictures[0].aspect))
    height = round(size / max(1.0, pictures[0].aspect))
    sheet = Image.new("L", (n_columns * (width + GAP) - GAP, n_rows * (height + GAP) - GAP))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, n_columns)
        drawn = picture.within(width, height, Image.Resampling.BICUBIC)
        sheet.paste(drawn, (column * (width + GAP), row * (height + GAP)))
    return sheet


def _of_reconstruction(reconstruction: Reconstruction, most: int) -> list[Picture]:
    volume, scan = reconstruction.result, reconstruction.scan
    top = window_top(volume)
    shown = []
    for index in evenly_spaced(len(volume), most):
        view = view_of(scan.geometry, index, scan.n_slices)
        pixels = view.turned(volume[index])
        shown.append(Picture(grey=grey(pixels, top=top), aspect=view.aspect(scan.geometry), edges=view.edges))
    return shown


def _of_array(images: Any, most: int) -> list[Picture]:
    array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"images have shape {array.shape}; needed are axes (slice,) row, column, none empty")
    volume: Volume = np.abs(array.reshape(-1, *array.shape[-2:])).astype(np.float32)
    if not np.isfinite(volume).all():
        raise ValueError("some pixels are not finite; leave them out, as by numpy.nan_to_num")
    top = window_top(volume)
    aspect = array.shape[-1] / array.shape[-2]
    shown = [grey(volume[index], top=top) for index in evenly_spaced(len(volume), most)]
    return [Picture(grey=pixels, aspect=aspect, edges={}) for pixels in shown]
