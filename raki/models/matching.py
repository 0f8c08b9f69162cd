"""Whether a scan is one that a model is for, each difference a sentence; and which weights go with which image.

What decides is physics: a kernel says how these coils, in this order, see the object in this place, from samples so far
apart. Size and contrast of the image may differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raki.errors import TooLarge
from raki.kspace import KernelWeights
from raki.memory import extent_of, slices_at_once
from raki.planning import default_device, n_cores
from raki.results.made_for import MadeFor, Position, made_for_scan
from raki.results.weights import StoredScan
from raki.sandbox import memory_limit
from raki.scan import Scan

# Less moves neither object nor sensitivities by a part of a pixel that shows.
SAME_PLACE_MM = 0.5
SAME_AXES = 0.005
"""Of a coordinate of a unit vector: a quarter of a degree."""
SAME_FOV = 0.005
"""Relative: the samples of two scans lie at the same places of k-space."""
SAME_FIELD_T = 0.15
"""Magnets of 3 T have 2.89 to 3, and headers either."""


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One way in which a scan is other than what a model is for."""

    sentence: str
    is_decisive: bool
    """Whether the weights can't be used for it; else it is only to be known."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a scan is to a model."""

    mismatches: tuple[Mismatch, ...]
    n_images: int
    which: tuple[int | None, ...]
    """Of each image, or readout position, the number of the weights that go with it; None where none do."""
    device: str
    facts: tuple[str, ...]
    """What there is to be known besides: device, memory, calibration lines."""

    @property
    def fits(self) -> bool:
        """Whether every image has weights that may fill it."""
        return not any(each.is_decisive for each in self.mismatches)

    @property
    def sentences(self) -> tuple[str, ...]:
        """All mismatches, those that decide first."""
        ordered = sorted(self.mismatches, key=lambda each: not each.is_decisive)
        return tuple(each.sentence for each in ordered)


def check_scan(stored: StoredScan, scan: Scan, *, device: str | None = None) -> Check:
    """Holds a prepared scan against what weights are for.

    Raises:
        UnsupportedScan: its lines are on no regular lattice.
    """
    wanted, found = stored.made_for, made_for_scan(scan)
    n_kspaces = len(scan.frames) * scan.groups.n_slices if scan.groups else len(scan.kspace)
    mismatches = [*_of_coils(wanted, found), *_of_sampling(wanted, found)]
    if wanted.is_3d:
        which, of_places = _planes(wanted, found, n_kspaces, len(stored.images))
    else:
        which, of_places = _images(wanted, found)
    mismatches += of_places
    if any(each.is_decisive for each in mismatches) and not any(each.is_decisive for each in of_places):
        which = (None,) * len(which)
    where = device or default_device()
    return Check(
        mismatches=tuple(mismatches),
        n_images=n_kspaces,
        which=which,
        device=where,
        facts=(*_about_acs(found), *_about_machine(stored, scan, where)),
    )


def chosen_weights(stored: StoredScan, which: Sequence[int | None], index: int) -> KernelWeights | None:
    """The weights for an image."""
    number = which[index] if index < len(which) else None
    return None if number is None else stored.images[number]


def _of_coils(wanted: MadeFor, found: MadeFor) -> list[Mismatch]:
    said = []
    if wanted.n_coils != found.n_coils:
        said.append(f"The model is for {wanted.n_coils} coils and the scan has {found.n_coils}.")
    elif wanted.coil_names and found.coil_names and wanted.coil_names != found.coil_names:
        if sorted(wanted.coil_names) == sorted(found.coil_names):
            said.append("The scan has the coils of the model in another order.")
        else:
            others = [name for name in found.coil_names if name not in wanted.coil_names]
            said.append(f"The scan's coils are others than the model's: {', '.join(others[:4])} among them.")
    if wanted.prewhitened != found.prewhitened:
        with_noise, without = ("model", "scan") if wanted.prewhitened else ("scan", "model")
        said.append(f"The {with_noise}'s coils were decorrelated by a noise scan, and the {without}'s were not.")
    theirs, ours = wanted.field_strength_t, found.field_strength_t
    decisive = [Mismatch(sentence=sentence, is_decisive=True) for sentence in said]
    if theirs and ours and not np.isclose(theirs, ours, rtol=0, atol=SAME_FIELD_T):
        text = f"The model is for {theirs:.3g} T and the scan was made at {ours:.3g} T."
        return [*decisive, Mismatch(sentence=text, is_decisive=True)]
    unknown = not (wanted.coil_names and found.coil_names)
    text = "The coils' names aren't known on both sides: that they are the same, in this order, is taken on trust."
    return [*decisive, *([Mismatch(sentence=text, is_decisive=False)] if unknown else [])]


def _of_sampling(wanted: MadeFor, found: MadeFor) -> list[Mismatch]:
    said = []
    if wanted.lattice != found.lattice:
        if found.acceleration == 1:
            said.append("No line of the scan is missing: there is nothing to fill.")
        else:
            said.append(f"The model fills R={_lattice(wanted)} and the scan has R={_lattice(found)}.")
    if not np.allclose(wanted.encoded_fov_mm, found.encoded_fov_mm, rtol=SAME_FOV, atol=0):
        said.append(
            f"The model is for a field of view of {_millimetres(wanted.encoded_fov_mm)} (phase-encode x readout) and "
            f"the scan has {_millimetres(found.encoded_fov_mm)}."
        )
    decisive = [Mismatch(sentence=sentence, is_decisive=True) for sentence in said]
    sizes = (wanted.n_phase_encode, wanted.n_readout), (found.n_phase_encode, found.n_readout)
    if sizes[0] == sizes[1]:
        return decisive
    text = f"The model's k-space has {sizes[0][0]} x {sizes[0][1]} samples and the scan's {sizes[1][0]} x {sizes[1][1]}"
    if wanted.is_3d:
        return [*decisive, Mismatch(sentence=f"{text}.", is_decisive=True)]
    return [*decisive, Mismatch(sentence=f"{text}: the same kernels hold of both.", is_decisive=False)]


