"""Echoes that lie mirrored against the first: recorded backwards, as in a bipolar readout, and not marked so."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from raki.scan import Frame
from raki.scan.arrays import Volume

# Of the correlation with the first contrast: so much more for the mirror image, which then is as good as the same.
LEAST_DIFFERENCE = 0.05
LEAST_LIKENESS = 0.9


def about_mirrored(images: Volume, frames: tuple[Frame, ...]) -> Iterator[str]:
    """A sentence where contrasts are the first one's mirror image along the readout; nothing is flipped.

    A body that is its own mirror image tells nothing, and nothing is said.
    """
    n_slices = len(images) // len(frames)
    by_frame = images.reshape(len(frames), n_slices, *images.shape[1:])
    first = by_frame[0]
    mirrored = [
        frame.contrast
        for frame, image in zip(frames, by_frame, strict=True)
        if frame.contrast != frames[0].contrast and _is_mirrored(image, first)
    ]
    if mirrored:
        named = ", ".join(map(str, sorted(set(mirrored))))
        yield (
            f"Contrast {named} is the mirror image of contrast {frames[0].contrast} along the readout: its lines were "
            "probably recorded backwards (a bipolar readout) and not marked so. It is shown as it was recorded."
        )


def _is_mirrored(image: Volume, first: Volume) -> bool:
    # Columns count from the centre at n // 2: of an even number the first has no counterpart.
    odd = slice(1, None) if image.shape[-1] % 2 == 0 else slice(None)
    plain = _likeness(image[..., odd], first[..., odd])
    mirror = _likeness(image[..., odd][..., ::-1], first[..., odd])
    return mirror > LEAST_LIKENESS and mirror - plain > LEAST_DIFFERENCE


def _likeness(one: Float[np.ndarray, "*axes"], other: Float[np.ndarray, "*axes"]) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(np.corrcoef(one.ravel(), other.ravel())[0, 1]))
