"""What the acquisitions of a scan are, where heads and samples tell more than the counters do.

Each step hands on acquisitions that say what was found, and a sentence on what was changed.
"""

from dataclasses import dataclass, replace

import numpy as np
from ismrmrd import xsd
from jaxtyping import Int

from raki.errors import DamagedScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.sorting.agreement import Difference, difference, in_series, recordings_of
from raki.formats.sorting.announced import about_lines, about_slices, as_found
from raki.formats.sorting.completeness import complete_images
from raki.formats.sorting.counting import numbered_rows, with_free_counters, with_slices_by_position
from raki.formats.sorting.lines import number_of_coils, require_supported_lines
from raki.formats.sorting.marks import NOT_IMAGE, Mask, acquired_apart, grouped, has_flag, numbered
from raki.formats.sorting.measuring import Measured, measure
from raki.formats.sorting.phase import aligned
from raki.formats.sorting.selection import Selected, with_heads
from raki.scan import COUNTERS

PLACE = ("slice", *COUNTERS, "kspace_encode_step_1")


@dataclass(frozen=True)
class Understood:
    """Acquisitions that may be sorted by their counters."""

    acquisitions: Acquisitions
    encoding: xsd.encodingType
    measured: Measured
    remarks: tuple[str, ...]
    series: Int[np.ndarray, " acquisition"] | None = None
    """Of each line, the series that it is of, where these have to be brought to one phase before they are averaged."""


def understand(acquisitions: Acquisitions, encoding: xsd.encodingType, *, cut_from: int | None = None) -> Understood:
    """Finds out what was acquired, and which lines belong to one image.

    Args:
        cut_from: of a file that breaks off, as `complete_images` takes it.

    Raises:
        NotAScan: nothing was recorded but zeros or a spike.
        DamagedScan: lines of one place disagree, and nothing tells which are the image's; or no image is whole.
    """
    heads = acquisitions.heads
    is_line = ~has_flag(heads, *NOT_IMAGE)
    require_supported_lines(heads[is_line])
    number_of_coils(heads[is_line])
    measured = measure(acquisitions, is_line)
    acquired = ~is_line | (measured.energies > 0)
    remarks = _about_zeros(heads[is_line], acquired[is_line])
    kept = np.flatnonzero(acquired)
    acquisitions = Selected(acquisitions, kept)
    measured = measured.of(kept)
    heads = acquisitions.heads
    image = ~has_flag(heads, *NOT_IMAGE) & ~acquired_apart(heads, encoding)
    encoding, about_header = as_found(encoding, acquisitions, np.flatnonzero(image), measured)
    heads, about_frames = with_free_counters(heads, image)
    heads, about_slices = with_slices_by_position(heads, image)
    found = Understood(
        with_heads(acquisitions, heads), encoding, measured, (*remarks, *about_header, *about_frames, *about_slices)
    )
    return _with_whole_images(_with_agreeing_recordings(found, image), cut_from)


def _with_whole_images(found: Understood, cut_from: int | None) -> Understood:
    heads = found.acquisitions.heads
    image = ~has_flag(heads, *NOT_IMAGE) & ~acquired_apart(heads, found.encoding)
    kept, remarks = complete_images(heads, image, found.encoding, cut_from=cut_from)
    about_all = (
        *about_slices(len(np.unique(heads["idx"]["slice"][image])), found.encoding),
        *about_lines(heads["idx"]["kspace_encode_step_1"][image].astype(int), found.encoding),
    )
    found = replace(found, remarks=(*found.remarks, *about_all, *remarks))
    if kept.all():
        return found
    rest = np.flatnonzero(kept)
    return replace(
        found,
        acquisitions=Selected(found.acquisitions, rest),
        measured=found.measured.of(rest),
        series=None if found.series is None else found.series[rest],
    )


def _about_zeros(lines: np.ndarray, acquired: Mask) -> tuple[str, ...]:
    """Raises DamagedScan where it is all of a slice."""
    if acquired.all():
        return ()
    slices = lines["idx"]["slice"]
    empty = np.setdiff1d(slices, slices[acquired])
    if len(empty):
        raise DamagedScan(
            f"slice {empty[0]} holds nothing but zeros, as {len(empty)} of {len(np.unique(slices))} slices do; raki "
            "needs all of them as they were measured: export the scan again"
        )
    return (f"{int((~acquired).sum())} of {len(lines)} lines are stored as zeros: they were not acquired.",)


