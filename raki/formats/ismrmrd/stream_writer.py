"""Writing raw data as an ISMRMRD stream, see `raki.formats.ismrmrd.stream`."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Complex64

from raki.formats.acquisitions import HEAD
from raki.formats.ismrmrd.messages import MessageKind, text_message
from raki.whole_file import whole_file


def write_stream(
    header_xml: str, heads: np.ndarray, samples: Iterable[Complex64[np.ndarray, "_coil _kept"]], path: Path
) -> None:
    """Writes one measurement. The file appears under its name when it is complete, and not at all after an error.

    Args:
        heads: one `HEAD` an acquisition. What they say about samples that were cut off or about trajectories is
            dropped from the written ones: neither is in `samples`.
        samples: the kept samples of each, in the same order, as `Acquisitions.samples` gives them; one at a time is in
            memory.

    Raises:
        ValueError: samples of another shape than their head announces, or more or fewer of them than heads.
    """
    with whole_file(path) as part, part.open("wb") as file:
        file.write(text_message(MessageKind.HEADER, header_xml))
        for head, kept in zip(_kept_heads(heads), samples, strict=True):
            wanted = int(head["active_channels"]), int(head["number_of_samples"])
            if kept.shape != wanted:
                raise ValueError(f"samples of shape {kept.shape} were given for a head that announces {wanted}")
            file.write(struct.pack("<H", MessageKind.ACQUISITION) + head.tobytes())
            file.write(np.ascontiguousarray(kept, np.dtype("<c8")).tobytes())
        file.write(struct.pack("<H", MessageKind.CLOSE))


def _kept_heads(heads: np.ndarray) -> np.ndarray:
    """Heads of lines from which the unwanted samples are cut off."""
    kept = heads.astype(HEAD)
    before, after = heads["discard_pre"], heads["discard_post"]
    kept["number_of_samples"] = np.maximum(heads["number_of_samples"].astype(int) - before - after, 0)
    kept["center_sample"] = np.maximum(heads["center_sample"].astype(int) - before, 0)
    kept["discard_pre"] = kept["discard_post"] = kept["trajectory_dimensions"] = 0
    return kept
