"""Frames of a scan: how many images each has, and how they are called in a text."""

from dataclasses import dataclass, fields
from math import prod


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Which of several images of the same slices this is, by the counters that ISMRMRD has for them."""

    contrast: int = 0
    phase: int = 0
    repetition: int = 0
    set: int = 0


ONE_FRAME = (Frame(),)
COUNTERS = tuple(field.name for field in fields(Frame))
"""The counters by their names, the outermost first."""


def slices_of_a_frame(n_images: int, frames: tuple[Frame, ...]) -> int:
    """How many of the images are of each frame; raises ValueError where they can't be shared out evenly."""
    n_slices, n_left = divmod(n_images, len(frames))
    if n_left:
        raise ValueError(f"{n_images} images don't make {len(frames)} frames; each needs the same number of slices")
    return n_slices


def frames_in_words(frames: tuple[Frame, ...]) -> str:
    """What kind of frames, and how many: "3 contrasts", or "2 contrasts, 10 repetitions" where there is each of each.

    Where some of the combinations are missing: "7 frames: 2 contrasts, 4 repetitions". Nothing of a single one.
    """
    n_each = {name: len({getattr(frame, name) for frame in frames}) for name in _varying(frames)}
    kinds = ", ".join(f"{n} {name}s" for name, n in n_each.items())
    return kinds if prod(n_each.values()) == len(frames) else f"{len(frames)} frames: {kinds}"


def frame_labels(frames: tuple[Frame, ...]) -> list[str]:
    """Each frame by the counters that tell it from the others, counted from one; a single frame needs no label."""
    varying = _varying(frames)
    return [", ".join(f"{name} {getattr(frame, name) + 1}" for name in varying) for frame in frames]


def _varying(frames: tuple[Frame, ...]) -> list[str]:
    return [name for name in COUNTERS if len({getattr(frame, name) for frame in frames}) > 1]
