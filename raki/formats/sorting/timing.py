"""How long it is from one frame of a series to the next, by the clock of the acquisitions."""

import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool

from raki.formats.sorting.lines import frames_of
from raki.scan import Frame
from raki.scan.frames import COUNTERS

# A Siemens scanner's clock counts such steps since midnight (the ulTimeStamp of twix, which converters take over as
# acquisition_time_stamp). ISMRMRD leaves the unit open, and what other vendors' converters write isn't known.
SIEMENS_TICK_S = 2.5e-3
DAY_S = 86_400.0
# Steps that differ by no more than this part of them, or by two ticks, are even.
EVEN = 0.01


def frame_step(
    heads: np.ndarray, is_image: Bool[np.ndarray, " line"], frames: tuple[Frame, ...], header: xsd.ismrmrdHeader
) -> tuple[float | None, tuple[str, ...]]:
    """Seconds from each frame's first line to the next one's, and a sentence where they are uneven.

    None where nothing tells: frames that aren't repetitions alone (contrasts are of one time, and phases of many
    heartbeats), a clock of unknown unit, or one that stands still.

    Args:
        heads: of all acquisitions.
        is_image: which of them are lines of the image.
        frames: of the scan, in its order; those that were left out may be missing.
    """
    varying = {name for name in COUNTERS if len({getattr(frame, name) for frame in frames}) > 1}
    system = header.acquisitionSystemInformation
    if varying != {"repetition"} or "siemens" not in str(system.systemVendor if system else "").lower():
        return None, ()
    found, frame_of = frames_of(heads[is_image])
    stamps = heads["acquisition_time_stamp"][is_image].astype(float)
    firsts_s = [SIEMENS_TICK_S * stamps[frame_of == found.index(frame)].min() for frame in frames]
    steps_s = np.diff(firsts_s)
    steps_s[steps_s < -DAY_S / 2] += DAY_S
    step_s = float(steps_s.mean())
    if not steps_s.all() or step_s <= 0:
        return None, ()
    if np.ptp(steps_s) > max(2 * SIEMENS_TICK_S, EVEN * step_s):
        shortest, longest = steps_s.min(), steps_s.max()
        said = f"The frames don't follow each other evenly: {shortest:.4g} to {longest:.4g} s from one to the next."
        return None, (said,)
    return step_s, ()
