"""What heads and header tell of a raw scan, as plain values. None, or nothing in a list: the file doesn't tell."""

from collections.abc import Mapping
from dataclasses import dataclass

from raki.errors import PermanentError
from raki.scan.arrays import LineMask, LinesByImage, PointMask, PointsByFrame


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What acquired the scan."""

    vendor: str | None
    model: str | None
    field_strength_t: float | None
    protocol: str | None
    """The protocol's name, or what the series is called where it has none."""
    sequence: str | None
    sequence_type: str | None
    has_subject_information: bool
    """Whether the header says anything about the person scanned. What it says is never kept."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The sequence parameters; several where there are several contrasts."""

    repetition_times_ms: tuple[float, ...]
    echo_times_ms: tuple[float, ...]
    inversion_times_ms: tuple[float, ...]
    flip_angles_deg: tuple[float, ...]
    echo_train_length: int | None


@dataclass(frozen=True, kw_only=True)
class Readout:
    """One line of the image, as most of its lines are."""

    n_samples: int
    """Recorded, less what the scanner marked as to be cut off."""
    n_encoded: int | None
    oversampling: float | None
    """Readout samples over those of the image."""
    echo_fraction: float
    """Samples over twice those on the longer side of the echo; 1.0 unless the echo is asymmetric."""
    dwell_time_us: float | None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many there are of what, among the lines of the image where nothing else is said."""

    n_acquisitions: int
    """In the file, of any kind."""
    n_image_lines: int
    n_coils: int
    n_slices: int
    slice_order: str | None
    """In time: "ascending" (to the left, the back or the head), "descending", "interleaved" or "irregular"; None for a
    single slice."""
    n_contrasts: int
    n_phases: int
    n_repetitions: int
    n_sets: int
    n_averages: int
    """The smallest number of recordings of a line."""
    n_partitions: int
    n_segments: int
    n_reversed_lines: int
    n_calibration_lines: int
    """Marked for calibration, for the image as well or not."""
    n_other_lines: int
    """Of no image; noise among them."""
    other_lines: Mapping[str, int]
    """The same by their marks; a line may have several."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What was recorded without excitation."""

    n_acquisitions: int
    n_samples: int
    """Of each coil, in all acquisitions together."""
    dwell_time_us: float | None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the image lies and how fine it is. Lengths in mm; pairs are phase-encode, then readout."""

    fov_mm: tuple[float, float]
    matrix: tuple[int, int]
    pixel_mm: tuple[float, float]
    slice_thickness_mm: float | None
    """None where the header gives 0."""
    slice_spacing_mm: float | None
    """Between the centres of neighbouring slices; the thickness for a single slice, None where there is no one such."""
    phase_oversampling: float
    plane: str | None
    """"axial", "coronal" or "sagittal", whichever is nearest; None where the file gives no direction."""
    tilt_deg: float | None
    """Angle between the slice direction and that of the plane."""


@dataclass(frozen=True, kw_only=True)
class PhaseLines:
    """Phase-encode lines of the first slice; the centre of k-space is in the middle."""

    sampled: LineMask
    """Acquired for the image."""
    acs_lines: tuple[int, int] | None
    """Lines to calibrate on, first and one past the last."""
    acs_is_separate: bool


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """What a reconstruction starts from."""

    n_images: int
    n_coils: int
    n_ro: int
    """Samples of a line, the readout oversampling removed."""
    sampled: LineMask | LinesByImage
    """Of each image, where they differ; of a 3-D scan the lines with any acquired point."""
    points: PointMask | PointsByFrame | None
    """Of a 3-D scan: acquired points of both phase-encode directions, of each frame where they differ. Its
    images are planes of these, and `n_ro` are
    their points along the partitions."""
    n_separate_acs_lines: int | None
    """None where none were acquired apart from the image."""
    n_separate_acs_points: int | None
    """Of a 3-D scan: points of a line of these along the partitions."""
    has_noise: bool
    remarks: tuple[str, ...] = ()
    """What was decided while the lines were sorted; see `raki.scan.Scan`."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What heads and header tell of a file, and either what a reconstruction starts from or why there is none."""

    format: str
    kind: str
    """The kind of scan in plain words, as "Cartesian 2-D multi-slice"."""
    origin: Origin
    timing: Timing
    counts: Counts
    readout: Readout | None
    noise: Noise | None
    placement: Placement | None
    n_encoded_lines: int | None
    n_acquired_lines: int
    """Different phase-encode lines of the image."""
    announced_acceleration: int | None
    """What the header says; the lines may say otherwise."""
    phase_lines: PhaseLines | None
    """None where the lines are none of a Cartesian grid, or contradict the header."""
    outcome: Sorted | PermanentError
