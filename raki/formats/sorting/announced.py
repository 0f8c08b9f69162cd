"""What the header announces against what was found: the encoding as the acquisitions have it, and what was changed."""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
from ismrmrd import xsd

from raki.errors import DamagedScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.sorting.marks import calibration_only
from raki.formats.sorting.measuring import Measured
from raki.scan import to_profiles
from raki.scan.header import announced_slices, centre_line, field_of_view_mm, matrix_size

# Of the profiles' energy, outside the middle half of what was sampled: more, and the object is there.
MOST_OUTSIDE = 0.05
LINES_LOOKED_AT = 64
# The object's phase moves the brightest line a little.
LEAST_OFF_CENTRE = 3
# An image's brightest line over its median one; noise has none that stands out.
STANDS_OUT = 4.0

Found = tuple[xsd.encodingType, tuple[str, ...]]


def without_slices_as_partitions(encoding: xsd.encodingType, lines: np.ndarray) -> Found:
    """The encoding of a 2-D scan whose matrix counts the slices along z."""
    n = matrix_size(encoding.encodedSpace)[2]
    examples = np.unique(lines["idx"]["slice"], return_index=True)[1]
    with np.errstate(invalid="ignore", over="ignore"):  # of what is no number nothing is concluded
        along_mm = np.unique((lines["position"].astype(float) * lines["slice_dir"]).sum(axis=1).round(2))
    counts_slices = n in (len(examples), len(along_mm)) and len(np.unique(lines["idx"]["kspace_encode_step_2"])) == 1
    if n == 1 or not counts_slices:
        return encoding, ()
    flat = deepcopy(encoding)
    flat.encodedSpace.matrixSize.z = flat.reconSpace.matrixSize.z = 1
    spacing_mm = float(np.median(np.diff(along_mm))) if len(along_mm) > 1 else 0.0
    for space in (flat.encodedSpace, flat.reconSpace):
        _, _, whole_mm = field_of_view_mm(space)
        # The field of view of all slices together, not of one.
        if whole_mm > 1.5 * spacing_mm and abs(whole_mm / n - spacing_mm) < spacing_mm / 4:
            space.fieldOfView_mm.z = whole_mm / n
    return flat, (f"The header's matrix counts {n} slices along z as partitions: the scan is 2-D.",)


def as_found(encoding: xsd.encodingType, acquisitions: Acquisitions, image: np.ndarray, measured: Measured) -> Found:
    """The encoding with what the lines of the image decide otherwise.

    Raises:
        DamagedScan: line numbers that can't be places in k-space.
    """
    changed = deepcopy(encoding)
    lines = acquisitions.heads[image]
    energies = np.bincount(lines["idx"]["kspace_encode_step_1"], measured.energies[image])
    remarks = [
        *_about_matrix(changed, lines),
        *_about_centre(changed, lines),
        *_about_oversampling(changed, acquisitions, image, measured),
    ]
    _require_places(changed, lines, energies)
    return changed, (*remarks, *_about_brightest(changed, energies))


def found_centre(encoding: xsd.encodingType, lines: np.ndarray) -> int:
    """The number of the line through the centre of k-space, as `as_found` takes it."""
    changed = deepcopy(encoding)
    for _ in _about_centre(changed, lines):
        pass
    return centre_line(changed)


def about_slices(n_found: int, encoding: xsd.encodingType) -> tuple[str, ...]:
    """A sentence where the header announces more slices than there are."""
    n_announced = announced_slices(encoding)
    if n_found >= n_announced:
        return ()
    return (
        f"The header announces {n_announced} slices, and lines of {n_found} were found: the scan was stopped, its end "
        "is lost, or the header is wrong.",
    )


def about_lines(lines: np.ndarray, encoding: xsd.encodingType) -> tuple[str, ...]:
    """A sentence where the header announces lines farther out than those that were found.

    Raises:
        DamagedScan: the centre of k-space isn't among them, without which there is no image.
    """
    found, centre = np.unique(lines), centre_line(encoding)
    if not found[0] <= centre <= found[-1]:
        raise DamagedScan(
            f"lines {found[0]} to {found[-1]} were found, and the centre of k-space is line {centre} by the header: "
            "the scan was stopped before it, or the header is wrong; raki needs the centre: copy the file again if the "
            "scanner's is longer, or convert it again"
        )
    limits = encoding.encodingLimits and encoding.encodingLimits.kspace_encoding_step_1
    if not limits or not isinstance(limits.minimum, int) or not isinstance(limits.maximum, int):
        return ()
    step = int(np.diff(found).max(initial=1))
    if found[0] - limits.minimum < step and limits.maximum - found[-1] < step:
        return ()
    return (
        f"The header announces lines {limits.minimum} to {limits.maximum}, and lines {found[0]} to {found[-1]} were "
        "found: partial Fourier or zero-filling, or the scan was stopped. What is missing wasn't measured.",
    )


