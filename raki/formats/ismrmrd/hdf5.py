"""ISMRMRD (MRD) raw data in HDF5, whoever wrote it.

Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089; https://ismrmrd.readthedocs.io.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from ismrmrd.hdf5 import acquisition_dtype
from jaxtyping import Complex64, Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import HEAD, Acquisitions, Format, OtherFormat, require_measured
from raki.formats.hdf5.array import HDF5_MAGIC, damage_is_named
from raki.formats.hdf5.opening import open_hdf5
from raki.formats.hdf5.table import StoredTable, read_text
from raki.formats.sorting.measurements import as_one
from raki.scan.hdf5_members import own_dataset, own_member

# Each is a header to parse and a file to hold open; a scanner's export has two or three.
MOST_MEASUREMENTS = 32


class IsmrmrdFile:
    """The header and the table of acquisitions of one measurement; see `raki.formats.acquisitions.Acquisitions`."""

    def __init__(self, header_xml: str, table: StoredTable, number: np.dtype) -> None:
        self._table, self._number = table, number
        self.header_xml = header_xml
        self.heads = _as_type(table.field("head"), HEAD)
        self._lists = table.lists("data", item_bytes=number.itemsize)
        self.n_bytes = int(self._lists["length"].sum(dtype=np.int64)) * number.itemsize
        """Of all its samples, as they are stored."""

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The kept samples of the wanted acquisitions, in the order asked for."""
        for index in wanted.tolist():
            head, place = self.heads[index], self._lists[index]
            n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
            if place["length"] != 2 * n_coils * n_samples:
                raise DamagedScan(
                    f"acquisition {index} holds {place['length']} numbers; {n_coils} coils of {n_samples} complex "
                    f"samples need {2 * n_coils * n_samples}: copy or export the scan again"
                )
            values = np.frombuffer(self._table.read(place, self._number.itemsize), self._number)
            require_measured(values, index)
            samples = values.astype(np.float32, copy=False).view(np.complex64).reshape(n_coils, n_samples)
            yield samples[:, int(head["discard_pre"]) : n_samples - int(head["discard_post"])]


@contextmanager
def open_ismrmrd(path: Path) -> Iterator[Acquisitions]:
    """Opens a file; several measurements in it are one scan, or refused by what differs.

    Raises:
        NotAScan: HDF5 without ISMRMRD acquisitions, or without those of an image where there are several.
        UnsupportedScan: measurements that are no parts of one scan, or stored in an unusual way.
        DamagedScan: truncated or overwritten, as far as it shows at once.
    """
    with ExitStack() as stack:
        file = open_hdf5(path)
        stack.callback(_close, file)
        found = {name: _measurement(group, path, stack) for name, group in _ismrmrd_groups(file).items()}
        if sum(measurement.n_bytes for measurement in found.values()) > path.stat().st_size:
            raise DamagedScan(
                f"the file's {len(found)} measurements hold more bytes than the file, they lie upon each other; raki "
                "needs each by itself: export the scan again"
            )
        yield as_one(found)


def _close(file: h5py.File) -> None:
    with damage_is_named():
        file.close()


def _measurement(group: h5py.Group, path: Path, stack: ExitStack) -> IsmrmrdFile:
    with damage_is_named():
        acquisitions = group["data"]
        _require_type(acquisitions.dtype, acquisition_dtype)
        number = np.dtype(h5py.check_vlen_dtype(acquisitions.dtype["data"]))
    table = StoredTable(acquisitions, "data", path)
    stack.callback(table.close)
    return IsmrmrdFile(_header_xml(group, path), table, number)


def _ismrmrd_groups(file: h5py.File) -> dict[str, h5py.Group]:
    """The groups with header and acquisitions, 'dataset' alone by convention, in the order of their names."""
    found: dict[str, h5py.Group] = {}
    with damage_is_named():
        for name in file:
            group = own_member(file, name)
            table = own_dataset(group, "data") if isinstance(group, h5py.Group) else None
            if table is not None and {"head", "data"} <= set(table.dtype.names or ()):
                found[name] = group
    if not found:
        raise OtherFormat(
            "the HDF5 file holds no ISMRMRD acquisitions; raki needs a group 'dataset' with 'xml' and 'data': "
            "export the raw data, not images"
        )
    if len(found) > MOST_MEASUREMENTS:
        raise UnsupportedScan(
            f"the file holds {len(found)} measurements; raki takes {MOST_MEASUREMENTS} of one scan at most: split it"
        )
    return found


def _header_xml(group: h5py.Group, path: Path) -> str:
    with damage_is_named():
        stored = own_dataset(group, "xml")
    text = read_text(stored, "xml", path)
    if text is None:
        raise DamagedScan("the file has acquisitions but no header; raki needs it as 'xml': export the scan again")
    return text


def _require_type(stored: np.dtype, wanted: np.dtype) -> None:
    """Raises DamagedScan unless the file's compound type holds all fields of `wanted`, of their kinds, side by side."""
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


ISMRMRD_HDF5 = Format(
    name="ISMRMRD HDF5",
    suffixes=(".h5", ".mrd"),
    recognises=lambda start: start.startswith(HDF5_MAGIC),
    open=open_ismrmrd,
)
