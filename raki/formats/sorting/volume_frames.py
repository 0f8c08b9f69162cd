"""The points of a 3-D scan's frames, and which of its frames are whole."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from raki.errors import UnsupportedScan
from raki.scan import Frame, frame_labels

# A last frame with less of the points that the others have in the median was stopped.
STOPPED = 0.75

OfEachLine = Int[np.ndarray, " line"]
ByVolume = Bool[np.ndarray, "frame slab pe pe2"]


@dataclass(frozen=True, kw_only=True)
class Points:
    """Where some acquisitions belong: for each of them its volume, its point and its first sample."""

    indices: OfEachLine
    """Of the acquisitions in the file."""
    volumes: OfEachLine
    """A slab of a frame: those of the first frame are counted first."""
    points: OfEachLine
    """In the flattened plane `pe pe2`."""
    first_samples: OfEachLine
    n_recorded: Int[np.ndarray, "volume pe pe2"]
    """How often each point was recorded; averages are more than one."""

    @property
    def n_averages(self) -> int:
        """The smallest number of recordings of a point that was recorded at all."""
        return int(self.n_recorded[self.n_recorded > 0].min())

    def of_frames(self, kept: Bool[np.ndarray, " frame"]) -> "Points":
        """Those of some frames, which are counted anew."""
        n_slabs = len(self.n_recorded) // len(kept)
        frames, slabs = np.divmod(self.volumes, n_slabs)
        here = kept[frames]
        return Points(
            indices=self.indices[here],
            volumes=(np.cumsum(kept)[frames] - 1)[here] * n_slabs + slabs[here],
            points=self.points[here],
            first_samples=self.first_samples[here],
            n_recorded=self.n_recorded[np.repeat(kept, n_slabs)],
        )


def whole_frames(frames: tuple[Frame, ...], found: Points) -> tuple[tuple[Frame, ...], Points, tuple[str, ...]]:
    """The frames that show the object, and sentences on those that were left out or sample points of their own.

    A frame that doesn't reach the centre of k-space, of either direction, is none. The last one is left out too where
    it was stopped: where it lacks points of the others up to their edge, or a quarter of them anywhere.

    Raises:
        UnsupportedScan: slabs of one frame sample different points.
    """
    n_slabs = len(found.n_recorded) // len(frames)
    acquired = (found.n_recorded > 0).reshape(len(frames), n_slabs, *found.n_recorded.shape[1:])
    reaching = np.array([all(map(_reaches_centre, of_frame)) for of_frame in acquired])
    said: list[str] = []
    kept = reaching.copy()
    if not reaching.any():  # which is said of the scan
        kept[:] = True
    elif not reaching.all():
        labels = [label for label, reaches in zip(frame_labels(frames), reaching, strict=True) if not reaches]
        said.append(
            f"{len(labels)} of {len(frames)} frames were left out ({'; '.join(labels[:3])}"
            f"{' and others' if len(labels) > 3 else ''}): their points don't reach the centre of k-space, the scan "
            "was stopped or is incomplete."
        )
    if kept[-1] and _is_stopped(acquired[kept]):
        n_found, n_whole = int(acquired[-1].sum()), int(np.median(acquired[kept][:-1].sum(axis=(1, 2, 3))))
        said.append(
            f"The last of {len(frames)} frames was left out: it has {n_found} of {n_whole} lines, the scan was stopped."
        )
        kept[-1] = False
    _require_slabs_alike(acquired[kept])
    said += _about_own_points(acquired[kept])
    here = tuple(frame for frame, is_kept in zip(frames, kept, strict=True) if is_kept)
    return here, found if kept.all() else found.of_frames(kept), tuple(said)


def _reaches_centre(acquired: Bool[np.ndarray, "pe pe2"]) -> bool:
    """Whether the centre of k-space lies among the points, in either direction."""
    places = [np.flatnonzero(acquired.any(axis=axis)) for axis in (1, 0)]
    return bool(acquired.any()) and all(
        found[0] <= size // 2 <= found[-1] for found, size in zip(places, acquired.shape, strict=True)
    )


def _is_stopped(acquired: ByVolume) -> bool:
    if len(acquired) < 2:
        return False
    n_points = acquired.sum(axis=(1, 2, 3))
    last, first = acquired[-1], acquired[0]
    missing = (first & ~last).any(axis=0)
    is_part = (acquired[:-1] == first).all() and missing.any() and not (last & ~first).any()
    if is_part:
        # A calibration block that only the first frame has lies within; what was stopped lacks an edge.
        return all(_touches_edge(missing.any(axis=axis), first.any(axis=(0, 1 + axis))) for axis in (1, 0))
    return bool(n_points[-1] < STOPPED * np.median(n_points[:-1])) and not _reaches_as_far(acquired)


def _reaches_as_far(acquired: ByVolume) -> bool:
    """Whether the last frame has the outermost points of the one before, give or take what chance leaves out."""
    extents = []
    for of_frame in acquired[-2:]:
        plane = of_frame.any(axis=0)
        places = [np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0)]
        extents.append([(found[0], found[-1]) for found in places])
    size = np.array(acquired.shape[2:])[:, None]
    last, before = np.array(extents)
    return bool((np.abs(last - before) <= size // 8).all())


def _touches_edge(missing: Bool[np.ndarray, " place"], whole: Bool[np.ndarray, " place"]) -> bool:
    absent, found = np.flatnonzero(missing), np.flatnonzero(whole)
    return bool(absent[0] <= found[0] or absent[-1] >= found[-1])


def _require_slabs_alike(acquired: ByVolume) -> None:
    n_others = int((acquired != acquired[:, :1]).any(axis=(0, 2, 3)).sum())
    if n_others:
        raise UnsupportedScan(
            f"{n_others} of {acquired.shape[1]} slabs sample other points than the first, or the scan was stopped in "
            "one of them; raki needs the same of each slab of a 3-D scan: split the scan"
        )


def _about_own_points(acquired: ByVolume) -> Iterator[str]:
    if (acquired == acquired[0]).all():
        return
    n_points = acquired[:, 0].sum(axis=(1, 2))
    n_least, n_most = int(n_points.min()), int(n_points.max())
    each = f"{n_most}" if n_least == n_most else f"{n_least} to {n_most}"
    yield (
        f"The {len(acquired)} frames sample points of their own, {each} of {acquired[0, 0].size}: each is filled from "
        "its own, and none is shared between them."
    )
