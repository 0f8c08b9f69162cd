"""Images of which lines are missing: a scan that was stopped, a line that was lost. The others are reconstructed."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.sorting.marks import Mask, numbered
from raki.scan import COUNTERS
from raki.scan.arrays import LineMask
from raki.scan.header import centre_line, matrix_size
from raki.scan.pattern import Pattern, find_pattern, longest_run, without_losses

# Lines on either side of the centre of k-space without which an image is not whole.
MOST_CENTRAL = 2
# Named one by one; more are counted.
MOST_NAMED = 4
# Places of lines for each line that was recorded: where there are more, the counters are no counters.
MOST_EMPTY = 1 << 10

Acquired = Bool[np.ndarray, "frame slice line"]
Whole = Bool[np.ndarray, "frame slice"]


@dataclass(frozen=True)
class _Found:
    """Which lines there are of each image, and how its scanner counts frames and slices."""

    acquired: Acquired
    frames: np.ndarray
    """The counters of each frame, axes `frame counter`."""
    slices: np.ndarray
    spans: tuple[np.ndarray, np.ndarray]
    """When the first and the last line of each image was recorded, axes `frame slice`; 0 of one that has none."""

    @property
    def fullest(self) -> LineMask:
        """The lines of the image that has the most."""
        of_image = self.acquired.reshape(-1, self.acquired.shape[-1])
        return of_image[of_image.sum(axis=1).argmax()]


def complete_images(
    heads: np.ndarray, image: Mask, encoding: xsd.encodingType, *, cut_from: int | None = None
) -> tuple[Mask, tuple[str, ...]]:
    """Which acquisitions to keep so that all images have their lines, and a sentence on those that don't.

    An image is whole where its lines are regular and reach as far as those of the others. It may lack a few of them,
    its calibration lines, or have its lattice shifted. Whole frames are kept if there are some, else whole slices.

    Args:
        cut_from: where the file breaks off, so that the last lines may be missing of all images: how many places of
            lines these were to have, 0 where that isn't known. None where the file is whole.

    Raises:
        DamagedScan: no image is whole, as far as the header tells.
        UnsupportedScan: images that are undersampled differently.
    """
    every = np.ones(len(heads), bool)
    if _n_places(heads[image]) > MOST_EMPTY * image.sum():
        return every, ()
    found = _found(heads[image])
    whole = _whole_images(found, centre_line(encoding))
    if whole is None or (whole.all() and cut_from is None):
        return every, _about_losses(found)
    _require_reach(found, whole, encoding, cut_from)
    if whole.all():
        return every, _about_losses(found)
    frames, slices = _kept(found, whole)
    frame_of, slice_of = _places(heads[image])
    kept = every.copy()
    kept[image] = frames[frame_of] & slices[slice_of]
    begun, ended = (span[frames][:, slices] for span in found.spans)
    rest = _Found(found.acquired[frames][:, slices], found.frames[frames], found.slices[slices], (begun, ended))
    return kept, (_about_missing(found, whole, frames, slices), *_about_losses(rest))


def _found(heads: np.ndarray) -> _Found:
    frame_of, slice_of = _places(heads)
    lines = heads["idx"]["kspace_encode_step_1"].astype(int)
    acquired = np.zeros((frame_of.max() + 1, slice_of.max() + 1, lines.max() + 1), bool)
    acquired[frame_of, slice_of, lines] = True
    counters = np.stack([heads["idx"][name] for name in COUNTERS], axis=1)
    frames = np.unique(counters.astype(int), axis=0)
    images = frame_of * acquired.shape[1] + slice_of
    order = np.argsort(_times(heads), kind="stable")
    begun, ended = np.zeros((2, *acquired.shape[:2]), int)
    for span, in_order in ((begun, order[::-1]), (ended, order)):
        span.ravel()[images[in_order]] = _times(heads)[in_order]  # what stands last remains
    return _Found(acquired, frames, np.unique(heads["idx"]["slice"]), (begun, ended))


def _times(heads: np.ndarray) -> np.ndarray:
    """When each line was recorded; by its place in the file where the scanner gives no time."""
    stamps = heads["acquisition_time_stamp"].astype(int)
    return stamps if np.ptp(stamps) else np.arange(len(heads))


def _n_places(heads: np.ndarray) -> int:
    frame_of, slice_of = _places(heads)
    return (int(frame_of.max()) + 1) * (int(slice_of.max()) + 1) * (int(heads["idx"]["kspace_encode_step_1"].max()) + 1)


def _places(heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return numbered(heads, *COUNTERS), numbered(heads, "slice")


def _whole_images(found: _Found, centre: int) -> Whole | None:
    """None where the lines make no regular pattern, so that nothing tells which of them are missing."""
    images = found.acquired.reshape(-1, found.acquired.shape[-1])
    masks, which = np.unique(images, axis=0, return_inverse=True)
    patterns = [find_pattern(mask) for mask in masks]
    full = find_pattern(found.fullest)
    if full is None:
        return None
    reaching = [pattern if pattern is not None and _reaches(pattern, full) else None for pattern in patterns]
    votes = Counter(found.acceleration for found in (reaching[n] for n in which.ravel()) if found is not None)
    usual = max(votes, key=lambda acceleration: (votes[acceleration], acceleration))
    _require_one_acceleration([pattern for pattern in reaching if pattern is not None], usual)
    is_whole = np.array([_is_whole(pattern, full, usual, centre) for pattern in patterns])
    return is_whole[which.ravel()].reshape(found.acquired.shape[:2])


def _require_one_acceleration(patterns: list[Pattern], usual: int) -> None:
    others = [each for each in patterns if not each.has_losses and len(_block(each)) > 1]
    factors = sorted({usual, *(each.acceleration for each in others)})
    # Of every second line of the others', an image may have been stopped between two passes.
    if any(usual % factor and factor % usual for factor in factors):
        raise UnsupportedScan(
            f"the images are undersampled differently, by R={' and R='.join(map(str, factors))}; raki needs one "
            "acceleration, or multiples of it: split the scan first"
        )


def _block(pattern: Pattern) -> range:
    return range(*longest_run(pattern.lines & ~pattern.lost))


def _reaches(pattern: Pattern, full: Pattern) -> bool:
    step = pattern.acceleration
    missing_at_start = pattern.acquired_range[0] - full.acquired_range[0]
    missing_at_end = full.acquired_range[1] - pattern.acquired_range[1]
    return missing_at_start < step and missing_at_end < step


def _is_whole(pattern: Pattern | None, full: Pattern, usual: int, centre: int) -> bool:
    # An image as dense as its neighbours' lattice is coarse may have been acquired to calibrate them all.
    if pattern is None or usual % pattern.acceleration or not _reaches(pattern, full):
        return False
    if not pattern.has_losses:
        return True
    # Half of the image's energy may be there; what is filled in is not as good.
    is_central = bool(pattern.lost[max(0, centre - MOST_CENTRAL) : centre + MOST_CENTRAL + 1].any())
    return not is_central and without_losses(pattern) is not None


def _require_reach(found: _Found, whole: Whole, encoding: xsd.encodingType, cut_from: int | None) -> None:
    """Raises where the images that are taken for whole may themselves have been stopped.

    Interleaved slices and frames are stopped all at once. An image that was finished before another was begun is proof
    of what was to be acquired; without one the header has to be.
    """
    if not whole.any():
        raise DamagedScan(
            f"no image is whole: {_named_images(found, whole)}; raki needs one at least: copy the file again if the "
            "scanner's is longer, or convert it again"
        )
    begun, ended = found.spans
    has_example = bool((ended[whole] < begun[found.acquired.any(axis=2)].max()).any())
    several = len(whole) > 1 and bool(whole.all(axis=1).any())
    if has_example and (several or (cut_from is None and _stopped_in_one(found, whole))):
        return
    lines, n_pe = np.flatnonzero(found.fullest), matrix_size(encoding.encodedSpace)[1]
    step = int(np.diff(lines).max(initial=1))
    first_place, last_place = lines[[0, -1]] - centre_line(encoding) + n_pe // 2
    is_known = cut_from is None or n_pe >= cut_from > 0
    if is_known and first_place < step and n_pe - last_place <= step:
        return
    raise DamagedScan(
        f"the scan was stopped or cut short: no image has more than {len(lines)} lines, {lines[0]} to {lines[-1]} of "
        f"{n_pe}, and nothing tells that these are all of one; raki needs one whole image: copy the file again if the "
        "scanner's is longer"
    )


def _stopped_in_one(found: _Found, whole: Whole) -> bool:
    """Whether one image alone was being acquired, and well under way or well before its end."""
    n_lines = found.acquired.sum(axis=2)
    partial = n_lines[~whole & (n_lines > 0)]
    return len(partial) == 0 or (len(partial) == 1 and bool(partial[0] < n_lines.max() - 1))


def _kept(found: _Found, whole: Whole) -> tuple[Bool[np.ndarray, " frame"], Bool[np.ndarray, " slice"]]:
    """Whole frames with all their slices, or slices that are whole in all frames: what keeps more images."""
    frames, slices = np.asarray(whole.all(axis=1)), np.asarray(whole.all(axis=0))
    if frames.sum() * len(slices) >= slices.sum() * len(frames):
        slices = np.ones(len(slices), bool)
    else:
        frames = np.ones(len(frames), bool)
    if not frames.any() or not slices.any():
        raise DamagedScan(
            f"no frame has all its slices, and no slice is whole in all frames: {_named_images(found, whole)}; raki "
            "needs one or the other: copy the file again if the scanner's is longer"
        )
    return frames, slices


def _about_missing(found: _Found, whole: Whole, frames: np.ndarray, slices: np.ndarray) -> str:
    left = [f"slice {number}" for number in found.slices[~slices]]
    left = left or [_frame(found, int(number)) for number in np.flatnonzero(~frames)]
    n_images = whole.size - int(frames.sum() * slices.sum())
    return (
        f"{n_images} of {whole.size} images {'was' if n_images == 1 else 'were'} left out ({_listed(left)}): "
        f"{_named_images(found, whole)}. The scan was stopped, lines were lost, or fewer were meant for these images."
    )


def _named_images(found: _Found, whole: Whole) -> str:
    full = find_pattern(found.fullest)
    n_needed = int((found.fullest if full is None else full.lines).sum())
    n_lines = found.acquired.sum(axis=2)
    return _listed(
        [
            f"{_image(found, int(frame), int(slice_))} has {n_lines[frame, slice_] or 'none'} of {n_needed} lines"
            for frame, slice_ in np.argwhere(~whole)
        ]
    )


def _image(found: _Found, frame: int, slice_: int) -> str:
    """As the scanner counts, from zero."""
    of_frame = _frame(found, frame)
    return f"slice {found.slices[slice_]}" + (f" of {of_frame}" if of_frame else "")


def _frame(found: _Found, number: int) -> str:
    """By the counters that tell frames apart; nothing of a single one."""
    varying = [which for which in range(len(COUNTERS)) if len(np.unique(found.frames[:, which])) > 1]
    return " of ".join(f"{COUNTERS[which]} {found.frames[number, which]}" for which in reversed(varying))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _about_losses(found: _Found) -> tuple[str, ...]:
    """A sentence where single lines are missing within a regular pattern; they are filled in."""
    masks = np.unique(found.acquired.reshape(-1, found.acquired.shape[-1]), axis=0)
    patterns = [pattern for pattern in map(find_pattern, masks) if pattern is not None and pattern.has_losses]
    if not patterns:
        return ()
    images = [(found.acquired == (pattern.lines & ~pattern.lost)).all(axis=2).nonzero() for pattern in patterns]
    n_images = sum(len(frames) for frames, _ in images)
    (frame, *_), (slice_, *_) = images[0]
    lost = [str(line) for line in np.flatnonzero(patterns[0].lost)]
    others = f" (and others of {n_images - 1} images)" if n_images > 1 else ""
    return (
        f"Line {_listed(lost)} of {_image(found, int(frame), int(slice_))}{others} was lost among acquired ones: it is "
        "filled in as skipped lines are.",
    )
