"""From acquisitions in the order of time to a scan in the order of k-space, a slice at a time."""

from dataclasses import dataclass

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.epi.trains import straightened
from raki.formats.sorting.lines import NOT_IMAGE, Layout, Lines, has_flag, lay_out
from raki.scan import LazySlices, Scan
from raki.scan.arrays import LineMask, NoiseScan
from raki.scan.header import parse_header, require_supported

# A file whose samples fill less of the announced k-space than this is not believed: it would only use up memory.
LEAST_FILLED = 1 / 256
# Enough for a covariance of any number of coils to a fraction of a per cent; some scanners record far more.
MOST_NOISE_SAMPLES = 1 << 18


def sorted_scan(acquisitions: Acquisitions) -> Scan:
    """Sorts an open raw file into a scan whose slices are read when they are asked for, as long as it is open.

    A line recorded several times is averaged. With the smallest count n over the lines, k-space is scaled by
    sqrt(n), so that its noise stays at the level of a single recording, to which the noise scan refers.

    Raises:
        NotAScan: no image lines.
        DamagedScan: header and acquisitions contradict each other.
        UnsupportedScan: not Cartesian 2-D multi-slice images.
    """
    heads = acquisitions.heads
    is_image = ~has_flag(heads, *NOT_IMAGE)
    encoding = _encoding(parse_header(acquisitions.header_xml), heads[is_image])
    require_supported(encoding)
    acquisitions = straightened(acquisitions, encoding)
    heads = acquisitions.heads
    layout = lay_out(heads, encoding)
    _require_filled(heads[is_image], layout)
    noise, dwell_ratio = _read_noise(acquisitions, is_image, layout.shape[1])
    return Scan(
        kspace=_slices(acquisitions, layout.image, layout.shape),
        sampled=layout.sampled,
        acs_lines=layout.acs_lines if layout.acs is None else None,
        acs=_separate_acs(acquisitions, layout),
        noise=noise,
        noise_dwell_ratio=dwell_ratio,
        readout_oversampling=layout.readout_oversampling,
        geometry=layout.geometry,
        header_xml=acquisitions.header_xml,
        frames=layout.frames,
    )


def _encoding(header: xsd.ismrmrdHeader, heads: np.ndarray) -> xsd.encodingType:
    """The one encoding space that all image lines refer to."""
    if len(heads) == 0:
        raise NotAScan(
            "the file holds no image lines, only noise, adjustments or nothing; raki needs the measurement itself"
        )
    spaces = np.unique(heads["encoding_space_ref"])
    if len(spaces) > 1:
        raise UnsupportedScan(
            f"the scan uses {len(spaces)} encoding spaces; raki reconstructs scans with one: split the scan first"
        )
    if spaces[0] >= len(header.encoding):
        raise DamagedScan(
            f"the lines refer to encoding space {spaces[0]}, the header describes {len(header.encoding)}; "
            "convert the scan again"
        )
    return header.encoding[spaces[0]]


def _require_filled(heads: np.ndarray, layout: Layout) -> None:
    n_stored = int(heads["number_of_samples"].astype(int).sum()) * layout.shape[1]
    if n_stored < LEAST_FILLED * np.prod(layout.shape, dtype=float):
        raise DamagedScan(
            f"the file holds {n_stored} samples, its header announces {' x '.join(map(str, layout.shape))}; "
            "the scan was cut short or the header is wrong: convert or copy it again"
        )


def _slices(acquisitions: Acquisitions, lines: Lines, shape: tuple[int, int, int, int]) -> LazySlices:
    sampled = lines.n_recorded[0] > 0
    return LazySlices(shape, _SliceReader(acquisitions, lines, shape, sampled).read, sampled)


def _separate_acs(acquisitions: Acquisitions, layout: Layout) -> LazySlices | None:
    if layout.acs is None or layout.acs_lines is None:
        return None
    first, end = layout.acs_lines
    n_images, n_coils, n_pe, n_ro = layout.shape
    n_slices = n_images // len(layout.frames)
    block = np.isin(np.arange(n_pe), np.arange(first, end))
    reader = _SliceReader(acquisitions, layout.acs, (n_slices, n_coils, n_pe, n_ro), block)
    return LazySlices((n_slices, n_coils, end - first, n_ro), reader.read)


@dataclass(frozen=True)
class _SliceReader:
    """Puts the lines of one slice at a time in their places among those that are kept."""

    acquisitions: Acquisitions
    lines: Lines
    shape: tuple[int, int, int, int]
    kept: LineMask

    def read(self, index: int) -> Complex64[np.ndarray, "coil line ro"]:
        _, n_coils, _, n_ro = self.shape
        kspace = np.zeros((n_coils, int(self.kept.sum()), n_ro), np.complex64)
        here = np.flatnonzero((self.lines.slices == index) & self.kept[self.lines.lines])
        places = np.cumsum(self.kept)[self.lines.lines[here]] - 1
        recorded = self.acquisitions.samples(self.lines.indices[here])
        for samples, line, first in zip(recorded, places, self.lines.first_samples[here], strict=True):
            kspace[:, line, first : first + samples.shape[1]] += samples
        n_recorded = self.lines.n_recorded[index][self.kept]
        if (n_recorded > 1).any():
            kspace *= (np.sqrt(self.lines.n_averages) / n_recorded).astype(np.float32)[:, None]
        return kspace


def _read_noise(acquisitions: Acquisitions, is_image: np.ndarray, n_coils: int) -> tuple[NoiseScan | None, float]:
    """The noise acquisitions one after the other, and the image's dwell time over theirs."""
    heads = acquisitions.heads
    is_noise = has_flag(heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    if not is_noise.any():
        return None, 1.0
    found = np.unique(heads["active_channels"][is_noise])
    if found.tolist() != [n_coils]:
        raise DamagedScan(
            f"the noise was recorded with {found[-1]} coils, the image with {n_coils}; both need the same coils: "
            "export the scan again"
        )
    dwell_us, noise_dwell_us = heads["sample_time_us"][is_image][0], heads["sample_time_us"][is_noise]
    same_dwell = np.flatnonzero(is_noise & (heads["sample_time_us"] == noise_dwell_us[0]))
    n_before = np.cumsum(heads["number_of_samples"][same_dwell].astype(int)) - heads["number_of_samples"][same_dwell]
    noise = np.concatenate(list(acquisitions.samples(same_dwell[n_before < MOST_NOISE_SAMPLES])), axis=1)
    known = dwell_us > 0 and noise_dwell_us[0] > 0
    return noise, float(dwell_us) / float(noise_dwell_us[0]) if known else 1.0
