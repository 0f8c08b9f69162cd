"""ISMRMRD (MRD) raw data in HDF5, whoever wrote it.

Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089; https://ismrmrd.readthedocs.io.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype
from jaxtyping import Complex64, Int

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.acquisitions import HEAD, Format
from raki.formats.hdf5_heap import require_room_for_lists, require_walkable_heaps

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# Real samples are far smaller, in whatever unit; their squares are summed in single precision.
LARGEST_SAMPLE = 1e15
# Acquisitions read at once: enough to make HDF5's cost per call vanish, few enough to need little memory.
BATCH = 256
BATCH_BYTES = 16 << 20
# Slices that were acquired in turns lie in all chunks of the table: each would be read again for every slice.
CHUNK_CACHE_BYTES = 32 << 20


class IsmrmrdFile:
    """The header and the table of acquisitions of one measurement; see `raki.formats.acquisitions.Acquisitions`.

    Raises:
        DamagedScan: something is missing, of another kind than ISMRMRD's, or longer than the file.
    """

    def __init__(self, group: h5py.Group, path: Path) -> None:
        with _damage_is_named():
            self._table = group["data"]
            if self._table.ndim != 1 or len(self._table) > path.stat().st_size:
                raise DamagedScan("the file announces more acquisitions than it has room for; copy or export it again")
            _require_type(self._table.dtype, acquisition_dtype)
            require_room_for_lists(self._table, path)
            self.header_xml = _header_xml(group)
            self.heads = _as_type(self._table.fields("head")[:], HEAD)

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The kept samples of the wanted acquisitions, in the order asked for."""
        for rows in self._batches(wanted):
            with _damage_is_named():
                stored = self._table.fields("data")[rows]
                values = [np.ascontiguousarray(one, dtype=np.float32) for one in stored]
            for index, one in zip(range(rows.start, rows.stop, rows.step), values, strict=True):
                yield _kept_samples(one, self.heads[index], index)

    def _batches(self, wanted: np.ndarray) -> Iterator[slice]:
        """The wanted rows as evenly spaced runs, which HDF5 reads at one go, of bounded size."""
        n_coils, n_samples = (int(self.heads[name].max(initial=1)) for name in ("active_channels", "number_of_samples"))
        most = max(1, min(BATCH, BATCH_BYTES // max(1, 8 * n_coils * n_samples)))
        start = 0
        while start < len(wanted):
            steps = np.diff(wanted[start : start + most])
            step = int(steps[0]) if len(steps) and steps[0] > 0 else 1
            uneven = np.flatnonzero(steps != step)
            n_rows = int(uneven[0]) + 1 if len(uneven) else len(steps) + 1
            first = int(wanted[start])
            yield slice(first, first + (n_rows - 1) * step + 1, step)
            start += n_rows


@contextmanager
def open_ismrmrd(path: Path) -> Iterator[IsmrmrdFile]:
    """Opens a file with one measurement.

    Raises:
        NotAScan: HDF5 without ISMRMRD acquisitions.
        UnsupportedScan: several measurements.
        DamagedScan: truncated or overwritten, as far as it shows at once.
    """
    require_walkable_heaps(path)
    with _damage_is_named():
        file = h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES)
    try:
        yield IsmrmrdFile(_ismrmrd_group(file), path)
    finally:
        with _damage_is_named():
            file.close()


def _ismrmrd_group(file: h5py.File) -> h5py.Group:
    """The group with header and acquisitions, 'dataset' by convention."""
    with _damage_is_named():
        found = [
            group
            for name in file
            if isinstance(group := file.get(name), h5py.Group)
            and isinstance(group.get("data"), h5py.Dataset)
            and group["data"].dtype.names is not None
            and {"head", "data"} <= set(group["data"].dtype.names)
        ]
    if not found:
        raise NotAScan(
            "the HDF5 file holds no ISMRMRD acquisitions; raki needs a group 'dataset' with 'xml' and 'data': "
            "export the raw data, not images"
        )
    if len(found) > 1:
        raise UnsupportedScan(f"the file holds {len(found)} measurements; raki reads one a file: split it")
    return found[0]


def _header_xml(group: h5py.Group) -> str:
    if not isinstance(group.get("xml"), h5py.Dataset):
        raise DamagedScan("the file has acquisitions but no header; raki needs it as 'xml': export the scan again")
    text = np.ravel(group["xml"][()])[0]
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _require_type(stored: np.dtype, wanted: np.dtype) -> None:
    """Raises DamagedScan unless the file's compound type holds all fields of `wanted`, of their kinds, side by side.

    HDF5 writes beyond its memory where fields overlap (2.0.0), so this comes before any acquisition is read.
    """
    places = sorted((offset, offset + field.itemsize) for field, offset, *_ in (stored.fields or {}).values())
    if any(end > start for (_, end), (start, _) in pairwise([*places, (stored.itemsize, 0)])):
        raise DamagedScan("the acquisitions' fields overlap in the file; raki needs them apart: copy the scan again")
    for name in wanted.names or ():
        if name not in (stored.names or ()) or _kind(stored[name]) != _kind(wanted[name]):
            raise DamagedScan(
                f"the acquisitions' field '{name}' is missing or of another type than ISMRMRD's; raki needs it as the "
                "specification has it: export or convert the scan again"
            )
        if wanted[name].names:
            _require_type(stored[name], wanted[name])


def _kind(field: np.dtype) -> tuple[str, tuple[int, ...], str]:
    """Integer, real or compound; the shape; and for lists of any length the kind of their elements."""
    element = h5py.check_vlen_dtype(field)
    return field.base.kind, field.shape, "" if element is None else np.dtype(element).kind


def _as_type(stored: np.ndarray, wanted: np.dtype) -> np.ndarray:
    """The fields of `wanted` by their names, in whatever order, padding and byte order the file has them."""
    fields = np.zeros(len(stored), wanted)
    for name in wanted.names or ():
        if wanted[name].names:
            fields[name] = _as_type(stored[name], wanted[name])
        else:
            np.copyto(fields[name], stored[name], casting="same_kind")
    return fields


def _kept_samples(values: np.ndarray, head: np.void, index: int) -> np.ndarray:
    n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
    if values.size != 2 * n_coils * n_samples:
        raise DamagedScan(
            f"acquisition {index} holds {values.size} numbers; {n_coils} coils of {n_samples} complex "
            f"samples need {2 * n_coils * n_samples}: copy or export the scan again"
        )
    # NaN compares as false.
    if not (np.abs(values) <= LARGEST_SAMPLE).all():
        raise DamagedScan(
            f"acquisition {index} holds infinite or undefined samples, or some beyond {LARGEST_SAMPLE:g}; raki needs "
            "measured ones: export the scan again"
        )
    samples = values.view(np.complex64).reshape(n_coils, n_samples)
    return samples[:, int(head["discard_pre"]) : n_samples - int(head["discard_post"])]


@contextmanager
def _damage_is_named() -> Iterator[None]:
    """h5py's many exceptions for a broken file, and the file's name in them, become one sentence.

    Wraps only what reads from the file: the same exceptions from sorting what was read are faults of raki.
    """
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, OverflowError) as error:
        raise DamagedScan(
            f"the HDF5 file is truncated or damaged ({type(error).__name__}); raki needs a complete file: "
            "copy or export the scan again"
        ) from None


ISMRMRD_HDF5 = Format(
    name="ISMRMRD HDF5",
    suffixes=(".h5", ".mrd"),
    recognises=lambda start: start.startswith(HDF5_MAGIC),
    open=open_ismrmrd,
)
