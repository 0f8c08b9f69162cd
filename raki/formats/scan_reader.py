"""From acquisitions in the order of time to a scan in the order of k-space, a slice at a time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Complex64, Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.epi.trains import straightened
from raki.formats.multiband_reader import multiband_encoding, sorted_groups
from raki.formats.receivers import read_noise, without_dead_coils
from raki.formats.sorting.announced import without_slices_as_partitions
from raki.formats.sorting.encodings import Encoded, in_one_encoding
from raki.formats.sorting.lines import Layout, lay_out, number_of_coils
from raki.formats.sorting.marks import NOT_IMAGE, acquired_apart, grouped, has_flag
from raki.formats.sorting.phase import aligned
from raki.formats.sorting.places import Lines, measured_samples
from raki.formats.sorting.selection import OneAfterAnother
from raki.formats.sorting.timing import frame_step
from raki.formats.sorting.understanding import understand
from raki.formats.sorting.volume import is_volume
from raki.formats.volume_reader import sorted_volume
from raki.scan import LazySlices, Scan
from raki.scan.arrays import LineMask
from raki.scan.geometry import UNKNOWN_SPACING_MM, Geometry
from raki.scan.header import parse_header, require_supported

# A file whose samples fill less of the announced k-space than this is not believed: it would only use up memory.
LEAST_FILLED = 1 / 256

Series = Int[np.ndarray, " acquisition"]


def sorted_scan(acquisitions: Acquisitions) -> Scan:
    """Sorts an open raw file into a scan whose slices are read when they are asked for, as long as it is open.

    A line recorded several times is averaged. With the smallest count n over the lines, k-space is scaled by
    sqrt(n), so that its noise stays at the level of a single recording, to which the noise scan refers.

    Raises:
        NotAScan: no image lines.
        DamagedScan: header and acquisitions contradict each other.
        UnsupportedScan: not Cartesian 2-D multi-slice images.
        NoCalibration: slices excited at once without a single-band reference.
    """
    beside = getattr(acquisitions, "remarks", ())
    header = parse_header(acquisitions.header_xml)
    if refusal := getattr(acquisitions, "refusal", None):
        raise UnsupportedScan(refusal)
    if (space := multiband_encoding(header)) is not None:
        return sorted_groups(acquisitions, header, space, sorted_scan)
    encoded = in_one_encoding(acquisitions, header)
    is_image = ~has_flag(encoded.heads, *NOT_IMAGE)
    encoding, about_slices = without_slices_as_partitions(encoded.encoding, encoded.heads[is_image])
    require_supported(encoding)
    number_of_coils(encoded.heads[is_image])
    cut_from = getattr(acquisitions, "cut_from", None)
    straight, about_trains = _straightened(encoded)
    if is_volume(encoded.heads, encoding):
        return sorted_volume(straight, encoding, (*beside, *encoded.remarks, *about_trains, *about_slices))
    understood = understand(straight, encoding, cut_from=cut_from)
    acquisitions, encoding = understood.acquisitions, understood.encoding
    is_image = ~has_flag(acquisitions.heads, *NOT_IMAGE)
    noise, dwell_ratio, about_noise = read_noise(acquisitions, is_image, len(understood.measured.of_coils))
    acquisitions, noise, about_coils = without_dead_coils(acquisitions, understood.measured.of_coils, noise)
    heads = acquisitions.heads
    layout = lay_out(heads, encoding)
    _require_filled(heads[is_image], layout)
    step_s, about_steps = frame_step(heads, is_image & ~acquired_apart(heads, encoding), layout.frames, header)
    return Scan(
        kspace=_slices(acquisitions, layout, understood.series),
        sampled=layout.sampled,
        sampled_by_image=layout.sampled_by_image,
        acs_lines=layout.acs_lines if layout.acs is None else None,
        acs=_separate_acs(acquisitions, layout, understood.series),
        noise=noise,
        noise_dwell_ratio=dwell_ratio,
        readout_oversampling=layout.readout_oversampling,
        echo=measured_samples(heads[layout.image.indices], layout.shape[-1]),
        geometry=layout.geometry,
        header_xml=acquisitions.header_xml,
        frames=layout.frames,
        frame_step_s=step_s,
        remarks=(
            *beside,
            *encoded.remarks,
            *about_trains,
            *about_noise,
            *about_coils,
            *about_slices,
            *understood.remarks,
            *layout.remarks,
            *about_steps,
            *_about_direction(layout.geometry, heads[is_image]),
            *_about_thickness(layout.geometry, layout.shape[0] // len(layout.frames)),
        ),
    )


def _straightened(encoded: Encoded) -> tuple[Acquisitions, tuple[str, ...]]:
    """All of them; what the echo trains of image and reference need is done to each, and said."""
    image, remarks = straightened(encoded.image, encoded.encoding)
    if encoded.reference is None or encoded.its_encoding is None:
        return image, remarks
    reference, about_reference = straightened(encoded.reference, encoded.its_encoding)
    said = tuple(f"Calibration scan: {remark}" for remark in about_reference)
    return OneAfterAnother([image, reference], image.header_xml), (*remarks, *said)


def _require_filled(heads: np.ndarray, layout: Layout) -> None:
    n_stored = int(heads["number_of_samples"].astype(int).sum()) * layout.shape[1]
    if n_stored < LEAST_FILLED * np.prod(layout.shape, dtype=float):
        raise DamagedScan(
            f"the file holds {n_stored} samples, its header announces {' x '.join(map(str, layout.shape))}; "
            "the scan was cut short or the header is wrong: convert or copy it again"
        )


def _slices(acquisitions: Acquisitions, layout: Layout, series: Series | None) -> LazySlices:
    reader = _SliceReader(acquisitions, layout.image, layout.shape, layout.sampled, series)
    return LazySlices(layout.shape, reader.read, layout.sampled)


def _separate_acs(acquisitions: Acquisitions, layout: Layout, series: Series | None) -> LazySlices | None:
    if layout.acs is None or layout.acs_lines is None:
        return None
    first, end = layout.acs_lines
    n_images, n_coils, n_pe, n_ro = layout.shape
    n_slices = n_images // len(layout.frames)
    block = np.isin(np.arange(n_pe), np.arange(first, end))
    series = _series_apart(acquisitions.heads, layout.acs) if layout.has_scan_apart else series
    reader = _SliceReader(acquisitions, layout.acs, (n_slices, n_coils, n_pe, n_ro), block, series)
    return LazySlices((n_slices, n_coils, end - first, n_ro), reader.read)


def _series_apart(heads: np.ndarray, lines: Lines) -> Series | None:
    """The averages of a calibration scan, which may differ in phase; None where it has one, or parts of some."""
    averages = heads["idx"]["average"].astype(int)
    n_lines = np.unique(averages[lines.indices], return_counts=True)[1]
    return averages if len(n_lines) > 1 and (lines.n_recorded[lines.n_recorded > 0] == len(n_lines)).all() else None


@dataclass(frozen=True)
class _SliceReader:
    """Puts the lines of one slice at a time in their places among those that are kept."""

    acquisitions: Acquisitions
    lines: Lines
    shape: tuple[int, int, int, int]
    kept: LineMask
    series: Series | None = None

    @cached_property
    def _of_slices(self) -> list[np.ndarray]:
        return grouped(self.lines.slices, self.shape[0])

    def read(self, index: int) -> Complex64[np.ndarray, "coil line ro"]:
        here = self._of_slices[index]
        here = here[self.kept[self.lines.lines[here]]]
        if self.series is None:
            kspace = self._summed(here)
        else:
            of_series = self.series[self.lines.indices[here]]
            apart = np.stack([self._summed(here[of_series == number]) for number in np.unique(of_series)])
            kspace = aligned(apart, self.kept).sum(axis=0)
        n_recorded = self.lines.n_recorded[index][self.kept]
        if (n_recorded > 1).any():
            kspace *= (np.sqrt(self.lines.n_averages) / np.maximum(n_recorded, 1)).astype(np.float32)[:, None]
        return kspace

    def _summed(self, here: np.ndarray) -> Complex64[np.ndarray, "coil line ro"]:
        _, n_coils, _, n_ro = self.shape
        kspace = np.zeros((n_coils, int(self.kept.sum()), n_ro), np.complex64)
        places = np.cumsum(self.kept)[self.lines.lines[here]] - 1
        recorded = self.acquisitions.samples(self.lines.indices[here])
        for samples, line, first in zip(recorded, places, self.lines.first_samples[here], strict=True):
            kspace[:, line, first : first + samples.shape[1]] += samples
        return kspace


def _about_direction(geometry: Geometry, lines: np.ndarray) -> tuple[str, ...]:
    if not geometry.is_oriented:
        return (
            "The raw data don't tell how the slices lie in the patient: images carry no letters, none of their sides "
            "is known to be the left or the right, and they are placed as axial ones.",
        )
    is_set = np.nan_to_num(lines["slice_dir"], posinf=0.0, neginf=0.0).any()
    return () if is_set else ("The lines have no slice direction: the image is placed as an axial one.",)


def _about_thickness(geometry: Geometry, n_slices: int) -> tuple[str, ...]:
    if geometry.fov_mm[2]:
        return ()
    instead = f"the slices' distance of {geometry.slice_spacing_mm:g}" if n_slices > 1 else f"{UNKNOWN_SPACING_MM:g}"
    return (
        "The header gives a slice thickness of 0: it is left empty in DICOM images, "
        f"and NIfTI, which needs one, has {instead} mm.",
    )
