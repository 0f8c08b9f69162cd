"""Small structures of known shape in a fully sampled scan, and what a reconstruction leaves of them.

A structure is added to the coil images through the coils' sensitivities, in phase with the object there, so that the
magnitude image gains its shape and the k-space stays one that these coils could have measured. Reconstruct with and
without: noise and object are the same in both, and the difference of the magnitude images is the response.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from raki.coils import Image, espirit, estimate_sigma, root_sum_of_squares
from raki.images import object_mask
from raki.images.metrics import Mask
from raki.scan.fourier import SliceKSpace, to_image, to_kspace

Profile = Float32[Tensor, "pe ro"]

# Part of the local signal, and multiples of the noise in the magnitude image.
SHARP_CONTRAST = 0.4
LESION_CONTRAST = 0.05
LESION_SIGMAS = {"lesion_1_sigma": 1.0, "lesion_3_sigma": 3.0}
LESION_FWHM_PIXELS = 4.5
LINE_PIXELS = 20  # and never more than a quarter of the shorter side
OBLIQUE_SLOPES = (0.5, -0.5, 0.75, -0.75)  # lines per sample
GRATING_LINES, GRATING_SAMPLES = 6, 8

# A structure's support is where it has this part of its peak; its neighbourhood reaches so many pixels further.
LEAST_OF_PEAK = 0.05
MARGIN_PIXELS = 2
# Supports keep so far from the object's border, where the sensitivities are least certain.
BORDER_PIXELS = 2
# Supports keep off the dark: there a magnitude is no linear measure of what is put in, and faults of its own are large.
# A pixel is clear where the coils, combined, have these parts of the root sum of squares and of the local signal, and
# so many standard deviations of noise.
CLEAR_PART, CLEAR_CONTRAST, CLEAR_SIGMAS = 0.8, 0.3, 5.0
# Depth of a structure's centre below the object's border over the greatest depth there is.
PLACES = {"centre": (0.7, 1.0), "half way": (0.35, 0.65), "edge": (0.0, 0.3)}
N_TRIES = 200
LOCAL_PIXELS = 5
# The profile along phase-encode that a width is read from reaches so far on either side.
WIDTH_REACH_PIXELS = 6


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One structure and where it is."""

    kind: str
    place: str
    """Of PLACES."""
    centre: tuple[int, int]
    """Line and sample of the image."""
    amplitude: float
    """Its peak, in units of the root-sum-of-squares image."""
    profile: Profile
    """Its shape, peak 1, zero outside its support."""
    neighbourhood: Mask
    aliases: Mask
    """Where fold-over puts the neighbourhood."""

    @property
    def support(self) -> Mask:
        return self.profile != 0


@dataclass(frozen=True, kw_only=True)
class Response:
    """What one image shows of a structure, relative to what the fully sampled image shows."""

    kind: str
    place: str
    centre: tuple[int, int]
    amplitude: float
    """Projection of the response onto the true one within the support: 1 is all of it, 0 is faded away."""
    width: float | None
    """Full width at half maximum along phase-encode over the true one; None for gratings, and where nothing is left."""
    ghost: float
    """Energy of the response where fold-over puts this structure over the energy of its true response."""
    ghost_of_all: float
    """Energy outside all neighbourhoods over that of the true response; the same for all structures put together."""


def insert_features(
    full: SliceKSpace, seed: int, *, acceleration: int, wanted: Sequence[tuple[str, str]] | None = None
) -> tuple[SliceKSpace, list[Feature]]:
    """Add as many structures as have room without overlapping, or folding onto each other at this acceleration.

    Args:
        full: fully sampled k-space of one slice.
        seed: of places and of the order; the same seed gives the same structures.
        wanted: kinds (of KINDS) and places (of PLACES); all of them if None. What finds no room is left out, as is a
            lesion in multiples of the noise where no noise can be told: ask for it with another call. Strong structures
            change a little what a method learns of the coils, and that change drowns faint ones: put them in apart.

    Returns:
        The k-space with the structures, and these. Their phase is that of the object in each pixel.

    Raises:
        ValueError: the slice shows no object.
    """
    rng = np.random.default_rng(seed)
    canvas = _Canvas.of(full)
    order = list(wanted if wanted is not None else every_pair())
    rng.shuffle(order)
    features: list[Feature] = []
    free = canvas.inside
    for kind, place in order:
        feature = _placed(kind, place, canvas, free, acceleration, rng)
        if feature is not None:
            features.append(feature)
            free = free & ~_dilated(feature.neighbourhood | feature.aliases, MARGIN_PIXELS)
    added = sum((one.amplitude * one.profile for one in features), torch.zeros_like(canvas.signal))
    return full + to_kspace(canvas.sensitivities * canvas.phase * added), features


def every_pair(*, faint: bool | None = None) -> list[tuple[str, str]]:
    """All kinds at all places; only the lesions, or only the others, where `faint` says so."""
    kinds = [kind for kind in KINDS if faint is None or faint == kind.startswith("lesion")]
    return [(kind, place) for kind in kinds for place in PLACES]


