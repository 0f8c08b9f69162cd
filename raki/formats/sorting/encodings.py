"""Several encoding spaces: the image's, and that of a reference for calibration, brought to the places of the image."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Int

from raki.errors import DamagedScan, NoiseAlone, NotAScan, UnsupportedScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.sorting.announced import found_centre
from raki.formats.sorting.marks import NOT_IMAGE, Mask, calibration_only, has_flag, numbered
from raki.formats.sorting.selection import Selected
from raki.scan import COUNTERS
from raki.scan.header import field_of_view_mm, matrix_size

CALIBRATION = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
TOGETHER = (
    "give both to raki, as in 'raki reconstruct image.h5 noise.h5', or drop both on the share, packed into one archive "
    "or beside each other as image.h5 and image_noise.h5"
)
# A reference's outermost lines, some 30 from the centre, are then less than a sixth of a line off.
SAME_LENGTH = 0.005
# Of two axes' cosine: 2.5 degrees.
SAME_AXIS = 0.999


@dataclass(frozen=True)
class Encoded:
    """Acquisitions of one encoding space."""

    image: Acquisitions
    """All but the reference's, as recorded."""
    encoding: xsd.encodingType
    reference: Acquisitions | None = None
    """Lines for calibration from another encoding space, counted as the image's lines are."""
    its_encoding: xsd.encodingType | None = None
    """As the reference was recorded."""
    remarks: tuple[str, ...] = ()

    @property
    def heads(self) -> np.ndarray:
        """Of all of them."""
        return self.image.heads if self.reference is None else np.concatenate([self.image.heads, self.reference.heads])


def in_one_encoding(acquisitions: Acquisitions, header: xsd.ismrmrdHeader) -> Encoded:
    """The acquisitions of the image's encoding space, with those of one other that may calibrate it.

    Raises:
        NotAScan: no lines of an image.
        DamagedScan: lines of a space that the header doesn't describe.
        UnsupportedScan: images of several spaces, or lines that need a reference whose encoding doesn't fit.
    """
    heads = acquisitions.heads
    is_line, spaces = ~has_flag(heads, *NOT_IMAGE), heads["encoding_space_ref"]
    _require_image(heads)
    _require_described(heads[is_line], header)
    of_image = is_line & ~calibration_only(heads)
    of_image = of_image if of_image.any() else is_line
    lone = _of_one_line_alone(heads, of_image)
    first, *others = np.unique(spaces[of_image & ~lone]).tolist()
    for other in others:
        if what := "; ".join(differences(header.encoding[first], header.encoding[other])):
            raise UnsupportedScan(
                f"the scan holds images of several encoding spaces, and {first} and {other} differ: {what}; raki "
                "reconstructs images of one encoding: split the scan"
            )
    encoding = header.encoding[first]
    elsewhere = is_line & ~np.isin(spaces, [first, *others])
    if not elsewhere.any():
        return Encoded(acquisitions, encoding)
    about_lone = [f"{int(lone.sum())} lines of one place alone, in an encoding of their own, were left out."]
    own = elsewhere | (has_flag(heads, ismrmrd.ACQ_IS_PHASECORR_DATA) & np.isin(spaces, spaces[elsewhere]))
    image = Selected(acquisitions, np.flatnonzero(~own))
    references = [
        (header.encoding[space], Selected(acquisitions, np.flatnonzero(own & ~lone & (spaces == space))))
        for space in np.unique(spaces[elsewhere & ~lone])
    ]
    encoded = _with_reference(Encoded(image, encoding), references)
    return replace(encoded, remarks=(*(about_lone if lone.any() else ()), *encoded.remarks))