def _about_matrix(encoding: xsd.encodingType, lines: np.ndarray) -> Iterator[str]:
    """The matrix holds the lines that were acquired, where it should hold all that were encoded."""
    n_pe, found = matrix_size(encoding.encodedSpace)[1], lines["idx"]["kspace_encode_step_1"]
    limits = encoding.encodingLimits and encoding.encodingLimits.kspace_encoding_step_1
    if int(np.ptp(found)) < n_pe or not limits or not isinstance(limits.maximum, int) or found.max() > limits.maximum:
        return
    encoded_mm, shown_mm = field_of_view_mm(encoding.encodedSpace)[1], field_of_view_mm(encoding.reconSpace)[1]
    rows = matrix_size(encoding.reconSpace)[1] * encoded_mm / shown_mm
    if abs(rows - limits.maximum - 1) > 1:
        return
    encoding.encodedSpace.matrixSize.y = limits.maximum + 1
    yield (
        f"The header's matrix has {n_pe} lines, its limits and the lines found have {limits.maximum + 1}: raki goes by "
        "the lines."
    )


def _about_centre(encoding: xsd.encodingType, lines: np.ndarray) -> Iterator[str]:
    """A centre that the header left unset, or that the lines don't fit to."""
    n_pe, found = matrix_size(encoding.encodedSpace)[1], lines["idx"]["kspace_encode_step_1"].astype(int)
    centre, middle = centre_line(encoding), n_pe // 2
    first, last = found.min() - centre + middle, found.max() - centre + middle
    fits = first >= 0 and last < n_pe
    limits = encoding.encodingLimits and encoding.encodingLimits.kspace_encoding_step_1
    unset = limits is not None and limits.maximum == limits.center == 0 and found.max() > 0
    if (fits and not unset) or centre == middle or found.max() >= n_pe:
        return
    encoding.encodingLimits.kspace_encoding_step_1 = None
    said = "gives no limits of the lines" if unset else f"gives line {centre} as the centre, which the lines don't fit"
    yield f"The header {said}: line {middle} of {n_pe} is taken for it."


def _about_oversampling(
    encoding: xsd.encodingType, acquisitions: Acquisitions, image: np.ndarray, measured: Measured
) -> Iterator[str]:
    """Twice as many samples as pixels in the same field of view: oversampled, if the object lies in its middle half."""
    lines = acquisitions.heads[image]
    kept = lines["number_of_samples"].astype(int) - lines["discard_pre"] - lines["discard_post"]
    n_ro, n_columns = int(kept.max()), matrix_size(encoding.reconSpace)[0]
    encoded_mm, shown_mm = field_of_view_mm(encoding.encodedSpace)[0], field_of_view_mm(encoding.reconSpace)[0]
    same_length = abs(encoded_mm / shown_mm - 1) < 0.01
    if not same_length or n_ro != 2 * n_columns or matrix_size(encoding.encodedSpace)[0] not in (n_ro, n_columns):
        return
    brightest = image[np.argsort(-measured.energies[image], kind="stable")[:LINES_LOOKED_AT]]
    energy = np.zeros(n_ro)
    for samples in acquisitions.samples(np.sort(brightest[kept[np.searchsorted(image, brightest)] == n_ro])):
        energy += (np.abs(to_profiles(samples)) ** 2).sum(axis=0)
    # Noise is everywhere; what stands out of it is the object.
    energy -= np.minimum(energy, np.quantile(energy, 0.1))
    inside = energy[n_ro // 4 : n_ro - n_ro // 4].sum()
    encoding.encodedSpace.matrixSize.x = n_ro
    if energy.sum() - inside > MOST_OUTSIDE * energy.sum():
        yield f"The header has {n_columns} columns, the readout {n_ro} samples over the same length: all are kept."
        return
    encoding.encodedSpace.fieldOfView_mm.x = 2 * shown_mm
    yield (
        f"The header doesn't say that the readout is oversampled: its {n_ro} samples encode twice the image's "
        f"{shown_mm:g} mm, in whose middle the object lies."
    )


def _require_places(encoding: xsd.encodingType, lines: np.ndarray, energies: np.ndarray) -> None:
    """Raises where the lines are counted as they were acquired, and not by their places in k-space."""
    n_pe, found = matrix_size(encoding.encodedSpace)[1], np.unique(lines["idx"]["kspace_encode_step_1"]).astype(int)
    factor = encoding.parallelImaging.accelerationFactor if encoding.parallelImaging else None
    announced = getattr(factor, "kspace_encoding_step_1", 1)
    contiguous = np.ptp(found) + 1 == len(found)
    if not isinstance(announced, int) or announced < 2 or not contiguous or len(found) > 0.95 * n_pe:
        return
    off_centre = abs(int(energies.argmax()) - centre_line(encoding)) >= LEAST_OFF_CENTRE
    if off_centre or calibration_only(lines).any():
        raise DamagedScan(
            f"lines {found[0]} to {found[-1]} of {n_pe} were found without a gap, the header announces "
            f"R={announced}: they were numbered in the order of time, or the header is wrong, and each makes "
            "another image; raki needs each line's place in k-space as kspace_encode_step_1: convert the scan again"
        )


def _about_brightest(encoding: xsd.encodingType, energies: np.ndarray) -> Iterator[str]:
    brightest, centre = int(energies.argmax()), centre_line(encoding)
    n_pe = matrix_size(encoding.encodedSpace)[1]
    stands_out = energies.max() > STANDS_OUT * np.median(energies[energies > 0])
    if stands_out and abs(brightest - centre) > max(LEAST_OFF_CENTRE, n_pe // 16):
        yield (
            f"The header gives line {centre} as the centre of k-space, line {brightest} is the brightest: raki goes by "
            "the header."
        )