def _with_agreeing_recordings(found: Understood, image: Mask) -> Understood:
    """Lines recorded several times stay averages where they agree; else they become frames, or one phase is found."""
    heads = found.acquisitions.heads
    indices = np.flatnonzero(image)
    places = numbered(heads[indices], *PLACE)
    if len(np.unique(places)) == len(places):
        return found
    worst = max(_differences(found.acquisitions, heads, indices, places), key=lambda each: each[1].relative)
    if not worst[1].is_signal:
        slight = worst[1].is_remarkable
        said = f"Recordings of the same line differ by {worst[1].percent} % more than noise; they were averaged."
        return replace(found, remarks=(*found.remarks, *([said] if slight else [])))
    series, by_average = in_series(places, heads["idx"]["average"][indices].astype(int))
    n_series, n_places = int(series.max()) + 1, len(np.unique(places))
    whole = np.bincount(series) == n_places
    if not whole.all():
        return _without_parts(found, image, indices, series, whole, by_average=by_average, worst=worst)
    of_phase = np.full(len(heads), -1)
    of_phase[indices] = series
    if _agree_in_phase(found.acquisitions, indices, series):
        said = f"The {n_series} averages differ in phase: each was brought to the phase of the first, then averaged."
        return replace(found, remarks=(*found.remarks, said), series=of_phase)
    counted = heads.copy()
    counted["idx"]["set"][indices] = numbered_rows([heads["idx"]["set"][indices].astype(int), series])
    said = (
        f"Every line was recorded {n_series} times, and the recordings differ by {worst[1].percent} %, more "
        "than noise explains: they are shown as frames of their own, counted as sets, and not averaged."
    )
    return replace(found, acquisitions=with_heads(found.acquisitions, counted), remarks=(*found.remarks, said))


def _without_parts(
    found: Understood,
    image: Mask,
    indices: np.ndarray,
    series: np.ndarray,
    whole: np.ndarray,
    *,
    by_average: bool,
    worst: tuple[int, Difference],
) -> Understood:
    """Without averages that are no whole ones; refuses lines of which nothing tells that they are averages."""
    if not by_average or not whole.any():
        line, slice_ = (int(found.acquisitions.heads["idx"][name][worst[0]]) for name in PLACE[::-5])
        raise DamagedScan(
            f"line {line} of slice {slice_} was recorded several times, and the recordings differ by "
            f"{worst[1].percent} %, more than noise explains; nothing tells which of them are the image's: "
            "mark the others (as navigators or calibration), or convert the scan with its counters"
        )
    kept = ~np.isin(np.arange(len(image)), indices[~whole[series]])
    said = (
        f"{int((~whole).sum())} of {len(whole)} averages hold some of the lines only and differ from the others by "
        "more than noise explains: they were left out."
    )
    rest = Selected(found.acquisitions, np.flatnonzero(kept))
    measured = found.measured.of(np.flatnonzero(kept))
    rest_found = replace(found, acquisitions=rest, measured=measured, remarks=(*found.remarks, said))
    return _with_agreeing_recordings(rest_found, image[kept])


def _differences(
    acquisitions: Acquisitions, heads: np.ndarray, indices: np.ndarray, places: np.ndarray
) -> list[tuple[int, Difference]]:
    """For each image with lines recorded several times one of these, and how much they differ."""
    n_recorded = np.bincount(places)
    images = numbered(heads[indices], "slice", *COUNTERS)
    differences = []
    for whole in grouped(images, int(images.max()) + 1):
        here = whole[n_recorded[places[whole]] > 1]
        if not len(here):
            continue
        here = here[np.argsort(places[here], kind="stable")]
        counts = n_recorded[np.unique(places[here])]
        lines = indices[here]
        samples = acquisitions.samples(lines)
        recorded = recordings_of(samples, counts.tolist(), _beginnings(heads[lines]).tolist())
        along = heads["idx"]["kspace_encode_step_1"][lines[np.cumsum(counts) - 1]].astype(int)
        differences.append((int(lines[0]), difference(recorded, along.tolist())))
    return differences


def _beginnings(heads: np.ndarray) -> np.ndarray:
    """Where the samples of each line begin, about a common centre."""
    after_centre = heads["center_sample"].astype(int) - heads["discard_pre"]
    n_kept = heads["number_of_samples"].astype(int) - heads["discard_pre"] - heads["discard_post"]
    return np.zeros(len(heads), int) if len(np.unique(n_kept)) == 1 else after_centre.max() - after_centre


def _agree_in_phase(acquisitions: Acquisitions, indices: np.ndarray, series: np.ndarray) -> bool:
    """Whether whole series of one image each are averages once they have the same phase."""
    heads = acquisitions.heads[indices]
    if len(np.unique(heads["number_of_samples"])) > 1:
        return False
    images, lines = numbered(heads, "slice", *COUNTERS), heads["idx"]["kspace_encode_step_1"].astype(int)
    for of_image in grouped(images, int(images.max()) + 1):
        here = of_image[np.lexsort((lines[of_image], series[of_image]))]
        samples = np.stack(list(acquisitions.samples(indices[here])))
        n_series = len(np.unique(series[here]))
        together = samples.reshape(n_series, -1, *samples.shape[1:]).swapaxes(1, 2)
        sampled = np.isin(np.arange(lines.max() + 1), lines[here])
        turned = aligned(together, sampled)
        if difference(list(turned.transpose(2, 0, 1, 3)), np.flatnonzero(sampled).tolist()).is_signal:
            return False
    return True
