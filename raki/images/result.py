"""What a reconstruction hands on: images, maps, and what is known of the scan and of how it was filled."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from raki.images.apart import TakenApart
from raki.kspace import (
    CrossValidation,
    KernelWeights,
    OppositeSides,
    ScatteredFills,
    StoredUse,
    StoredWeights,
    TrainingPoint,
)
from raki.scan import Frame, Geometry
from raki.scan.arrays import LineMask, PointMask, Volume


@dataclass(frozen=True, kw_only=True)
class ScanSummary:
    """What is known of a scan without its samples, as received: before any coil compression.

    `acs_lines` are the first and one past the last line.
    """

    n_slices: int
    """Of one frame."""
    frames: tuple[Frame, ...]
    """Images have the slices of the first frame, then those of the next."""
    frame_step_s: float | None = None
    """Seconds from one frame to the next; None where they are no even series, or nothing tells."""
    n_coils: int
    n_ro: int
    sampled: LineMask
    """Lines that were acquired of the first image; where the others have other ones, a remark says so."""
    points: PointMask | None = None
    """Of a 3-D scan: acquired points of both phase-encode directions, lines by partitions, of the first frame; None of
    a 2-D one."""
    cell: tuple[int, int] | None = None
    """Of a 3-D scan: R along phase-encode and along the partitions; `acceleration` is their product."""
    acs_block: tuple[int, int, int, int] | None = None
    """Of a 3-D scan: first and one past the last line, then partition, of the calibration block inside k-space."""
    is_scattered: bool = False
    """Whether the points of a 3-D scan lie on no lattice; `acceleration` is R to the nearest whole number then."""
    encoded_lines: tuple[int, int]
    """First and one past the last line that was acquired or skipped; those beyond were never meant to be acquired
    (zero-padding, partial Fourier)."""
    acceleration: int
    net_acceleration: float
    """Lines of the acquired range over acquired ones: what the ACS lines leave of R."""
    acs_lines: tuple[int, int] | None
    n_acs_lines_apart: int
    """Calibration lines that were acquired apart from the image; 0 where there are none."""
    prewhitened: bool
    geometry: Geometry
    header_xml: str
    remarks: tuple[str, ...] = ()
    """What was decided while the scan was read; see `raki.scan.Scan`."""

    @property
    def rate(self) -> str:
        """R as it is written: a whole number, but of points on no lattice."""
        return f"{self.net_acceleration:.1f}" if self.is_scattered else f"{self.acceleration}"

    @property
    def acquired_in_words(self) -> str:
        """How much of k-space was acquired: of its lines, or of the points of both phase-encode directions."""
        if self.points is not None:
            return f"{int(self.points.sum())} of {self.points.size} points of both phase-encode directions"
        return f"{int(self.sampled.sum())} of {self.sampled.size} phase-encode lines"

    @property
    def acquired_part(self) -> float:
        """The same as a fraction."""
        return float((self.sampled if self.points is None else self.points).mean())

    @property
    def n_images(self) -> int:
        """Slices of all frames."""
        return len(self.frames) * self.n_slices


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """Weights of an earlier scan, by the name of their model, brought to the images of a scan."""

    name: str
    version: str | None
    """None of weights that are no model."""
    digest: str
    """SHA-256 of its description, which has that of the weights; or of the weights alone."""
    weights: StoredWeights
    is_judged: bool = True
    """Whether what can be calibrated is, and the better weights taken."""
    remarks: tuple[str, ...] = ()
    """Where the scan is other than what the weights are for."""


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """Which model there was, and what became of it."""

    name: str
    version: str | None
    digest: str
    uses: tuple[StoredUse | None, ...]
    """Of each image, or readout position; None where there were no weights for it."""
    remarks: tuple[str, ...]

    @property
    def n_used(self) -> int:
        """Images that its weights filled."""
        return sum(use is not None and use.is_used for use in self.uses)

    @property
    def title(self) -> str:
        """How it is called in a text."""
        return f"{self.name}@{self.version}" if self.version else self.name

    def notes(self) -> tuple[str, ...]:
        """Sentences for the report; how well the weights did is in those of the filling."""
        others = "" if self.n_used == len(self.uses) else "; the others were calibrated on this one"
        return (
            f"The model {self.title} (sha256:{self.digest[:12]}) filled {self.n_used} of {len(self.uses)} images by "
            f"weights of another scan{others}.",
            *self.remarks,
        )


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Magnitude images by the methods in `COMPARED_WITH` and, as the last of `images`, by `method`.

    The value of a pixel is the root sum of squares over the coils, or the magnitude of their adaptive combination,
    which is as bright. Where the scan was prewhitened, its unit is the standard deviation of the complex noise that
    one coil's fully sampled image would have in a pixel; otherwise it is the scanner's own unit.

    Raises:
        ValueError: images or maps are not one for each slice of each frame, or not of the geometry's matrix, or hold a
            value that is not finite.
    """

    method: str
    combination: str
    """One of `raki.options.COMBINATIONS`."""
    n_virtual_coils: int | None
    """Coils that were left of the receiver's before filling; None where none were compressed."""
    images: Mapping[str, Volume]
    maps: Mapping[str, Volume]
    """`g_factor` (dimensionless), `standard_error` (in units of the images, of the root sum of squares) and
    `structure_kept` (0 to 1), on the pixels of the images; empty where none were made."""
    explanation: Mapping[str, Volume] = field(default_factory=dict)
    """Where the brightness of each pixel comes from, by the names in `raki.kspace.explanation`, in units of the images,
    of the root sum of squares; empty where it wasn't asked for, or nothing was filled by a method that tells."""
    cross_validation: CrossValidation | None
    """Of the choice that `method` made; only of `raki` and its rungs, and where lines were missing."""
    scan: ScanSummary
    seed: int
    device: str
    training_curve: tuple[TrainingPoint, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    scattered: ScatteredFills | None = None
    """How the points of a 3-D scan were filled that lie on no lattice; None where they do, or nothing was to be
    filled."""
    model: ModelUse | None = None
    """The model that was asked for, of weights of an earlier scan; None where none was."""
    opposite: OppositeSides | None = None
    """How the side of k-space was filled that wasn't measured (partial Fourier); None where none is missing, or
    nothing was to be filled."""
    apart: TakenApart | None = None
    """How slices that were excited at once were taken apart; None where each was excited alone."""
    phase: Volume | None = None
    """Of the coils' adaptive combination, in radian from -pi to pi, on the pixels of the images; None where it wasn't
    asked for."""
    weights: tuple[KernelWeights, ...] = ()
    """Of the kernel of each image, on the coils as they were filled: whitened, and compressed where they were; empty
    where they weren't asked for or nothing was filled by a kernel."""

    def __post_init__(self) -> None:
        needed = (self.scan.n_images, *self.scan.geometry.matrix)
        named = {f"{method} images": volume for method, volume in self.images.items()}
        named |= {f"{name} maps": volume for name, volume in (*self.maps.items(), *self.explanation.items())}
        if self.phase is not None:
            named["phase images"] = self.phase
        for name, volume in named.items():
            if volume.shape != needed:
                raise ValueError(f"the {name} have shape {volume.shape}; the scan's geometry needs {needed}")
            n_bad = int(np.count_nonzero(~np.isfinite(volume)))
            if n_bad:
                raise ValueError(f"{n_bad} pixels of the {name} are not finite; no image is made of them")

    @property
    def result(self) -> Volume:
        """The images by `method`."""
        return self.images[self.method]