def _images(wanted: MadeFor, found: MadeFor) -> tuple[tuple[int | None, ...], list[Mismatch]]:
    """By where the images lie; by their numbers, where one of both doesn't tell."""
    n_images = len(found.positions)
    if wanted.is_3d != found.is_3d:
        return (None,) * n_images, [_decisive("The model is for a scan of slices and the scan is 3-D.")]
    if not (wanted.is_placed and found.is_placed):
        return _by_number(wanted, found)
    which = tuple(_same_place(position, wanted.positions, number) for number, position in enumerate(found.positions))
    n_without = which.count(None)
    if not n_without:
        return which, []
    nearest = min(_distance_mm(found.positions[which.index(None)], each) for each in wanted.positions)
    return which, [
        _decisive(
            f"For {n_without} of {n_images} images the model has no weights of their place (the nearest is "
            f"{nearest:.3g} mm away, of the first of them): those of a next slice had 1.4 to 39 times the error of a "
            "scan's own calibration."
        )
    ]


def _planes(
    wanted: MadeFor, found: MadeFor, n_planes: int, n_stored: int
) -> tuple[tuple[int | None, ...], list[Mismatch]]:
    """Of a 3-D scan, whose readout positions have weights each: all of it in the same place, or nothing."""
    if not found.is_3d:
        return (None,) * n_planes, [_decisive("The model is for a 3-D scan and the scan is one of slices.")]
    same = len(wanted.positions) == len(found.positions) and all(
        _is_same(ours, theirs) for ours, theirs in zip(found.positions, wanted.positions, strict=True)
    )
    if n_planes != n_stored or (wanted.is_placed and found.is_placed and not same):
        return (None,) * n_planes, [_decisive("The slab of the scan isn't where that of the model is, or as large.")]
    said = [] if wanted.is_placed and found.is_placed else [_trusted()]
    return tuple(range(n_planes)), said


def _by_number(wanted: MadeFor, found: MadeFor) -> tuple[tuple[int | None, ...], list[Mismatch]]:
    n_images = len(found.positions)
    if wanted.n_slices != found.n_slices:
        text = (
            f"The model has {wanted.n_slices} slices and the scan {found.n_slices}, and nothing tells where they lie."
        )
        return (None,) * n_images, [_decisive(text)]
    return tuple(image % wanted.n_slices for image in range(n_images)), [_trusted()]


def _trusted() -> Mismatch:
    text = "Nothing tells where scan or model lie: that it is the same place is taken on trust, image by image."
    return Mismatch(sentence=text, is_decisive=False)


def _decisive(sentence: str) -> Mismatch:
    return Mismatch(sentence=sentence, is_decisive=True)


def _same_place(position: Position, stored: Sequence[Position], number: int) -> int | None:
    """The weights of the same place: of the image of the same number, where that is one, else the first."""
    if number < len(stored) and _is_same(position, stored[number]):
        return number
    return next((index for index, each in enumerate(stored) if _is_same(position, each)), None)


def _is_same(one: Position, other: Position) -> bool:
    ours, theirs = ((each.read_direction, each.phase_direction, each.slice_direction) for each in (one, other))
    return _distance_mm(one, other) <= SAME_PLACE_MM and bool(np.allclose(ours, theirs, rtol=0, atol=SAME_AXES))


def _distance_mm(one: Position, other: Position) -> float:
    return float(np.linalg.norm(np.subtract(one.position_mm, other.position_mm)))


def _about_acs(found: MadeFor) -> tuple[str, ...]:
    if found.n_acs_lines == 0:
        return ("The scan has no calibration lines: what the weights don't fill can't be filled.",)
    return (
        f"The scan has {found.n_acs_lines} calibration lines: where it can be calibrated on them, the weights fill "
        "only what they predict better.",
    )


def _about_machine(stored: StoredScan, scan: Scan, device: str) -> tuple[str, ...]:
    n_bytes = sum(each.coefficients.nbytes for each in stored.images)
    at_once = n_cores() if device == "cpu" else 1
    extent = extent_of(scan)
    needed = extent.bytes_needed(at_once) + n_bytes
    try:
        slices_at_once(extent, memory_limit() - n_bytes, at_once)
    except TooLarge as error:
        return (f"{error.sentence}",)
    return (f"On {device} it takes about {needed / 2**20:.0f} MiB, {n_bytes / 2**20:.1f} of them weights.",)


def _lattice(made_for: MadeFor) -> str:
    if len(made_for.lattice) == 1:
        return str(made_for.lattice[0])
    n_pe, n_pe2, shift = made_for.lattice
    return f"{n_pe} x {n_pe2}" + (f" (shift {shift})" if shift else "")


def _millimetres(lengths: tuple[float, float]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths) + " mm"
