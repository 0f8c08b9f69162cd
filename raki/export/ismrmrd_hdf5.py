"""A scan as ISMRMRD HDF5.

Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089; https://ismrmrd.readthedocs.io.
"""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.export.known import dwell_times_s, known_header
from raki.formats.acquisitions import flag_bits
from raki.formats.arrays.header import NOISE_SAMPLES, acs_heads, line_heads, noise_heads, with_encoding
from raki.formats.ismrmrd.hdf5_writer import Batch, counted, write_hdf5
from raki.scan import COUNTERS, Scan


def write_ismrmrd(scan: Scan, path: Path) -> None:
    """Writes the scan's header with one encoding in place of its own, noise, separate calibration, then the image.

    Flags tell which lines calibrate. Slices are counted in their order in space. Of the dwell times only the ratio is
    the scan's.
    """
    _, n_coils, n_pe, n_ro = scan.kspace.shape
    sizes = {"slice": scan.n_slices, "coil": n_coils, "pe": n_pe, "ro": n_ro}
    n_frames = {name: 1 + max(getattr(frame, name) for frame in scan.frames) for name in COUNTERS}
    xml = with_encoding(known_header(scan), scan.geometry, sizes | n_frames, _calibration(scan))
    batches = chain(_noise(scan), _separate_calibration(scan, sizes), _image(scan, sizes))
    write_hdf5(xml, counted(batches), path)


def _noise(scan: Scan) -> Iterator[Batch]:
    if scan.noise is not None:
        n_coils, n_samples = scan.noise.shape
        starts = range(0, n_samples, NOISE_SAMPLES)
        heads = noise_heads(n_coils, n_samples, dwell_times_s(scan)[1])
        yield heads, [scan.noise[:, start : start + NOISE_SAMPLES] for start in starts]


def _separate_calibration(scan: Scan, sizes: dict[str, int]) -> Iterator[Batch]:
    """The calibration lines of one slice at a time; those of the first frame serve all."""
    if scan.acs is not None:
        heads = acs_heads(scan.geometry, (scan.n_slices, *scan.acs.shape[1:]), sizes, dwell_times_s(scan)[0])
        for index, of_slice in enumerate(np.split(heads, scan.n_slices)):
            yield of_slice, scan.acs[index].transpose(1, 0, 2)


def _image(scan: Scan, sizes: dict[str, int]) -> Iterator[Batch]:
    """The acquired lines of one slice at a time."""
    first_acs, end_acs = scan.acs_lines or (0, 0)
    for number in range(len(scan.kspace)):
        lines = np.flatnonzero(scan.lines_of(number))
        calibrates = (first_acs <= lines) & (lines < end_acs)
        frame, slice_index = divmod(number, scan.n_slices)
        counters = {**asdict(scan.frames[frame]), "slice": slice_index}
        values = {name: np.full(len(lines), value) for name, value in counters.items()}
        values["kspace_encode_step_1"] = lines
        heads = line_heads(scan.geometry, values, sizes, dwell_times_s(scan)[0])
        heads["flags"][calibrates] |= flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
        heads["flags"][0] |= flag_bits(ismrmrd.ACQ_FIRST_IN_SLICE)
        heads["flags"][-1] |= flag_bits(ismrmrd.ACQ_LAST_IN_SLICE)
        if number == len(scan.kspace) - 1:
            heads["flags"][-1] |= flag_bits(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
        yield heads, scan.kspace[number][:, lines].transpose(1, 0, 2)


def _calibration(scan: Scan) -> xsd.calibrationModeType | None:
    if scan.acs is not None:
        return xsd.calibrationModeType.SEPARATE
    return None if scan.acs_lines is None else xsd.calibrationModeType.EMBEDDED
