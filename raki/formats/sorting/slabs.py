"""The slabs of a 3-D scan: one, or several that are excited in turn, as of an angiography (MOTSA)."""

import numpy as np
from jaxtyping import Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.sorting.lines import require_supported_lines
from raki.scan import Geometry, Slab

# Of unit vectors, and of positions: less is rounding, or a correction that no image shows.
SAME_AXES, SAME_PLACE_MM = 0.01, 1.0
# Of neighbouring slabs: less than this of a slice is neither a gap nor an overlap.
MEET = 0.1

OfEachLine = Int[np.ndarray, " line"]


def slabs_of(lines: np.ndarray) -> tuple[Int[np.ndarray, " slab"], OfEachLine]:
    """The slabs' numbers (ISMRMRD's slice counter) in the order in which they lie, and of each line which it is of.

    Parker et al. 1991, Magn Reson Med 17:434-451, doi:10.1002/mrm.1910170215 (several overlapping thin slabs).
    """
    numbers, firsts, slab_of = np.unique(lines["idx"]["slice"], return_index=True, return_inverse=True)
    direction = lines["slice_dir"][firsts[0]].astype(float)
    if not direction.any():  # unset: as `placement` takes it
        direction = np.array([0.0, 0.0, 1.0])
    along_mm = lines["position"][firsts].astype(float) @ direction
    order = np.argsort(along_mm, kind="stable")
    return numbers[order].astype(int), np.argsort(order)[slab_of.ravel()]


def require_slabs(lines: np.ndarray) -> None:
    """Raises UnsupportedScan or DamagedScan where the lines are not of slabs that raki can sort, each in one place."""
    require_supported_lines(lines)
    names = ("read_dir", "phase_dir", "slice_dir", "position")
    if not all(np.isfinite(lines[name]).all() for name in names):
        raise DamagedScan("a line has no position, or no direction; raki needs both as numbers: export the scan again")
    numbers, slab_of = slabs_of(lines)
    if len(numbers) > 1 and len(np.unique(lines["idx"]["kspace_encode_step_2"])) == 1:
        raise UnsupportedScan(
            f"the scan has {len(numbers)} slabs by its slices, of one partition each, where several were announced; "
            "2-D slices have a matrix of 1 along z: correct the header, or convert the scan with its partitions"
        )
    for slab in range(len(numbers)):
        _require_still(lines[slab_of == slab])


def in_one_row(each: list[Geometry], slab: Slab) -> tuple[Geometry, tuple[str, ...]]:
    """The geometry of the slices of all slabs, one slab's after the other's, and a sentence on how these lie."""
    if len(each) == 1:
        return each[0], ()
    places = tuple(geometry.place_of(n, slab.n_slices) for geometry in each for n in range(slab.n_slices))
    spacing_mm = each[0].slice_spacing_mm
    steps_mm = np.diff([np.dot(geometry.position_mm, each[0].slice_direction) for geometry in each])
    beyond_mm = float(np.median(steps_mm)) - slab.n_slices * spacing_mm
    if np.any(np.abs(steps_mm) < slab.n_slices * spacing_mm / 2):
        said = (
            f"The scan has {len(each)} slabs, and by its positions they overlap by half or more: nothing tells where "
            f"they lie to each other. Each is reconstructed by itself, and its {slab.n_slices} slices follow those of "
            "the one before."
        )
        return each[0].with_places(places, len(places)), (said,)
    how = "which meet"
    if abs(beyond_mm) > MEET * spacing_mm:
        how = f"which overlap by {-beyond_mm:.3g} mm" if beyond_mm < 0 else f"{beyond_mm:.3g} mm apart"
    said = (
        f"The scan has {len(each)} slabs, {how}: each is reconstructed by itself, and its {slab.n_slices} slices "
        "follow those of the one before."
    )
    return each[0].with_places(places, len(places)), (said,)


def _require_still(lines: np.ndarray) -> None:
    directions = np.stack([lines[name].astype(float) for name in ("read_dir", "phase_dir", "slice_dir")])
    positions_mm = lines["position"].astype(float)
    if np.ptp(directions, axis=1).max() > SAME_AXES or np.ptp(positions_mm, axis=0).max() > SAME_PLACE_MM:
        raise UnsupportedScan(
            "the slab moves while it is measured (positions or directions of its lines differ); raki needs one place "
            "for all of a 3-D scan: switch prospective motion correction's head off, or split the scan"
        )
