"""A reconstruction as messages: its images with window and scale, and what is to be known of them."""

import io
import struct
from collections.abc import Iterator, Sequence
from enum import StrEnum
from importlib.metadata import version

import ismrmrd
import numpy as np
from jaxtyping import UInt16

from raki.formats.ismrmrd.messages import MessageKind
from raki.images import Reconstruction
from raki.results.image_files import ismrmrd_images, window_top
from raki.results.provenance import unit
from raki.scan.header import parse_header

USUAL_BITS = 12
"""As scanners store images, and reconstruction servers answer where the header asks for nothing else."""


class Pixels(StrEnum):
    """How a pixel is sent."""

    UINT16 = "uint16"
    FLOAT32 = "float32"


def image_messages(reconstruction: Reconstruction, pixels: Pixels) -> Iterator[bytes]:
    """The images by the method that was asked for, one message each, in the order of `image.h5`.

    Of whole numbers the largest pixel of the scan has all bits that the header's user parameter `BitsStored` names, 8
    to 16, else 12; `RakiScale` is the value of a step. The window (MetaAttributes `WindowCenter`, `WindowWidth`) is in
    the pixels' own numbers.

    MetaAttributes: https://ismrmrd.readthedocs.io/en/latest/mrd_image_data.html.
    """
    scan, volume = reconstruction.scan, reconstruction.result
    scale = 1.0
    stored: np.ndarray = volume
    top = window_top(volume)
    if pixels is Pixels.UINT16:
        stored, scale = _whole_numbers(reconstruction)
        top = max(round(top / scale), 2)
    made_by = f"raki {version('raki-mri')}, {reconstruction.method}, R={scan.acceleration}; research use only"
    attributes = {
        "ImageComments": f"{made_by}; magnitude times {scale:.6g} in {unit(scan)}",
        "RakiScale": f"{scale:.9g}",
        "WindowCenter": f"{top // 2 if pixels is Pixels.UINT16 else top / 2:.6g}",
        "WindowWidth": f"{top:.6g}",
    }
    for image in ismrmrd_images(stored, geometry=scan.geometry, frames=scan.frames, attributes=attributes):
        yield _message(image)


def remarks_on(reconstruction: Reconstruction) -> Sequence[str]:
    """Sentences for whoever looks at the images: of the scan as it was read, and of how it was filled."""
    return (*reconstruction.scan.remarks, *reconstruction.notes)


def _whole_numbers(reconstruction: Reconstruction) -> tuple[UInt16[np.ndarray, "slice row column"], float]:
    volume = reconstruction.result
    scale = float(volume.max()) / ((1 << _bits_stored(reconstruction.scan.header_xml)) - 1) or 1.0
    return np.rint(volume / scale).astype(np.uint16), scale


def _bits_stored(header_xml: str) -> int:
    parameters = parse_header(header_xml).userParameters
    for each in parameters.userParameterLong if parameters else ():
        if each.name == "BitsStored" and each.value in range(8, 17):
            return int(each.value)
    return USUAL_BITS


def _message(image: ismrmrd.Image) -> bytes:
    message = io.BytesIO()
    message.write(struct.pack("<H", MessageKind.IMAGE))
    image.serialize_into(message.write)
    return message.getvalue()
