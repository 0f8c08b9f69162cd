"""A scan as the rest of the library sees it, whatever the scanner wrote."""

from dataclasses import dataclass, replace

from raki.scan.arrays import LineMask, LinesByImage, NoiseScan
from raki.scan.frames import ONE_FRAME, Frame
from raki.scan.geometry import Geometry
from raki.scan.slices import AcsSlices, Slices, in_memory


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One Cartesian multi-slice 2-D scan, sorted.

    `kspace` holds zero where nothing was acquired. `sampled` marks the phase-encode lines that were acquired, of any
    image. `acs_lines` are the first and one past the last line of the fully sampled
    centre block inside `kspace`, or None when there is none. `noise` is what the receiver recorded without
    excitation, or None. `header_xml` is the ISMRMRD header as read.

    Where there are several frames, the first axis counts the slices of the first frame, then those of the next.
    """

    kspace: Slices
    sampled: LineMask
    sampled_by_image: LinesByImage | None = None
    """Which lines were acquired of each image, where that differs; None where it is `sampled` for all."""
    acs_lines: tuple[int, int] | None
    acs: AcsSlices | None = None
    """Fully sampled lines about the centre that were acquired apart from the image, readout and coils the same;
    axes `slice coil acs_line ro`, the slices of one frame: they serve all frames. None where there are none."""
    noise: NoiseScan | None
    noise_dwell_ratio: float
    """Dwell time of the image acquisitions over that of the noise acquisitions; 1.0 without noise."""
    readout_oversampling: float
    """Readout samples acquired over those kept for the image, 2.0 on most scanners; 1.0 once removed."""
    geometry: Geometry
    header_xml: str
    prewhitened: bool = False
    frames: tuple[Frame, ...] = ONE_FRAME
    remarks: tuple[str, ...] = ()
    """Sentences on what was decided while the scan was read, where header, counters and samples left it open."""

    @property
    def n_slices(self) -> int:
        """Slices of one frame."""
        return len(self.kspace) // len(self.frames)

    def lines_of(self, image: int) -> LineMask:
        """The lines that were acquired of an image."""
        return self.sampled if self.sampled_by_image is None else self.sampled_by_image[image]

    def in_memory(self) -> "Scan":
        """The same scan with all samples read."""
        return replace(self, kspace=in_memory(self.kspace), acs=None if self.acs is None else in_memory(self.acs))
