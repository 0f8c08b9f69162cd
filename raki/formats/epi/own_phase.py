"""The N/2 ghost of a train without navigators: its phase from the image's own lines.

Lines of the image stand for navigators at first (`raki.formats.epi.ghost.nyquist_phase`). From line to line the
object's own phase grows as evenly as off-resonance does, and leaves with it; where lines change their form it doesn't
quite. So the phase is then moved to where the picture is emptiest. Of the two phases half a turn apart, between which
the image moves by half the field of view, it is the one that leaves the object in the middle half.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import ismrmrd
import numpy as np
from jaxtyping import Bool, Complex64, Complex128, Float64, Int

from raki.errors import UnsupportedScan
from raki.formats.epi.ghost import ghost_level
from raki.formats.sorting.marks import calibration_only, grouped, has_flag, numbered
from raki.scan import COUNTERS, NyquistPhase, to_profiles

# The search halves its steps so often: from half a turn at the edge of the field of view to a hundredth of it.
N_HALVINGS = 7
# Of steps from line to line, these are by one.
MOSTLY = 0.9
NEIGHBOURS = [(slope, offset) for slope in (-1, 0, 1) for offset in (-1, 0, 1) if slope or offset]


@dataclass(frozen=True)
class Halves:
    """Images of the forward and of the reversed lines alone, each with the ghost in full; their sum has none."""

    forward: Complex128[np.ndarray, "pe coil ro"]
    backward: Complex128[np.ndarray, "pe coil ro"]

    def image(self, phase: NyquistPhase | None = None) -> Float64[np.ndarray, "pe ro"]:
        """Root sum of squares over coils, with a phase between forward and reversed lines removed."""
        turn = 1.0 if phase is None else np.exp(1j * phase.along_readout(self.forward.shape[-1]))
        return np.asarray(np.sqrt((np.abs(self.forward + self.backward * turn) ** 2).sum(axis=1)))


def halves(
    lines: Complex64[np.ndarray, "line coil ro"],
    places: Int[np.ndarray, " line"],
    is_reversed: Bool[np.ndarray, " line"],
) -> Halves:
    """Images of the lines of either direction, flipped already; `places` are their numbers along phase-encode."""
    profiles = to_profiles(lines.astype(np.complex128))
    first, last = int(places.min()), int(places.max())
    images = []
    for chosen in (~is_reversed, is_reversed):
        hybrid = np.zeros((last - first + 1, *lines.shape[1:]), np.complex128)
        np.add.at(hybrid, places[chosen] - first, profiles[chosen])
        images.append(np.fft.fft(hybrid, axis=0, norm="ortho"))
    return Halves(*images)


def refined(parts: Halves, near: Sequence[NyquistPhase]) -> NyquistPhase:
    """The phase next to one of `near` with the least entropy of the image: a ghost fills what is empty without it.

    A search on a grid that is halved again and again, offset and slope together; the offset moves by a quarter of pi.

    Clare 2003, Proc Intl Soc Magn Reson Med 11:1041; Atkinson et al. 1997, IEEE Trans Med Imaging 16:903-910,
    doi:10.1109/42.650886.
    """
    n_ro = parts.forward.shape[-1]
    least, best = min(((entropy(parts.image(phase)), phase) for phase in near), key=lambda each: each[0])
    slope_step, offset_step = np.pi / (2 * n_ro), np.pi / 8
    for _ in range(N_HALVINGS):
        around = [
            NyquistPhase(
                slope_rad_per_pixel=best.slope_rad_per_pixel + slope * slope_step,
                offset_rad=best.offset_rad + offset * offset_step,
            )
            for slope, offset in NEIGHBOURS
        ]
        entropies = [entropy(parts.image(phase)) for phase in around]
        if min(entropies) < least:
            best, least = around[int(np.argmin(entropies))], min(entropies)
        slope_step, offset_step = slope_step / 2, offset_step / 2
    return best


def on_the_side_of(phase: NyquistPhase, common: NyquistPhase) -> NyquistPhase:
    """The phase or its twin half a turn away: images of one scan don't jump by half the field of view."""
    is_far = np.cos(phase.offset_rad - common.offset_rad) < 0
    return replace(phase, offset_rad=phase.offset_rad + np.pi) if is_far else phase


def entropy(image: Float64[np.ndarray, "pe ro"]) -> float:
    """Of the pixels' magnitudes over their norm; 0 for an image without signal.

    Atkinson et al. 1997.
    """
    norm = np.linalg.norm(image)
    if norm == 0:
        return 0.0
    parts = image[image > 0] / norm
    return float(-(parts * np.log(parts)).sum())


def own_images(
    heads: np.ndarray, lines: Int[np.ndarray, " line"]
) -> tuple[list[Int[np.ndarray, " _"]], Int[np.ndarray, " line"]]:
    """The images among lines that have both directions, by the lines' indices; and of each line its image, or -1.

    Raises:
        UnsupportedScan: lines of an image were recorded several steps apart, and don't show the ghost's phase.
    """
    kinds = 2 * numbered(heads[lines], "slice", *COUNTERS, "average") + calibration_only(heads[lines])
    is_reversed = has_flag(heads[lines], ismrmrd.ACQ_IS_REVERSE)
    images: list[np.ndarray] = []
    image_of = np.full(len(lines), -1)
    for of_image in grouped(kinds, int(kinds.max(initial=0)) + 1):
        if len(np.unique(is_reversed[of_image])) == 2:  # both
            _require_neighbours(heads["idx"]["kspace_encode_step_1"][lines[of_image]].astype(int))
            image_of[of_image] = len(images)
            images.append(lines[of_image])
    return images, image_of


def _require_neighbours(places: Int[np.ndarray, " line"]) -> None:
    if np.mean(np.abs(np.diff(places)) == 1) < MOSTLY:
        raise UnsupportedScan(
            "the scan has lines recorded in both directions (EPI), several steps apart, and no navigators "
            "(phase-correction lines); raki needs them to remove the N/2 ghost, whose phase only neighbouring lines "
            "show: export the scan with its phase-correction lines"
        )


def about_ghost(parts: Halves, phase: NyquistPhase, n_images: int) -> str:
    """A sentence on the ghost of an image before and after; see `raki.formats.epi.ghost.ghost_level`."""
    before, after = (100 * ghost_level(parts.image(turn)) for turn in (None, phase))
    of_one = "" if n_images == 1 else " in one of the images"
    return (
        "There are no navigators: the N/2 ghost was removed by a phase that the image's own lines show, which brought "
        f"it from {before:.0f} % of the object to {after:.1f} %{of_one}. An object that lies off the middle half of "
        "the field of view may be shown half of it away."
    )
