"""An experiment of Bruker's ParaVision (5 to 7, and 360): Cartesian lines, one in each scan.

The folder of an experiment holds `acqp`, `method` and the samples; where it comes in an archive, these three are taken
out of it. What loops and lengths mean is in `loops`, `storage` and `placement`. No experiment of a scanner was at hand.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64, Int

from raki.archive import companion_of
from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import HEAD, Format, require_measured
from raki.formats.bruker.jcampdx import Parameters
from raki.formats.bruker.loops import Scans, count_scans, require_images
from raki.formats.bruker.placement import place_slices
from raki.formats.bruker.storage import Storage, find_storage
from raki.scan.header import LARGEST_MATRIX, LONGEST_MM, SHORTEST_MM

PROTON_MHZ_PER_TESLA = 42.5774785
# Of times in ms, and angles.
MOST_TOLD, LARGEST_TOLD = 64, 1e7
ABOUT_SIDES = (
    "The subject lies in a position that raki doesn't know of ParaVision 360: the images' directions are unknown."
)


class ParaVisionExperiment:
    """An open experiment; see `raki.formats.acquisitions.Acquisitions`. Acquisitions are its scans, in their order."""

    def __init__(self, path: Path, fd_of: "_Opened", acqp: Parameters, method: Parameters) -> None:
        n_dimensions = require_images(acqp, method)
        self._storage = find_storage(path, acqp, method)
        self._scans = count_scans(acqp, method, n_dimensions)
        n_encoded = _encoded_samples(method, self._storage)
        self._fd = fd_of.open(self._storage.path)
        _require_size(self._storage, len(self._scans.lines), os.fstat(self._fd).st_size)
        place = place_slices(acqp, method, self._scans.order, n_dimensions)
        centre = _centre_sample(method, n_encoded)
        self._matrix = _matrix(self._scans, centre, n_encoded)
        fov_mm, self._encoded_mm = _fields_of_view(acqp, method, n_dimensions)
        self._phase_offsets_mm, self._slab_offsets_mm = place.phase_offsets_mm, place.slab_offsets_mm
        self.heads = np.zeros(len(self._scans.lines), HEAD)
        heads = self.heads
        heads["version"] = 1
        heads["scan_counter"] = np.arange(len(heads))
        heads["number_of_samples"], heads["center_sample"] = n_encoded, centre
        heads["available_channels"] = heads["active_channels"] = self._storage.n_receivers
        bandwidth_hz = acqp.number("SW_h", 0.0) or method.number("PVM_EffSWh", 0.0)
        heads["sample_time_us"] = 1e6 / bandwidth_hz if 1 <= bandwidth_hz <= 1e12 else 0.0
        for counter, values in (
            ("kspace_encode_step_1", self._scans.lines + self._matrix[1] // 2),
            ("kspace_encode_step_2", self._scans.partitions + self._matrix[2] // 2),
            ("slice", self._scans.slices),
            ("contrast", self._scans.echoes),
            ("set", self._scans.sets),
            ("repetition", self._scans.repetitions),
        ):
            heads["idx"][counter] = values
        heads["position"], heads["slice_dir"] = place.positions_mm[self._scans.slices], place.slice[self._scans.slices]
        if place.is_known:
            heads["read_dir"], heads["phase_dir"] = place.read[self._scans.slices], place.phase[self._scans.slices]
        self.header_xml = _header_xml(acqp, method, self._matrix, self._encoded_mm, fov_mm, self._storage.n_receivers)
        self.remarks = (*(() if place.is_known else (ABOUT_SIDES,)), *self._about_offsets())

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted scans, in the order asked for, the field of view where it was planned."""
        storage = self._storage
        n_words = 2 * storage.n_receivers * storage.n_samples
        for index in map(int, wanted):
            content = os.pread(self._fd, n_words * storage.word.itemsize, index * storage.n_block_bytes)
            if len(content) < n_words * storage.word.itemsize:
                raise DamagedScan("the samples ended while they were read; copy the experiment again")
            words = np.frombuffer(content, storage.word)
            require_measured(words.astype(np.float64), index)
            samples = words.astype(np.float32).view(np.complex64).reshape(storage.n_receivers, storage.n_samples)
            yield samples * self._moved(index)

    def _moved(self, index: int) -> np.complex64:
        """The phase that brings the planned centre into the middle; ParaVision does this as it reconstructs."""
        slab = self._scans.slices[index]
        turns = self._scans.partitions[index] * self._slab_offsets_mm[slab] / self._encoded_mm[2]
        turns -= self._scans.lines[index] * self._phase_offsets_mm[slab] / self._encoded_mm[1]
        return np.complex64(np.exp(2j * np.pi * turns))

    def _about_offsets(self) -> tuple[str, ...]:
        offsets_mm = [f"{offset:g}" for offset in np.unique(self._phase_offsets_mm) if offset]
        if not offsets_mm:
            return ()
        return (
            f"The field of view was planned {' and '.join(offsets_mm[:4])} mm from the magnet's centre along "
            "phase-encode: it is moved there as public readers of ParaVision do it.",
        )


