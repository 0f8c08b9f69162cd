"""What tells recordings of one line apart where the usual counters don't: its position, or a counter of free use."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from raki.formats.sorting.marks import calibration_only, numbered
from raki.scan import COUNTERS

# Slices lie farther apart along their direction; what the scanner corrects for while a slice is measured does not.
LEAST_STEP_MM = 0.1
N_FREE_COUNTERS = 8

Numbers = Int[np.ndarray, " acquisition"]
Mask = Bool[np.ndarray, " acquisition"]


def with_slices_by_position(heads: np.ndarray, image: Mask) -> tuple[np.ndarray, tuple[str, ...]]:
    """Heads whose slice counter differs where the slice does, and a sentence where it hadn't.

    Positions that change while a slice is measured (a moving table, motion followed) repeat no line and make no slice;
    nor do those that change with the average.
    """
    lines = heads[image]
    if not (np.isfinite(lines["position"]) & np.isfinite(lines["slice_dir"])).all():
        return heads, ()
    places = _places(lines)
    slices = numbered(lines, "slice", *COUNTERS)
    split = _joint(numbered(lines, "slice"), places)
    within = _joint(slices, places)
    if within.max() == slices.max() or not _repeats_all(slices, numbered(lines, "kspace_encode_step_1"), places):
        return heads, ()
    if _corresponds(within, _joint(slices, numbered(lines, "average"))):
        return heads, ()
    counted = heads.copy()
    counted["idx"]["slice"][image] = split
    n_before, n_after = len(np.unique(lines["idx"]["slice"])), int(split.max()) + 1
    return counted, (
        f"The slice counter tells {n_before} of {n_after} slices apart; the others were told by their positions.",
    )


def with_free_counters(heads: np.ndarray, image: Mask) -> tuple[np.ndarray, tuple[str, ...]]:
    """Heads whose `set` differs where a counter of free use does, and a sentence where it hadn't.

    A counter counts images where each of its values comes with every line. One that goes with the average counts
    averages.
    """
    lines = heads[image]
    # The calibration lines may have been recorded once for all.
    needed = ~calibration_only(lines)
    place = numbered(lines, "slice", "kspace_encode_step_1", "kspace_encode_step_2", *COUNTERS)
    average = numbered(lines, "average")
    counting = []
    for number in range(N_FREE_COUNTERS):
        values = _numbers(lines["idx"]["user"][:, number])
        if values.max() and _crossed(place[needed], values[needed]) and not _corresponds(values, average):
            counting.append(number)
    if not counting:
        return heads, ()
    combined = numbered_rows([lines["idx"]["user"][:, number] for number in counting])
    if not _crossed(place[needed], combined[needed]):
        return heads, ()
    counted = heads.copy()
    counted["idx"]["set"][image] = _joint(numbered(lines, "set"), combined)
    named = " and ".join(f"user_{number}" for number in counting)
    return counted, (
        f"Every line was recorded for each of {int(combined.max()) + 1} values of the free counter {named}: they are "
        "shown as frames of their own, counted as sets.",
    )


def numbered_rows(columns: Sequence[np.ndarray]) -> Numbers:
    """One number for each combination of values, in their order."""
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].ravel()


def _places(lines: np.ndarray) -> Numbers:
    """Where the slice of each line lies and how it is turned; in-plane shifts make no other slice."""
    directions = np.round(lines["slice_dir"].astype(float), 3)
    along_mm = np.einsum("la,la->l", lines["position"].astype(float), lines["slice_dir"].astype(float))
    turned = numbered_rows([*directions.T])
    steps = np.zeros(len(lines), int)
    for one in range(int(turned.max()) + 1):
        here = turned == one
        found_mm, which = np.unique(along_mm[here], return_inverse=True)
        steps[here] = np.cumsum(np.diff(found_mm, prepend=found_mm[0]) > LEAST_STEP_MM)[which.ravel()]
    return _joint(turned, steps)


def _joint(first: Numbers, second: Numbers) -> Numbers:
    return numbered_rows([first, second])


def _numbers(values: np.ndarray) -> Numbers:
    return np.unique(values, return_inverse=True)[1].ravel()


def _repeats_all(groups: Numbers, lines: Numbers, values: Numbers) -> bool:
    """Whether in each group every line was recorded with every value that the group has."""
    n_lines = np.bincount(np.unique(np.stack([groups, lines]), axis=1)[0])
    n_values = np.bincount(np.unique(np.stack([groups, values]), axis=1)[0])
    return int((n_lines * n_values).sum()) == int(numbered_rows([groups, lines, values]).max()) + 1


def _crossed(place: Numbers, values: Numbers) -> bool:
    """Whether each place has each of the values."""
    n_places, n_values = len(np.unique(place)), len(np.unique(values))
    return n_values > 1 and int(_joint(place, values).max()) + 1 == n_places * n_values


def _corresponds(values: Numbers, others: Numbers) -> bool:
    """Whether each value goes with one of the others and the other way round."""
    return int(_joint(values, others).max()) == int(values.max()) == int(others.max()) > 0
