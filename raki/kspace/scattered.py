"""How planes were filled whose points lie on no lattice: what a report says of it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from raki.planning import HIGH_ACCELERATION, ScatteredSampling

SPIRIT, SPIRIT_SPARSE, ZEROS = "spirit", "spirit_sparse", "zeros"
"""What may fill a plane."""

FILLINGS = {SPIRIT: "SPIRiT", SPIRIT_SPARSE: "SPIRiT with joint sparsity", ZEROS: "nothing (zeros stay)"}
"""How a report calls them."""
# Where more of withheld points than this is missed, little besides the calibration block is in the image.
LARGE_ERROR = 0.5
# Planes beside the object hold noise, which nothing predicts; with more of the signal than this they are of the object.
LARGE_UNFILLED = 0.05


@dataclass(frozen=True, kw_only=True)
class ScatteredFill:
    """How one plane was filled."""

    filled_by: str
    """"spirit", "spirit_sparse" or "zeros"."""
    held_out_errors: Mapping[str, float]
    """Way -> energy of the error in predicting withheld acquired points, over theirs: that of zeros is 1. Empty where
    none could be withheld."""
    withheld_energy: float
    """Of these points, in units of the k-space; 0 where none could be withheld."""
    withheld_noise: float
    """What of it is noise, by its level."""
    kernel_side: int
    """Points of the kernel in either direction."""
    n_coils: int
    """That were computed with: virtual ones, where there are many."""
    lost_energy: float
    """Part of the calibration block's energy that these lack."""
    structure_kept: float | None = None
    """Of what SPIRiT alone shows of points put into the plane, the part that is shown; None where none told."""

    @property
    def held_out_error(self) -> float | None:
        """Of the way that was taken."""
        return self.held_out_errors.get(self.filled_by, 1.0 if self.held_out_errors else None)


@dataclass(frozen=True, kw_only=True)
class ScatteredFills:
    """The same of all planes of a scan."""

    n_by_filling: Mapping[str, int]
    """Way -> planes."""
    held_out_error: float | None
    """Energy of the error in withheld points over theirs, in all planes, of the way that was taken in each; None where
    none were withheld."""
    linear_held_out_error: float | None
    """The same of SPIRiT alone."""
    missed: float | None
    """As `held_out_error`, without the noise of the withheld points themselves, which nothing predicts."""
    unfilled_energy: float
    """Part of the withheld points' energy that is in planes where zeros stay: of planes beside the object, next to
    nothing."""
    structure_kept: float | None
    kernel_side: int
    """The median."""
    n_coils: int
    lost_energy: float
    net_accelerations: tuple[float, float]
    """Of the frame with most points, and of that with fewest."""
    n_frames_apart: int
    """Frames that have points of their own; 1 where all have the same."""
    area: float
    """Part of the plane among acquired points: beyond it nothing was filled."""

    @classmethod
    def of(cls, planes: Sequence[ScatteredFill], samplings: Sequence[ScatteredSampling]) -> "ScatteredFills":
        """Those of one plane at least.

        Args:
            samplings: of the frames whose points differ.
        """
        judged = [each for each in planes if each.held_out_errors]
        energy = sum(each.withheld_energy for each in judged)
        missed = sum(each.withheld_energy * (each.held_out_error or 0.0) for each in judged)
        noise = sum(each.withheld_noise for each in judged)
        by_linear = sum(each.withheld_energy * each.held_out_errors[SPIRIT] for each in judged)
        unfilled = sum(each.withheld_energy for each in judged if each.filled_by == ZEROS)
        kept = [each.structure_kept for each in planes if each.structure_kept is not None]
        rates = sorted(each.net_acceleration for each in samplings)
        return cls(
            n_by_filling=Counter(each.filled_by for each in planes),
            held_out_error=missed / energy if energy > 0 else None,
            linear_held_out_error=by_linear / energy if energy > 0 else None,
            missed=max(0.0, missed - noise) / (energy - noise) if energy > noise else None,
            unfilled_energy=unfilled / energy if energy > 0 else 0.0,
            structure_kept=mean(kept) if kept else None,
            kernel_side=int(median(each.kernel_side for each in planes)),
            n_coils=max(each.n_coils for each in planes),
            lost_energy=mean(each.lost_energy for each in planes),
            net_accelerations=(rates[0], rates[-1]),
            n_frames_apart=len(samplings),
            area=mean(float(each.meant.mean()) for each in samplings),
        )

    def notes(self) -> Iterator[str]:
        """The same as sentences."""
        n_planes = sum(self.n_by_filling.values())
        ways = " and ".join(f"{FILLINGS[way]} in {n}" for way, n in sorted(self.n_by_filling.items()))
        apart = self.n_frames_apart
        own = f" Each of {apart} frames was filled from its own points." if apart > 1 else ""
        yield (
            f"The points lie on no lattice: the planes were filled by {ways} of {n_planes}, with a kernel of "
            f"{self.kernel_side} x {self.kernel_side} points over {self.n_coils} coils.{own}"
        )
        if self.held_out_error is not None and self.linear_held_out_error is not None:
            yield (
                f"Error energy in predicting acquired points that were withheld, of their own: "
                f"{self.held_out_error:.3f} (SPIRiT alone: {self.linear_held_out_error:.3f}, zeros: 1)."
            )
        if self.area < 1:
            yield (
                f"Points were filled among acquired ones, over {self.area:.0%} of the plane; beyond the outermost "
                "acquired points zeros stay."
            )
        if self.structure_kept is not None:
            yield f"Of what SPIRiT alone shows of a structure of one pixel {self.structure_kept:.0%} is shown."
        if self.lost_energy > 0:
            yield (
                f"Coils were compressed to {self.n_coils} for filling; {100 * self.lost_energy:.2g} % of the "
                "calibration block's energy is lost of what is filled in, nothing of what was acquired."
            )
        yield "There are no weights of a kernel on a lattice, as GRAPPA has them."

    def warnings(self) -> Iterator[str]:
        """What is to be known before one looks."""
        least, most = self.net_accelerations
        if most > HIGH_ACCELERATION:
            rate = f"R={most:.1f}" if least == most else f"R={least:.1f} to {most:.1f}, by frame,"
            yield f"{rate} is high: small structures may be missed where few points were acquired."
        if self.missed is not None and self.missed > LARGE_ERROR:
            yield (
                f"Withheld points are predicted with an error of {self.missed:.0%} of their signal's energy: beyond "
                "the calibration block little of the image can be relied on."
            )
        if self.unfilled_energy > LARGE_UNFILLED:
            yield (
                f"In {self.n_by_filling[ZEROS]} planes, with {self.unfilled_energy:.0%} of the signal, nothing "
                "predicts acquired points better than zeros do: they were not filled."
            )