def judge(
    features: Sequence[Feature], image_without: Image, image_with: Image, true_without: Image, true_with: Image
) -> list[Response]:
    """What a method's two images show of each structure, beside the two images of all lines.

    Args:
        features: all that were put together.
        image_without: root-sum-of-squares image that the method makes of the scan, `pe ro`.
        image_with: the same of the scan with the structures.
        true_without: of the fully sampled scan.
        true_with: of the fully sampled scan with the structures.
    """
    response, truth = (image_with - image_without).double(), (true_with - true_without).double()
    near = torch.zeros_like(truth, dtype=torch.bool)
    for one in features:
        near = near | one.neighbourhood
    ghost_of_all = float(response[~near].square().sum() / truth[near].square().sum())
    return [_judged(one, response, truth, near, ghost_of_all) for one in features]


def _judged(one: Feature, response: Tensor, truth: Tensor, near: Mask, ghost_of_all: float) -> Response:
    found, wanted = response[one.support], truth[one.support]
    energy = wanted.square().sum()
    width, true_width = (None if "grating" in one.kind else _width(image, one) for image in (response, truth))
    return Response(
        kind=one.kind,
        place=one.place,
        centre=one.centre,
        amplitude=float((found * wanted).sum() / energy),
        width=width / true_width if width and true_width else None,
        ghost=float(response[one.aliases & ~near].square().sum() / energy),
        ghost_of_all=ghost_of_all,
    )


def _width(response: Tensor, one: Feature) -> float | None:
    """Full width at half maximum along phase-encode, the mean over the samples that hold the ridge; None if flat.

    Each sample's column is shifted so that the structure's own peak is in the middle: an oblique line stays sharp.
    """
    peaks, ridge = one.profile.max(dim=0)
    samples = (peaks > 0.5).nonzero().flatten()
    steps = torch.arange(-WIDTH_REACH_PIXELS, WIDTH_REACH_PIXELS + 1)
    rows = (ridge[samples, None] + steps).clamp(0, len(response) - 1)
    mean = response[rows, samples[:, None]].mean(dim=0)
    middle = WIDTH_REACH_PIXELS - 1 + int(mean[WIDTH_REACH_PIXELS - 1 : WIDTH_REACH_PIXELS + 2].argmax())
    if mean[middle] <= 0:
        return None
    relative = (mean / mean[middle]).tolist()
    return _to_half(relative[middle:]) + _to_half(relative[middle::-1])


def _to_half(falling: Sequence[float]) -> float:
    """Steps from a peak of 1 until it has fallen to a half, linearly interpolated; as many as there are if never."""
    for step in range(1, len(falling)):
        if falling[step] < 0.5:
            return step - 1 + (falling[step - 1] - 0.5) / (falling[step - 1] - falling[step])
    return float(len(falling) - 1)


@dataclass(frozen=True, kw_only=True)
class _Canvas:
    """What a slice says about the places in it."""

    signal: Image
    """Mean of the magnitude near each pixel."""
    sigma: float
    """Standard deviation of the noise in the magnitude image, where the signal is strong; 0 if it can't be told."""
    depth: Tensor
    """Steps below the object's border, to eight neighbours; 0 outside."""
    inside: Mask
    """Where a support may be."""
    sensitivities: SliceKSpace
    phase: Tensor
    """Of the object, as a complex number of magnitude 1."""

    @classmethod
    def of(cls, full: SliceKSpace) -> "_Canvas":
        images = to_image(full)
        magnitude = root_sum_of_squares(images)
        maps = espirit(full, shape=(full.shape[-2], full.shape[-1])).maps
        depth = _depth(object_mask(magnitude))
        combined = (maps.conj() * images).sum(dim=0)  # zero where the maps are
        signal, sigma = _local_mean(magnitude, LOCAL_PIXELS), estimate_sigma(full)
        least = torch.maximum(CLEAR_PART * magnitude, CLEAR_CONTRAST * signal).clamp(min=CLEAR_SIGMAS * sigma)
        inside = (depth > BORDER_PIXELS) & (combined.abs() > least)
        if not inside.any():
            raise ValueError("the slice shows no object that a structure could be put into")
        return cls(
            signal=signal,
            sigma=sigma / math.sqrt(2),  # the part in phase with the signal
            depth=depth,
            inside=inside,
            sensitivities=maps,
            phase=torch.sgn(combined),
        )

    def amplitude(self, kind: str, centre: tuple[int, int]) -> float:
        if kind in LESION_SIGMAS:
            return LESION_SIGMAS[kind] * self.sigma
        contrast = LESION_CONTRAST if kind.startswith("lesion") else SHARP_CONTRAST
        return contrast * float(self.signal[centre])


