"""Reading ISMRMRD (MRD) raw data, whoever wrote it.

Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089; https://ismrmrd.readthedocs.io.
"""

from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.arrays import NoiseScan, ScanKSpace
from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.ismrmrd_file import IsmrmrdFile, open_ismrmrd
from raki.formats.ismrmrd_header import parse_header, require_supported
from raki.formats.sorting import NOT_IMAGE, Layout, has_flag, lay_out
from raki.scan import Scan

# A file whose samples fill less of the announced k-space than this is not believed: it would only use up memory.
LEAST_FILLED = 1 / 256


def read_ismrmrd(path: Path) -> Scan:
    """Reads an ISMRMRD file and sorts it into a scan.

    A line recorded several times is averaged. With the smallest count n over the lines, k-space is scaled by
    sqrt(n), so that its noise stays at the level of a single recording, to which the noise scan refers.

    Raises:
        NotAScan: HDF5 without ISMRMRD content, or without image lines.
        DamagedScan: truncated, or header and acquisitions contradict each other.
        UnsupportedScan: not a single Cartesian 2-D multi-slice image.
    """
    with open_ismrmrd(path) as file:
        heads = file.heads
        is_image = ~has_flag(heads, *NOT_IMAGE)
        encoding = _encoding(parse_header(file.header_xml), heads[is_image])
        require_supported(encoding)
        layout = lay_out(heads[is_image], encoding)
        kspace = _read_kspace(file, is_image, layout)
        noise, dwell_ratio = _read_noise(file, is_image, layout.shape[1])
    return Scan(
        kspace=kspace,
        sampled=layout.sampled,
        acs_lines=layout.acs_lines,
        noise=noise,
        noise_dwell_ratio=dwell_ratio,
        readout_oversampling=layout.readout_oversampling,
        geometry=layout.geometry,
        header_xml=file.header_xml,
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


def _read_kspace(file: IsmrmrdFile, is_image: np.ndarray, layout: Layout) -> ScanKSpace:
    n_coils = layout.shape[1]
    n_stored = int(file.heads["number_of_samples"][is_image].astype(int).sum()) * n_coils
    if n_stored < LEAST_FILLED * np.prod(layout.shape, dtype=float):
        raise DamagedScan(
            f"the file holds {n_stored} samples, its header announces {' x '.join(map(str, layout.shape))}; "
            "the scan was cut short or the header is wrong: convert or copy it again"
        )
    kspace = np.zeros(layout.shape, np.complex64)
    places = zip(layout.slices, layout.lines, layout.first_samples, strict=True)
    for samples, (slice_index, line, first) in zip(file.samples(is_image), places, strict=True):
        kspace[slice_index, :, line, first : first + samples.shape[1]] += samples
    n_recorded = np.maximum(layout.n_recorded, 1)
    if (n_recorded > 1).any():
        n_least = n_recorded[:, layout.sampled].min()
        kspace *= (np.sqrt(n_least) / n_recorded).astype(np.float32)[:, None, :, None]
    return kspace


def _read_noise(file: IsmrmrdFile, is_image: np.ndarray, n_coils: int) -> tuple[NoiseScan | None, float]:
    """All noise acquisitions one after the other, and the image's dwell time over theirs."""
    heads = file.heads
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
    same_dwell = is_noise & (heads["sample_time_us"] == noise_dwell_us[0])
    noise = np.concatenate(list(file.samples(same_dwell)), axis=1)
    known = dwell_us > 0 and noise_dwell_us[0] > 0
    return noise, float(dwell_us) / float(noise_dwell_us[0]) if known else 1.0
