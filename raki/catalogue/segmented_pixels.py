"""The pixels of a DICOM Segmentation, frame by frame: of as many bytes as it announces, or none.

DICOM PS3.5, section 8.1.1 (pixels of one bit follow each other without a gap, from the lowest bit of a byte on).
"""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless


class Unfit(ValueError):
    """What is wrong with a segmentation, as the end of a sentence that begins with it."""


AS_THEY_ARE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
N_BITS = {"BINARY": (1,), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}


def require_readable(syntax: UID) -> None:
    """Raises Unfit for a transfer syntax that isn't read, with what to do.

    One that deflates the data set could grow to any size as it is read.
    """
    if syntax not in (*AS_THEY_ARE, RLELossless):
        known = syntax.name if syntax.is_transfer_syntax else "an unknown way"
        raise Unfit(
            f"is {'deflated' if syntax == DeflatedExplicitVRLittleEndian else f'written in {known}'}; write it "
            f"uncompressed ({ExplicitVRLittleEndian.name}) or with RLE"
        )


class SegmentedPixels:
    """The pixels of a segmentation; raises Unfit where it says not how they are stored, or lacks some."""

    def __init__(self, dataset: Dataset) -> None:
        self.kind = str(dataset.get("SegmentationType", "BINARY"))
        """BINARY or FRACTIONAL: a frame is of one segment. LABELMAP: its values are numbers of segments."""
        self.n_frames = int(dataset.get("NumberOfFrames") or 1)
        self.shape = int(dataset.Rows), int(dataset.Columns)
        self._n_bits = int(dataset.BitsAllocated)
        self._half = int(dataset.get("MaximumFractionalValue") or 1) / 2
        self._dataset = dataset
        if self._n_bits not in N_BITS.get(self.kind, ()) or int(dataset.get("SamplesPerPixel", 1)) != 1:
            raise Unfit(f"has pixels of {self._n_bits} bits and the type {self.kind}, which don't go together")
        if self.n_frames < 1 or min(self.shape) < 1 or "PixelData" not in dataset:
            raise Unfit("has no pixels")
        self._is_compressed = dataset.file_meta.TransferSyntaxUID == RLELossless
        if self._is_compressed and self._n_bits == 1:
            raise Unfit("has pixels of one bit with RLE; write it uncompressed")
        n_needed = -(-self.n_frames * self.shape[0] * self.shape[1] * self._n_bits // 8)
        if not self._is_compressed and len(dataset.PixelData) < n_needed:
            raise Unfit(f"announces {n_needed} bytes of pixels and has {len(dataset.PixelData)}")

    def frame(self, number: int) -> np.ndarray:
        """Of a frame, from 0: of BINARY and FRACTIONAL what is set, or at least half so; of LABELMAP the numbers."""
        n_pixels = self.shape[0] * self.shape[1]
        if self._is_compressed:
            values = pixel_array(self._dataset, index=number, raw=True).reshape(self.shape)
        elif self._n_bits == 1:
            begin, end = number * n_pixels, (number + 1) * n_pixels
            held = np.frombuffer(self._dataset.PixelData, np.uint8, count=-(-end // 8) - begin // 8, offset=begin // 8)
            values = np.unpackbits(held, bitorder="little")[begin % 8 :][:n_pixels].reshape(self.shape)
        else:
            width = np.dtype(f"<u{self._n_bits // 8}")
            offset = number * n_pixels * width.itemsize
            values = np.frombuffer(self._dataset.PixelData, width, n_pixels, offset).reshape(self.shape)
        if self.kind == "LABELMAP":
            return values
        return values >= self._half if self.kind == "FRACTIONAL" else values != 0