def _placed(
    kind: str, place: str, canvas: _Canvas, free: Mask, acceleration: int, rng: np.random.Generator
) -> Feature | None:
    """At the first of N_TRIES random points where its support is free; None if there is none."""
    low, high = (float(canvas.depth.max()) * part for part in PLACES[place])
    centres = (free & (canvas.depth >= low) & (canvas.depth <= high)).nonzero()
    for index in rng.permutation(len(centres))[:N_TRIES]:
        centre = (int(centres[index, 0]), int(centres[index, 1]))
        profile = KINDS[kind]((canvas.signal.shape[0], canvas.signal.shape[1]), centre, rng)
        amplitude = canvas.amplitude(kind, centre)
        if amplitude > 0 and free[profile != 0].all():
            neighbourhood = _dilated(profile != 0, MARGIN_PIXELS)
            return Feature(
                kind=kind,
                place=place,
                centre=centre,
                amplitude=amplitude,
                profile=profile,
                neighbourhood=neighbourhood,
                aliases=_folded(neighbourhood, acceleration) & ~neighbourhood,
            )
    return None


def _line(shape: tuple[int, int], centre: tuple[int, int], slope: float) -> Profile:
    """One pixel in each of the samples it runs through."""
    n_pixels = min(LINE_PIXELS, min(shape) // 4)
    steps = torch.arange(n_pixels) - n_pixels // 2
    return _drawn(shape, centre[0] + (slope * steps).round().long(), centre[1] + steps, torch.ones(n_pixels))


def _point(shape: tuple[int, int], centre: tuple[int, int]) -> Profile:
    return _drawn(shape, torch.tensor(centre[0]), torch.tensor(centre[1]), torch.tensor(1.0))


def _grating(shape: tuple[int, int], centre: tuple[int, int], period: int) -> Profile:
    """A cosine along phase-encode, of mean zero: a grating that fades leaves nothing behind."""
    lines = torch.arange(GRATING_LINES)
    wave = torch.cos(2 * torch.pi * lines / period)
    rows = (centre[0] - GRATING_LINES // 2 + lines)[:, None].expand(-1, GRATING_SAMPLES)
    columns = (centre[1] - GRATING_SAMPLES // 2 + torch.arange(GRATING_SAMPLES)).expand(GRATING_LINES, -1)
    return _drawn(shape, rows, columns, wave[:, None].expand(-1, GRATING_SAMPLES))


def _lesion(shape: tuple[int, int], centre: tuple[int, int]) -> Profile:
    """A Gaussian, cut off at LEAST_OF_PEAK."""
    rows, columns = (torch.arange(size) - at for size, at in zip(shape, centre, strict=True))
    squares = rows[:, None].square() + columns.square()
    profile = torch.exp(-4 * math.log(2) * squares / LESION_FWHM_PIXELS**2)
    return torch.where(profile >= LEAST_OF_PEAK, profile, 0)


def _drawn(shape: tuple[int, int], rows: Tensor, columns: Tensor, values: Tensor) -> Profile:
    """What falls outside the image is drawn at its border, where no support may be."""
    profile = torch.zeros(shape)
    profile[rows.clamp(0, shape[0] - 1), columns.clamp(0, shape[1] - 1)] = values
    return profile


Draw = Callable[[tuple[int, int], tuple[int, int], np.random.Generator], Profile]

KINDS: dict[str, Draw] = {
    "line_along_readout": lambda shape, centre, _rng: _line(shape, centre, 0.0),
    "line_oblique": lambda shape, centre, rng: _line(shape, centre, float(rng.choice(OBLIQUE_SLOPES))),
    "point": lambda shape, centre, _rng: _point(shape, centre),
    "grating_2": lambda shape, centre, _rng: _grating(shape, centre, 2),
    "grating_3": lambda shape, centre, _rng: _grating(shape, centre, 3),
    "lesion_5_percent": lambda shape, centre, _rng: _lesion(shape, centre),
    "lesion_1_sigma": lambda shape, centre, _rng: _lesion(shape, centre),
    "lesion_3_sigma": lambda shape, centre, _rng: _lesion(shape, centre),
}


def _folded(mask: Mask, acceleration: int) -> Mask:
    """Where the lines of a lattice put copies; a distance between two whole numbers of pixels counts as both."""
    folded = torch.zeros_like(mask)
    for copy in range(1, acceleration):
        distance = copy * len(mask) / acceleration
        for shift in {math.floor(distance), math.ceil(distance)}:
            folded = folded | mask.roll(shift, dims=0)
    return folded


def _depth(mask: Bool[Tensor, "pe ro"]) -> Tensor:
    depth = torch.zeros(mask.shape)
    while mask.any():
        depth += mask
        mask = ~_dilated(~torch.nn.functional.pad(mask, (1, 1, 1, 1)), 1)[1:-1, 1:-1]
    return depth


def _dilated(mask: Mask, n_pixels: int) -> Mask:
    """Grown by so many pixels to all eight sides."""
    return max_pool2d(mask[None, None].float(), 2 * n_pixels + 1, stride=1, padding=n_pixels)[0, 0] > 0


def _local_mean(image: Tensor, n_pixels: int) -> Tensor:
    return avg_pool2d(image[None], n_pixels, stride=1, padding=n_pixels // 2, count_include_pad=False)[0]