def differences(ours: xsd.encodingType, theirs: xsd.encodingType) -> Iterator[str]:
    """What makes two encodings no encodings of one image, each in words."""
    for name in ("encodedSpace", "reconSpace"):
        spaces = [getattr(encoding, name) for encoding in (ours, theirs)]
        what = "encoded" if name == "encodedSpace" else "shown"
        sizes, lengths_mm = [matrix_size(space) for space in spaces], [field_of_view_mm(space) for space in spaces]
        if sizes[0] != sizes[1]:
            yield f"{what} matrix {_times(sizes[0])} and {_times(sizes[1])}"
        if not np.allclose(lengths_mm[0], lengths_mm[1], rtol=SAME_LENGTH):
            yield f"{what} field of view {_times(lengths_mm[0])} and {_times(lengths_mm[1])} mm"
    if ours.trajectory != theirs.trajectory or ours.trajectoryDescription != theirs.trajectoryDescription:
        yield "trajectory"
    factors = [encoding.parallelImaging and encoding.parallelImaging.accelerationFactor for encoding in (ours, theirs)]
    if factors[0] != factors[1]:
        yield "acceleration"
    limits = [encoding.encodingLimits and encoding.encodingLimits.kspace_encoding_step_1 for encoding in (ours, theirs)]
    if limits[0] != limits[1]:
        yield "limits of the lines"


def with_calibration_apart(encoding: xsd.encodingType) -> xsd.encodingType:
    """The same, whose calibration lines are no lines of the image."""
    apart = deepcopy(encoding)
    if apart.parallelImaging is None:
        apart.parallelImaging = xsd.parallelImagingType(
            accelerationFactor=xsd.accelerationFactorType(kspace_encoding_step_1=1, kspace_encoding_step_2=1)
        )
    apart.parallelImaging.calibrationMode = xsd.calibrationModeType.SEPARATE
    return apart


def _require_image(heads: np.ndarray) -> None:
    is_noise = has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    if is_noise.any() and is_noise.all():
        raise NoiseAlone(
            f"this is a noise scan ({len(heads)} noise lines), of use to an image of the same coils: {TOGETHER}"
        )
    if has_flag(heads, *NOT_IMAGE).all():
        raise NotAScan(
            "the file holds no image lines, only noise, adjustments or nothing; raki needs the measurement itself"
        )


def _require_described(lines: np.ndarray, header: xsd.ismrmrdHeader) -> None:
    last = int(lines["encoding_space_ref"].max())
    if last >= len(header.encoding):
        raise DamagedScan(
            f"the lines refer to encoding space {last}, the header describes {len(header.encoding)}; "
            "convert the scan again"
        )


def _of_one_line_alone(heads: np.ndarray, of_image: Mask) -> Mask:
    """Lines of spaces in which one line was recorded and no other, as navigators are, beside spaces with an image."""
    spaces, lone = heads["encoding_space_ref"], np.zeros(len(heads), bool)
    for space in np.unique(spaces[of_image]):
        here = of_image & (spaces == space)
        if len(np.unique(heads["idx"]["kspace_encode_step_1"][here])) == 1:
            lone |= here
    return lone if (of_image & ~lone).any() else np.zeros(len(heads), bool)


def _with_reference(image: Encoded, references: Sequence[tuple[xsd.encodingType, Acquisitions]]) -> Encoded:
    """The image with the first reference that fits, unless it has calibration lines of its own; says what was done."""
    if not references:
        return image
    lines, encoding = image.heads[~has_flag(image.heads, *NOT_IMAGE)], image.encoding
    if has_flag(lines, *CALIBRATION).any():
        return replace(image, remarks=("Calibration lines of another encoding were left out: the image has its own.",))
    misfits = []
    for its_encoding, reference in references:
        if misfit := "; ".join(_misfits(lines, encoding, reference.heads, its_encoding)):
            misfits.append(misfit)
        else:
            return replace(
                image,
                encoding=with_calibration_apart(encoding),
                reference=_as_lines_of(lines, encoding, reference, its_encoding),
                its_encoding=its_encoding,
                remarks=("Calibrated on a reference scan that was acquired apart from the image.",),
            )
    has_gaps = int(np.diff(np.unique(lines["idx"]["kspace_encode_step_1"])).max(initial=1)) > 1
    if has_gaps:
        raise UnsupportedScan(
            f"the calibration lines can't serve the image, their encoding doesn't fit its own: {misfits[0]}; raki "
            "needs both of one field of view: take a reference scan that belongs to the image"
        )
    said = f"Calibration lines of another encoding were left out, it doesn't fit the image's: {misfits[0]}."
    return replace(image, remarks=(said,))