class _Opened:
    """The one file that is open."""

    def __init__(self) -> None:
        self._fd: int | None = None

    def open(self, path: Path) -> int:
        self._fd = os.open(path, os.O_RDONLY)
        return self._fd

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


@contextmanager
def open_experiment(path: Path) -> Iterator[ParaVisionExperiment]:
    """Opens an experiment by its `acqp`; `method` and `fid` or `rawdata.job0` stand beside it.

    Raises:
        DamagedScan: a file is missing, cut short, or contradicts another.
        UnsupportedScan: no Cartesian lines of an image, or loops that raki doesn't know.
    """
    beside = companion_of(path, "method")
    if not beside.is_file():
        raise DamagedScan(
            "beside acqp there is no method, which tells how the scan was encoded; raki needs acqp, method and fid or "
            "rawdata.job0 together: pack the folder of the experiment as one zip or tar"
        )
    opened = _Opened()
    try:
        yield ParaVisionExperiment(path, opened, Parameters(path, "acqp"), Parameters(beside, "method"))
    finally:
        opened.close()


def looks_like_acqp(start: bytes) -> bool:
    """Whether a file begins as ParaVision's list of acquisition parameters does."""
    return start.startswith(b"##TITLE=") and any(
        mark in start for mark in (b"##$ACQ_", b"##$PULPROG=", b"##$GRDPROG=", b"##$BF1=")
    )


def _encoded_samples(method: Parameters, storage: Storage) -> int:
    matrix = method.numbers("PVM_EncMatrix")
    n_encoded = int(matrix[0]) if len(matrix) and 1 <= matrix[0] <= LARGEST_MATRIX else 0
    if n_encoded != storage.n_samples:
        raise UnsupportedScan(
            f"a scan has {storage.n_samples} samples of each receiver, a line {n_encoded} (PVM_EncMatrix); raki reads "
            "one line in each scan, and nothing beside it"
        )
    return n_encoded


def _require_size(storage: Storage, n_scans: int, n_bytes: int) -> None:
    if n_bytes != n_scans * storage.n_block_bytes:
        raise DamagedScan(
            f"the parameters announce {n_scans} scans of {storage.n_block_bytes} bytes, "
            f"{n_scans * storage.n_block_bytes} in all; the file of samples has {n_bytes}: the scan was stopped, or "
            "the copy isn't whole, copy it again"
        )


def _centre_sample(method: Parameters, n_encoded: int) -> int:
    """The echo's, where the readout leaves out a part of one side (PVM_EncPft)."""
    if "PVM_EncPft" not in method or method.numbers("PVM_EncPft")[:1].tolist() <= [1.0]:
        return n_encoded // 2
    before = method.numbers("PVM_EncPftOverscans")[:1]
    if not len(before) or not 0 < before[0] < n_encoded:
        raise DamagedScan(
            "the readout leaves out a part of k-space, and PVM_EncPftOverscans doesn't tell where its centre is; copy "
            "method again"
        )
    return int(before[0])


def _matrix(scans: Scans, centre: int, n_encoded: int) -> tuple[int, int, int]:
    """The smallest grid that has the centre of k-space in its middle: the measured resolution."""
    n_ro = 2 * max(centre, n_encoded - centre)
    n_pe, n_pe2 = (2 * max(-int(at.min()), int(at.max()) + 1, 1) for at in (scans.lines, scans.partitions))
    return n_ro, n_pe, n_pe2 if scans.partitions.any() else 1


