"""A scan as the rest of the library sees it, whatever the scanner wrote."""

from dataclasses import dataclass, replace

from raki.scan.arrays import LineMask, LinesByImage, NoiseScan, PointMask, PointsByFrame
from raki.scan.frames import ONE_FRAME, Frame
from raki.scan.geometry import Geometry
from raki.scan.multiband import SliceGroups
from raki.scan.slices import AcsSlices, Slices, in_memory


@dataclass(frozen=True, kw_only=True)
class Slab:
    """The slices that a 3-D scan's partitions make, about the centre of the slab that was encoded; of each slab alike,
    where there are several."""

    n_slices: int
    """Of the image, in each slab."""
    n_encoded: int
    """That the encoded slab would have at their distance: more, where partitions are oversampled."""
    n_slabs: int = 1
    """That were excited in turn. Their slices follow each other: those of the first slab, then those of the next."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One Cartesian scan, sorted: of several slices, or of a slab (3-D).

    `kspace` holds zero where nothing was acquired. `sampled` marks the phase-encode lines that were acquired, of any
    image. `acs_lines` are the first and one past the last line of the fully sampled
    centre block inside `kspace`, or None when there is none. `noise` is what the receiver recorded without
    excitation, or None. `header_xml` is the ISMRMRD header as read.

    Where there are several frames, the first axis counts the slices of the first frame, then those of the next.

    A 3-D scan has been transformed along its readout, where the positions know nothing of each other: `kspace` has axes
    `x coil pe pe2`, a plane of both phase-encode directions for each position, `sampled` marks points of it, and
    `acs` has axes `x coil acs_line acs_point`. Its slices are those of `slab`. Where there are several slabs, the first
    axis counts the positions of the first slab, then those of the next, frame by frame.

    Brau et al. 2008, Magn Reson Med 59:382-395, doi:10.1002/mrm.21481 (hybrid space).

    Where several slices were excited at once, the first axis of `kspace` counts the `groups` of a frame, each the sum
    of its slices, and `acs` holds the slices one by one: the single-band reference.
    """

    kspace: Slices
    sampled: LineMask | PointMask
    sampled_by_image: LinesByImage | None = None
    """Which lines were acquired of each image, where that differs; None where it is `sampled` for all."""
    sampled_by_frame: PointsByFrame | None = None
    """Of a 3-D scan: which points were acquired of each frame, where that differs; None where it is `sampled` for all.
    What a frame lacks of `sampled` is zero in its planes."""
    acs_lines: tuple[int, int] | None
    acs: AcsSlices | None = None
    """Fully sampled lines about the centre that were acquired apart from the image, readout and coils the same;
    axes `slice coil acs_line ro`, the slices of one frame: they serve all frames. None where there are none."""
    noise: NoiseScan | None
    noise_dwell_ratio: float
    """Dwell time of the image acquisitions over that of the noise acquisitions; 1.0 without noise."""
    readout_oversampling: float
    """Readout samples acquired over those kept for the image, 2.0 on most scanners; 1.0 once removed."""
    echo: tuple[int, int] | None = None
    """First and one past the last sample of the readouts that was measured (asymmetric echo); the others are zero, or
    what removing the oversampling made of zeros. None where all were, or the lines differ, or the scan is 3-D."""
    geometry: Geometry
    """Of the images, whose slices are the partitions of a 3-D scan."""
    header_xml: str
    slab: Slab | None = None
    """None where the scan is 2-D."""
    groups: SliceGroups | None = None
    """Which slices were excited at once; None where each was excited alone."""
    prewhitened: bool = False
    frames: tuple[Frame, ...] = ONE_FRAME
    frame_step_s: float | None = None
    """Seconds from one frame to the next, where they are repetitions and follow each other evenly; None where not, or
    where nothing tells."""
    remarks: tuple[str, ...] = ()
    """Sentences on what was decided while the scan was read, where header, counters and samples left it open."""

    @property
    def n_slices(self) -> int:
        """Slices of one frame."""
        if self.groups:
            return self.groups.n_slices
        return self.slab.n_slabs * self.slab.n_slices if self.slab else len(self.kspace) // len(self.frames)

    def lines_of(self, image: int) -> LineMask | PointMask:
        """The lines that were acquired of an image, or points of a plane."""
        if self.sampled_by_frame is not None:
            return self.sampled_by_frame[image * len(self.frames) // len(self.kspace)]
        return self.sampled if self.sampled_by_image is None else self.sampled_by_image[image]

    def in_memory(self) -> "Scan":
        """The same scan with all samples read."""
        return replace(self, kspace=in_memory(self.kspace), acs=None if self.acs is None else in_memory(self.acs))