def _misfits(
    lines: np.ndarray, encoding: xsd.encodingType, heads: np.ndarray, its_encoding: xsd.encodingType
) -> Iterator[str]:
    """Why samples of a reference are no samples of the image's k-space, in words."""
    theirs = heads[~has_flag(heads, *NOT_IMAGE)]
    ours_mm, theirs_mm = (field_of_view_mm(each.encodedSpace)[:2] for each in (encoding, its_encoding))
    step = round(theirs_mm[1] / ours_mm[1])
    same_readout = abs(theirs_mm[0] / ours_mm[0] - 1) < SAME_LENGTH
    if not same_readout or step < 1 or abs(theirs_mm[1] / ours_mm[1] - step) > SAME_LENGTH * step:
        yield f"encoded field of view {_times(theirs_mm)} and {_times(ours_mm)} mm"
    n_theirs, n_ours = (matrix_size(each.encodedSpace) for each in (its_encoding, encoding))
    if n_theirs[0] > n_ours[0] or n_theirs[2] != n_ours[2]:
        yield f"encoded matrix {_times(n_theirs)} and {_times(n_ours)}"
    slabs_mm = [field_of_view_mm(each.encodedSpace)[2] for each in (its_encoding, encoding)]
    if n_ours[2] > 1 and all(slabs_mm) and abs(slabs_mm[0] / slabs_mm[1] - 1) > SAME_LENGTH:
        yield f"encoded slab {slabs_mm[0]:g} and {slabs_mm[1]:g} mm thick"
    coils = [int(heads["active_channels"].max()) for heads in (theirs, lines)]
    if coils[0] != coils[1]:
        yield f"{coils[0]} coils and {coils[1]}"
    axes = [np.stack([part[name][0].astype(float) for name in ("read_dir", "phase_dir")]) for part in (theirs, lines)]
    if all(axis.any() for axis in axes) and not ((axes[0] * axes[1]).sum(axis=1) > SAME_AXIS).all():
        yield "turned in its plane"


def _as_lines_of(
    lines: np.ndarray, encoding: xsd.encodingType, reference: Acquisitions, its_encoding: xsd.encodingType
) -> Acquisitions:
    """The lines of a reference that are places of the image's k-space, counted as those are, and its navigators."""
    heads = reference.heads
    indices = _of_fullest_frame(heads)
    step = round(field_of_view_mm(its_encoding.encodedSpace)[1] / field_of_view_mm(encoding.encodedSpace)[1])
    from_centre = heads["idx"]["kspace_encode_step_1"][indices].astype(int) - found_centre(its_encoding, heads[indices])
    places = from_centre // step + found_centre(encoding, lines)
    n_pe = matrix_size(encoding.encodedSpace)[1]
    there = (from_centre % step == 0) & (places >= 0) & (places < n_pe)
    counted = heads.copy()
    counted["idx"]["kspace_encode_step_1"][indices[there]] = places[there]
    counted["encoding_space_ref"] = lines["encoding_space_ref"][0]
    n_kept = counted["number_of_samples"].astype(int) - counted["discard_pre"] - counted["discard_post"]
    whole = n_kept == matrix_size(its_encoding.encodedSpace)[0]  # converters leave the centre unset in such lines
    counted["center_sample"][whole] = (counted["discard_pre"] + n_kept // 2)[whole]
    kept = np.union1d(indices[there], np.flatnonzero(has_flag(heads, *NOT_IMAGE)))
    return Selected(reference, kept, heads=counted[kept])


def _of_fullest_frame(heads: np.ndarray) -> Int[np.ndarray, " line"]:
    """The lines of the contrast, repetition and so on of which there are most."""
    indices = np.flatnonzero(~has_flag(heads, *NOT_IMAGE))
    frames = numbered(heads[indices], *COUNTERS)
    return indices[frames == np.bincount(frames).argmax()]


def _times(numbers: Sequence[int] | Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
