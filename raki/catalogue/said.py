"""What one label says, whichever file it was read from."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from raki.catalogue.errors import UnknownSlices
from raki.catalogue.grids import Mask
from raki.wording import plain

N_LISTED = 10
"""Of what is refused, in the sentence; the exception has all."""
LONGEST = 200
"""Letters of a label or value."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Some of the pixels of an image, at least one."""

    png: bytes
    """Of one bit a pixel, on the pixels of the image."""
    n_pixels: int
    box: tuple[float, float, float, float]
    """Its first row and column, and one past the last ones."""

    @classmethod
    def of(cls, mask: Mask) -> "Region":
        """The region in which the mask is set."""
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(mask)).save(buffer, "PNG", optimize=True)
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        first_row, first_column, end_row, end_column = (
            float(edge) for edge in (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        )
        return cls(png=buffer.getvalue(), n_pixels=int(mask.sum()), box=(first_row, first_column, end_row, end_column))

    @property
    def sha256(self) -> str:
        """Of the PNG: under it the mask is kept."""
        return hashlib.sha256(self.png).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Said:
    """One label."""

    scan_id: str
    image: int | None
    """None: of the whole scan."""
    label: str
    value: str | None
    """None takes an earlier one by the same person back."""
    made_by: str = ""
    """Empty: whoever hands the file in."""
    made_utc: str | None = None
    """ISO 8601, to the second; None: the file doesn't tell."""
    region: Region | None = None

    def __post_init__(self) -> None:
        if not plain(self.label) or len(self.label) > LONGEST or len(self.value or "") > LONGEST:
            raise ValueError(f"a label has 1 to {LONGEST} letters, and a value no more")


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """What a file says."""

    said: Sequence[Said] = ()
    wrong: Sequence[str] = ()
    """What is wrong with it, a line each, beginning with where that stands: then nothing of it is taken."""
    n_left: int = 0
    """Labels that aren't meant to be taken."""


def refusal(file: Path, wrong: Sequence[str]) -> UnknownSlices:
    """None of the file is taken; what is wrong with it is in the notes, all of it."""
    more = f" and {len(wrong) - N_LISTED} more" if len(wrong) > N_LISTED else ""
    error = UnknownSlices(
        f"none of the labels in {plain(file.name, 60)} was taken, for {len(wrong)} of them are wrong: "
        f"{'; '.join(wrong[:N_LISTED])}{more}"
    )
    error.add_note("\n".join(wrong))
    return error
