"""Fill in the k-space lines that the scanner skipped: the one call behind every way to use raki."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.errors import UnsupportedScan
from raki.kspace.cross_validation import CrossValidation, about_no_better_than_zeros, cross_validation_of
from raki.kspace.explanation import Explanation
from raki.kspace.frames import MANY_FRAMES, Firsts, about_frames
from raki.kspace.images_to_fill import ImagesToFill, LoadSlice, TakeSlice
from raki.kspace.linear_fit import KernelWeights
from raki.kspace.method import FillSettings, StoredUse, TrainingPoint
from raki.kspace.opposite import OppositeSides
from raki.kspace.sampling import LinesBySlice, SampledLines, lines_by_slice
from raki.kspace.scattered import ScatteredFills
from raki.kspace.stored import StoredWeights, about_stored
from raki.kspace.uncertainty import UncertaintyMaps
from raki.planning import (
    FOR_SCATTERED,
    AnySampling,
    Method,
    PointSampling,
    ScatteredSampling,
    SlicePlan,
    find_method,
    methods,
    plans_of,
)
from raki.scan.fourier import KSpace


@dataclass(frozen=True, kw_only=True)
class FillReport:
    """How the k-space of a scan was filled: what a report says about it."""

    sampling: AnySampling
    training_curve: tuple[TrainingPoint, ...]
    """Mean over the slices; empty where nothing was trained."""
    cross_validation: CrossValidation | None
    """What the slices say of the choice; only of `raki` and its rungs, and where lines were missing."""
    maps: tuple[UncertaintyMaps, ...]
    """Of each slice, where they were asked for and lines were missing; only of `raki`."""
    weights: tuple[KernelWeights, ...]
    """Of each slice, where they were asked for and lines were missing; only of methods with a linear kernel."""
    explanations: tuple[Explanation, ...]
    """Of each slice, where they were asked for and lines were missing; only of methods that begin linearly."""
    scattered: ScatteredFills | None
    """Where points lie on no lattice, how they were filled; None where they do, or nothing was to be filled."""
    stored: tuple[StoredUse | None, ...]
    """Of each image: what became of the stored weights, where there were such for it."""
    opposite: OppositeSides | None
    """Where one side of k-space wasn't measured (partial Fourier), how it was filled; None where none is missing, or
    nothing was to be filled."""
    notes: tuple[str, ...]
    """Sentences for the report."""


def complete(
    kspace: KSpace,
    method: str = "raki",
    *,
    sampled: SampledLines | LinesBySlice | None = None,
    acs: Complex64[Tensor, "*slice coil acs_line acs_ro"] | None = None,
    noise: Complex64[Tensor, "coil sample"] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    with_maps: bool = False,
    with_weights: bool = False,
    with_explanation: bool = False,
    stored: StoredWeights | None = None,
    is_judged: bool = True,
    progress: Callable[[float], None] | None = None,
) -> tuple[KSpace, FillReport]:
    """Fill the missing lines of the acquired range, and those at the border of k-space within R of its ends.

    Lines farther out were never meant to be acquired. Where the lines opposite to them were (partial Fourier), they are
    filled by symmetry as far as acquired lines are predicted so (see `raki.kspace.opposite`); else (zero-padding) they
    stay zero. Each slice is calibrated on its own. Every sample of an acquired line, ACS included, is returned as it
    came.

    Returns the filled k-space, of the same shape and on the CPU, and the report on it.

    Args:
        kspace: one slice or several; samples of lines that were not acquired are not read.
        method: one of `methods()`. `zero_filled` fills nothing; the slowest are published networks, for comparison.
        sampled: acquired lines, of all slices or of each; by default those with a sample other than zero.
        acs: neighbouring fully sampled lines, same slices and coils, if they are not inside `kspace`.
        noise: samples recorded without excitation, axes coil and sample, scaled as `kspace` is;
            without it the noise level is estimated from outer k-space and the ACS.
        seed: the same seed gives the same bits on the same device.
        device: where to compute; by default a GPU if there is one.
        with_maps: whether to make maps of noise amplification and uncertainty too (`raki` only); it takes about as long
            again as the filling.
        with_weights: whether to keep the weights of the kernels too, of a method that has one.
        with_explanation: whether to tell where the brightness of each image comes from, of a method that is linear or
            begins so (GRAPPA, `raki` and its rungs); see
            `raki.kspace.explanation`.
        stored: weights of an earlier scan, `KernelWeights` by the number of the image. They fill an image that can't be
            calibrated, or that they predict better than its own calibration does; see `raki.kspace.stored`.
        is_judged: whether an image is calibrated as well, where it can be; else weights that hold are enough.
        progress: called with the fraction of slices done, from 0 to 1.

    Raises:
        ValueError: an unknown method.
        DamagedScan: an acquired line holds NaN or infinity.
        UnsupportedScan: the lines are not regularly undersampled.
        NoCalibration: undersampled, without enough ACS lines.
    """
    kspace = kspace.cpu()
    slices = kspace.reshape(-1, *kspace.shape[-3:])
    separate = None if acs is None else acs.cpu().reshape(-1, *acs.shape[-3:])
    result = torch.empty_like(slices)
    report = complete_slices(
        len(slices),
        slices.__getitem__,
        result.__setitem__,
        method,
        plans=plans_of((lines_by_slice(slices) if sampled is None else sampled).cpu().numpy(), len(slices)),
        load_acs=None if separate is None else separate.__getitem__,
        noise=noise,
        seed=seed,
        device=device,
        with_maps=with_maps,
        with_weights=with_weights,
        with_explanation=with_explanation,
        stored=stored,
        is_judged=is_judged,
        progress=progress,
    )
    return result.reshape(kspace.shape), report


def complete_slices(
    n_images: int,
    load: LoadSlice,
    take: TakeSlice,
    method: str = "raki",
    *,
    plans: Sequence[SlicePlan],
    load_acs: LoadSlice | None = None,
    echo: tuple[int, int] | None = None,
    n_frames: int = 1,
    noise: Complex64[Tensor, "coil sample"] | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    with_maps: bool = False,
    with_weights: bool = False,
    with_explanation: bool = False,
    stored: StoredWeights | None = None,
    is_judged: bool = True,
    progress: Callable[[float], None] | None = None,
) -> FillReport:
    """`complete` for a scan of any size: only the slices at work are in memory.

    Arguments and errors that aren't named here are those of `complete`.

    Args:
        load: reads one slice, axes `coil pe ro`; called once for each, from several threads.
        plans: of each slice, which lines were acquired and how the others are filled; or which points, of the planes of
            a 3-D scan, whose second phase-encode direction stands where a slice has the readout.
        take: is handed each slice as it was filled, on the CPU, in no certain order and from several threads.
        load_acs: reads one slice of a separate calibration scan.
        echo: first and one past the last sample of the readouts that was measured, where that isn't all.
        n_frames: of the images; those of the first frame come first. Of many, each slice is calibrated on its first,
            and on others where that doesn't hold of them; see `raki.kspace.frames`.
    """
    wanted = find_method(method)
    sampling = plans[0].sampling
    _require_fills(wanted, sampling)
    settings = FillSettings(
        device=torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        seed=seed,
        sigma=None if noise is None else float(noise.abs().square().mean().sqrt()),
        with_maps=with_maps,
        with_weights=with_weights,
        with_explanation=with_explanation,
        with_calibration=n_frames >= MANY_FRAMES,
    )
    scan = ImagesToFill(
        load=load,
        load_acs=load_acs,
        take=take,
        plans=plans,
        echo=echo,
        n_slices=n_images // n_frames,
        method=_that_fills(wanted, sampling),
        wanted=wanted,
        settings=settings,
        firsts=Firsts(n_frames - 1),
        stored=stored if sampling.acceleration > 1 else None,
        is_judged=is_judged,
    )
    reports = scan.fill(n_images, progress or (lambda _fraction: None))
    opposite = [report.opposite for report in reports if report.opposite is not None]
    sides = OppositeSides.of(opposite) if opposite else None
    scattered = [report.scattered for report in reports if report.scattered is not None]
    at_random = ScatteredFills.of(scattered, _different(plans)) if scattered else None
    errors = [error for report in reports for error in report.held_out_errors.values()]
    chosen = [report for report in reports if report.chosen is not None]
    cross_validation = (
        cross_validation_of(chosen, sampling, noise_measured=settings.sigma is not None) if chosen else None
    )
    return FillReport(
        sampling=sampling,
        training_curve=mean_curve([report.curve for report in reports if report.curve]),
        cross_validation=cross_validation,
        maps=tuple(report.maps for report in reports if report.maps is not None),
        weights=tuple(report.weights for report in reports if report.weights is not None),
        explanations=tuple(report.explanation for report in reports if report.explanation is not None),
        scattered=at_random,
        stored=tuple(report.stored for report in reports),
        opposite=sides,
        notes=(
            *(about_stored(reports) if scan.stored else ()),
            *_notes(scan.method, wanted, plans, cross_validation),
            *(() if cross_validation else about_no_better_than_zeros(errors)),
            *(at_random.notes() if at_random else ()),
            *about_frames(reports, n_images // n_frames),
            *(sides.notes() if sides else ()),
        ),
    )


def mean_curve(curves: Sequence[tuple[TrainingPoint, ...]]) -> tuple[TrainingPoint, ...]:
    """Training curve of a scan: mean over the slices that something was trained on, as far as all of them go."""
    return tuple(
        TrainingPoint(
            step=points[0].step,
            training_loss=sum(point.training_loss for point in points) / len(points),
            validation_loss=sum(point.validation_loss for point in points) / len(points),
        )
        for points in zip(*curves, strict=False)
    )


def _that_fills(wanted: Method, sampling: AnySampling) -> Method:
    """The method, or what it does where points lie on no lattice; zeros, where nothing is missing."""
    if isinstance(sampling, ScatteredSampling):
        return FOR_SCATTERED.get(wanted.name, wanted)
    return wanted if sampling.acceleration > 1 else find_method("zero_filled")


def _different(plans: Sequence[SlicePlan]) -> list[ScatteredSampling]:
    """The samplings of the frames, each once."""
    found = {id(plan.sampling): plan.sampling for plan in plans}
    return [each for each in found.values() if isinstance(each, ScatteredSampling)]


def _require_fills(method: Method, sampling: AnySampling) -> None:
    """Raises UnsupportedScan where a method knows lines only and points are missing, or lattices only."""
    if isinstance(sampling, ScatteredSampling) and method.name not in (*FOR_SCATTERED, "zero_filled"):
        raise UnsupportedScan(
            f"{method.name} fills regular undersampling, and this scan skips points at random: choose one of "
            f"{', '.join(FOR_SCATTERED)}"
        )
    if isinstance(sampling, PointSampling) and sampling.acceleration > 1 and not method.fills_points:
        able = [name for name, each in methods().items() if each.fills_points]
        raise UnsupportedScan(
            f"{method.name} fills lines, as 2-D scans have them, and this scan skips points of two phase-encode "
            f"directions (it is 3-D): choose one of {', '.join(able)}"
        )


def _notes(
    method: Method, wanted: Method, plans: Sequence[SlicePlan], cross_validation: CrossValidation | None
) -> tuple[str, ...]:
    sampling = plans[0].sampling
    has_losses = any(plan.first is not None for plan in plans)
    if isinstance(sampling, PointSampling) and sampling.acceleration == 1:
        return ("Of the two phase-encode directions no point is missing: nothing was filled.",)
    if sampling.acceleration == 1 and has_losses and method is not wanted:
        return ("Lines that were lost among the acquired ones were filled by GRAPPA; no other line is missing.",)
    if sampling.acceleration == 1:
        first, stop = sampling.acquired_range
        lost = " but for those that were lost" if has_losses else ""
        return (
            f"Lines {first} to {stop - 1} of {sampling.n_pe} were all acquired{lost}: nothing was filled between them.",
        )
    if method.name == "zero_filled":
        return ("Missing lines were left at zero.",)
    return () if cross_validation is None else cross_validation.warnings + cross_validation.notes()