def _fields_of_view(
    acqp: Parameters, method: Parameters, n_dimensions: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Of the image and of what was encoded, in mm."""
    fov_mm = method.numbers("PVM_Fov")
    margins = method.numbers("PVM_AntiAlias") if "PVM_AntiAlias" in method else np.ones(n_dimensions)
    thickness_mm = method.number("PVM_SliceThick", 0.0) or acqp.number("ACQ_slice_thick", 0.0)
    if len(fov_mm) < n_dimensions or len(margins) < n_dimensions:
        raise DamagedScan(
            f"PVM_Fov or PVM_AntiAlias has fewer numbers than the {n_dimensions} dimensions; copy method again"
        )
    shown = [float(length) for length in fov_mm[:n_dimensions]]
    encoded = [length * float(margin) for length, margin in zip(shown, margins, strict=False)]
    if n_dimensions == 2:
        shown.append(thickness_mm)
        encoded.append(thickness_mm)
    if not all(SHORTEST_MM <= length <= LONGEST_MM for length in (*shown, *encoded)) or (margins < 1).any():
        raise DamagedScan(
            f"the field of view is {' x '.join(f'{length:g}' for length in shown)} mm, of which "
            f"{' x '.join(f'{length:g}' for length in encoded)} were encoded; raki needs {SHORTEST_MM:g} to "
            f"{LONGEST_MM:g}, and no less encoded than shown: copy method again"
        )
    return (shown[0], shown[1], shown[2]), (encoded[0], encoded[1], encoded[2])


def _header_xml(
    acqp: Parameters,
    method: Parameters,
    matrix: tuple[int, int, int],
    encoded_mm: tuple[float, float, float],
    fov_mm: tuple[float, float, float],
    n_receivers: int,
) -> str:
    shown = method.numbers("PVM_Matrix") if "PVM_Matrix" in method else np.array(matrix)
    sizes = [int(size) if 1 <= size <= LARGEST_MATRIX else 0 for size in (*shown[:3], *[1] * (3 - len(shown)))]
    if 0 in sizes:
        raise DamagedScan(f"PVM_Matrix holds something else than 1 to {LARGEST_MATRIX}; copy method again")
    _, n_pe, n_pe2 = matrix
    encoding = xsd.encodingType(
        encodedSpace=_space(matrix, encoded_mm),
        reconSpace=_space((sizes[0], sizes[1], sizes[2] if n_pe2 > 1 else 1), fov_mm),
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=n_pe - 1, center=n_pe // 2),
            kspace_encoding_step_2=xsd.limitType(minimum=0, maximum=n_pe2 - 1, center=n_pe2 // 2),
        ),
        trajectory=xsd.trajectoryType.CARTESIAN,
    )
    frequency_mhz = acqp.number("BF1", 0.0)
    field_t = frequency_mhz / PROTON_MHZ_PER_TESLA if acqp.word("NUC1", "1H") == "1H" else 0.0
    header = xsd.ismrmrdHeader(
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="Bruker",
            systemFieldStrength_T=field_t if 1e-3 < field_t < 100 else None,
            receiverChannels=n_receivers,
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=round(frequency_mhz * 1e6) if 0 < frequency_mhz < 1e4 else 0
        ),
        encoding=[encoding],
        sequenceParameters=xsd.sequenceParametersType(
            TR=_told(acqp, "ACQ_repetition_time"),
            TE=_told(acqp, "ACQ_echo_time"),
            TI=_told(acqp, "ACQ_inversion_time"),
            flipAngle_deg=_told(acqp, "ACQ_flip_angle"),
        ),
    )
    return str(xsd.ToXML(header, encoding="UTF-8"))


def _told(acqp: Parameters, name: str) -> list[float]:
    """Positive numbers that nothing but the header needs; none where they aren't there as they should be."""
    with suppress(DamagedScan):
        return [float(number) for number in acqp.numbers(name)[:MOST_TOLD] if 0 < number < LARGEST_TOLD]
    return []


def _space(matrix: tuple[int, int, int], fov_mm: tuple[float, float, float]) -> xsd.encodingSpaceType:
    (n_x, n_y, n_z), (x_mm, y_mm, z_mm) = matrix, fov_mm
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=n_x, y=n_y, z=n_z), fieldOfView_mm=xsd.fieldOfViewMm(x=x_mm, y=y_mm, z=z_mm)
    )


PARAVISION = Format(
    name="Bruker ParaVision",
    suffixes=(".acqp",),
    recognises=looks_like_acqp,
    open=open_experiment,
    companions=("method", "fid", "rawdata.job0"),
    file_name="acqp",
)
