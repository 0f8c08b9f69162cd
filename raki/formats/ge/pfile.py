"""GE P-files: a header, then integer samples in the order coil, slice, line, readout.

Before the lines of each slice stands one frame that was recorded for the receiver's baseline; it is skipped. The
header, the heads and the directions become ISMRMRD's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import ismrmrd
import numpy as np
from jaxtyping import Complex64, Int

from raki.errors import DamagedScan
from raki.formats.acquisitions import HEAD, Format, flag_bits
from raki.formats.ge.geometry import slice_geometry
from raki.formats.ge.header import (
    CHOPPED_IN_SEQUENCE,
    looks_like_pfile,
    n_coils,
    n_lines,
    n_reference_lines,
    read_header,
)
from raki.formats.ge.ismrmrd_header import ismrmrd_header_xml
from raki.formats.ge.rf_chop import undo_rf_chop

N_BASELINE_FRAMES = 1
# Lines read at once, of every coil.
BATCH_BYTES = 4 << 20


class GePfile:
    """An open P-file; see `raki.formats.acquisitions.Acquisitions`.

    The lines of one slice follow each other, slices in the order in which the file stores them, that of time.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        revision, fields, slices = read_header(path)
        self._file = file
        self._samples_begin = revision.n_header_bytes
        # Real, imaginary: as many bits each as the receiver wrote.
        self._sample = np.dtype((f"<i{fields['point_size']}", 2))
        self._shape = (
            n_coils(fields),
            int(fields["n_slices"]),
            N_BASELINE_FRAMES + int(fields["n_frames"]),
            int(fields["frame_size"]),
        )
        self._signs_alternate = not fields["data_collect_type"] & CHOPPED_IN_SEQUENCE
        self.header_xml = ismrmrd_header_xml(fields)
        self.heads = _heads(fields, slices)

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted lines, in the order asked for, the sign of odd lines undone."""
        n_frames = self._shape[2] - N_BASELINE_FRAMES
        most = max(1, BATCH_BYTES // (self._shape[0] * self._shape[3] * self._sample.itemsize))
        start = 0
        while start < len(wanted):
            first = int(wanted[start])
            within_slice = n_frames - first % n_frames
            some = wanted[start : start + min(most, within_slice)]
            n_together = int(np.argmax(np.append(some, -1) != first + np.arange(len(some) + 1)))
            yield from self._lines(first // n_frames, first % n_frames, n_together)
            start += n_together

    def _lines(self, stored_slice: int, first: int, n_together: int) -> Complex64[np.ndarray, "line coil ro"]:
        """Lines that follow each other in the file, from all coils."""
        n_coils, n_slices, n_frames, n_ro = self._shape
        lines = np.empty((n_coils, n_together, n_ro), np.complex64)
        n_values = n_together * n_ro
        for coil in range(n_coils):
            frame = (coil * n_slices + stored_slice) * n_frames + N_BASELINE_FRAMES + first
            self._file.seek(self._samples_begin + frame * n_ro * self._sample.itemsize)
            content = self._file.read(n_values * self._sample.itemsize)
            if len(content) < n_values * self._sample.itemsize:
                raise DamagedScan("the file ended while it was read; raki needs a complete file: copy the scan again")
            parts = np.frombuffer(content, self._sample).astype(np.float32)
            lines[coil] = parts.view(np.complex64).reshape(n_together, n_ro)
        if self._signs_alternate:
            lines = undo_rf_chop(lines, np.arange(first, first + n_together) % 2 == 1)
        return lines.swapaxes(0, 1)


@contextmanager
def open_pfile(path: Path) -> Iterator[GePfile]:
    """Opens a P-file of one of the revisions that raki reads.

    Raises:
        UnsupportedScan: another revision, or a kind of scan that could not be tested.
        DamagedScan: a header that contradicts itself, or a file of another size than it announces.
    """
    with path.open("rb") as file:
        yield GePfile(file, path)


def _heads(fields: np.void, slices: np.ndarray) -> np.ndarray:
    """One head for each frame but the baselines, in the file's order."""
    n_frames, n_image = int(fields["n_frames"]), n_lines(fields)
    heads = np.zeros((len(slices), n_frames), HEAD)
    geometry = slice_geometry(fields, slices)
    for index, stored in enumerate(slices["stored"] - 1):
        heads[stored]["idx"]["slice"] = index
        heads[stored]["position"] = geometry.positions_mm[index]
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = geometry.read, geometry.phase, geometry.slice
    heads["version"] = 1
    heads["number_of_samples"], heads["center_sample"] = fields["frame_size"], fields["frame_size"] // 2
    heads["available_channels"] = heads["active_channels"] = n_coils(fields)
    if fields["half_bandwidth_khz"] > 0:
        heads["sample_time_us"] = 500 / fields["half_bandwidth_khz"]
    heads["idx"]["kspace_encode_step_1"][:, :n_image] = np.arange(n_image)
    heads["flags"][:, 0] |= flag_bits(ismrmrd.ACQ_FIRST_IN_SLICE)
    heads["flags"][:, n_image - 1] |= flag_bits(ismrmrd.ACQ_LAST_IN_SLICE)
    # One echo of each place in the train, all through the centre: what fast spin echo corrects its phases by.
    heads["idx"]["kspace_encode_step_1"][:, n_image:] = n_image // 2
    heads["idx"]["segment"][:, n_image:] = np.arange(n_reference_lines(fields))
    heads["flags"][:, n_image:] |= flag_bits(ismrmrd.ACQ_IS_PHASECORR_DATA)
    heads["scan_counter"] = np.arange(heads.size).reshape(heads.shape)
    return heads.ravel()


GE_PFILE = Format(name="GE P-file", suffixes=(".7",), recognises=looks_like_pfile, open=open_pfile)
