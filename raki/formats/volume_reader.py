"""From the acquisitions of a 3-D scan to its planes in hybrid space, a block of readout positions at a time."""

from dataclasses import dataclass, field

import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64

from raki.errors import DamagedScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.receivers import read_noise, without_dead_coils
from raki.formats.sorting.agreement import difference, recordings_of
from raki.formats.sorting.announced import as_found
from raki.formats.sorting.lines import number_of_coils
from raki.formats.sorting.marks import NOT_IMAGE, acquired_apart, has_flag
from raki.formats.sorting.measuring import measure
from raki.formats.sorting.selection import Selected
from raki.formats.sorting.slabs import require_slabs
from raki.formats.sorting.timing import frame_step
from raki.formats.sorting.volume import VolumeLayout, about_partitions, lay_out_volume
from raki.formats.sorting.volume_frames import Points
from raki.scan import LazySlices, Scan, to_profiles
from raki.scan.header import parse_header

# Of one block: the file is read once for each.
BLOCK_BYTES = 768 << 20
LINES_AT_ONCE = 64
# Of points that were recorded several times, so many about the centre are looked at.
POINTS_COMPARED = 256

Planes = Complex64[np.ndarray, "x coil point"]


def sorted_volume(acquisitions: Acquisitions, encoding: xsd.encodingType, remarks: tuple[str, ...]) -> Scan:
    """Sorts an open 3-D scan into planes `pe pe2` of each readout position, read when they are asked for.

    The readout is transformed and its oversampling cut off: unitary, so that noise keeps its level. A point recorded
    several times is averaged and scaled as `raki.formats.scan_reader.sorted_scan` does it.

    Args:
        encoding: of the image lines.
        remarks: what was decided before.

    Raises:
        NotAScan: nothing was recorded but zeros or a spike.
        DamagedScan: header and acquisitions contradict each other, or recordings of one point differ.
        UnsupportedScan: a slab that moves, slabs that sample different points.
    """
    is_image = ~has_flag(acquisitions.heads, *NOT_IMAGE)
    require_slabs(acquisitions.heads[is_image])
    number_of_coils(acquisitions.heads[is_image])
    measured = measure(acquisitions, is_image)
    acquired = ~is_image | (measured.energies > 0)
    n_zeros = int((~acquired).sum())
    about_zeros = (f"{n_zeros} of {int(is_image.sum())} lines are stored as zeros: they were not acquired.",)
    kept = np.flatnonzero(acquired)
    acquisitions, is_image, measured = Selected(acquisitions, kept), is_image[kept], measured.of(kept)
    of_image = np.flatnonzero(is_image & ~acquired_apart(acquisitions.heads, encoding))
    encoding, about_header = as_found(encoding, acquisitions, of_image, measured)
    noise, dwell_ratio, about_noise = read_noise(acquisitions, is_image, len(measured.of_coils))
    alive, noise, about_coils = without_dead_coils(acquisitions, measured.of_coils, noise)
    layout = lay_out_volume(alive.heads, encoding)
    about_centre = about_partitions(encoding, acquisitions.heads[of_image], measured.energies[of_image])
    _require_agreement(alive, layout)
    sampled = layout.sampled
    header = parse_header(acquisitions.header_xml)
    step_s, about_steps = frame_step(
        alive.heads, is_image & ~acquired_apart(alive.heads, encoding), layout.frames, header
    )
    return Scan(
        kspace=_planes(alive, layout, layout.image, sampled),
        sampled=sampled,
        sampled_by_frame=layout.sampled_by_frame,
        acs_lines=None,
        acs=_separate_acs(alive, layout),
        noise=noise,
        noise_dwell_ratio=dwell_ratio,
        readout_oversampling=1.0,
        geometry=layout.geometry,
        header_xml=acquisitions.header_xml,
        slab=layout.slab,
        frames=layout.frames,
        frame_step_s=step_s,
        remarks=(
            *remarks,
            *(about_zeros if n_zeros else ()),
            *about_noise,
            *about_coils,
            *about_header,
            *about_centre,
            *layout.remarks,
            *about_steps,
        ),
    )


def _planes(acquisitions: Acquisitions, layout: VolumeLayout, points: Points, sampled: np.ndarray) -> LazySlices:
    reader = _PlaneReader(acquisitions, layout, points, np.flatnonzero(sampled))
    n_kept = layout.geometry.matrix[1]
    n_volumes = len(layout.frames) * layout.slab.n_slabs
    return LazySlices((n_volumes * n_kept, layout.n_coils, *sampled.shape), reader.read, sampled)


