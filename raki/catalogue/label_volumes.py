"""Labels in a NIfTI volume, whose values are classes: each class on each image is a region."""

import gzip
import math
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel
import numpy as np
from jaxtyping import Float64
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from raki.catalogue.grids import Mask, Plane, laid_onto
from raki.catalogue.in_dicom import Known
from raki.wording import plain

HEAD_BYTES = 1 << 20
"""Of what stands before the pixels."""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From NIfTI's coordinates to the patient's, and back."""
Affine = Float64[np.ndarray, "4 4"]


class LabelVolume:
    """Whole numbers on a grid, of as many voxels as some images have together.

    Raises:
        ValueError: it is none, or has more voxels; the sentence goes on from the file's name.
    """

    def __init__(self, path: Path, *, n_voxels: int) -> None:
        content = _content(path, most=HEAD_BYTES + 8 * n_voxels)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = nibabel.Nifti1Image.from_bytes(content)
                shape = image.shape
                while len(shape) > 3 and shape[-1] == 1:
                    shape = shape[:-1]
                if len(shape) not in (3, 4) or min(shape) < 1 or math.prod(shape) > n_voxels:
                    raise ValueError(f"has {' x '.join(map(str, shape))} voxels, more than its image")
                if image.get_data_dtype().kind not in "biuf":
                    raise ValueError(f"has values of the type {image.get_data_dtype()}")
                values = np.asarray(image.dataobj).reshape(*shape, *([1] * (4 - len(shape))))
                self.affine_lps_mm: Affine = LPS @ image.affine
        except (OSError, HeaderDataError, WrapStructError, ImageFileError, TypeError, OverflowError):
            raise ValueError("is no NIfTI image, or cut short") from None
        if not np.isfinite(values).all() or (values != np.rint(values)).any() or np.abs(values).max() > 1 << 30:
            raise ValueError("holds values that are no classes: whole numbers are")
        self.values = values.astype(np.int32)
        """Axes i, j, k and frame, as in the file."""

    @property
    def classes(self) -> list[int]:
        """All values but zero."""
        return [int(value) for value in np.unique(self.values) if value]

    def regions(self, frames: Sequence[Sequence[Known]]) -> Iterator[tuple[Known, int, Mask]]:
        """Image by image and class by class, the pixels of the class.

        Args:
            frames: the images of each frame of the scan.

        Raises:
            ValueError: a slice in which something is set isn't an image; or there are other frames.
        """
        if self.values.shape[3] != len(frames):
            raise ValueError(f"has {self.values.shape[3]} frames, the scan {len(frames)}")
        fewest_lost: list[str] | None = None
        for axis in (2, 1, 0):
            found, lost = self._placed(axis, frames)
            if not lost:
                for known, values in found:
                    for value in np.unique(values[values != 0]):
                        yield known, int(value), values == value
                return
            if fewest_lost is None or len(lost) < len(fewest_lost):
                fewest_lost = lost
        listed = ", ".join((fewest_lost or [])[:10])
        raise ValueError(
            f"lies elsewhere than the images of scan {frames[0][0].scan_id}, or has other pixels: that is so of "
            f"{len(fewest_lost or [])} slices ({listed}{' and so on' if len(fewest_lost or []) > 10 else ''})"
        )

    def _placed(self, axis: int, frames: Sequence[Sequence[Known]]) -> tuple[list[tuple[Known, np.ndarray]], list[str]]:
        """Slices across an axis in which something is set, on the pixels of their images; and those that have none."""
        found, lost = [], []
        down, right = (each for each in range(3) if each != axis)
        for frame, images in enumerate(frames):
            volume = np.moveaxis(self.values[..., frame], axis, 0)
            for index in np.flatnonzero(volume.any(axis=(1, 2))):
                plane = Plane(
                    corner_mm=self.affine_lps_mm[:3, 3] + index * self.affine_lps_mm[:3, axis],
                    down_mm=self.affine_lps_mm[:3, down],
                    right_mm=self.affine_lps_mm[:3, right],
                    shape=(volume.shape[1], volume.shape[2]),
                )
                near = [known for known in images if plane.is_near(known.plane)]
                laid = [(known, laid_onto(volume[index], plane, known.plane)) for known in near]
                on_images = [(known, values) for known, values in laid if values is not None]
                found += on_images[:1]
                lost += [] if on_images else [str(index)]
        return found, lost


def _content(path: Path, *, most: int) -> bytes:
    """Of a file, unpacked: a small one may unpack to any size."""
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_packed else path.open("rb") as content:
            held: bytes = content.read(most + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ValueError("is no NIfTI image, or cut short") from None
    except OSError as error:
        raise ValueError(f"can't be read ({plain(error.strerror or 'cut short', 100)})") from None
    if len(held) > most:
        raise ValueError(f"unpacks to more than {most} bytes, which is more than its image has")
    return held