def _separate_acs(acquisitions: Acquisitions, layout: VolumeLayout) -> LazySlices | None:
    if layout.acs is None:
        return None
    first, stop, left, right = layout.block
    inside = np.zeros(layout.sampled.shape, bool)
    inside[first:stop, left:right] = True
    reader = _PlaneReader(acquisitions, layout, layout.acs, np.flatnonzero(inside))
    size = stop - first, right - left

    def read(index: int) -> Complex64[np.ndarray, "coil line point"]:
        return reader.read(index).reshape(layout.n_coils, *size)

    return LazySlices((layout.slab.n_slabs * layout.geometry.matrix[1], layout.n_coils, *size), read)


@dataclass
class _PlaneReader:
    """Reads the lines of one volume, a slab of a frame.

    A block of their readout positions is kept until others are asked for.
    """

    acquisitions: Acquisitions
    layout: VolumeLayout
    points: Points
    kept: np.ndarray
    """Of the flattened plane, the points that are read, in their order."""
    _block: Planes | None = field(default=None, repr=False)
    _of: tuple[int, int] = (-1, -1)

    def read(self, index: int) -> Complex64[np.ndarray, "coil point"]:
        volume, position = divmod(index, self.layout.geometry.matrix[1])
        number, within = divmod(position, self._n_at_once)
        if self._block is None or self._of != (volume, number):
            self._block = None
            self._block, self._of = self._read_block(volume, number), (volume, number)
        return self._block[within]

    @property
    def _n_at_once(self) -> int:
        return max(1, BLOCK_BYTES // (8 * self.layout.n_coils * len(self.kept)))

    def _read_block(self, volume: int, number: int) -> Planes:
        n_kept, first = self.layout.geometry.matrix[1], number * self._n_at_once
        n_positions = min(self._n_at_once, n_kept - first)
        first += self.layout.n_ro // 2 - n_kept // 2
        block = np.zeros((n_positions, self.layout.n_coils, len(self.kept)), np.complex64)
        here = np.flatnonzero(self.points.volumes == volume)
        places = np.searchsorted(self.kept, self.points.points[here])
        samples = self.acquisitions.samples(self.points.indices[here])
        for start in range(0, len(here), LINES_AT_ONCE):
            some = slice(start, start + LINES_AT_ONCE)
            lines = np.zeros((len(here[some]), self.layout.n_coils, self.layout.n_ro), np.complex64)
            for line, begin in zip(lines, self.points.first_samples[here[some]], strict=True):
                recorded = next(samples)
                line[:, begin : begin + recorded.shape[1]] = recorded
            profiles = to_profiles(lines)[..., first : first + n_positions]
            for place, profile in zip(places[some], profiles, strict=True):
                block[:, :, place] += profile.T
        n_recorded = self.points.n_recorded[volume].ravel()[self.kept]
        if (n_recorded > 1).any():
            block *= (np.sqrt(self.points.n_averages) / np.maximum(n_recorded, 1)).astype(np.float32)
        return block


def _require_agreement(acquisitions: Acquisitions, layout: VolumeLayout) -> None:
    """Raises DamagedScan where recordings of one point differ by more than noise: they are no averages."""
    for volume, n_recorded in enumerate(layout.image.n_recorded):
        if n_recorded.max() > 1:
            _require_alike(acquisitions, layout.image, volume)


def _require_alike(acquisitions: Acquisitions, image: Points, volume: int) -> None:
    n_recorded = image.n_recorded[volume]
    n_pe, n_pe2 = n_recorded.shape
    several = np.flatnonzero(n_recorded.ravel() > 1)
    from_centre = ((several // n_pe2) / n_pe - 0.5) ** 2 + ((several % n_pe2) / n_pe2 - 0.5) ** 2
    compared = np.sort(several[np.argsort(from_centre, kind="stable")[:POINTS_COMPARED]])
    here = np.flatnonzero((image.volumes == volume) & np.isin(image.points, compared))
    here = here[np.argsort(image.points[here], kind="stable")]
    recorded = recordings_of(
        acquisitions.samples(image.indices[here]),
        n_recorded.ravel()[compared].tolist(),
        image.first_samples[here].tolist(),
    )
    found = difference(recorded, compared.tolist())
    if found.is_signal:
        raise DamagedScan(
            f"points of the 3-D scan were recorded several times, and the recordings differ by {found.percent} %, more "
            "than noise explains; nothing tells which of them are the image's: convert the scan with its counters "
            "(contrast, phase, repetition, set)"
        )
